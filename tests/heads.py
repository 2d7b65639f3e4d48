"""A head of three ellipsoids on any stack of slices: scalp, skull, brain; and arteries in it.

The world's origin is the middle of the brain. Simple enough that every answer is arithmetic.
"""

import numpy as np

from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume

SCALP_MM = (66.0, 92.0, 76.0)
"""Half axes along x (left), y (posterior), z (superior)."""
SKULL_MM = (60.0, 86.0, 70.0)
BRAIN_MM = (54.0, 80.0, 64.0)

SCALP_HU, SKULL_HU, BRAIN_HU = 40.0, 1000.0, 35.0

COURSES_MM = {
    "ICA-R": ([-18, -5, -35], [-14, -12, -22], [-12, -20, -12], [-13, -16, -4]),
    "ICA-L": ([18, -5, -35], [14, -12, -22], [12, -20, -12], [13, -16, -4]),
    "M1-R": ([-13, -16, -4], [-28, -18, 0]),
    "M1-L": ([13, -16, -4], [28, -18, 0]),
    "A1-R": ([-13, -16, -4], [-4, -24, 0]),
    "A1-L": ([13, -16, -4], [4, -24, 0]),
    "P1-R": ([0, 5, -6], [-12, 8, -4]),
    "P1-L": ([0, 5, -6], [12, 8, -4]),
    "V4-R": ([-10, 25, -45], [0, 10, -32]),
    "V4-L": ([10, 25, -45], [0, 10, -32]),
    "BA": ([0, 10, -32], [0, 5, -6]),
}
"""LPS mm of each artery, in order of flow."""


def lines() -> dict[Artery, CentreLine]:
    return {
        Artery(name): CentreLine(Artery(name), np.array(points, float), np.full(len(points), 1.5))
        for name, points in COURSES_MM.items()
    }


def head_grid(
    *,
    step_mm: float = 4.0,
    pixel_mm: float = 1.0,
    tilt_deg: float = 0.0,
    low_mm: float = -80.0,
    high_mm: float = 80.0,
) -> Grid:
    """Slices from `low_mm` to `high_mm` that hold the whole head; tilt shifts their rows."""
    offsets = np.arange(low_mm, high_mm + 1e-6, step_mm)
    rows, columns = int(220 / pixel_mm), int(160 / pixel_mm)
    positions = np.zeros((len(offsets), 3))
    positions[:, 0] = -(columns - 1) / 2 * pixel_mm
    positions[:, 1] = -(rows - 1) / 2 * pixel_mm + np.tan(np.radians(tilt_deg)) * offsets
    positions[:, 2] = offsets
    return Grid(
        shape=(len(offsets), rows, columns),
        positions_mm=positions,
        row_axis=np.array([1.0, 0, 0]),
        column_axis=np.array([0, 1.0, 0]),
        pixel_mm=(pixel_mm, pixel_mm),
        extents_mm=slice_extents_mm(offsets),
    )


def world_of(grid: Grid) -> np.ndarray:
    """LPS mm of every voxel, (slice, row, column, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return grid.to_world(index.reshape(-1, 3)).reshape(*grid.shape, 3)


def inside(points: np.ndarray, half_axes_mm, centre_mm=(0, 0, 0)) -> np.ndarray:
    """Which points (..., 3) lie in an ellipsoid."""
    return (((points - np.array(centre_mm)) / np.array(half_axes_mm)) ** 2).sum(axis=-1) <= 1.0


def head_hu(grid: Grid, *, brain_hu: float = BRAIN_HU, lumen_hu: float | None = None) -> np.ndarray:
    """HU of the head; with `lumen_hu` its arteries are filled."""
    points = world_of(grid)
    hu = np.full(grid.shape, -1000.0, np.float32)
    for half_axes, value in (
        (SCALP_MM, SCALP_HU),
        (SKULL_MM, SKULL_HU),
        (BRAIN_MM, brain_hu),
    ):
        hu[inside(points, half_axes)] = value
    if lumen_hu is not None:
        for line in lines().values():
            for point in line.resampled(0.5).points_mm:
                box = box_around(grid, point, 5.0)
                reach = (1.5 + grid.pixel_mm[1] / 2,) * 2 + (3.0,)
                hu[box][inside(points[box], reach, point)] = lumen_hu
    return hu


def box_around(grid: Grid, point_mm, reach_mm: float) -> tuple[slice, ...]:
    """The block of voxels that holds everything within reach of a point of an untilted stack."""
    centre = grid.to_index([point_mm])[0]
    steps = np.array([grid.mean_step_mm, *grid.pixel_mm])
    low = np.maximum(np.floor(centre - reach_mm / steps), 0).astype(int)
    high = np.ceil(centre + reach_mm / steps).astype(int) + 1
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


def head(grid: Grid | None = None, **tissue: float) -> Volume:
    grid = grid or head_grid()
    return Volume(head_hu(grid, **tissue), grid)


def with_ball(volume: Volume, centre_mm, radius_mm: float, hu: float) -> Volume:
    """The volume with a ball of one HU."""
    changed = np.array(volume.hu)
    box = box_around(volume.grid, centre_mm, radius_mm + 1.0)
    changed[box][inside(world_of(volume.grid)[box], (radius_mm,) * 3, centre_mm)] = hu
    return Volume(changed, volume.grid)
