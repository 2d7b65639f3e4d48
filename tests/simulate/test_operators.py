"""The window stream's matrices: planes between slices, unit gain, labels by the protocol."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from iac_cli.simulate.windows.operators import (
    Slices,
    local_background,
    on_planes,
    plane_matrix,
    protocol_label,
    slice_planes,
    spread_matrix,
)


def _slices(centres, thickness, valid=None):
    centre = torch.tensor([centres], dtype=torch.float32)
    return Slices(
        centre_mm=centre,
        plane=centre.round(),
        valid=torch.ones_like(centre, dtype=torch.bool) if valid is None else torch.tensor([valid]),
        thickness_mm=torch.full_like(centre, float(thickness)),
    )


def test_blurs_have_unit_gain_also_when_the_head_moved():
    ghost = torch.tensor([0.3]), torch.tensor([2.0])
    for rows in (
        spread_matrix(torch.tensor([0.5]), 12, 40),
        spread_matrix(torch.tensor([0.5]), 12, 40, ghost),
    ):
        assert torch.allclose(rows.sum(-1), torch.ones(1, 40))


def test_a_head_that_moved_is_seen_twice():
    ghost = torch.tensor([0.3]), torch.tensor([10 * 0.44])
    rows = spread_matrix(torch.tensor([0.1]), 12, 40, ghost)[0]
    seen = rows @ torch.nn.functional.one_hot(torch.tensor(12 + 20), 64).float()
    assert float(seen[20]) == pytest.approx(0.7, abs=0.03)
    assert float(seen[10]) == pytest.approx(0.3, abs=0.03)


def test_planes_between_slices_are_interpolated_and_slices_keep_their_own():
    slices = _slices([0.2, 3.9, 7.1], 4.0)  # snapped to planes 0, 4 and 7
    values = torch.tensor([10.0, 50.0, 80.0]).reshape(1, 3, 1, 1)

    planes = on_planes(plane_matrix(slices, 9), values).flatten().tolist()

    assert planes == pytest.approx([10, 20, 30, 40, 50, 60, 70, 80, 80])
    assert slice_planes(slices, 9).sum(-1).flatten().tolist() == [1, 0, 0, 0, 1, 0, 0, 1, 0]


def test_slices_that_do_not_count_are_left_out():
    slices = _slices([0.0, 4.0, 8.0], 4.0, valid=[True, False, True])
    values = torch.tensor([10.0, 999.0, 90.0]).reshape(1, 3, 1, 1)
    planes = on_planes(plane_matrix(slices, 9), values).flatten().tolist()
    assert planes == pytest.approx([10 * (1 + i) for i in range(9)])


def test_the_local_background_is_the_mean_of_soft_tissue_within_5_mm():
    rng = np.random.default_rng(2)
    hu = rng.normal(40, 30, (1, 3, 40, 40)).astype(np.float32)
    hu[..., 20:] = 800.0
    soft = (hu > -50) & (hu < 110)
    size = (0, 0, 23, 23)  # 5 mm at 0.44 mm to both sides, and the voxel
    share = uniform_filter(soft.astype(float), size, mode="nearest")
    total = uniform_filter(np.where(soft, hu, 0.0).astype(float), size, mode="nearest")
    found = local_background(torch.tensor(hu)).numpy()
    known = share > 0.03
    assert np.abs(found[known] - total[known] / share[known]).max() < 0.01
    assert (found[..., -5:] == 40.0).all()


def test_the_protocol_asks_for_130_hu_half_the_excess_and_a_neighbour():
    hu = torch.full((1, 3, 5, 5), 40.0)
    calcium = torch.zeros_like(hu)
    hu[0, 1, 1, 1:3], calcium[0, 1, 1, 1:3] = 130.0, 90.0  # 40 HU below it
    hu[0, 1, 3, 1:3], calcium[0, 1, 3, 1:3] = 300.0, 100.0  # mostly bone
    hu[0, 0, 4, 4], calcium[0, 0, 4, 4] = 300.0, 260.0  # alone
    hu[0, 2, 0, 3:5], calcium[0, 2, 0, 3:5] = 129.0, 89.0  # too faint

    drawn = protocol_label(hu, calcium)

    assert drawn.nonzero().tolist() == [[0, 1, 1, 1], [0, 1, 1, 2]]


def test_what_readers_drew_counts_without_an_implant():
    hu = torch.full((1, 3, 3, 3), 200.0)
    real = torch.zeros_like(hu)
    real[0, 1, 0, :2] = 0.6
    assert protocol_label(hu, torch.zeros_like(hu), real).sum() == 2
