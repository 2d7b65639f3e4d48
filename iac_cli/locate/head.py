"""A whole head at 4 mm for the locator, by averaging areas, whatever the tilt and the spacing.

Its axes are the scan's slice normal, column axis and row axis; each slice is put where it really
lies, so a tilted gantry is undone. Outside the scan there is air.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume

AIR_HU = -1024.0

TISSUE_HU = -300.0
"""Mean HU of a cell above which it counts towards the head's centre of mass."""

LEAST_TISSUE = 500
"""A slice with tissue in less than one of so many pixels holds no part of a head."""

BONE_HU = 150.0
"""Mean HU of a cell that holds bone."""

SAME_PLACE_MM = 1e-6
"""Slices whose in-plane shifts differ by less lie straight above one another."""

SUB_CELLS = 4
"""Places along the normal whose mean a cell holds."""

SIDE_MULTIPLE = 8
"""The locator halves its input three times."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class CoarseHead:
    """A head on a straight grid: `hu` (z, y, x) float32, cell means, along the scan's own axes."""

    hu: NDArray[np.float32]
    first_mm: FloatArray
    """(3,) LPS mm of the first cell's centre."""
    axes: FloatArray
    """(3, 3) unit vectors of slice normal, column axis and row axis."""
    cell_mm: float

    def to_world(self, cells: FloatArray) -> FloatArray:
        """Cell coordinates (k, 3), fractions allowed -> LPS mm (k, 3)."""
        return np.asarray(self.first_mm + (cells * self.cell_mm) @ self.axes)

    def to_cells(self, points_mm: FloatArray) -> FloatArray:
        """LPS mm (k, 3) -> cell coordinates (k, 3)."""
        return np.asarray((points_mm - self.first_mm) @ self.axes.T / self.cell_mm)


def make_coarse_head(volume: Volume, cell_mm: float, longest_mm: float) -> CoarseHead:
    """Average a scan to cells of `cell_mm`; of a longer scan only the upper `longest_mm`."""
    grid = volume.grid
    slices = _upper_slices(grid, longest_mm)
    plane_axes = np.stack([grid.column_axis, grid.row_axis])
    starts = (grid.positions_mm @ plane_axes.T)[slices]  # (s, 2)
    low = starts.min(axis=0) - np.array(grid.pixel_mm) / 2.0
    bottom, weights = _height_weights(grid, slices, cell_mm)
    reach = (starts - low).max(axis=0) + (np.array(volume.hu.shape[1:]) - 0.5) * grid.pixel_mm
    rows, columns = (int(n) for n in np.ceil(reach / cell_mm - 1e-6))
    hu = _averaged(
        volume.hu[slices], grid.pixel_mm, starts - low, weights, cell_mm, (rows, columns)
    )
    axes = np.stack([grid.normal, grid.column_axis, grid.row_axis])
    first = np.array([bottom, *low]) + cell_mm / 2.0
    return CoarseHead(hu, first @ axes, axes, cell_mm)


def make_near_head(
    volume: Volume, middle_mm: FloatArray, cell_mm: float, n_cells: tuple[int, int, int]
) -> CoarseHead:
    """Cells of `cell_mm` around a point (3,), LPS mm, along the scan's axes.

    Means over the pixels of a cell; along the normal interpolated between slices, and where these
    are thinner than a cell the mean over the cell. Outside the scan there is air.
    """
    grid = volume.grid
    axes = np.stack([grid.normal, grid.column_axis, grid.row_axis])
    low = middle_mm @ axes.T - np.array(n_cells) * cell_mm / 2.0
    high = low + np.array(n_cells) * cell_mm
    offsets = grid.offsets_mm
    first, last = np.searchsorted(offsets, (low[0], high[0]))
    slices = slice(max(int(first) - 1, 0), int(last) + 1)
    starts = (grid.positions_mm @ axes[1:].T)[slices]
    n_pixels = np.array(volume.hu.shape[1:])
    lower = np.floor((low[1:] - starts.max(axis=0)) / grid.pixel_mm).astype(int) - 1
    upper = np.ceil((high[1:] - starts.min(axis=0)) / grid.pixel_mm).astype(int) + 2
    (r0, c0), (r1, c1) = lower.clip(0, n_pixels), upper.clip(0, n_pixels)
    starts = starts + np.array([r0, c0]) * grid.pixel_mm
    weights = _slice_shares(offsets[slices], grid.extents_mm[slices], low[0], cell_mm, n_cells[0])
    hu = volume.hu[slices, r0:r1, c0:c1]
    cells = _averaged(hu, grid.pixel_mm, starts - low[1:], weights, cell_mm, n_cells[1:])
    return CoarseHead(cells, (low + cell_mm / 2.0) @ axes, axes, cell_mm)


def _slice_shares(
    offsets_mm: FloatArray, extents_mm: FloatArray, low_mm: float, cell_mm: float, n_cells: int
) -> NDArray[np.float32]:
    """Share (z, s) of each slice in each cell: the mean of `SUB_CELLS` places between slices."""
    parts = (np.arange(n_cells * SUB_CELLS) + 0.5) * (cell_mm / SUB_CELLS) + low_mm
    lower = np.clip(np.searchsorted(offsets_mm, parts) - 1, 0, max(len(offsets_mm) - 2, 0))
    upper = np.minimum(lower + 1, len(offsets_mm) - 1)
    step = np.maximum(offsets_mm[upper] - offsets_mm[lower], 1e-6)
    fraction = np.clip((parts - offsets_mm[lower]) / step, 0.0, 1.0)
    below, above = offsets_mm[0] - extents_mm[0] / 2.0, offsets_mm[-1] + extents_mm[-1] / 2.0
    held = ((parts >= below) & (parts <= above)) / SUB_CELLS
    shares = np.zeros((n_cells, len(offsets_mm)))
    cell = np.arange(len(parts)) // SUB_CELLS
    np.add.at(shares, (cell, lower), held * (1.0 - fraction))
    np.add.at(shares, (cell, upper), held * fraction)
    return shares.astype(np.float32)


def imaged_mm(volume: Volume) -> tuple[float, float]:
    """Lowest and highest offset along the normal of the slices that hold more than air."""
    offsets, least = volume.grid.offsets_mm, volume.hu[0].size // LEAST_TISSUE
    held = [int((one > TISSUE_HU).sum()) > least for one in volume.hu]
    if not any(held):
        return float(offsets[0]), float(offsets[-1])
    return float(offsets[held.index(True)]), float(offsets[len(held) - 1 - held[::-1].index(True)])


def _upper_slices(grid: Grid, longest_mm: float) -> slice:
    offsets = grid.offsets_mm
    return slice(int(np.searchsorted(offsets, offsets[-1] - longest_mm)), grid.shape[0])


def _averaged(
    hu: NDArray[np.float32],
    pixel_mm: tuple[float, float],
    starts_mm: FloatArray,
    weights: NDArray[np.float32],
    cell_mm: float,
    n_cells: tuple[int, int],
) -> NDArray[np.float32]:
    """Cell means (z, y, x) of slices (s, rows, columns) whose first pixels lie at `starts_mm`.

    `weights` (z, s) is each slice's share of each layer of cells. Slices that lie straight above
    one another are averaged before anything is done in plane.
    """

    def in_plane(above_air: NDArray[np.float32], start: FloatArray) -> NDArray[np.float32]:
        rows = _cell_means(above_air, start[0], pixel_mm[0], cell_mm, n_cells[0])
        return _cell_means(rows.T, start[1], pixel_mm[1], cell_mm, n_cells[1]).T

    if np.ptp(starts_mm, axis=0).max() < SAME_PLACE_MM:
        layers = [in_plane(_weighted_sum(hu, shares), starts_mm[0]) for shares in weights]
        return np.stack(layers) + np.float32(AIR_HU)
    slices = [in_plane(hu[i] - np.float32(AIR_HU), starts_mm[i]) for i in range(len(hu))]
    return np.asarray(np.tensordot(weights, np.stack(slices), axes=1) + np.float32(AIR_HU))


def _weighted_sum(hu: NDArray[np.float32], shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum over slices of share (s,) times HU above air, (rows, columns)."""
    total = np.full(hu.shape[1:], -AIR_HU * float(shares.sum()), dtype=np.float32)
    for i in np.flatnonzero(shares):
        total += shares[i] * hu[i]
    return total


def _cell_means(
    pixels: NDArray[np.float32], start_mm: float, pixel_mm: float, cell_mm: float, n_cells: int
) -> NDArray[np.float32]:
    """Mean over each cell of pixels (n, m) along their first axis, zero beyond them: (cells, m).

    `start_mm` is the first pixel's centre from the first cell's lower edge. By the running sum,
    taken at the cells' edges.
    """
    n = len(pixels)
    running = np.zeros((n + 1, pixels.shape[1]), dtype=np.float32)
    np.cumsum(pixels, axis=0, out=running[1:])
    edges = np.arange(n_cells + 1) * cell_mm - (start_mm - pixel_mm / 2.0)
    at = np.clip(edges / pixel_mm, 0.0, n)
    lower = np.minimum(at.astype(int), n - 1)
    fraction = (at - lower).astype(np.float32)[:, None]
    sums = running[lower] + fraction * pixels[lower]
    return np.asarray(np.diff(sums, axis=0) * np.float32(pixel_mm / cell_mm))


def _height_weights(grid: Grid, slices: slice, cell_mm: float) -> tuple[float, NDArray[np.float32]]:
    """The lowest edge along the normal, mm, and the share (z, s) of each cell in each slice."""
    offsets = grid.offsets_mm[slices]
    if len(offsets) == 1:
        half = grid.extents_mm[slices] / 2.0
        edges = np.array([offsets[0] - half[0], offsets[0] + half[0]])
    else:
        middles = (offsets[1:] + offsets[:-1]) / 2.0
        edges = np.concatenate(
            [[2 * offsets[0] - middles[0]], middles, [2 * offsets[-1] - middles[-1]]]
        )
    n_cells = int(np.ceil((edges[-1] - edges[0]) / cell_mm - 1e-6))
    bottoms = edges[0] + np.arange(n_cells) * cell_mm
    top = np.minimum(bottoms[:, None] + cell_mm, edges[None, 1:])
    bottom = np.maximum(bottoms[:, None], edges[None, :-1])
    weights = np.clip(top - bottom, 0.0, None) / cell_mm
    return float(edges[0]), weights.astype(np.float32)


def cropped(head: CoarseHead, half_width_mm: float) -> CoarseHead:
    """The same head without what lies farther in plane from the middle of its bone.

    A wide field of view holds tables, arms and air, which the locator never saw.
    """
    bone = np.argwhere(head.hu >= BONE_HU)
    if not len(bone):
        return head
    middle = np.median(bone, axis=0)
    low = np.zeros(3, dtype=int)
    high = np.array(head.hu.shape)
    half = int(round(half_width_mm / head.cell_mm))
    low[1:] = np.clip(middle[1:].astype(int) - half, 0, None)
    high[1:] = np.minimum(middle[1:].astype(int) + half, high[1:])
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    first = head.first_mm + (low * head.cell_mm) @ head.axes
    return CoarseHead(head.hu[box], first, head.axes, head.cell_mm)


def locator_input(
    head: CoarseHead, hu_windows: tuple[tuple[float, float], ...]
) -> NDArray[np.float32]:
    """The locator's input (1, channels + 3, Z, Y, X), padded with air to multiples of 8.

    Channels: the HU windows in [-1, 1], then the distance of each cell from the centre of mass of
    tissue along z, y and x in units of 100 mm.
    """
    pad = [(0, -n % SIDE_MULTIPLE) for n in head.hu.shape]
    hu = np.pad(head.hu, pad, constant_values=AIR_HU)
    channels = [
        np.clip((hu - low) / (high - low), 0.0, 1.0) * 2.0 - 1.0 for low, high in hu_windows
    ]
    tissue = hu > TISSUE_HU
    n_tissue = max(1, int(tissue.sum()))
    for axis, side in enumerate(hu.shape):
        others = tuple(a for a in range(3) if a != axis)
        place = np.arange(side) * head.cell_mm
        centre = float((tissue.sum(axis=others) * place).sum()) / n_tissue
        shape = [1, 1, 1]
        shape[axis] = side
        channels.append(np.broadcast_to(((place - centre) / 100.0).reshape(shape), hu.shape))
    return np.stack(channels).astype(np.float32)[None]
