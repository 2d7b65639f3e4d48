"""The result of one case, as a value: what `result.json` holds, checked against its schema.

Every number that could not be measured is None, never 0. Only `timings` differs between two runs
on the same machine; it is the last key, so that everything above it can be compared.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from iac_cli.dicom.reading import Reading
from iac_cli.errors import Finding
from iac_cli.measure.lesions import LeftOut
from iac_cli.measure.risk import Risk
from iac_cli.measure.scores import Scores

SCHEMA_VERSION = 1
"""Version of the layout of `result.json`. A change that could break a reader raises it."""


class Status(StrEnum):
    """Whether the numbers exist."""

    MEASURED = "measured"
    NOT_MEASURABLE = "not_measurable"


@dataclass(frozen=True, slots=True)
class Note:
    """A reason or a warning: `code` is for programs, `message` for people."""

    code: str
    message: str

    @classmethod
    def of(cls, finding: Finding) -> "Note":
        """The note that tells a finding."""
        return cls(finding.word.value, finding.what)


@dataclass(frozen=True, slots=True)
class SliceInfo:
    """One source slice: where its first voxel's centre lies (LPS mm) and what it stands for."""

    sop_instance_uid: str | None
    position_mm: tuple[float, float, float]
    extent_mm: float


@dataclass(frozen=True, slots=True)
class SeriesInfo:
    """The series that was measured. A tag that is absent or a placeholder is None."""

    kind: str
    study_uid: str | None
    series_uid: str | None
    frame_of_reference_uid: str | None
    manufacturer: str | None
    scanner_model: str | None
    kernel: str | None
    kvp: float | None
    sex: str | None
    age_years: float | None
    thickness_mm: float | None
    """SliceThickness as tagged; measurements use each slice's extent."""
    increments_mm: tuple[float, ...]
    """Distance from each slice to the next along the normal."""
    pixel_mm: tuple[float, float]
    """(row, column) spacing."""
    shape: tuple[int, int, int]
    """(slices, rows, columns)."""
    row_axis: tuple[float, float, float]
    column_axis: tuple[float, float, float]
    tilt_deg: float
    evenly_spaced: bool
    slices: tuple[SliceInfo, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A network that was used."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Provider:
    """What really ran the network, checked on the session."""

    backend: str
    """"onnx" or "torch"."""
    name: str
    """For example "CPUExecutionProvider"."""
    device: str
    """For example "cpu" or "cuda:0"."""


@dataclass(frozen=True, slots=True)
class MaskInfo:
    """A supplied mask: how much of it does not count."""

    left_out_below_threshold: int
    left_out_single_voxels: int
    kept_single_voxels: bool

    @classmethod
    def of(cls, left_out: LeftOut, *, kept_single_voxels: bool = False) -> "MaskInfo":
        """What the rules left out of a supplied mask."""
        return cls(left_out.below_threshold, left_out.single_voxels, kept_single_voxels)


@dataclass(frozen=True, slots=True)
class Made:
    """How a result came about: everything but the numbers."""

    model: ModelInfo | None = None
    """None for a supplied mask."""
    locator: ModelInfo | None = None
    provider: Provider | None = None
    mask: MaskInfo | None = None
    """Only for a supplied mask."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version of this tool and of the libraries that shape its numbers."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that shape the numbers, as JSON values; no paths."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is known of a case before, or without, its numbers."""

    case_id: str
    reading: Reading | None = None
    """None when no series could be read."""
    findings: tuple[Finding, ...] = ()
    """On top of the reading's own and the scores' own."""
    sex: str | None = None
    """"F" or "M" as given by the user; None: as tagged."""
    age_years: float | None = None
    """As given by the user; None: as tagged."""
    made: Made = field(default_factory=Made)


@dataclass(frozen=True, slots=True)
class Result:
    """One case. Make it with `Result.of` (scores exist) or `Result.refused` (they do not)."""

    case_id: str
    status: Status
    reasons: tuple[Note, ...]
    warnings: tuple[Note, ...]
    scores: Scores | None
    risk: Risk | None
    sex: str | None
    """"F", "M" or None: as given, else as tagged."""
    age_years: float | None
    series: SeriesInfo | None
    input_sha256: str | None
    """Hash of the input's HU values and geometry."""
    made: Made

    @classmethod
    def of(cls, case: Case, scores: Scores, risk: Risk | None) -> "Result":
        """The result of a scored case: not measurable when the scores say why they are None."""
        ungrouped = () if risk is None or risk.finding is None else (risk.finding,)
        notes = _warnings(case, (*scores.findings, *ungrouped))
        reasons = tuple(Note.of(reason) for reason in scores.reasons)
        return cls._made(case, reasons=reasons, warnings=notes, scores=scores, risk=risk)

    @classmethod
    def refused(cls, case: Case, reasons: Sequence[Finding]) -> "Result":
        """The result of a case that was not measurable, for reasons seen before scoring."""
        if not reasons:
            raise ValueError("a refusal needs a reason")
        notes = tuple(Note.of(reason) for reason in reasons)
        return cls._made(case, reasons=notes, warnings=_warnings(case, ()), scores=None, risk=None)

    @classmethod
    def _made(
        cls,
        case: Case,
        *,
        reasons: tuple[Note, ...],
        warnings: tuple[Note, ...],
        scores: Scores | None,
        risk: Risk | None,
    ) -> "Result":
        series = None if case.reading is None else series_info(case.reading)
        return cls(
            case_id=case.case_id,
            status=Status.NOT_MEASURABLE if reasons else Status.MEASURED,
            reasons=reasons,
            warnings=warnings,
            scores=scores,
            risk=None if reasons else risk,
            sex=case.sex or (series.sex if series else None),
            age_years=_first(case.age_years, series.age_years if series else None),
            series=series,
            input_sha256=None if case.reading is None else case.reading.pixel_sha256,
            made=case.made,
        )

    def to_json_dict(self) -> dict[str, Any]:
        """What `result.json` holds: plain JSON values, `timings` last."""
        raise NotImplementedError


def _first(given: float | None, tagged: float | None) -> float | None:
    return tagged if given is None else given


def _warnings(case: Case, more: Sequence[Finding]) -> tuple[Note, ...]:
    """Every finding once, in the order: reading, case, scores."""
    read = () if case.reading is None else case.reading.findings
    notes = [Note.of(finding) for finding in (*read, *case.findings, *more)]
    return tuple(dict.fromkeys(notes))


def series_info(reading: Reading) -> SeriesInfo:
    """The facts of a series and where each of its slices lies."""

    raise NotImplementedError
