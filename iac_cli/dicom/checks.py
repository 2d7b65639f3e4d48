"""What any reading is held to, DICOM or NIfTI: values in HU, fingerprint, scanner settings."""

import hashlib

import numpy as np

from iac_cli.dicom.pixels import slice_digest
from iac_cli.dicom.reading import Series
from iac_cli.errors import Finding, IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume

HIGHEST_HU = 32767.0
"""Values above this are no HU, even in the extended scale."""

AIR_SEEN_HU = -300.0
"""A CT holds air: with no value below this it is not in HU, with none above it is empty."""

THICK_MM = 3.0
"""Slices thicker than this lose small lesions."""


def check_hounsfield(low: float, high: float) -> None:
    """Refuse values that are empty or no HU, by their range. Raises: IacError."""
    if not (np.isfinite(low) and np.isfinite(high)) or high > HIGHEST_HU:
        raise _not_hu(f"values reach {high:.0f}")
    if low == high or high < AIR_SEEN_HU:
        raise IacError(
            Word.EMPTY_VOLUME,
            f"all values lie between {low:.0f} and {high:.0f} HU",
            way_out="check the export: the image is empty",
        )
    if low > AIR_SEEN_HU:
        raise _not_hu(f"the lowest value is {low:.0f}, where air should be near -1000 HU")


def _not_hu(what: str) -> IacError:
    return IacError(
        Word.NOT_HOUNSFIELD, what, way_out="export the original CT series with its rescale tags"
    )


def volume_sha256(volume: Volume) -> str:
    """SHA-256 of the slices' digests and the geometry, as hexadecimal digits."""
    return series_sha256([slice_digest(hu) for hu in volume.hu], volume.grid)


def series_sha256(slices: list[bytes], grid: Grid) -> str:
    """SHA-256 of slices' digests (`slice_digest`, in order) and their geometry."""
    digest = hashlib.sha256(b"".join(slices))
    geometry = [
        grid.positions_mm.ravel(),
        grid.row_axis,
        grid.column_axis,
        np.array(grid.pixel_mm),
        grid.extents_mm,
    ]
    digest.update((np.round(np.concatenate(geometry), 5) + 0.0).astype("<f8").tobytes())
    return digest.hexdigest()


def scanner_findings(series: Series, grid: Grid, kernel_class: str) -> list[Finding]:
    """What the scanner's settings mean for the scores."""
    findings = []
    if kernel_class == "sharp":
        what = f"kernel {series.kernel} is sharp: scores may be too high"
        findings.append(Finding(Word.SHARP_KERNEL, what))
    if series.kvp is None:
        findings.append(Finding(Word.KVP_UNKNOWN, "the tube voltage is not known"))
    elif abs(series.kvp - 120) > 0.5:
        what = f"{series.kvp:.0f} kVp: Agatston's weights were made for 120"
        findings.append(Finding(Word.KVP_NOT_120, what))
    thickest = max(float(np.median(grid.extents_mm)), series.thickness_mm or 0.0)
    if thickest > THICK_MM:
        what = f"slices of {thickest:.1f} mm: small lesions may be lost"
        findings.append(Finding(Word.THICK_SLICES, what))
    return findings
