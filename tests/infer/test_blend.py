import numpy as np
from numpy.testing import assert_allclose

from iac_cli.infer.blend import Blend, smooth_weights
from iac_cli.infer.calibrate import Platt, calibrated


def test_weights_are_whole_inside_and_small_at_the_border() -> None:
    weights = smooth_weights((4, 10, 10), (0, 2, 2))
    assert weights[2, 5, 5] == 1.0
    assert 0.0 < weights[0, 0, 0] < 0.01
    assert_allclose(weights, weights[::-1, ::-1, ::-1])


def test_equal_windows_blend_to_themselves() -> None:
    starts = np.array([[0, 0, 0], [0, 0, 3], [0, 2, 1]])
    blend = Blend(starts, (1, 4, 4), (0, 1, 1))
    for start in starts:
        blend.add(start, np.full((1, 4, 4), 7.0, np.float32))
    logits, seen = blend.at(np.array([[0, 1, 3], [0, 0, 0], [0, 5, 0], [1, 0, 0], [-1, 0, 0]]))
    assert_allclose(logits, [7, 7, 0, 0, 0], atol=1e-5)
    assert list(seen) == [True, True, False, False, False]


def test_overlap_is_the_weighted_mean() -> None:
    """Two windows of one row, 1 and 3, overlapping in two voxels: weights w and its mirror."""
    blend = Blend(np.array([[0, 0, 0], [0, 0, 2]]), (1, 1, 4), (0, 0, 2))
    blend.add(np.array([0, 0, 0]), np.full((1, 1, 4), 1.0, np.float32))
    blend.add(np.array([0, 0, 2]), np.full((1, 1, 4), 3.0, np.float32))
    w = np.array([0.001, np.sin(1 / 4 * np.pi / 2) ** 2])  # outermost voxel, next voxel
    logits, _ = blend.at(np.array([[0, 0, k] for k in range(6)]))
    second = (1 * w[1] + 3 * w[0]) / w.sum()
    third = (1 * w[0] + 3 * w[1]) / w.sum()
    assert_allclose(logits, [1, 1, second, third, 3, 3], atol=1e-5)


def test_calibration_is_the_logistic_of_a_line() -> None:
    logits = np.array([-1e9, -2.0, 0.0, 2.0, 1e9], np.float32)
    p = calibrated(logits, Platt(0.5, 1.0))
    assert_allclose(p, [0.0, 0.5, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-2)), 1.0], atol=1e-6)
