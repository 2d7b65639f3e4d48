"""A NIfTI file as a series: the same checks of its pixels as a DICOM series, without its tags."""

from pathlib import Path

import numpy as np

from iac_cli.dicom.blank import PART_IMAGE, Look, blank_slices, look_at
from iac_cli.dicom.checks import check_hounsfield, scanner_findings, series_sha256
from iac_cli.dicom.hu_steps import judge_hu_steps
from iac_cli.dicom.nifti import read_image
from iac_cli.dicom.pixels import AIR_HU, slice_digest
from iac_cli.dicom.reading import Identity, Reading, ReadSettings, Series
from iac_cli.dicom.scale import below_air_share, check_below_air
from iac_cli.dicom.sequence import judge_sequence
from iac_cli.dicom.stack import stack_shape_findings
from iac_cli.errors import Finding, IacError, Severity, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume


def read_nifti_series(source: Path, settings: ReadSettings) -> Reading:
    """Read a NIfTI file as a CT volume in HU.

    Raises: IacError: as `read_image`; series_not_found, not_hounsfield, blank_slices,
    slices_out_of_order, too_few_slices, too_thick.
    """
    if settings.series is not None:
        raise IacError(
            Word.SERIES_NOT_FOUND,
            "a NIfTI file holds no series UID",
            way_out="leave out --series",
        )
    image = read_image(source, max_voxels=settings.max_voxels)
    _check_slices(image.grid)
    hu = np.ascontiguousarray(image.voxels, dtype=np.float32)
    check_hounsfield(float(hu.min()), float(hu.max()))
    check_below_air([below_air_share(one) for one in hu])
    series = Series(kind="nifti")
    findings = [
        Finding(Word.NO_SCANNER_TAGS, "a NIfTI file has no scanner tags", Severity.INFO),
        *image.findings,
        *stack_shape_findings(image.grid),
        *scanner_findings(series, image.grid, "unknown"),
    ]
    if float(hu.min()) < AIR_HU:
        np.maximum(hu, np.float32(AIR_HU), out=hu)
        what = f"values below {AIR_HU:.0f} HU were set to air"
        findings.append(Finding(Word.PADDING_MASKED, what, Severity.INFO))
    volume = Volume(hu, image.grid)
    looks = [look_at(one, slice_digest(one)) for one in volume.hu]
    names = [f"slice {i + 1}" for i in range(len(looks))]
    findings += [*judge_sequence(looks, names), *judge_hu_steps(looks, names)]
    gaps_mm, told = _blank(looks, image.grid)
    folder = source.name.removesuffix(".gz").removesuffix(".nii")
    return Reading(
        volume=volume,
        series=series,
        identity=Identity(folder=folder or None),
        findings=(*findings, *told),
        pixel_sha256=series_sha256([look.digest for look in looks], image.grid),
        gaps_mm=gaps_mm,
    )


def _blank(looks: list[Look], grid: Grid) -> tuple[tuple[tuple[float, float], ...], list[Finding]]:
    """Where slices hold no image of their own: from the slice below to the one above, mm.

    Raises: IacError: blank_slices where that is more than half of them.
    """
    blank = blank_slices(looks)
    if not blank:
        return (), []
    what = "; ".join(f"slice {i + 1} {wrong}" for i, wrong in list(blank.items())[:5])
    what += f" and {len(blank) - 5} more" if len(blank) > 5 else ""
    if 2 * len(blank) > len(looks):
        raise IacError(Word.BLANK_SLICES, what, way_out="convert the series again from DICOM")
    at = grid.offsets_mm
    last = len(at) - 1
    gaps = tuple((float(at[max(i - 1, 0)]), float(at[min(i + 1, last)])) for i in blank)
    what += "; counted from below"
    if PART_IMAGE in blank.values():
        what += " (an image that was turned or resampled must be filled with -1024 HU outside)"
    return gaps, [Finding(Word.GAPS_FOUND, what)]


def _check_slices(grid: Grid) -> None:
    if grid.shape[0] < 3:
        raise IacError(
            Word.TOO_FEW_SLICES,
            f"the volume has {grid.shape[0]} slices",
            way_out="give the whole head",
        )
    if grid.mean_step_mm > 7.5:
        raise IacError(
            Word.TOO_THICK,
            f"slices are {grid.mean_step_mm:.1f} mm apart",
            way_out="send a thinner reconstruction",
        )
