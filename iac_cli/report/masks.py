"""A mask between the stack of source slices and a regular grid that every viewer reads.

A tilted or unevenly spaced stack has no orthonormal affine. Its mask is also written on a regular
grid, each voxel taken from the nearest source voxel, so finely that every source voxel keeps a
regular voxel of its own: mapped back, an unedited mask is the same voxel for voxel.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import FloatArray, Grid
from iac_cli.geometry.resample import labels_to, nearest, regular_grid
from iac_cli.geometry.volume import Mask
from iac_cli.measure.lesions import bounding_box

MOST_LABELS = 256
"""A label map holds at most as many different values; a CT holds more."""

VOXELS_AT_ONCE = 1 << 18
"""Voxels that are placed in one step, which bounds the memory."""

SAME_PLACE_MM = 0.5
"""Two grids of one shape whose corners agree within this are the same stack of slices."""


def on_regular_grid(mask: Mask) -> Mask:
    """A mask of a stack of slices on its regular grid, each voxel from its nearest source voxel."""
    regular = regular_grid(mask.grid)
    if regular is mask.grid:
        return mask
    return Mask(labels_to(mask.voxels, mask.grid, regular), regular)


def check_mask_values(values: NDArray[Any]) -> None:
    """Refuse what is no mask: a CT, a probability map, a picture. NaN counts as background.

    Raises: IacError: mask_mismatch.
    """
    told = values[np.isfinite(values)] if values.dtype.kind == "f" else values.ravel()
    distinct = np.unique(told)
    whole = bool((distinct == np.round(distinct)).all())
    if whole and (not len(distinct) or distinct[0] >= 0) and len(distinct) <= MOST_LABELS:
        return
    raise IacError(
        Word.MASK_MISMATCH,
        f"the file given as mask is none: it holds {len(distinct)} different values from "
        f"{distinct[0]:g} to {distinct[-1]:g}, a mask holds few whole numbers from 0",
        way_out="give a mask of 0 and 1, or of label numbers, such as mask.nii.gz",
    )


def chosen_labels(
    values: NDArray[Any], labels: tuple[int, ...] | None, *, may_lack: bool = False
) -> NDArray[np.bool_]:
    """The voxels of a label map that count: those of the labels that were named, () for all.

    Raises: IacError: bad_option where several labels lie there and none was named, or where none of
    the named ones does and it may not lack them.
    """
    counted = np.asarray(values > 0)
    found = [int(value) for value in np.unique(values[counted])]
    told = ", ".join(map(str, found[:8])) + (" and more" if len(found) > 8 else "")
    if labels is None and len(found) > 1:
        raise IacError(
            Word.BAD_OPTION,
            f"the mask holds the labels {told}, and it was not said which of them count",
            way_out=f"name them, as in --labels {found[0]},{found[1]}, or give --labels all",
        )
    if not labels:
        return counted
    if found and not may_lack and not set(found) & set(labels):
        raise IacError(
            Word.BAD_OPTION,
            f"the mask holds the labels {told}, and none of those that --labels names",
            way_out="name labels that the mask holds",
        )
    return np.isin(values, labels) & counted


def voxels_outside(image: Mask, grid: Grid) -> int:
    """How many voxels of a mask image lie outside the scan, by more than one of its voxels."""
    if image.grid.shape == grid.shape and _same_corners(image.grid, grid):
        return 0
    set_voxels, n_outside = np.argwhere(image.voxels), 0
    for first in range(0, len(set_voxels), VOXELS_AT_ONCE):
        index = grid.to_index(image.grid.to_world(set_voxels[first : first + VOXELS_AT_ONCE]))
        inside = ((index >= -1.0) & (index <= np.array(grid.shape))).all(axis=1)
        n_outside += int((~inside).sum())
    return n_outside


def on_stack(image: Mask, grid: Grid) -> Mask:
    """A mask image on a stack of source slices: each source voxel takes the image's voxel there.

    An image with the stack's shape and corners is the stack itself, matched by index. No affine
    tells where the slices of an uneven or tilted stack lie: its image needs only share one of the
    outer slices.
    Raises: IacError: mask_mismatch when no voxel of a mask that is not empty falls on the stack, or
    when the image is a part of a tilted, unevenly spaced stack.
    """
    if image.grid.shape == grid.shape and _same_corners(image.grid, grid):
        return Mask(image.voxels, grid)
    if not image.grid.straight and not grid.evenly_spaced:
        raise IacError(
            Word.MASK_MISMATCH,
            f"the mask is a part of a tilted, unevenly spaced stack ({image.grid.shape[0]} slices, "
            f"the scan has {grid.shape[0]}), and its affine does not tell which",
            way_out="give all slices of mask_native.nii.gz, or edit mask.nii.gz",
        )
    voxels = np.zeros(grid.shape, dtype=bool)
    for number, rows, columns in _slices_near(image, grid):
        voxels[number, rows, columns] = _looked_up(image, grid, number, rows, columns)
    if image.voxels.any() and not voxels.any():
        raise IacError(
            Word.MASK_MISMATCH,
            "the mask lies elsewhere than the scan: none of its voxels falls on a slice",
            way_out="give the mask that belongs to this series, in its physical position",
        )
    return Mask(voxels, grid)


def _same_corners(one: Grid, other: Grid) -> bool:
    last = np.array(one.shape) - 1
    corners = np.array(np.meshgrid(*([0, end] for end in last), indexing="ij")).reshape(3, -1).T
    apart = np.linalg.norm(_by_affine(one, corners) - _by_affine(other, corners), axis=1)
    by_slice = apart.reshape(2, 4).max(axis=1)  # the first and the last slice
    worst = by_slice.max() if other.is_regular else by_slice.min()
    return bool(worst <= SAME_PLACE_MM)


def _by_affine(grid: Grid, index: NDArray[np.intp]) -> FloatArray:
    return np.asarray(index @ grid.affine[:3, :3].T + grid.affine[:3, 3])


def _slices_near(image: Mask, grid: Grid) -> list[tuple[int, slice, slice]]:
    """For each slice the rows and columns that the image's set voxels can reach."""
    box = bounding_box(image.voxels)
    if not box[0].stop:
        return []
    ends = [(side.start - 1, side.stop) for side in box]
    world = image.grid.to_world(np.array(np.meshgrid(*ends)).reshape(3, -1).T)
    reached = _bounds(grid.to_index(world)[:, 0], grid.shape[0])
    near = []
    for number in range(reached.start, reached.stop):
        inside = world - grid.positions_mm[number]  # a tilted stack moves its rows by slice
        rows = _bounds(inside @ grid.column_axis / grid.pixel_mm[0], grid.shape[1])
        columns = _bounds(inside @ grid.row_axis / grid.pixel_mm[1], grid.shape[2])
        if rows.start < rows.stop and columns.start < columns.stop:
            near.append((number, rows, columns))
    return near


def _bounds(index: FloatArray, size: int) -> slice:
    return slice(max(0, int(np.floor(index.min()))), min(size, int(np.ceil(index.max())) + 1))


def _looked_up(
    image: Mask, grid: Grid, number: int, rows: slice, columns: slice
) -> NDArray[np.bool_]:
    """The image's voxel at every pixel of a part of one slice; False outside the image."""
    cells = [nearest(index) for index in _indices(image.grid, grid, number, rows, columns)]
    inside, held = np.array(True), []
    for cell, size in zip(cells, image.grid.shape, strict=True):
        inside = inside & (cell >= 0) & (cell < size)
        held.append(np.clip(cell, 0, size - 1))
    return np.asarray(image.voxels[tuple(held)] & inside)


def _indices(
    image: Grid, grid: Grid, number: int, rows: slice, columns: slice
) -> tuple[FloatArray, ...]:
    """Fractional index in the image of every pixel of a part of one slice, one array an axis.

    The arrays broadcast to (rows, columns); an axis that runs along neither keeps one value.
    """
    row, column = np.arange(rows.start, rows.stop)[:, None], np.arange(columns.start, columns.stop)
    if not image.is_regular:
        pixels = [np.broadcast_to(one, (len(row), len(column))).ravel() for one in (row, column)]
        index = np.stack([np.full(pixels[0].size, number), *pixels], axis=1)
        found = image.to_index(grid.to_world(index)).T
        return tuple(one.reshape(len(row), len(column)) for one in found)
    to_image = np.linalg.inv(image.affine)
    first = to_image[:3, :3] @ grid.positions_mm[number] + to_image[:3, 3]
    along_row = to_image[:3, :3] @ grid.column_axis * grid.pixel_mm[0]
    along_column = to_image[:3, :3] @ grid.row_axis * grid.pixel_mm[1]
    answers = []
    for start, down, across in zip(first, along_row, along_column, strict=True):
        answer = np.full((1, 1), start)
        if abs(down) * len(row) > NO_STEP:
            answer = answer + down * row
        if abs(across) * len(column) > NO_STEP:
            answer = answer + across * column
        answers.append(answer)
    return tuple(answers)


NO_STEP = 1e-6
"""An index that changes by less than this over a slice does not change."""
