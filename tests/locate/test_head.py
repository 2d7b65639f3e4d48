import heads
import numpy as np
import pytest
from numpy.testing import assert_allclose
from stacks import stack, volume_of

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume
from iac_cli.locate.head import (
    AIR_HU,
    cropped,
    locator_input,
    make_coarse_head,
    make_near_head,
)


def brute_means(volume: Volume, cell_mm: float, n: int = 20) -> np.ndarray:
    """Cell means by asking n x n x n points of each cell for the voxel that they lie in.

    Exact where every voxel's border falls between two points.
    """
    grid = volume.grid
    head = make_coarse_head(volume, cell_mm, 1e6)
    ticks = (np.arange(n) + 0.5) / n - 0.5
    means = np.empty(head.hu.shape)
    for cell in np.ndindex(*head.hu.shape):
        inner = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 3)
        points = head.to_world(np.array(cell) + inner)
        heights = points @ grid.normal
        edges = (grid.offsets_mm[1:] + grid.offsets_mm[:-1]) / 2
        s = np.searchsorted(edges, heights)
        local = points - grid.positions_mm[s]
        r = np.floor(local @ grid.column_axis / grid.pixel_mm[0] + 0.5).astype(int)
        c = np.floor(local @ grid.row_axis / grid.pixel_mm[1] + 0.5).astype(int)
        first = grid.offsets_mm[0] - (edges[0] - grid.offsets_mm[0])
        last = 2 * grid.offsets_mm[-1] - edges[-1]
        ok = (r >= 0) & (r < grid.shape[1]) & (c >= 0) & (c < grid.shape[2])
        ok &= (heights >= first) & (heights <= last)
        hu = np.full(len(points), AIR_HU)
        hu[ok] = volume.hu[s[ok], r[ok], c[ok]]
        means[cell] = hu.mean()
    return means


@pytest.mark.parametrize("shift", [0.0, 0.5, -0.5])
@pytest.mark.parametrize("offsets", [[0, 4, 8, 12], [0, 0.8, 1.6, 2.4, 3.2, 4.0], [0, 4, 5.2, 12]])
def test_cells_are_means_over_their_volume(offsets, shift: float) -> None:
    tilt_deg = float(np.degrees(np.arctan(shift)))
    grid = stack(offsets, tilt_deg=tilt_deg, pixel_mm=(1.0, 0.8), sides=(14, 17))
    hu = np.random.default_rng(0).normal(50, 200, grid.shape).astype(np.float32)
    volume = Volume(hu, grid)
    head = make_coarse_head(volume, 4.0, 1e6)
    assert_allclose(head.hu, brute_means(volume, 4.0), atol=0.05)


def test_linear_field_keeps_its_values_and_place() -> None:
    grid = Grid.regular((10, 40, 40), spacing_mm=(2, 1, 1), origin_mm=(-7, 11, 3))
    volume = volume_of(grid, lambda x, y, z: 3 * x - 2 * y + z)
    head = make_coarse_head(volume, 4.0, 400.0)
    cells = np.array([[1, 2, 3], [3, 5, 4]])
    x, y, z = head.to_world(cells).T
    assert_allclose(head.hu[tuple(cells.T)], 3 * x - 2 * y + z, atol=0.01)
    assert_allclose(head.to_cells(head.to_world(cells)), cells, atol=1e-9)


def test_long_scan_is_cut_below_its_upper_part() -> None:
    grid = Grid.regular((200, 8, 8), spacing_mm=(4, 4, 4))
    head = make_coarse_head(Volume(np.zeros(grid.shape, np.float32), grid), 4.0, 400.0)
    assert head.hu.shape[0] == 101
    assert_allclose(head.to_world(np.array([[100.0, 0, 0]]))[0, 2], 199 * 4.0)


def test_single_slice_makes_a_head() -> None:
    grid = Grid.regular((1, 16, 16), spacing_mm=(5, 1, 1))
    head = make_coarse_head(Volume(np.full(grid.shape, 7.0, np.float32), grid), 4.0, 400.0)
    assert head.hu.shape == (2, 4, 4)
    assert_allclose(head.hu[0], 7.0)


def test_wide_field_of_view_is_cut_around_the_bone() -> None:
    grid = Grid.regular((40, 125, 125), spacing_mm=(4, 4, 4), origin_mm=(-250, -250, -80))
    head = make_coarse_head(heads.head(grid), 4.0, 400.0)
    part = cropped(head, 128.0)
    assert part.hu.shape == (40, 64, 64)
    assert_allclose(part.hu.max(), head.hu.max())
    cell = np.array([[20, 30, 30]])
    world = part.to_world(cell)
    there = head.to_cells(world).round().astype(int)
    assert part.hu[tuple(cell[0])] == head.hu[tuple(there[0])]


def test_locator_sees_windows_and_distances_from_the_middle() -> None:
    volume = heads.head()
    head = make_coarse_head(volume, 4.0, 400.0)
    inputs = locator_input(head, ((-1000.0, 1500.0), (-50.0, 150.0)))
    assert inputs.shape[:2] == (1, 5)
    assert all(side % 8 == 0 for side in inputs.shape[2:])
    z, y, x = head.to_cells(np.zeros((1, 3)))[0]
    brain = tuple(int(round(v)) for v in (z, y, x))
    assert_allclose(inputs[0, 0][brain], (35 + 1000) / 2500 * 2 - 1, atol=1e-5)
    assert_allclose(inputs[0, 1][brain], (35 + 50) / 200 * 2 - 1, atol=1e-5)
    for axis, place in enumerate((z, y, x)):  # the head's middle is the world's origin
        index = np.arange(inputs.shape[2 + axis])
        profile = np.moveaxis(inputs[0, 2 + axis], axis, 0)[:, 0, 0]
        assert_allclose(profile, (index - place) * 0.04, atol=0.02)


@pytest.mark.parametrize("tilt_deg", [0.0, 18.5])
@pytest.mark.parametrize("step_mm", [0.8, 1.5, 5.0])
def test_near_cells_hold_a_linear_field_and_lie_where_they_say(step_mm, tilt_deg) -> None:
    grid = heads.head_grid(step_mm=step_mm, pixel_mm=0.9, tilt_deg=tilt_deg)
    volume = volume_of(grid, lambda x, y, z: 3 * x - 2 * y + 4 * z)
    middle = np.array([5.3, -7.1, 3.7])
    near = make_near_head(volume, middle, 2.0, (16, 24, 20))
    assert near.hu.shape == (16, 24, 20)
    cells = np.stack(np.meshgrid(*map(np.arange, near.hu.shape), indexing="ij"), -1).reshape(-1, 3)
    x, y, z = near.to_world(cells).T
    assert_allclose(near.hu.ravel(), 3 * x - 2 * y + 4 * z, atol=0.4)
    assert_allclose(near.to_world(cells).mean(axis=0), middle, atol=1e-9)


def test_near_cells_beyond_the_scan_hold_air() -> None:
    grid = heads.head_grid(step_mm=3.0, low_mm=-20.0, high_mm=40.0)
    volume = volume_of(grid, lambda x, y, z: 0 * x + 40.0)
    near = make_near_head(volume, np.array([0.0, 0.0, -20.0]), 2.0, (16, 8, 8))
    heights = near.to_world(np.argwhere(near.hu > -1e9))[:, 2].reshape(near.hu.shape)
    assert_allclose(near.hu[heights < -23.0], AIR_HU)
    assert_allclose(near.hu[heights > -20.0], 40.0, atol=1e-3)
