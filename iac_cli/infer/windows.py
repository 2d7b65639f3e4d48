"""Where windows are cut: as few as cover what is looked at along the arteries.

All windows of a scan lie on its one lattice, so that they blend without interpolation.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import CentreLine
from iac_cli.infer.sample import Sides

LINE_STEP_MM = 1.0
"""Distance of the points that stand for a centre line; its tube is off by 0.02 mm at 6 mm."""

CELL = (2, 4, 4)
"""Lattice voxels that are covered or not together while windows are placed."""

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]


def voxels_near(grid: Grid, lines: Iterable[CentreLine], reach_mm: float) -> IndexArray:
    """Source voxels (k, 3) whose centre lies within `reach_mm` of a line, in scan order."""
    samples = [line.resampled(LINE_STEP_MM).points_mm for line in lines]
    if not samples:
        return np.empty((0, 3), dtype=np.intp)
    places = np.concatenate(samples) @ _frame(grid).T  # (p, 3) along normal, column, row axis
    origins = grid.positions_mm @ _frame(grid).T  # (n, 3)
    boxes = [_ball(grid, origins, place, reach_mm) for place in places]
    return _united(grid, [box for box in boxes if box is not None])


def _frame(grid: Grid) -> FloatArray:
    return np.stack([grid.normal, grid.column_axis, grid.row_axis])


@dataclass(frozen=True, slots=True, eq=False)
class _Ball:
    corner: tuple[int, int, int]
    inside: NDArray[np.bool_]  # (s, r, c)


def _ball(grid: Grid, origins: FloatArray, place: FloatArray, reach_mm: float) -> _Ball | None:
    """Voxels within reach of one place, as a small block of the source grid."""
    height = origins[:, 0] - place[0]
    slices = np.flatnonzero(np.abs(height) <= reach_mm)
    if not len(slices):
        return None
    first, squares = [int(slices[0])], [height[slices, None, None] ** 2]
    for axis, shape in ((1, (-1, 1)), (2, (1, -1))):
        pixel_mm, n_pixels = grid.pixel_mm[axis - 1], grid.shape[axis]
        start = origins[slices, axis]
        low = max(0, int(np.ceil((place[axis] - reach_mm - start.max()) / pixel_mm)))
        high = min(n_pixels - 1, int(np.floor((place[axis] + reach_mm - start.min()) / pixel_mm)))
        if high < low:
            return None
        apart = start[:, None] + np.arange(low, high + 1) * pixel_mm - place[axis]
        squares.append((apart**2).reshape(len(slices), *shape))
        first.append(low)
    inside = squares[0] + squares[1] + squares[2] <= reach_mm**2
    return _Ball((first[0], first[1], first[2]), inside)


def _united(grid: Grid, balls: list[_Ball]) -> IndexArray:
    if not balls:
        return np.empty((0, 3), dtype=np.intp)
    low = np.min([ball.corner for ball in balls], axis=0)
    high = np.max([np.add(ball.corner, ball.inside.shape) for ball in balls], axis=0)
    near = np.zeros(high - low, dtype=bool)
    for ball in balls:
        s, r, c = (
            slice(a, a + n) for a, n in zip(ball.corner - low, ball.inside.shape, strict=True)
        )
        near[s, r, c] |= ball.inside
    return np.asarray(np.argwhere(near) + low)


def plan_windows(places: FloatArray, sides: Sides, margin: Sides) -> IndexArray:
    """First lattice voxels (n, 3) of windows that cover all places (k, 3) in lattice coordinates.

    Each of the eight lattice voxels around a place lies at least `margin` inside some window.
    Greedy: each window takes as many uncovered cells as it can.
    """
    if not len(places):
        return np.empty((0, 3), dtype=np.intp)
    core = np.maximum((np.array(sides) - 2 * np.array(margin)) // CELL, 1)  # in cells
    low, cells = _occupied_cells(places, core)
    slack = (np.array(sides) - core * CELL) // 2
    counts = _box_sums(cells, core)
    starts = []
    while counts.any():
        corner = np.array(np.unravel_index(int(counts.argmax()), counts.shape))  # first of equals
        cells[_box(corner, corner + core)] = False
        _recount(counts, cells, corner, core)
        starts.append((low + corner) * CELL - slack)
    return np.array(starts, dtype=np.intp)


def _box(low: IndexArray, high: IndexArray) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _occupied_cells(places: FloatArray, core: IndexArray) -> tuple[IndexArray, NDArray[np.bool_]]:
    """The first cell, and which cells hold a lattice voxel around a place; padded by a core."""
    bounds = _corner_bounds(places) // CELL  # (2, k, 3)
    low = bounds[0].min(axis=0) - core + 1
    cells = np.zeros(bounds[1].max(axis=0) - low + core, dtype=bool)
    _mark(cells, bounds - low)
    return low, cells


def _corner_bounds(places: FloatArray) -> IndexArray:
    """(2, k, 3): the lattice voxels below and above each place; the same where it hits one."""
    return np.stack([np.floor(places), np.ceil(places)]).astype(np.intp)


def _mark(grid: NDArray[np.bool_], bounds: IndexArray) -> None:
    """Set all eight corners between lower and upper bounds (2, k, 3)."""
    for z, y, x in product((0, 1), repeat=3):
        grid[bounds[z, :, 0], bounds[y, :, 1], bounds[x, :, 2]] = True


def _box_sums(cells: NDArray[np.bool_], core: IndexArray) -> NDArray[np.int32]:
    """How many cells are occupied in the box of `core` cells from each corner on."""
    sums = cells.astype(np.int32)
    for axis, n in enumerate(core):
        running = np.insert(np.cumsum(sums, axis=axis), 0, 0, axis=axis)
        length = running.shape[axis]
        upper = np.take(running, np.arange(n, length), axis=axis)
        sums = upper - np.take(running, np.arange(length - n), axis=axis)
    return np.asarray(sums, dtype=np.int32)


def _recount(
    counts: NDArray[np.int32], cells: NDArray[np.bool_], corner: IndexArray, core: IndexArray
) -> None:
    """Bring the counts up to date around a box of cells that was cleared."""
    low = np.maximum(corner - core + 1, 0)
    high = np.minimum(corner + core, counts.shape)
    counts[_box(low, high)] = _box_sums(cells[_box(low, high + core - 1)], core)
