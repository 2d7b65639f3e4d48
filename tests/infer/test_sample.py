import numpy as np
import pytest
from numpy.testing import assert_allclose
from stacks import stack, volume_of

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume
from iac_cli.infer.sample import AIR_HU, Lattice, as_channels, plane_weights, sample_windows

MM = (1.0, 0.44, 0.44)


@pytest.mark.parametrize(
    ("offsets", "planes"),
    [
        ([0, 4, 8, 12], [0, 4, 8, 12]),
        ([0, 1.08, 8.08, 15.08], [0, 1, 8, 15]),
        ([0, 1.25, 2.5, 3.75], [0, 1, 3, 4]),
        ([10, 11, 12, 13], [0, 1, 2, 3]),
        ([0, 0.6, 1.2, 1.8], [0, 0.6, 1.2, 1.8]),
        ([0, 0.5, 1.0, 5.3, 9.6], [0, 0.5, 1.0, 5, 10]),
        ([7], [0]),
    ],
)
def test_slices_a_plane_apart_sit_on_the_nearest_plane(offsets, planes) -> None:
    grid = Grid.regular((1, 60, 60), spacing_mm=(5, 0.5, 0.5)) if len(offsets) < 2 else None
    lattice = Lattice.over(grid or stack(offsets), MM)
    assert_allclose(lattice.slice_planes, planes, atol=1e-9)


def test_no_two_slices_of_a_whole_step_share_a_plane() -> None:
    offsets = 0.5 + np.arange(200) * 0.9995
    planes = Lattice.over(stack(offsets, sides=(8, 8)), MM).slice_planes
    assert (np.diff(planes) >= 1).all()


def test_planes_between_thick_slices_are_interpolated() -> None:
    lattice = Lattice.over(stack([0, 4, 8]), MM)
    weights = plane_weights(lattice.grid, lattice.slice_planes, 1.0, [-1, 0, 1, 4, 6, 8, 9])
    assert_allclose(
        weights,
        [[0, 0, 0], [1, 0, 0], [0.75, 0.25, 0], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1], [0, 0, 0]],
    )


def test_planes_of_thin_slices_are_means_over_a_plane() -> None:
    lattice = Lattice.over(stack([0, 0.5, 1.0, 1.5, 2.0]), MM)
    weights = plane_weights(lattice.grid, lattice.slice_planes, 1.0, [1])
    assert_allclose(weights, [[0, 0.25, 0.5, 0.25, 0]])  # [0.5, 1.5] of cells half a mm thick


@pytest.mark.parametrize("tilt_deg", [-20.0, 0.0, 18.5])
def test_linear_field_is_sampled_exactly_whatever_the_tilt(tilt_deg: float) -> None:
    """Slices on whole planes: linear interpolation of a linear field has no error."""
    grid = stack([0, 4, 8, 12], tilt_deg=tilt_deg)
    volume = volume_of(grid, lambda x, y, z: 3 * x - 2 * y + 5 * z)
    lattice = Lattice.over(grid, MM)
    start = np.array([[2, 20, 12]])
    window = sample_windows(volume, lattice, start, (6, 8, 8))[0]
    low = grid.positions_mm[:, :2].min(axis=0)  # x, y of lattice row 0 and column 0
    z, y, x = np.meshgrid(2 + np.arange(6), 20 + np.arange(8), 12 + np.arange(8), indexing="ij")
    expected = 3 * (x * 0.44 + low[0]) - 2 * (y * 0.44 + low[1]) + 5.0 * z
    assert_allclose(window, expected, atol=2e-3)


def test_window_in_plane_is_bilinear_as_scipy_has_it() -> None:
    from scipy.ndimage import map_coordinates

    grid = Grid.regular((3, 40, 50), spacing_mm=(5.0, 0.7, 0.6))
    hu = np.random.default_rng(0).normal(0, 300, grid.shape).astype(np.float32)
    window = sample_windows(
        Volume(hu, grid), Lattice.over(grid, MM), np.array([[5, 3, 4]]), (1, 20, 20)
    )
    rows, columns = np.meshgrid(3 + np.arange(20), 4 + np.arange(20), indexing="ij")
    expected = map_coordinates(hu[1], [rows * 0.44 / 0.7, columns * 0.44 / 0.6], order=1)
    assert_allclose(window[0, 0], expected, atol=0.02)


def test_outside_the_scan_is_air() -> None:
    grid = stack([0, 4, 8])
    volume = Volume(np.full(grid.shape, 50.0, np.float32), grid)
    starts = np.array([[-20, 0, 0], [0, -50, 0], [0, 0, 500]])
    assert (sample_windows(volume, Lattice.over(grid, MM), starts, (4, 8, 8)) == AIR_HU).all()


@pytest.mark.parametrize("tilt_deg", [-15.0, 0.0, 18.5])
def test_voxels_know_their_lattice_place(tilt_deg: float) -> None:
    grid = stack([0, 4, 8, 12], tilt_deg=tilt_deg)
    lattice = Lattice.over(grid, MM)
    index = np.array([[0, 0, 0], [2, 30, 7], [3, 59, 59]])
    low = grid.positions_mm[:, :2].min(axis=0)
    world = grid.to_world(index)
    expected = np.stack(
        [world[:, 2], (world[:, 1] - low[1]) / 0.44, (world[:, 0] - low[0]) / 0.44], axis=1
    )
    assert_allclose(lattice.of_voxels(index), expected, atol=1e-9)


def test_channels_are_clipped_to_one() -> None:
    hu = np.array([-1024.0, -200, 650, 1500, 3000], np.float32).reshape(1, 1, 1, 5)
    channels = as_channels(hu, ((-200.0, 1500.0), (0.0, 300.0)))
    assert_allclose(channels[0, 0, 0, 0], [-1, -1, 0, 1, 1])
    assert_allclose(channels[0, 1, 0, 0], [-1, -1, 1, 1, 1])
    assert channels.dtype == np.float32
