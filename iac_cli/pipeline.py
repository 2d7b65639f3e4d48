"""One case from source to result: read, locate, infer, measure. Writes nothing.

`segment_case` and `score_mask` are the main job's story; the command line only says where the
result goes. A case that cannot be measured is a result too, with reasons in place of numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from iac_cli.dicom.case_id import case_id_of, safe_id
from iac_cli.dicom.nifti import THE_MASK, read_image
from iac_cli.dicom.read import read_series
from iac_cli.dicom.reading import Identity, Reading, ReadSettings, RefusedSeriesError
from iac_cli.errors import Exit, Finding, IacError, Word
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.infer.models import Models
from iac_cli.infer.segment import NativeProbability, segment_calcium
from iac_cli.locate.arteries import Arteries
from iac_cli.locate.checks import is_reason, judge_case, judge_head
from iac_cli.locate.head import make_coarse_head
from iac_cli.locate.locator import Locator, locate
from iac_cli.made import Clock, OnStep, made_by, model_info, near_info, settings_of, versions
from iac_cli.measure.lesions import Found, find_lesions
from iac_cli.measure.risk import risk_of
from iac_cli.measure.scheme import Scheme, load_scheme
from iac_cli.measure.scores import left_out_finding, outside_finding, score
from iac_cli.report.case import CaseImages
from iac_cli.report.masks import (
    check_mask_values,
    chosen_labels,
    on_stack,
    voxels_outside,
)
from iac_cli.report.result import (
    Case,
    Made,
    MaskInfo,
    Result,
)
from iac_cli.settings import Settings
from iac_cli.sureness import Told, how_sure


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOptions:
    """What the user says about one case."""

    read: ReadSettings = field(default_factory=ReadSettings)
    scheme: Scheme | None = None
    """Risk scheme; None takes the default one."""
    sex: str | None = None
    """"F" or "M"; None: as tagged."""
    age_years: float | None = None
    case_id: str | None = None
    save_probability: bool = False
    keep_all_voxels: bool = False
    """Of a supplied mask, also voxels below 130 HU and voxels without a neighbour."""
    may_be_empty: bool = False
    """A supplied mask of which no voxel counts is a volume of 0, and no mistake."""
    labels: tuple[int, ...] | None = None
    """Of a supplied label map, the labels that count; () counts every one. None: there must be no
    more than one."""
    absent_labels_count_nothing: bool = False
    """Of a mask without any of the named labels nothing counts, in place of a refusal: for one of
    many masks whose labels were looked at together."""
    gate: bool = True
    """False, for an evaluation alone: what is no head, or not measurable, is measured all the same,
    and the reasons against it are warnings."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseOutput:
    """A case's result, and what its masks and pictures are made of when it was measured."""

    result: Result
    images: CaseImages | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ReadCase:
    """A head that was read, on its way to be measured, here or in another process."""

    reading: Reading
    seconds: float
    """What reading it took."""


def segment_case(
    source: Path,
    models: Models,
    settings: Settings | None = None,
    options: CaseOptions | None = None,
    *,
    on_step: OnStep | None = None,
) -> CaseOutput:
    """Read, segment and measure one head.

    Raises: IacError: any word but those of the group not_measurable, which become a result.
    """
    case = read_case(source, settings, options, on_step=on_step)
    if isinstance(case, CaseOutput):
        return case
    return measure_case(case, models, settings, options, on_step=on_step)


def read_case(
    source: Path,
    settings: Settings | None = None,
    options: CaseOptions | None = None,
    *,
    on_step: OnStep | None = None,
) -> ReadCase | CaseOutput:
    """Read one head: the part of a case that needs no model. One that is refused has its result.

    Raises: IacError: the words of reading but those of the group not_measurable.
    """
    settings, options = settings or Settings(), options or CaseOptions()
    clock = Clock(on_step)
    try:
        with clock("read"):
            reading = read_series(source, options.read, on_step=on_step)
    except IacError as error:
        return _unread(error, source, settings, options)
    return ReadCase(reading, clock.seconds["read"])


def measure_case(
    read: ReadCase,
    models: Models,
    settings: Settings | None = None,
    options: CaseOptions | None = None,
    *,
    on_step: OnStep | None = None,
) -> CaseOutput:
    """Segment and measure a head that was read.

    Raises: IacError: the words of device, model and resources.
    """
    settings, options = settings or Settings(), options or CaseOptions()
    reading = read.reading
    clock = Clock(on_step, read=read.seconds)
    with clock("locate"):
        located = locate_case(reading, models.locator, settings, gate=options.gate)
    reasons = [one for one in located.findings if options.gate and is_reason(one)]
    warnings = [one for one in located.findings if one not in reasons]
    case = _case(reading, warnings, settings, options)
    if reasons or located.arteries is None:
        return CaseOutput(
            Result.refused(replace(case, made=made_by(models, settings, clock)), reasons)
        )
    with clock("infer"):
        probability = segment_calcium(
            reading.volume,
            located.arteries,
            models.segmenter,
            settings.windows,
            on_window=clock.steps_of("infer"),
        )
    case = replace(case, findings=(*case.findings, *models.segmenter.engine.provider.findings))
    sureness = None
    with clock("measure"):
        thickness_mm = probability.thickness_mm(reading.series.thickness_mm)
        point = models.segmenter.card.point_for(thickness_mm)
        likely = probability.drawn(point)
        found = _found(reading.volume, likely, located.arteries)
        scores = score(
            found,
            reading.volume,
            located.arteries,
            reading.series.kvp,
            likely=likely,
            siphons=located.arteries.siphons,
        )
        scheme, person = options.scheme or load_scheme(), _sex_and_age(case)
        risk = risk_of(scores, scheme, *person)
        if options.gate:
            told = Told(thickness_mm, scores, risk, found, probability)
            risk, sureness = how_sure(models, told, scheme, person)
    made = made_by(models, settings, clock, point)
    result = Result.of(replace(case, made=made), scores, risk, sureness)
    images = _images(reading, found, located.arteries, probability, options)
    return CaseOutput(result, images)


def score_mask(
    mask: Path,
    source: Path,
    locator: Locator | None,
    settings: Settings | None = None,
    options: CaseOptions | None = None,
    *,
    on_step: OnStep | None = None,
) -> CaseOutput:
    """Score a given or corrected mask on its scan, without asking the segmenter.

    Without a locator, or where the scan is no head, lesions have no artery and only totals exist.
    What would forbid a measurement is a warning here: the mask is the user's.
    Raises: IacError: any word of reading the scan or the mask; mask_mismatch.
    """
    settings, options = settings or Settings(), options or CaseOptions()
    clock = Clock(on_step)
    with clock("read"):
        reading = read_series(source, options.read, on_step=on_step)
        given, n_outside = _read_mask(mask, reading.volume, options)
    with clock("locate"):
        located = _locate_for_mask(reading, locator, settings)
    case = _case(reading, located.findings, settings, options)
    with clock("measure"):
        found = _found(reading.volume, given, located.arteries, options.keep_all_voxels)
        if not options.may_be_empty:
            _check_counts(found)
        arteries = located.arteries
        siphons = None if arteries is None else arteries.siphons
        scores = score(found, reading.volume, arteries, reading.series.kvp, siphons=siphons)
        risk = risk_of(scores, options.scheme or load_scheme(), *_sex_and_age(case))
    lost = [one for one in (left_out_finding(found), outside_finding(n_outside)) if one]
    case = replace(case, findings=(*case.findings, *lost))
    made = Made(
        locator=None if arteries is None or locator is None else model_info(locator.card),
        locator_near=None if arteries is None or locator is None else near_info(locator),
        mask=MaskInfo.of(
            found.left_out, kept_single_voxels=options.keep_all_voxels, outside_scan=n_outside
        ),
        versions=versions(),
        settings=settings_of(settings),
        timings=clock.seconds,
    )
    result = Result.of(replace(case, made=made), scores, risk)
    return CaseOutput(result, _images(reading, found, arteries, None, options))


def _check_counts(found: Found) -> None:
    """A mask whose voxels are all too faint was drawn on another scan, or is shifted."""
    if found.lesions or not found.left_out.below_threshold:
        return
    raise IacError(
        Word.MASK_MISMATCH,
        f"none of the mask's {found.left_out.total} voxels counts: "
        f"{found.left_out.below_threshold} are below {found.threshold_hu:g} HU",
        way_out="check that the mask belongs to this scan; --keep-all-voxels scores it as it is",
    )


# reading


def _unread(error: IacError, source: Path, settings: Settings, options: CaseOptions) -> CaseOutput:
    """The result of a series that was refused while it was read; any other failure stays one."""
    if error.exit_code != Exit.NOT_MEASURABLE:
        raise error
    identity, tagged = Identity(folder=source.absolute().name or None), None
    if isinstance(error, RefusedSeriesError):
        identity, tagged = error.identity, error.series
    case_id = _case_id(identity, str(source.resolve()), settings, options)
    made = Made(versions=versions(), settings=settings_of(settings))
    case = Case(case_id, tagged=tagged, sex=options.sex, age_years=options.age_years, made=made)
    return CaseOutput(Result.refused(case, [Finding(error.word, error.what)]))


def _read_mask(path: Path, volume: Volume, options: CaseOptions) -> tuple[Mask, int]:
    """A supplied mask on the scan's slices, and how many of its voxels lie outside the scan."""
    if not path.is_file():
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "the mask file does not exist",
            way_out="check the path of the mask",
        )
    image = read_image(path, max_voxels=options.read.max_voxels, called=THE_MASK)
    check_mask_values(image.voxels)
    may_lack = options.absent_labels_count_nothing
    given = Mask(chosen_labels(image.voxels, options.labels, may_lack=may_lack), image.grid)
    return on_stack(given, volume.grid), voxels_outside(given, volume.grid)


def _case_id(identity: Identity, otherwise: str, settings: Settings, options: CaseOptions) -> str:
    """The name that was given, else what the settings make it from; `otherwise` without a study."""
    if options.case_id:
        return safe_id(options.case_id)
    return case_id_of(identity, otherwise, settings.case.id_from, settings.case.salt)


def _case(
    reading: Reading, findings: Sequence[Finding], settings: Settings, options: CaseOptions
) -> Case:
    case_id = _case_id(reading.identity, reading.pixel_sha256, settings, options)
    return Case(
        case_id,
        reading,
        findings=tuple(findings),
        sex=options.sex,
        age_years=options.age_years,
    )


def _sex_and_age(case: Case) -> tuple[str | None, float | None]:
    """As given by the user, else as tagged."""
    tagged = None if case.reading is None else case.reading.series
    sex = case.sex or (tagged.sex if tagged else None)
    age_years = case.age_years
    if age_years is None and tagged is not None:
        age_years = tagged.age_years
    return sex, age_years


# locating


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """Where the arteries of a scan run, and what every judge found."""

    arteries: Arteries | None
    """None when the scan is no head."""
    findings: tuple[Finding, ...]


def locate_case(
    reading: Reading, locator: Locator, settings: Settings, *, gate: bool = True
) -> Located:
    """The arteries of a head, and every judge's finding; with the gate off, also of no head."""
    volume, how = reading.volume, settings.locate
    head = make_coarse_head(volume, locator.card.grid_mm[0], how.longest_head_mm)
    findings = judge_head(volume, head, settings.checks)
    if gate and any(map(is_reason, findings)):
        return Located(None, findings)
    arteries = locate(volume, locator, how, head=head).arteries
    judged = judge_case(volume, arteries, reading.gaps_mm, settings.checks)
    return Located(arteries, findings + judged)


def _locate_for_mask(reading: Reading, locator: Locator | None, settings: Settings) -> Located:
    """As `locate_case`, but nothing is refused: what would be a reason is a warning."""
    if locator is None:
        why = "no locator model: the lesions have no artery"
        return Located(None, (Finding(Word.ARTERIES_NOT_LOCATED, why),))
    located = locate_case(reading, locator, settings)
    if located.arteries is None:
        why = "; ".join(finding.what for finding in located.findings)
        return Located(None, (Finding(Word.ARTERIES_NOT_LOCATED, why),))
    told_by_scores = (Word.HEAD_NOT_COVERED,)
    return replace(
        located, findings=tuple(f for f in located.findings if f.word not in told_by_scores)
    )


# measuring and telling


def _found(
    volume: Volume, calcified: Mask, arteries: Arteries | None, keep_all: bool = False
) -> Found:
    more: dict[str, Any] = {"threshold_hu": -np.inf} if keep_all else {}
    if arteries is None:
        return find_lesions(volume, calcified, keep_single_voxels=keep_all, **more)
    return find_lesions(
        volume,
        calcified,
        places=arteries.places,
        keep_single_voxels=keep_all,
        named_by=arteries.named_by,
        **more,
    )


def _images(
    reading: Reading,
    found: Found,
    arteries: Arteries | None,
    probability: NativeProbability | None,
    options: CaseOptions,
) -> CaseImages:
    saved = probability.probability if probability and options.save_probability else None
    lines = () if arteries is None else tuple(arteries.lines.values())
    return CaseImages(reading.volume, found, lines, saved)
