"""A head that moves between slices: each slice shows the head where it lay, labels included."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from iac_cli.simulate.findings.artefacts import Artefacts
from iac_cli.simulate.findings.between import JUMP_MM, BetweenSlices, draw_between
from iac_cli.simulate.findings.rates import NONE, USUAL
from iac_cli.simulate.head import simulate_head
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.identity import settings_dict
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import POINT_SPREADS, Kernel, Scan, acquire, tilted_grid
from iac_cli.simulate.truth_out import truth_dict
from tests.simulate.quick_head import quick_head

SCAN = Scan(1.0, POINT_SPREADS[Kernel.SOFT])
GRID = tilted_grid(
    (9, 80, 80), pixel_mm=0.5, increment_mm=1.0, tilt_deg=0.0, lowest_mm=-4.0
)  # heights -4 to 4 mm
AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
ROD_MM = np.array([3.0, -2.0])
"""Column and row axis, of the rod's place."""


def rod(*, tall: bool = True) -> tuple[np.ndarray, Lattice]:
    """An upright rod 2 mm thick, or one whose lower half is missing."""
    lattice = Lattice.spanning(((-12, 12), (-15, 15), (-15, 15)), (0.5, 0.25, 0.25), AXES)
    points = lattice.points_mm((slice(None),) * 3)
    near = np.hypot(points[..., 1] - ROD_MM[0], points[..., 0] - ROD_MM[1]) < 1.0
    return (near & (tall | (points[..., 2] > 0.0))).astype(np.float32), lattice


def seen_image(move: BetweenSlices, *, tall: bool = True) -> np.ndarray:
    field, lattice = rod(tall=tall)
    image = np.zeros(GRID.shape, dtype=np.float32)
    part, window = acquire(field, lattice, move.seen(GRID), SCAN)
    image[window.cut] += part
    move.turn(image)
    return image


def centres(image: np.ndarray) -> np.ndarray:
    """Middle of what each slice shows, (n, 2) mm along column and row axis."""
    return np.array([center_of_mass(plane) for plane in image]) * 0.5 - 39.5 * 0.5


def test_above_a_jump_the_head_lies_elsewhere() -> None:
    move = BetweenSlices(jump_mm=(0.0, 1.5, -2.5), jump_at=0.5)
    found = centres(seen_image(move))
    assert np.allclose(found[:4], ROD_MM, atol=0.02)
    assert np.allclose(found[4:], ROD_MM + (1.5, -2.5), atol=0.02)


def test_a_head_that_rose_is_seen_higher() -> None:
    """The rod begins at 0 mm; two mm up from the jump on, its end is seen two slices higher."""
    still, risen = (
        seen_image(BetweenSlices(jump_mm=(up, 0.0, 0.0)), tall=False).sum(axis=(1, 2))
        for up in (0.0, 2.0)
    )
    assert still[5] > 0.9 * still[-1]
    assert np.allclose(risen[2:], still[:-2], rtol=1e-3, atol=0.05)


def test_a_turn_is_about_the_pictures_middle_and_keeps_the_sum() -> None:
    move = BetweenSlices(jump_deg=20.0, jump_at=0.5)
    image = seen_image(move)
    turned = Rotation.from_euler("z", 20.0, degrees=True).as_matrix()[:2, :2]
    assert np.allclose(centres(image)[4:], turned @ ROD_MM, atol=0.03)
    sums = image.sum(axis=(1, 2))
    assert np.allclose(sums[4:], sums[0], rtol=2e-3)


def test_a_drift_is_as_large_as_it_says_and_the_same_at_every_thickness() -> None:
    paths = [BetweenSlices(drift_mm=0.5, seed=seed).path(101) for seed in range(200)]
    assert np.std([path[:, :3] for path in paths]) == pytest.approx(0.5, rel=0.1)
    steps = np.abs(np.diff(paths[0][:, :3], axis=0))
    assert steps.max() < 0.5
    assert np.allclose(BetweenSlices(drift_mm=0.5, seed=0).path(51), paths[0][::2])


def test_moves_are_as_frequent_as_their_rates() -> None:
    drawn = [draw_between(replace(NONE, slice_jump=0.3, slice_drift=0.6), n) for n in range(500)]
    jumps = [np.linalg.norm(one.jump_mm) for one in drawn if any(one.jump_mm)]
    assert len(jumps) / 500 == pytest.approx(0.3, abs=0.08)
    assert np.mean([one.drift_mm > 0 for one in drawn]) == pytest.approx(0.6, abs=0.09)
    assert JUMP_MM[0] - 0.02 <= min(jumps) < max(jumps) <= JUMP_MM[1] + 0.02


def test_labels_follow_the_head() -> None:
    """The labelled voxels of a moved head lie where it lay, not where the lines are."""
    settings = HeadSettings(
        thickness_mm=3.0, rows=96, columns=96, pixel_mm=2.3, burden_mm3=200.0, noise_hu=0.0
    )
    rates = replace(NONE, slice_jump=1.0)
    still = simulate_head(replace(settings, rates=NONE), None, quick_head(0))
    moved = simulate_head(replace(settings, rates=rates), None, quick_head(0))
    jump = moved.told["artefacts"]["between_slices"]
    assert "between_slices" not in still.told["artefacts"]
    above = round(jump["jump_at"] * (len(still.hu) - 1)) + 1
    assert np.array_equal(moved.hu[: above - 1], still.hu[: above - 1])
    assert not np.array_equal(moved.hu[above:], still.hu[above:])
    labelled = moved.truth.arteries > 0
    assert labelled[above:].any()
    assert (moved.hu[labelled] >= 130).all()
    assert moved.truth.true_volume_mm3 == still.truth.true_volume_mm3


def test_what_is_never_drawn_is_not_told() -> None:
    """Scans that were made before heads could move between slices keep their identity."""
    head = simulate_head(
        HeadSettings(thickness_mm=5.0, rows=64, columns=64, pixel_mm=3.0, burden_mm3=0.0),
        None,
        quick_head(0),
    )
    assert head.settings.rates == USUAL
    assert not {"slice_jump", "slice_drift"} & set(settings_dict(head)["rates"])
    assert "between_slices" not in truth_dict(head)["artefacts"]
    assert Artefacts().between.is_still
