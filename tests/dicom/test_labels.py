"""A label map counts only where it lies on its scan's own slices."""

import numpy as np
import pytest

from iac_cli.dicom.labels import read_labels
from iac_cli.dicom.nifti import write_nifti
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid

SHAPE, SPACING, ORIGIN = (6, 10, 8), (3.0, 0.5, 0.5), (-30.0, -20.0, 5.0)
GRID = Grid.regular(SHAPE, spacing_mm=SPACING, origin_mm=ORIGIN)


def _written(tmp_path, grid=GRID, values=None):
    labels = np.zeros(grid.shape, np.uint8)
    labels[1, 2, 3], labels[4, 5, 6] = 3, 254
    path = tmp_path / "labels.nii.gz"
    write_nifti(path, labels if values is None else values, grid)
    return path


def test_labels_are_read_on_the_scans_own_axes(tmp_path):
    labels = read_labels(_written(tmp_path), GRID)
    assert labels[1, 2, 3] == 3 and labels[4, 5, 6] == 254
    assert (labels > 0).sum() == 2


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Grid.regular((6, 10, 9), spacing_mm=SPACING, origin_mm=ORIGIN), "shape"),
        (Grid.regular(SHAPE, spacing_mm=SPACING, origin_mm=(-28.0, -20.0, 5.0)), "2.0 mm"),
        (Grid.regular(SHAPE, spacing_mm=(3.0, 0.6, 0.5), origin_mm=ORIGIN), "0.9 mm"),
    ],
    ids=["shape", "place", "pixels"],
)
def test_labels_on_another_grid_are_refused(tmp_path, other, told):
    with pytest.raises(IacError, match=told) as caught:
        read_labels(_written(tmp_path, other), GRID)
    assert caught.value.word == Word.MASK_MISMATCH


@pytest.mark.parametrize("value", [0.5, -1.0, 300.0])
def test_what_are_no_labels_is_refused(tmp_path, value):
    values = np.full(SHAPE, value, np.float32)
    with pytest.raises(IacError, match="none") as caught:
        read_labels(_written(tmp_path, values=values), GRID)
    assert caught.value.word == Word.MASK_MISMATCH
