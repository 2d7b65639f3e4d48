"""The supplied masks of a test set: where they lie, and which of their labels count.

The labels are judged over all masks together: the mask of one case may hold one label alone, and a
label that names something else, such as calcification outside the head, must not count there.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from iac_cli.dicom.nifti import THE_MASK, read_image
from iac_cli.dicom.reading import ReadSettings
from iac_cli.errors import IacError, Word
from iac_cli.evaluate.test_set import TestSet
from iac_cli.report.masks import check_mask_values

MASKS = ("{}.nii.gz", "{}.nii", "{}/mask_native.nii.gz", "{}/mask.nii.gz")
"""Where the mask of a case is looked for in a folder of predictions, in this order."""

MOST_TOLD = 8


def find_masks(test_set: TestSet, folder: Path) -> dict[str, Path]:
    """The mask of each case. Raises: IacError: input_not_found."""
    found = {}
    for one in test_set.series:
        places = [folder / pattern.format(one.case) for pattern in MASKS]
        there = next((place for place in places if place.is_file()), None)
        if there is not None:
            found[one.case] = there
    lost = [one.line for one in test_set.series if one.case not in found]
    if lost:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            f"{len(lost)} of {len(test_set.series)} series have no mask among the predictions, "
            f"the first that of line {lost[0]} of the table",
            way_out="name masks CASE.nii.gz, or give a folder of results; see docs/evaluation.md",
        )
    return found


def check_labels(masks: Mapping[str, Path], labels: tuple[int, ...] | None) -> None:
    """Refuse masks of which it is not known which labels count; () counts every one.

    Raises: IacError: bad_option where the masks together hold several labels and none was named, or
    none of the named ones; mask_mismatch, and the words of reading.
    """
    if labels == ():
        return
    found = sorted(set().union(*map(_labels_in, masks.values())))
    told = ", ".join(map(str, found[:MOST_TOLD])) + (" and more" if len(found) > MOST_TOLD else "")
    if labels is None and len(found) > 1:
        raise IacError(
            Word.BAD_OPTION,
            f"the predictions hold the labels {told}, and it was not said which of them count",
            way_out=f"name them, as in --labels {found[0]},{found[1]}, or give --labels all",
        )
    if labels and found and not set(found) & set(labels):
        raise IacError(
            Word.BAD_OPTION,
            f"the predictions hold the labels {told}, and none of those that --labels names",
            way_out="name labels that the predictions hold",
        )


def _labels_in(mask: Path) -> set[int]:
    voxels = read_image(mask, max_voxels=ReadSettings().max_voxels, called=THE_MASK).voxels
    check_mask_values(voxels)
    return {int(value) for value in np.unique(voxels[voxels > 0])}
