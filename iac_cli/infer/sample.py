"""From the stack of source slices to a network's windows, and back to the source voxels.

A lattice of planes lies over each scan: its axes are the scan's slice normal, column axis and row
axis, so a tilted gantry is undone slice by slice. Slices that are a plane's distance or more apart
sit on the nearest plane and planes between them are interpolated; thinner slices are averaged over
a plane's thickness. Only the voxels of windows are ever sampled, never the whole head.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume

AIR_HU = -1024.0
"""HU of everything outside the scan."""

STEP_TOLERANCE = 1e-3
"""Relative; a step this little under a plane's distance still counts as a whole one."""

FloatArray = NDArray[np.float64]
Sides = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """A scan's planes at `spacing_mm` along (normal, column axis, row axis).

    Lattice coordinates are (plane, row, column), fractions allowed; plane 0 holds the first slice.
    """

    grid: Grid
    spacing_mm: tuple[float, float, float]
    slice_planes: FloatArray
    """(n,) the plane coordinate of each source slice."""

    @classmethod
    def over(cls, grid: Grid, spacing_mm: tuple[float, float, float]) -> "Lattice":
        """The lattice of one scan."""
        heights = (grid.offsets_mm - grid.offsets_mm[0]) / spacing_mm[0]
        planes = np.where(_stands_alone(heights), np.floor(heights + 0.5), heights)
        return cls(grid, spacing_mm, planes)

    @property
    def slice_starts(self) -> FloatArray:
        """(n, 2) lattice (row, column) of each slice's first voxel, counted from the lowest."""
        shifts = self.grid.shifts_mm
        return np.asarray((shifts - shifts.min(axis=0)) / self.spacing_mm[1:])

    @property
    def pixel_steps(self) -> FloatArray:
        """(2,) lattice rows and columns in one source pixel."""
        return np.asarray(np.array(self.grid.pixel_mm) / self.spacing_mm[1:])

    def of_voxels(self, indices: NDArray[np.intp]) -> FloatArray:
        """Lattice coordinates (k, 3) of source voxels (k, 3) given as (slice, row, column)."""
        slices = indices[:, 0]
        in_plane = self.slice_starts[slices] + indices[:, 1:] * self.pixel_steps
        return np.asarray(np.concatenate([self.slice_planes[slices, None], in_plane], axis=1))


def _stands_alone(heights: FloatArray) -> NDArray[np.bool_]:
    """(n,) True for a slice that no neighbour comes nearer than one plane."""
    whole = np.diff(heights) >= 1.0 - STEP_TOLERANCE
    ends = np.ones(1, dtype=bool)
    return np.asarray(np.concatenate([ends, whole]) & np.concatenate([whole, ends]))


def plane_weights(grid: Grid, planes: FloatArray, plane_mm: float, wanted: ArrayLike) -> FloatArray:
    """Weights (m, n) by which the n source slices make each of m lattice planes.

    A row sums to one inside the scan and to zero outside.
    """
    wanted = np.asarray(wanted, dtype=np.float64)
    heights = (grid.offsets_mm - grid.offsets_mm[0]) / plane_mm
    n_slices = len(planes)
    if n_slices == 1:
        return np.asarray((wanted[:, None] == planes[None]).astype(np.float64))
    lower = np.clip(np.searchsorted(planes, wanted, side="right") - 1, 0, n_slices - 2)
    step = planes[lower + 1] - planes[lower]
    fraction = (wanted - planes[lower]) / step
    weights = np.zeros((len(wanted), n_slices))
    rows = np.arange(len(wanted))
    inside = (fraction >= 0.0) & (fraction <= 1.0)
    weights[rows, lower] = np.where(inside, 1.0 - fraction, 0.0)
    weights[rows, lower + 1] = np.where(inside, fraction, 0.0)
    thin = step < 1.0 - STEP_TOLERANCE
    weights[thin] = _box_weights(heights, wanted[thin])
    return weights


def _box_weights(heights: FloatArray, wanted: FloatArray) -> FloatArray:
    """Mean over one plane's thickness: overlap of (m,) unit boxes with the n slices' extents."""
    middles = (heights[1:] + heights[:-1]) / 2.0
    edges = np.concatenate(
        [[2 * heights[0] - middles[0]], middles, [2 * heights[-1] - middles[-1]]]
    )
    top = np.minimum(wanted[:, None] + 0.5, edges[None, 1:])
    bottom = np.maximum(wanted[:, None] - 0.5, edges[None, :-1])
    overlap = np.clip(top - bottom, 0.0, None)
    total = overlap.sum(axis=1, keepdims=True)
    return np.asarray(overlap / np.where(total > 0.0, total, 1.0))


def sample_windows(
    volume: Volume, lattice: Lattice, starts: NDArray[np.intp], sides: Sides
) -> NDArray[np.float32]:
    """HU of windows, (n, *sides) float32; `starts` (n, 3) are their first lattice voxels."""
    windows = np.empty((len(starts), *sides), dtype=np.float32)
    for k, start in enumerate(starts):
        windows[k] = _sample_window(volume, lattice, start, sides)
    return windows


def _sample_window(
    volume: Volume, lattice: Lattice, start: NDArray[np.intp], sides: Sides
) -> NDArray[np.float32]:
    planes = start[0] + np.arange(sides[0])
    weights = plane_weights(
        lattice.grid, lattice.slice_planes, lattice.spacing_mm[0], planes
    )  # (z, n)
    used = np.flatnonzero(weights.any(axis=0))
    if not len(used):
        return np.full(sides, AIR_HU, dtype=np.float32)
    slices = slice(int(used[0]), int(used[-1]) + 1)
    block = np.ones(3, dtype=object)
    matrices = []
    for axis in (0, 1):
        wanted = start[axis + 1] + np.arange(sides[axis + 1])
        position = wanted - lattice.slice_starts[slices, axis, None]  # (s, y)
        matrix, block[axis + 1] = _linear_weights(
            position / lattice.pixel_steps[axis], lattice.grid.shape[axis + 1]
        )
        matrices.append(matrix)
    hu = volume.hu[slices, block[1], block[2]] - np.float32(AIR_HU)  # (s, r, c)
    in_plane = matrices[0] @ hu @ matrices[1].transpose(0, 2, 1)  # (s, y, x)
    sampled = np.tensordot(weights[:, slices].astype(np.float32), in_plane, axes=1)
    return np.asarray(sampled + np.float32(AIR_HU), dtype=np.float32)


def _linear_weights(positions: FloatArray, n_pixels: int) -> tuple[NDArray[np.float32], slice]:
    """Linear interpolation at fractional pixels (s, m): matrices (s, m, used) and which are used.

    A pixel outside the slice has no weight, so that the sampled value fades to air there.
    """
    lower = np.floor(positions)
    fraction = positions - lower
    first = int(np.clip(lower.min(), 0, n_pixels - 1))
    end = int(np.clip(lower.max() + 2, first + 1, n_pixels))
    pixels = np.arange(first, end)
    at_lower = (lower[..., None] == pixels) * (1.0 - fraction[..., None])
    at_upper = (lower[..., None] + 1 == pixels) * fraction[..., None]
    return (at_lower + at_upper).astype(np.float32), slice(first, end)


def as_channels(
    hu: NDArray[np.float32], hu_windows: tuple[tuple[float, float], ...]
) -> NDArray[np.float32]:
    """HU (n, z, y, x) -> the network's input (n, channels, z, y, x), each in [-1, 1]."""
    channels = [
        np.clip((hu - np.float32(low)) / np.float32(high - low), 0.0, 1.0) * 2.0 - 1.0
        for low, high in hu_windows
    ]
    return np.stack(channels, axis=1).astype(np.float32, copy=False)
