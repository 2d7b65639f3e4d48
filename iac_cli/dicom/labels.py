"""A label map, which must lie on its scan's own slices."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.nifti import THE_MASK, read_image
from iac_cli.dicom.reading import ReadSettings
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid

SAME_PLACE_MM = 0.5
"""How far the corners of labels may lie from those of their scan."""

LARGEST = 255
"""The largest label."""


def read_labels(path: Path, grid: Grid) -> NDArray[np.uint8]:
    """The labels of a scan: (slice, row, column) towards superior, posterior and left.

    Raises: IacError: mask_mismatch for another grid or what are no labels; those of `read_image`.
    """
    image = read_image(path, max_voxels=ReadSettings().max_voxels, called=THE_MASK)
    _check_place(image.grid, grid)
    values = image.voxels
    whole = bool(np.array_equal(values, np.round(values)))
    if not whole or values.min() < 0 or values.max() > LARGEST:
        raise IacError(
            Word.MASK_MISMATCH,
            "the labels hold values that are none",
            way_out="give whole numbers: 0 for background, 254 for what counts neither way",
        )
    return np.asarray(values, dtype=np.uint8)


def _check_place(labels: Grid, scan: Grid) -> None:
    if labels.shape != scan.shape:
        raise _mismatch(f"the labels have shape {labels.shape}, the CT {scan.shape}")
    last = np.array(scan.shape) - 1
    corners = np.array(
        [[s, r, c] for s in (0, last[0]) for r in (0, last[1]) for c in (0, last[2])]
    )
    gaps = np.linalg.norm(labels.to_world(corners) - scan.to_world(corners), axis=1)
    by_slice = gaps.reshape(2, 4).max(axis=1)  # no affine holds uneven slices: one must fit
    apart = float(by_slice.max() if scan.evenly_spaced else by_slice.min())
    if apart > SAME_PLACE_MM:
        raise _mismatch(f"the labels lie {apart:.1f} mm beside the CT")


def _mismatch(what: str) -> IacError:
    return IacError(
        Word.MASK_MISMATCH,
        what,
        way_out="draw the labels on the CT's own grid, or convert them to it",
    )
