"""What a case's folder holds, and writing it: all of its files or none."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.nifti import write_nifti
from iac_cli.geometry.lines import CentreLine
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.measure.lesions import Found
from iac_cli.report.files import folder_written_whole
from iac_cli.report.masks import on_regular_grid
from iac_cli.report.preview import preview_png
from iac_cli.report.result import Result, Status
from iac_cli.report.tables import lesions_csv, scores_csv


@dataclass(frozen=True, slots=True, eq=False)
class CaseImages:
    """The pictures and masks of a measured case."""

    volume: Volume
    found: Found
    lines: Sequence[CentreLine] = ()
    """Located arteries, to frame the preview; none for a supplied mask."""
    probability: NDArray[np.float32] | None = None
    """Calibrated probability (slice, row, column) at native voxels, when it is to be saved."""


def write_case(
    out: Path, result: Result, images: CaseImages | None = None, *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write a case's folder, all of it or nothing; answers its files, sorted by name.

    A case that was not measurable has no masks, no lesions.csv and no preview.
    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    document = result.to_json()
    with folder_written_whole(out, overwrite=overwrite) as folder:
        (folder / "result.json").write_text(document, encoding="utf-8", newline="")
        (folder / "scores.csv").write_text(scores_csv([result]), encoding="utf-8", newline="")
        if result.status is Status.MEASURED:
            text = lesions_csv([result])
            (folder / "lesions.csv").write_text(text, encoding="utf-8", newline="")
            if images is not None:
                _write_images(folder, images)
        names = sorted(path.name for path in folder.iterdir())
    return tuple(out / name for name in names)


def _write_images(folder: Path, images: CaseImages) -> None:
    grid = images.volume.grid
    mask = Mask(images.found.mask, grid)
    regular = on_regular_grid(mask)
    write_nifti(folder / "mask.nii.gz", regular.voxels, regular.grid)
    if not grid.is_regular:
        write_nifti(folder / "mask_native.nii.gz", mask.voxels, grid)
    if images.probability is not None:
        write_nifti(folder / "probability_native.nii.gz", images.probability, grid)
    png = preview_png(images.volume, images.found, images.lines)
    (folder / "preview.png").write_bytes(png)
