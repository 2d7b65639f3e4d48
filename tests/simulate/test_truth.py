"""The truth beside a scan: the protocol, voxel by voxel, and sums by hand."""

import numpy as np
import pytest

from iac_cli.geometry.grid import Grid
from iac_cli.simulate.truth import agatston_classic, protocol_mask

GRID = Grid.regular((3, 40, 40), spacing_mm=(3.0, 1.0, 0.5))


def test_protocol_wants_130_hu_and_half_of_it_own() -> None:
    hu = np.full(GRID.shape, 40, dtype=np.int16)
    excess = np.zeros(GRID.shape, dtype=np.float32)
    hu[1, 10, 10:12], excess[1, 10, 10:12] = 140, 100  # calcium in soft tissue
    hu[1, 20, 20:22], excess[1, 20, 20:22] = 129, 89  # one HU too faint
    hu[1, 30, 20:22], excess[1, 30, 20:22] = 640, 200  # bone with a little calcium
    hu[1, 35, 20:22] = 640  # bone alone
    hu[1, 5, 30], excess[1, 5, 30] = 300, 260  # a single voxel
    mask = protocol_mask(hu, excess, hu - excess, GRID)
    assert np.argwhere(mask).tolist() == [[1, 10, 10], [1, 10, 11]]


def test_a_neighbour_in_the_next_slice_keeps_a_voxel() -> None:
    hu = np.full(GRID.shape, 40, dtype=np.int16)
    excess = np.zeros(GRID.shape, dtype=np.float32)
    for place in ((0, 10, 10), (1, 11, 11)):
        hu[place], excess[place] = 300, 260
    assert protocol_mask(hu, excess, hu - excess, GRID).sum() == 2


def test_agatston_by_hand() -> None:
    """Slice 0: 4 voxels of 0.5 mm2, peak 450: 2 x 4. Slice 1: two parts joined by a corner, 1 mm2,
    peak 199: 1 x 1. Slice 2: one voxel of 0.5 mm2: too small. Extents are 3 mm."""
    hu = np.full(GRID.shape, 40, dtype=np.int16)
    mask = np.zeros(GRID.shape, dtype=bool)
    hu[0, 5, 5:9], mask[0, 5, 5:9] = (200, 450, 300, 131), True
    hu[1, 5, 5], hu[1, 6, 6] = 199, 150
    mask[1, 5, 5] = mask[1, 6, 6] = True
    hu[2, 5, 5], mask[2, 5, 5] = 900, True
    assert agatston_classic(hu, mask, GRID) == pytest.approx(2.0 * 4 + 1.0 * 1)
