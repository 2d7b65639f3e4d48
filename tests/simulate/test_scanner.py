"""Physical laws of the scanner: what a scan adds up to does not depend on how it was made."""

import numpy as np
import pytest

from iac_cli.geometry.grid import Grid
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import (
    POINT_SPREADS,
    Kernel,
    Scan,
    acquire,
    digitised,
    gantry_axes,
    noise_like,
    tilted_grid,
)

CONTRAST_HU = 700.0


def sphere(radius_mm: float, grid: Grid) -> tuple[np.ndarray, Lattice]:
    """A sphere about the origin on a fine lattice, each cell holding its true share of it."""
    reach = radius_mm + 0.5
    lattice = Lattice.spanning(((-reach, reach),) * 3, (0.5, 0.25, 0.25), gantry_axes(grid))
    fine = lattice.subdivided((10, 5, 5))
    points = fine.points_mm((slice(None), slice(None), slice(None)))
    inside = (points**2).sum(axis=3) <= radius_mm**2
    a, b, c = lattice.shape
    share = inside.reshape(a, 10, b, 5, c, 5).mean(axis=(1, 3, 5))
    return (share * CONTRAST_HU).astype(np.float32), lattice


def stack(thickness_mm: float, tilt_deg: float, increment_mm: float | None = None) -> Grid:
    step = increment_mm or thickness_mm
    n = int(np.ceil(40 / step))
    return tilted_grid(
        (n, 96, 96),
        pixel_mm=0.45,
        increment_mm=step,
        tilt_deg=tilt_deg,
        lowest_mm=-(n / 2 - 0.37) * step / np.cos(np.radians(tilt_deg)),
    )


@pytest.mark.parametrize("kernel", list(Kernel))
@pytest.mark.parametrize("tilt_deg", [0.0, 15.0, -22.0])
@pytest.mark.parametrize(
    ("thickness_mm", "increment_mm"), [(0.6, 0.6), (1.0, 1.0), (3.0, 1.5), (5.0, 5.0), (8.0, 8.0)]
)
def test_integrated_excess_over_contrast_is_the_sphere_s_volume(
    thickness_mm: float, increment_mm: float, tilt_deg: float, kernel: Kernel
) -> None:
    radius_mm = 2.3
    grid = stack(thickness_mm, tilt_deg, increment_mm)
    field, lattice = sphere(radius_mm, grid)
    image, window = acquire(field, lattice, grid, Scan(thickness_mm, POINT_SPREADS[kernel]))
    voxels = grid.voxel_mm3[window.slices][:, None, None]
    volume = float((image * voxels).sum(dtype=np.float64)) / CONTRAST_HU
    assert volume == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.01)


def test_a_sphere_lies_where_it_was_put_in_a_tilted_stack() -> None:
    grid = stack(1.0, 18.0)
    field, lattice = sphere(3.0, grid)
    image, window = acquire(field, lattice, grid, Scan(1.0, POINT_SPREADS[Kernel.SOFT]))
    whole = np.zeros(grid.shape)
    whole[window.cut] = image
    index = np.argwhere(whole > 0.5)
    weight = whole[tuple(index.T)]
    centre = (grid.to_world(index) * weight[:, None]).sum(axis=0) / weight.sum()
    assert np.abs(centre).max() < 0.03


def test_peak_falls_as_slices_thicken_and_returns_only_for_a_large_sphere() -> None:
    def peak(radius_mm: float, thickness_mm: float) -> float:
        grid = stack(thickness_mm, 0.0)
        field, lattice = sphere(radius_mm, grid)
        return float(acquire(field, lattice, grid, Scan(thickness_mm, SOFT))[0].max())

    small = [peak(1.0, thickness) for thickness in (1.0, 2.5, 5.0)]
    assert CONTRAST_HU * 0.95 > small[0] > small[1] > small[2]
    assert peak(6.0, 1.0) == pytest.approx(CONTRAST_HU, rel=0.005)


@pytest.mark.parametrize("thickness_mm", [1.0, 3.0])
def test_the_peak_comes_back_only_from_a_sphere_three_times_as_wide_as_blur_and_slice(
    thickness_mm: float,
) -> None:
    widest_mm = max(thickness_mm, 2.355 * SOFT.narrow_mm)
    grid = stack(thickness_mm, 0.0, 0.4)
    peaks = []
    for share in (3.0, 1.0, 0.5):
        field, lattice = sphere(share * widest_mm / 2, grid)
        peaks.append(float(acquire(field, lattice, grid, Scan(thickness_mm, SOFT))[0].max()))
    assert peaks[0] == pytest.approx(CONTRAST_HU, rel=0.02)
    assert peaks[1] < 0.9 * CONTRAST_HU
    assert peaks[2] < 0.6 * peaks[1]


SOFT = POINT_SPREADS[Kernel.SOFT]


def test_one_lesion_s_mean_through_a_slice_is_its_share_of_the_slice() -> None:
    """A wide plate of 1 mm in one 4 mm slice shows a quarter of its contrast."""
    grid = tilted_grid((3, 64, 64), pixel_mm=0.5, increment_mm=4.0, tilt_deg=0.0, lowest_mm=-4.0)
    ranges = ((-0.25, 0.25), (-10.0, 10.0), (-10.0, 10.0))
    lattice = Lattice.spanning(ranges, (0.5, 0.25, 0.25), gantry_axes(grid))
    field = np.full(lattice.shape, CONTRAST_HU, dtype=np.float32)
    image, window = acquire(field, lattice, grid, Scan(4.0, SOFT))
    middle = image[1 - window.slices.start]
    centre = middle[middle.shape[0] // 2, middle.shape[1] // 2]
    assert centre == pytest.approx(CONTRAST_HU / 4, rel=0.005)


def test_slices_step_along_the_normal_by_the_increment_and_tilt_as_asked() -> None:
    grid = stack(5.0, 15.0)
    assert np.allclose(np.diff(grid.offsets_mm), 5.0)
    assert abs(grid.tilt_deg) == pytest.approx(15.0)
    assert np.allclose(np.diff(grid.positions_mm, axis=0)[:, :2], 0.0)


@pytest.mark.parametrize(("thickness_mm", "expected_hu"), [(5.0, 4.0), (1.25, 8.0)])
def test_noise_has_the_level_asked_for_and_falls_with_thickness(
    thickness_mm: float, expected_hu: float
) -> None:
    grid = tilted_grid(
        (4, 256, 256), pixel_mm=0.5, increment_mm=thickness_mm, tilt_deg=0, lowest_mm=0
    )
    y, x = np.mgrid[:256, :256]
    water = np.where(np.hypot(y - 128, x - 128) < 92, 30.0, -1000.0).astype(np.float32)
    hu = np.broadcast_to(water, grid.shape)
    scan = Scan(thickness_mm, SOFT, noise_hu=4.0)
    noise = noise_like(hu, grid, scan, np.random.default_rng(0))
    middle = noise[:, 100:156, 100:156]
    assert middle.std() == pytest.approx(expected_hu, rel=0.25)
    assert abs(middle.mean()) < 0.5
    neighbours = np.corrcoef(middle[..., 1:].ravel(), middle[..., :-1].ravel())[0, 1]
    assert neighbours > 0.3


def test_stored_values_are_whole_and_clipped() -> None:
    stored = digitised(np.array([-5000.0, -0.4, 12.6, 9000.0], dtype=np.float32))
    assert stored.tolist() == [-1024, 0, 13, 3071]
