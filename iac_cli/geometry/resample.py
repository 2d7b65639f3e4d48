"""From a stack of slices to another grid: linear for HU, nearest for labels.

A regular grid is evenly spaced and straight, so one orthonormal affine describes it. Measurements
are made on the source slices, never on what is resampled here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import FloatArray, Grid
from iac_cli.geometry.volume import Volume

OUTSIDE_HU = -1024.0
"""What lies outside the scan."""

MOST_PLANES = 4096
"""A regular grid has no more planes; beyond, two slices of an uneven stack may share one."""

CLEARANCE = 0.01
"""How far, in voxels, a source voxel keeps from the border between two regular voxels."""


def regular_grid(grid: Grid) -> Grid:
    """An evenly spaced, straight grid around a stack; the stack's own when it is regular.

    Planes lie so close that each slice has a plane nearest to it alone, and pixels are as large as
    the slices': a label image carried there and back by nearest voxels is the same, voxel by voxel.
    """
    if grid.is_regular:
        return grid
    step_mm = _step_mm(grid)
    heights = (grid.offsets_mm - grid.offsets_mm[0]) / step_mm
    shifts = grid.shifts_mm / np.array(grid.pixel_mm)
    along = (heights, shifts[:, 0], shifts[:, 1])
    start = [float(np.floor(one.min())) - _lead(one) for one in along]
    planes, rows, columns = (
        int(nearest(one - first).max()) for one, first in zip(along, start, strict=True)
    )
    origin = (
        grid.positions_mm[0]
        + start[0] * step_mm * grid.normal
        + start[1] * grid.pixel_mm[0] * grid.column_axis
        + start[2] * grid.pixel_mm[1] * grid.row_axis
    )
    return Grid.regular(
        (planes + 1, rows + grid.shape[1], columns + grid.shape[2]),
        spacing_mm=(step_mm, *grid.pixel_mm),
        origin_mm=origin,
        row_axis=grid.row_axis,
        column_axis=grid.column_axis,
    )


def _step_mm(grid: Grid) -> float:
    """The regular step: the mean of an even stack, a hair below the smallest of an uneven one."""
    if grid.evenly_spaced:
        return grid.mean_step_mm
    steps = np.diff(grid.offsets_mm)
    return max(float(steps.min()) * (1 - 1e-4), float(steps.sum()) / (MOST_PLANES - 2))


def _lead(along: FloatArray) -> float:
    """Part of a voxel, [0, 1), to start early so that no source voxel sits on a border.

    A file stores positions in single precision; on a border that could decide where a voxel goes.
    """

    def clearance(lead: float) -> float:
        return float(np.abs((along + lead) % 1.0 - 0.5).min())

    if clearance(0.0) >= CLEARANCE:
        return 0.0
    return max((k / 64 for k in range(64)), key=clearance)


def nearest(index: FloatArray) -> NDArray[np.intp]:
    """The voxel that holds each fractional index."""
    return np.asarray(np.floor(index + 0.5), dtype=np.intp)


def slices_of_planes(regular: Grid, grid: Grid) -> NDArray[np.intp]:
    """For each plane of a regular grid the slice it shows, (planes,): its nearest.

    The plane nearest to a slice always shows that slice.
    """
    heights, offsets = regular.offsets_mm, grid.offsets_mm
    sources = np.abs(heights[:, None] - offsets[None]).argmin(axis=1)
    own = np.clip(nearest(regular.to_index(grid.positions_mm)[:, 0]), 0, len(heights) - 1)
    sources[own] = np.arange(len(offsets))
    return np.asarray(sources, dtype=np.intp)


def resample_to(volume: Volume, target: Grid) -> Volume:
    """HU on a grid with the same axes, linear between slices and within each slice's plane.

    Each slice is first put where it really lies, so that a tilt is undone. Outside: -1024 HU.
    Raises: ValueError where the axes differ.
    """
    source = volume.grid
    _check_axes(source, target)
    out = np.full(target.shape, OUTSIDE_HU, dtype=np.float32)
    heights, offsets = target.offsets_mm, source.offsets_mm
    for plane, height in enumerate(heights):
        pairs = _neighbours(float(height), offsets, source)
        origin = target.positions_mm[plane]
        for i, weight in pairs:
            shown = _in_plane(volume, i, target, origin)
            if weight == 1.0:
                out[plane] = shown
            elif i == pairs[0][0]:
                out[plane] = weight * shown
            else:
                out[plane] += weight * shown
    return Volume(out, target)


def _check_axes(source: Grid, target: Grid) -> None:
    same = np.allclose(source.row_axis, target.row_axis, atol=1e-6) and np.allclose(
        source.column_axis, target.column_axis, atol=1e-6
    )
    if not same:
        raise ValueError("source and target must share their axes")


def _neighbours(height: float, offsets: FloatArray, grid: Grid) -> list[tuple[int, float]]:
    """Slices that a height lies between, with their weights; none outside the outer slices."""
    if len(offsets) == 1 or height <= offsets[0]:
        return [(0, 1.0)] if offsets[0] - height <= grid.extents_mm[0] / 2 else []
    if height >= offsets[-1]:
        near = height - offsets[-1] <= grid.extents_mm[-1] / 2
        return [(len(offsets) - 1, 1.0)] if near else []
    below = int(np.searchsorted(offsets, height, side="right")) - 1
    share = (height - offsets[below]) / (offsets[below + 1] - offsets[below])
    if share < 1e-6:
        return [(below, 1.0)]
    if share > 1 - 1e-6:
        return [(below + 1, 1.0)]
    return [(below, 1.0 - share), (below + 1, share)]


def _in_plane(volume: Volume, i: int, target: Grid, origin_mm: FloatArray) -> NDArray[np.float32]:
    """One slice at the pixels of a target plane, bilinear, (rows, columns) float32 HU."""
    source = volume.grid
    moved = origin_mm - source.positions_mm[i]
    axes = (source.column_axis, source.row_axis)
    rows, columns = (
        np.asarray((float(moved @ axis) + np.arange(n) * step) / pixel, dtype=np.float64)
        for axis, n, step, pixel in zip(
            axes, target.shape[1:], target.pixel_mm, source.pixel_mm, strict=True
        )
    )
    along_rows = _lerp(volume.hu[i], rows)
    return np.asarray(_lerp(along_rows.T, columns).T)


def _lerp(image: NDArray[np.float32], index: FloatArray) -> NDArray[np.float32]:
    """Rows of an image at fractional indices; rows outside it are air."""
    last = image.shape[0] - 1
    rounded = np.round(index)
    index = np.where(np.abs(index - rounded) < 1e-6, rounded, index)
    lower = np.clip(np.floor(index).astype(np.intp), 0, max(last - 1, 0))
    share = (index - lower).astype(np.float32)[:, None]
    upper = np.minimum(lower + 1, last)
    out = image[lower] * (1 - share) + image[upper] * share
    out[(index < 0) | (index > last)] = OUTSIDE_HU
    return np.asarray(out, dtype=np.float32)


def labels_to(labels: NDArray[Any], source: Grid, target: Grid) -> NDArray[Any]:
    """Labels (slice, row, column) of a stack on its regular grid, each from its nearest voxel."""
    if source is target:
        return labels
    out = np.zeros(target.shape, dtype=labels.dtype)
    starts = nearest(target.to_index(source.positions_mm))
    rows, columns = source.shape[1:]
    for plane, i in enumerate(slices_of_planes(target, source)):
        row, column = starts[i, 1:]
        out[plane, row : row + rows, column : column + columns] = labels[i]
    return out


def labels_from(labels: NDArray[Any], regular: Grid, grid: Grid) -> NDArray[Any]:
    """Labels of a regular grid back on the stack that it was made for: each slice's own plane."""
    if regular is grid:
        return labels
    starts = nearest(regular.to_index(grid.positions_mm))
    rows, columns = grid.shape[1:]
    return np.stack([labels[p, r : r + rows, c : c + columns] for p, r, c in starts])
