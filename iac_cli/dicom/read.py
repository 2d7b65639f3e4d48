"""A source to a Reading: find, choose, order, decode, check.

Folder, zip, single DICOM file and NIfTI file all come through `read_series`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.checks import check_hounsfield, scanner_findings, series_sha256
from iac_cli.dicom.enhanced import expand_all
from iac_cli.dicom.header import SliceHeader
from iac_cli.dicom.inspection import Inspection, entry_of
from iac_cli.dicom.pixels import (
    pixel_findings,
)
from iac_cli.dicom.reading import (
    Identity,
    Reading,
    ReadSettings,
    RefusedSeriesError,
    Series,
)
from iac_cli.dicom.rules import Rules, load_rules
from iac_cli.dicom.scale import check_below_air, check_rescales
from iac_cli.dicom.scan import OnStep, Scan, counted, no_permission, scan
from iac_cli.dicom.series import Judged, choose, find_candidates, judge_all, nearest_series
from iac_cli.dicom.slices import Pixels, read_pixels
from iac_cli.dicom.stack import (
    Stack,
    axes_of,
    check_aside,
    make_stack,
    stack_findings,
)
from iac_cli.errors import Finding, IacError, Severity, Word
from iac_cli.geometry.volume import Volume

T = TypeVar("T")


def read_series(
    source: Path, settings: ReadSettings | None = None, *, on_step: OnStep | None = None
) -> Reading:
    """Read the series that the rules, or the user, choose.

    Raises: IacError: any word of the groups no_usable_input, damaged_input; contrast_suspected,
    too_thick, empty_volume, conflicting_slices; volume_too_large.
    """
    from iac_cli.dicom.nifti import check_is_nifti, is_nifti
    from iac_cli.dicom.nifti_series import read_nifti_series

    settings = settings or ReadSettings()
    if is_nifti(source):
        return read_nifti_series(source, settings)
    check_is_nifti(source)
    rules = load_rules(settings.rules)
    found, judged = _find(source, rules, settings, on_step)
    try:
        chosen = choose(judged, rules, uid=settings.series)
        return _read_chosen(source, found, judged, chosen, settings, on_step)
    except IacError as error:
        told = _with_forbidden(error, found)
        told.names = found.names
        near = nearest_series(judged, rules, uid=settings.series)
        tagged = _series([header for one in near for header in one.candidate.headers])
        raise RefusedSeriesError(told, _identity_of(source, judged), tagged) from error


def _with_forbidden(error: IacError, found: Scan) -> IacError:
    """The refusal, which may come of files that were kept from us: then it says so."""
    if not found.forbidden:
        return error
    what = f"{error.what}; {found.forbidden} may not be read by this user"
    return IacError(error.word, what, way_out=error.way_out)


def _identity_of(source: Path, judged: Sequence[Judged]) -> Identity:
    """What names the case: study and patient, where all series agree on them."""
    headers = [header for one in judged for header in one.candidate.headers]
    patient = _common([header.patient for header in headers])
    study_uid = _common([header.study_uid for header in headers])
    return Identity(patient, study_uid, source.absolute().name or None)


def inspect_source(
    source: Path, settings: ReadSettings | None = None, *, on_step: OnStep | None = None
) -> Inspection:
    """Judge every series of a source; pixels are read only from a NIfTI file.

    Raises: IacError: where no series was found at all.
    """
    from iac_cli.dicom.nifti import check_is_nifti, is_nifti
    from iac_cli.dicom.nifti_series import read_nifti_series

    settings = settings or ReadSettings()
    if is_nifti(source):
        reading = read_nifti_series(source, settings)
        return Inspection((), reading.findings, nifti=reading.volume.grid)
    check_is_nifti(source)
    rules = load_rules(settings.rules)
    found, judged = _find(source, rules, settings, on_step)
    chosen, failed = None, None
    try:
        chosen = choose(judged, rules, uid=settings.series)
    except IacError as error:
        failed = error
    entries = tuple(entry_of(j, chosen, rules) for j in judged)
    return Inspection(entries, tuple(_scan_findings(found, None)), failed, names=found.names)


def _find(
    source: Path, rules: Rules, settings: ReadSettings, on_step: OnStep | None
) -> tuple[Scan, list[Judged]]:
    """All candidates below a source, judged. Raises: IacError where there is none."""
    found = scan(source, settings.scope, on_step=on_step)
    slices, broken = expand_all(found.headers, found.store)
    damaged = found.damaged + tuple(broken)
    found = replace(found, headers=tuple(slices), damaged=damaged)
    if not slices:
        error = _nothing(found)
        error.names = found.names
        raise error
    candidates = find_candidates(slices)
    return found, judge_all(candidates, rules, uid=settings.series)


def _nothing(found: Scan) -> IacError:
    if found.forbidden:
        what = f"no DICOM image among what may be read; {found.forbidden} may not, by this user"
        return no_permission(what)
    if found.damaged:
        first = found.damaged[0]
        return IacError(first.word, first.what, way_out="send or export the files again")
    what = f"{found.n_files} files in the input, none is a DICOM image"
    n_nifti = sum(name.lower().endswith((".nii", ".nii.gz")) for name in found.names)
    if n_nifti:
        told = "1 NIfTI file lies" if n_nifti == 1 else f"{n_nifti} NIfTI files lie"
        return IacError(Word.NO_DICOM, f"{what}; {told} there", way_out="give a NIfTI file's path")
    if any(name.lower().endswith(".zip") for name in found.names):
        return IacError(
            Word.NO_DICOM, f"{what}; a zip lies there", way_out="give the zip file's path"
        )
    return IacError(
        Word.NO_DICOM,
        what,
        way_out="point at the folder, zip or NIfTI file that holds the series",
    )


def _read_chosen(
    source: Path,
    found: Scan,
    judged: Sequence[Judged],
    chosen: Judged,
    settings: ReadSettings,
    on_step: OnStep | None,
) -> Reading:
    headers = list(chosen.candidate.headers)
    axes = axes_of(headers[0])
    pixels = read_pixels(headers, axes, found.store, settings, on_step)
    check_aside(pixels.headers, pixels.positions, axes)
    stack = make_stack(pixels.headers, pixels.positions, axes, damaged_mm=pixels.damaged_mm)
    check_below_air([s.below_air for s in pixels.seen])
    check_rescales(pixels.hu, pixels.headers)
    check_hounsfield(min(s.low_hu for s in pixels.seen), max(s.high_hu for s in pixels.seen))
    volume = Volume(pixels.hu, stack.grid)
    series = _series(stack.headers)
    findings = [
        *_scan_findings(found, series.series_uid),
        *_choice_findings(judged, chosen),
        *_damage_findings(pixels),
        *stack_findings(stack),
        *pixel_findings(pixels.seen, pixels.headers),
        *pixels.findings,
        *scanner_findings(series, stack.grid, str(chosen.facts["kernel_class"]), stack.headers),
    ]
    first = stack.headers[0]
    return Reading(
        volume=volume,
        series=series,
        identity=Identity(first.patient, first.study_uid, source.absolute().name or None),
        findings=tuple(findings),
        pixel_sha256=series_sha256(pixels.digests, stack.grid),
        gaps_mm=_gaps(stack, pixels.damaged_mm),
    )


def _gaps(stack: Stack, damaged_mm: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Holes between slices, and damaged slices beyond the ends of the stack."""
    offsets = stack.grid.offsets_mm
    gaps = [(g.from_mm, g.to_mm) for g in stack.gaps]
    below, above = damaged_mm[damaged_mm < offsets[0]], damaged_mm[damaged_mm > offsets[-1]]
    if len(below):
        gaps.insert(0, (float(below.min()), float(offsets[0])))
    if len(above):
        gaps.append((float(offsets[-1]), float(above.max())))
    return tuple(gaps)


def _common(values: Sequence[T | None]) -> T | None:
    """The value that all slices share; None when they differ."""
    distinct = set(values)
    return values[0] if len(distinct) == 1 else None


def _series(headers: Sequence[SliceHeader]) -> Series:
    """The facts of a series that results carry; of several series, what they share."""
    thickness = [h.place.thickness_mm for h in headers]
    return Series(
        kind="dicom",
        study_uid=_common([h.study_uid for h in headers]),
        series_uid=_common([h.series_uid for h in headers]),
        frame_of_reference_uid=_common([h.place.frame_of_reference_uid for h in headers]),
        manufacturer=_common([h.manufacturer for h in headers]),
        scanner_model=_common([h.scanner_model for h in headers]),
        kernel=_common([h.kernel for h in headers]),
        kvp=_common([h.kvp for h in headers]),
        sex=_common([h.sex for h in headers]),
        age_years=_common([h.age_years for h in headers]),
        thickness_mm=min((t for t in thickness if t is not None), default=None),
        sop_instance_uids=tuple(h.sop_uid or "" for h in headers),
    )


def _scan_findings(found: Scan, uid: str | None) -> list[Finding]:
    """Junk, damage and files that could not be read, beside or in a series."""
    findings = []
    if found.n_not_dicom:
        what = f"{found.n_not_dicom} of {found.n_files} files are not DICOM"
        findings.append(Finding(Word.NOT_DICOM_IGNORED, what, Severity.INFO))
    ours = [d for d in found.damaged if uid is None or d.series_uid in (None, uid)]
    if ours:
        findings.append(Finding(Word.DAMAGED_SLICES_DROPPED, _listed([d.what for d in ours])))
    if found.forbidden:
        what = f"{found.forbidden} may not be read by this user; slices may be missing"
        findings.append(Finding(Word.FILES_FORBIDDEN, what))
    broken = counted([one for one in found.unreadable if not one.forbidden])
    if broken:
        what = f"{broken} could not be opened"
        findings.append(Finding(Word.DAMAGED_SLICES_DROPPED, what))
    return findings


def _listed(items: list[str], most: int = 5) -> str:
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return "; ".join(items[:most]) + rest


def _choice_findings(judged: Sequence[Judged], chosen: Judged) -> list[Finding]:
    findings = []
    uid = chosen.candidate.first.series_uid
    strays = [
        j
        for j in judged
        if j is not chosen and j.candidate.first.series_uid == uid and j.facts["n_slices"] < 3
    ]
    if strays:
        n = sum(len(j.candidate.headers) for j in strays)
        what = (
            f"{n} images of the series that are no part of the stack (localizers, reformats or "
            "strays) were dropped"
        )
        findings.append(Finding(Word.LOCALIZER_DROPPED, what, Severity.INFO))
    others = len(judged) - 1 - len(strays)
    if others:
        what = (
            f"{others} other series or parts of series were not used; 'iac-seg inspect' tells why"
        )
        findings.append(Finding(Word.OTHER_SERIES_IGNORED, what, Severity.INFO))
    return findings


def _damage_findings(pixels: Pixels) -> list[Finding]:
    findings = []
    if pixels.n_copies:
        what = f"{pixels.n_copies} copies of slices were dropped"
        findings.append(Finding(Word.DUPLICATES_DROPPED, what, Severity.INFO))
    if pixels.damaged:
        what = _listed([e.what for e in pixels.damaged])
        findings.append(Finding(Word.DAMAGED_SLICES_DROPPED, what))
    return findings
