"""The result of one case, as a value: what `result.json` holds, checked against its schema.

Every number that could not be measured is None, never 0. Only `timings` differs between two runs
on the same machine; it is the last key, so that everything above it can be compared.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.reading import Reading, Series
from iac_cli.errors import Finding, Severity
from iac_cli.geometry.grid import Grid
from iac_cli.measure import agatston
from iac_cli.measure.lesions import LeftOut
from iac_cli.measure.risk import Risk
from iac_cli.measure.scores import DEFINITIONS, Scores

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
    """The series that was measured. A tag that is absent or a placeholder is None.

    Where none could be read, the tags are those that the nearest series of the study share, and
    there is no geometry.
    """

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
    increments_mm: tuple[float, ...] = ()
    """Distance from each slice to the next along the normal."""
    pixel_mm: tuple[float, float] | None = None
    """(row, column) spacing."""
    shape: tuple[int, int, int] | None = None
    """(slices, rows, columns)."""
    row_axis: tuple[float, float, float] | None = None
    column_axis: tuple[float, float, float] | None = None
    tilt_deg: float | None = None
    evenly_spaced: bool | None = None
    slices: tuple[SliceInfo, ...] = ()


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
    """"onnx", "torch" or "openvino"."""
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
    outside_scan: int = 0
    """Voxels that lie on no slice of the scan."""

    @classmethod
    def of(
        cls, left_out: LeftOut, *, kept_single_voxels: bool = False, outside_scan: int = 0
    ) -> "MaskInfo":
        """What the rules left out of a supplied mask."""
        return cls(
            left_out.below_threshold, left_out.single_voxels, kept_single_voxels, outside_scan
        )


@dataclass(frozen=True, slots=True)
class Made:
    """How a result came about: everything but the numbers."""

    model: ModelInfo | None = None
    """None for a supplied mask."""
    locator: ModelInfo | None = None
    locator_near: ModelInfo | None = None
    provider: Provider | None = None
    mask: MaskInfo | None = None
    """Only for a supplied mask."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Version of this tool and of the libraries that shape its numbers."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings that shape the numbers, as JSON values; no paths."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage."""


@dataclass(frozen=True, slots=True)
class Sureness:
    """How sure the numbers are; None while the errors of these networks are not known."""

    interval_mm3: tuple[float, float] | None = None
    lesions: tuple[float, ...] | None = None
    """Of each lesion: probability [0, 1] that at least a quarter of it is calcification."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What is known of a case before, or without, its numbers."""

    case_id: str
    reading: Reading | None = None
    """None when no series could be read."""
    tagged: Series | None = None
    """Of a series that was refused before it was read: its facts."""
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
    notes: tuple[Note, ...]
    """What was noticed and handled, such as padding set to air."""
    scores: Scores | None
    risk: Risk | None
    sex: str | None
    """"F", "M" or None: as given, else as tagged."""
    age_years: float | None
    series: SeriesInfo | None
    input_sha256: str | None
    """Hash of the input's HU values and geometry."""
    made: Made
    sureness: Sureness = field(default_factory=Sureness)

    @classmethod
    def of(
        cls, case: Case, scores: Scores, risk: Risk | None, sureness: Sureness | None = None
    ) -> "Result":
        """The result of a scored case: not measurable when the scores say why they are None."""
        ungrouped = () if risk is None or risk.finding is None else (risk.finding,)
        made = cls._made(
            case,
            reasons=scores.reasons,
            findings=(*scores.findings, *ungrouped),
            scores=scores,
            risk=risk,
        )
        known = sureness is not None and scores.measured
        return replace(made, sureness=sureness) if known and sureness else made

    @classmethod
    def refused(cls, case: Case, reasons: Sequence[Finding]) -> "Result":
        """The result of a case that was not measurable, for reasons seen before scoring."""
        if not reasons:
            raise ValueError("a refusal needs a reason")
        return cls._made(case, reasons=reasons, findings=(), scores=None, risk=None)

    @classmethod
    def _made(
        cls,
        case: Case,
        *,
        reasons: Sequence[Finding],
        findings: Sequence[Finding],
        scores: Scores | None,
        risk: Risk | None,
    ) -> "Result":
        read = () if case.reading is None else case.reading.findings
        seen = (*read, *case.findings, *findings)
        series = _series_of(case)
        return cls(
            case_id=case.case_id,
            status=Status.NOT_MEASURABLE if reasons else Status.MEASURED,
            reasons=_notes(reasons),
            warnings=_notes(one for one in seen if one.severity is Severity.WARNING),
            notes=_notes(one for one in seen if one.severity is Severity.INFO),
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
        scores = self.scores
        return {
            "schema_version": SCHEMA_VERSION,
            "case_id": self.case_id,
            "status": self.status.value,
            "reasons": [_plain(note) for note in self.reasons],
            "warnings": [_plain(note) for note in self.warnings],
            "notes": [_plain(note) for note in self.notes],
            **{name: None if scores is None else getattr(scores, name) for name in NUMBERS},
            "volume_mm3_interval": _plain(self.sureness.interval_mm3),
            "agatston_definition": agatston.CLASSIC,
            "definitions": dict(DEFINITIONS),
            "arteries": None if scores is None else _arteries(scores),
            "lesions": None
            if scores is None or not scores.measured
            else _lesions(scores, self.sureness.lesions),
            "threshold_sensitivity": None if scores is None else _plain(scores.thresholds),
            "risk": None if self.risk is None else _risk(self.risk),
            "sex": self.sex,
            "age_years": self.age_years,
            "mask": _plain(self.made.mask),
            "series": _plain(self.series),
            "input_sha256": self.input_sha256,
            "model": _plain(self.made.model),
            "locator": _plain(self.made.locator),
            "locator_near": _plain(self.made.locator_near),
            "provider": _plain(self.made.provider),
            "settings": _plain(self.made.settings),
            "versions": _plain(self.made.versions),
            "timings": {stage: round(wall_s, 4) for stage, wall_s in self.made.timings.items()},
        }

    def to_json(self) -> str:
        """The text of `result.json`, checked against its schema; ASCII, so safe on a terminal."""
        document = self.to_json_dict()
        check_document(document)
        return json.dumps(document, indent=1, allow_nan=False) + "\n"


NUMBERS = (
    "volume_mm3",
    "ica_volume_mm3",
    "siphon_volume_mm3",
    "agatston",
    "agatston_kvp",
    "hu_mm3",
    "n_lesions",
    "log1p_volume",
)
"""The totals of a result; all None when the case is not measurable."""


def _arteries(scores: Scores) -> dict[str, Any]:
    """Scores by artery, keyed by its name with its side."""
    each = {one.artery.value: _plain(one) for one in scores.arteries}
    for one in each.values():
        del one["artery"]
    return each


def _lesions(scores: Scores, confidences: Sequence[float] | None) -> list[dict[str, Any]]:
    """Each lesion; its confidence only where one is estimated."""
    told: list[dict[str, Any]] = [
        {
            **_plain(one.lesion),
            "agatston": one.agatston,
            "agatston_kvp": one.agatston_kvp,
        }
        for one in scores.lesions
    ]
    for one, confidence in zip(told, confidences or (), strict=False):
        one["confidence"] = confidence
    return told


def _risk(risk: Risk) -> dict[str, Any]:
    told: dict[str, Any] = _plain(risk)
    del told["finding"]  # it stands among the warnings
    return told


def _plain(value: Any) -> Any:
    """A value as JSON knows it: objects as dictionaries, enums as their values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, StrEnum):
        return value.value
    return value


def check_document(document: Mapping[str, Any]) -> None:
    """Compare a document with the result schema. Raises jsonschema.ValidationError."""
    _validator().validate(document)


@cache
def _validator() -> Any:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(result_schema())


def result_schema() -> dict[str, Any]:
    """The JSON Schema of `result.json`, draft 2020-12."""
    text = (files("iac_cli.report") / "result.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _first(given: float | None, tagged: float | None) -> float | None:
    return tagged if given is None else given


def _notes(findings: Iterable[Finding]) -> tuple[Note, ...]:
    """Each finding once, in their order."""
    return tuple(dict.fromkeys(Note.of(finding) for finding in findings))


def _series_of(case: Case) -> SeriesInfo | None:
    if case.reading is not None:
        return series_info(case.reading.series, case.reading.volume.grid)
    return None if case.tagged is None else series_info(case.tagged, None)


def series_info(series: Series, grid: Grid | None) -> SeriesInfo:
    """The facts of a series and, when it was read, where each of its slices lies."""
    bare = SeriesInfo(
        kind=series.kind,
        study_uid=series.study_uid,
        series_uid=series.series_uid,
        frame_of_reference_uid=series.frame_of_reference_uid,
        manufacturer=series.manufacturer,
        scanner_model=series.scanner_model,
        kernel=series.kernel,
        kvp=_finite(series.kvp),
        sex=series.sex,
        age_years=_finite(series.age_years),
        thickness_mm=_finite(series.thickness_mm),
    )
    return bare if grid is None else _on_grid(bare, series, grid)


def _on_grid(info: SeriesInfo, series: Series, grid: Grid) -> SeriesInfo:
    return replace(
        info,
        increments_mm=tuple(float(step) for step in np.diff(grid.offsets_mm)),
        pixel_mm=(float(grid.pixel_mm[0]), float(grid.pixel_mm[1])),
        shape=grid.shape,
        row_axis=_three(grid.row_axis),
        column_axis=_three(grid.column_axis),
        tilt_deg=0.0 if grid.straight else grid.tilt_deg,
        evenly_spaced=grid.evenly_spaced,
        slices=_slices(series, grid),
    )


def _slices(series: Series, grid: Grid) -> tuple[SliceInfo, ...]:
    uids = series.sop_instance_uids or (None,) * grid.shape[0]
    return tuple(
        SliceInfo(uid, _three(position), float(extent))
        for uid, position, extent in zip(uids, grid.positions_mm, grid.extents_mm, strict=True)
    )


def _three(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    return (float(vector[0]), float(vector[1]), float(vector[2]))


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
