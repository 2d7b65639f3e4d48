"""What any reading is held to, DICOM or NIfTI: values in HU, fingerprint, scanner settings."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from iac_cli.dicom.header import SliceHeader
from iac_cli.dicom.reading import Series
from iac_cli.errors import Finding, IacError, Word
from iac_cli.geometry.grid import Grid

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


def scanner_findings(
    series: Series, grid: Grid, kernel_class: str, headers: Sequence[SliceHeader] = ()
) -> list[Finding]:
    """What the scanner's settings mean for the scores."""
    findings = _mixed(headers)
    if kernel_class == "sharp":
        named = f"kernel {series.kernel}" if series.kernel else "the kernel of some slices"
        findings.append(Finding(Word.SHARP_KERNEL, f"{named} is sharp: scores may be too high"))
    varies = len({h.kvp for h in headers}) > 1
    if series.kvp is None:
        how = "differs from slice to slice" if varies else "is not known"
        findings.append(Finding(Word.KVP_UNKNOWN, f"the tube voltage {how}"))
    elif abs(series.kvp - 120) > 0.5:
        what = f"{series.kvp:.0f} kVp: Agatston's weights were made for 120"
        findings.append(Finding(Word.KVP_NOT_120, what))
    thickest = max(float(np.median(grid.extents_mm)), series.thickness_mm or 0.0)
    if thickest > THICK_MM:
        what = f"slices of {thickest:.1f} mm: small lesions may be lost, bone may be taken for some"
        findings.append(Finding(Word.THICK_SLICES, what))
    return findings


def _mixed(headers: Sequence[SliceHeader]) -> list[Finding]:
    """Settings that are not the same in all slices of a stack."""
    kernels = Counter(h.kernel or "not told" for h in headers)
    voltages = Counter(f"{h.kvp:g} kVp" if h.kvp else "not told" for h in headers)
    told = []
    for name, counts in (("kernels", kernels), ("tube voltages", voltages)):
        if len(counts) > 1:
            listed = ", ".join(f"{value} in {n}" for value, n in counts.most_common(4))
            what = f"{len(counts)} {name} in one stack: {listed} slices"
            told.append(Finding(Word.MIXED_SETTINGS, what))
    return told
