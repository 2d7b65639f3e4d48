"""Whole heads for the locator: key points that move with the head, and what a cut leaves."""

import numpy as np
import pytest
import torch

from iac_cli.locate.keypoints import keypoints, mirror_order
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.heads import (
    NEAR,
    WHOLE,
    HeadStream,
    StoredHead,
    coordinate_channels,
    locator_inputs,
    paint_head,
)

K = len(keypoints())


def _marked_head(cell_mm=2.0):
    """A block of tissue in which every key point sits in the middle of one bright cube."""
    hu = np.full((70, 80, 80), 40.0)
    hu[:4], hu[-4:] = -1000.0, -1000.0
    hu[33:37, 38:42, 38:42] = 3000.0
    points = np.tile(np.array([34.5, 39.5, 39.5]), (K, 1)) * cell_mm
    return StoredHead("made", hu.astype(np.float16), points, cell_mm)


@pytest.mark.parametrize("scale", [WHOLE, NEAR])
def test_key_points_stay_on_what_they_mark(scale):
    head = _marked_head(scale.stored_mm)
    made = HeadStream([head], device=torch.device("cpu"), seed=2, scale=scale).batch(16)
    checked = 0
    for i in range(16):
        bone, target = made.inputs[i, 0], made.targets[i, 0]
        bright = torch.nonzero(bone >= 0.2).float()
        if made.present[i, 0] < 0.5 or bright.std(dim=0).max() > 3.0:
            continue  # cut away, or with a random dense spot elsewhere
        peak = torch.tensor(np.unravel_index(int(target.argmax()), target.shape))
        assert float((bright.mean(dim=0) - peak).norm()) < 1.5
        checked += 1
    assert checked >= 5


def test_targets_sum_to_one_where_present():
    made = HeadStream([_marked_head()], device=torch.device("cpu"), seed=4).batch(6)
    sums = made.targets.sum(dim=(2, 3, 4))
    assert torch.allclose(sums[made.present > 0.5], torch.ones(int(made.present.sum())), atol=1e-3)


def test_some_heads_are_cut_so_that_points_are_absent():
    made = HeadStream([_marked_head()], device=torch.device("cpu"), seed=1).batch(40)
    assert 0.1 < float(made.present.mean()) < 0.98


def test_mirrored_key_points_swap_sides_and_twice_is_once():
    order = mirror_order(keypoints())
    assert [order[i] for i in order] == list(range(K))
    names = [str(artery) for artery, _ in keypoints()]
    assert names[order[names.index("ICA-R")]] == "ICA-L"
    assert order[names.index("BA")] == names.index("BA")


def test_coordinates_are_measured_from_the_middle_of_the_tissue():
    hu = torch.full((1, 6, 8, 10), -1000.0)
    hu[0, 2:4, 2:6, 4:8] = 40.0  # middle at 2.5, 3.5, 5.5 cells of 4 mm
    z, y, x = coordinate_channels(hu, 4.0)[0]
    assert float(z[0, 0, 0]) == np.float32(-0.10)
    assert abs(float(y[0, 1, 0]) + 0.10) < 1e-6
    assert abs(float(x[0, 0, 8]) - 0.10) < 1e-6
    assert locator_inputs(hu, 4.0).shape == (1, 5, 6, 8, 10)


def test_a_displaced_head_shows_a_key_point_where_it_is_said_to_lie():
    stream = HeadStream([_marked_head()], device=torch.device("cpu"), seed=3)
    for _ in range(5):
        bend = stream._bent()
        voxels = torch.tensor([[10, 20, 30], [24, 28, 28], [40, 5, 50], [3, 3, 3]])
        places = voxels * WHOLE.cell_mm
        shown = places + bend.everywhere()[tuple(voxels.T)]  # what of the source a voxel shows
        found = bend.undone(lambda moved, shown=shown: shown - moved)
        assert float((found - places).norm(dim=1).max()) < 0.05


@pytest.mark.parametrize("scale", [WHOLE, NEAR])
def test_no_displacement_folds_a_head(scale):
    stream = HeadStream([_marked_head()], device=torch.device("cpu"), seed=6, scale=scale)
    folded = []
    for _ in range(40):
        moved = stream._bent().everywhere()
        slopes = torch.stack(torch.gradient(moved, spacing=scale.cell_mm, dim=(0, 1, 2)), dim=-1)
        whole = torch.linalg.det(slopes + torch.eye(3))
        folded.append(float((whole <= 0.0).float().mean()))
    assert max(folded) < 1e-3
    assert np.mean(folded) < 1e-4


def test_heads_are_drawn_by_their_shares():
    whole = _marked_head()
    empty = StoredHead("empty", np.full_like(whole.hu, -1000.0), whole.points_mm, 2.0)
    for share in (0.0, 0.5, 1.0):
        shares = {"made": 1.0 - share, "empty": share}
        stream = HeadStream([whole, empty], device=torch.device("cpu"), seed=1, shares=shares)
        tissue = stream.batch(24).inputs[:, 1] > -0.9  # of -50 to 150 HU, a spot is a few cells
        drawn_empty = int((tissue.flatten(1).sum(dim=1) < 500).sum())
        assert drawn_empty == pytest.approx(24 * share, abs=7 * share * (1.0 - share) * 4.0)


def test_a_procedural_head_carries_its_own_arteries():
    head = draw_head(np.random.default_rng(5))
    coarse = paint_head("procedural_5", head)
    assert np.isfinite(coarse.points_mm).all()
    names = [str(artery) for artery, _ in keypoints()]
    for name in ("ICA", "M1", "V4"):
        right = coarse.points_mm[[n == f"{name}-R" for n in names]]
        left = coarse.points_mm[[n == f"{name}-L" for n in names]]
        assert right[:, 2].max() < left[:, 2].min()  # the row axis runs to the patient's left
    ica = coarse.points_mm[[n == "ICA-R" for n in names]]
    assert ica[-1, 0] - ica[0, 0] > 25.0  # from the skull base up
    cells = np.round(coarse.points_mm / 2.0).astype(int)
    lumen = coarse.hu[tuple(cells.T)]
    assert float(np.median(lumen)) == pytest.approx(head.lumen_hu, abs=25.0)
