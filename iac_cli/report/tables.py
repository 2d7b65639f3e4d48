"""The CSV tables and their columns: one list of columns, from which the data dictionary is made.

UTF-8, comma, dot, quotes as in RFC 4180, one line feed per row. An empty cell is missing, never
zero. No durations, dates or absolute paths; text that a spreadsheet would run is made harmless.
"""

import csv
import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from iac_cli.geometry.lines import Artery
from iac_cli.measure.scores import SENSITIVITY_HU
from iac_cli.report.result import Result

Document = Mapping[str, Any]
"""What `result.json` holds: `Result.to_json_dict()`."""


class Kind(StrEnum):
    """What a column's cells are, in the words of the Frictionless Table Schema."""

    TEXT = "string"
    NUMBER = "number"
    WHOLE = "integer"
    TRUTH = "boolean"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, the unit of its numbers ("" for none), and what it means."""

    name: str
    unit: str
    meaning: str
    read: Callable[[Any], Any]
    """From a row's source to its value."""
    given_kind: Kind | None = None
    """None: a number where there is a unit, text elsewhere."""

    @property
    def kind(self) -> Kind:
        """What its cells are."""
        return self.given_kind or (Kind.NUMBER if self.unit else Kind.TEXT)


def _key(*path: str) -> Callable[[Any], Any]:
    """The value at a path of keys; None when any part of the way is None."""

    def read(document: Any) -> Any:
        for name in path:
            if document is None:
                return None
            document = document[name]
        return document

    return read


def _codes(name: str) -> Callable[[Document], str]:
    return lambda document: ";".join(dict.fromkeys(note["code"] for note in document[name]))


def _at(threshold_hu: float) -> Callable[[Document], Any]:
    """The volume at a threshold of the sensitivity analysis."""

    def read(document: Document) -> Any:
        for one in document["threshold_sensitivity"] or ():
            if one["threshold_hu"] == threshold_hu:
                return one["volume_mm3"]
        return None

    return read


def _of_series(name: str, reduce: Callable[[Any], Any]) -> Callable[[Document], Any]:
    """From a list in the series; None where there is no series, or it was not read."""
    read = _key("series", name)
    return lambda document: reduce(values) if (values := read(document)) else None


def _interval(end: int) -> Callable[[Document], Any]:
    return lambda document: (document["volume_mm3_interval"] or (None, None))[end]


def _total(name: str, unit: str, meaning: str, kind: Kind | None = None) -> Column:
    return Column(name, unit, meaning, _key(name), kind)


def artery_prefix(artery: Artery) -> str:
    """What the names of an artery's columns begin with, such as `ica_r`."""
    return artery.value.lower().replace("-", "_")


def _artery_columns(artery: Artery) -> list[Column]:
    """Four columns of one artery, such as `ica_r_volume_mm3`."""
    prefix = artery_prefix(artery)
    each = (
        ("covered", "", "whether its whole course lies inside the scan (true, false)", Kind.TRUTH),
        ("volume_mm3", "mm3", "volume of its lesions; empty when it is not covered", None),
        (
            "agatston",
            "",
            "Agatston score (classic 1) of its lesions; empty when not covered",
            Kind.NUMBER,
        ),
        ("n_lesions", "", "number of its lesions; empty when it is not covered", Kind.WHOLE),
    )
    return [
        Column(
            f"{prefix}_{name}",
            unit,
            f"{artery.value}: {meaning}",
            _key("arteries", artery, name),
            kind,
        )
        for name, unit, meaning, kind in each
    ]


SCORES_COLUMNS: tuple[Column, ...] = (
    Column("case_id", "", "name of the case", _key("case_id")),
    Column("status", "", "measured or not_measurable; in a batch also failed", _key("status")),
    Column("reasons", "", "codes of why nothing was measured, joined by ;", _codes("reasons")),
    Column("warnings", "", "codes of what to know, joined by ;", _codes("warnings")),
    _total("volume_mm3", "mm3", "volume of all lesions"),
    Column("volume_mm3_low", "mm3", "lower limit of the volume; empty: no interval", _interval(0)),
    Column("volume_mm3_high", "mm3", "upper limit of the volume; empty: no interval", _interval(1)),
    _total("ica_volume_mm3", "mm3", "both ICAs, horizontal petrous segment to terminus"),
    _total("siphon_volume_mm3", "mm3", "both ICAs, cavernous segment to terminus"),
    _total(
        "agatston",
        "",
        "Agatston score of all lesions, as agatston_definition names it",
        Kind.NUMBER,
    ),
    _total("agatston_definition", "", "name and version of the definition of agatston"),
    _total(
        "agatston_kvp",
        "",
        "Agatston score kvp 1; empty where no cut-offs are published",
        Kind.NUMBER,
    ),
    _total("hu_mm3", "HU mm3", "sum of HU x voxel volume (hu integral 1)"),
    _total("n_lesions", "", "number of lesions", Kind.WHOLE),
    _total("log1p_volume", "ln(mm3)", "natural logarithm of 1 + volume_mm3"),
    *(
        Column(
            f"volume_at_{threshold_hu:g}hu_mm3",
            "mm3",
            f"volume at a threshold of {threshold_hu:g} HU; empty for a supplied mask",
            _at(threshold_hu),
        )
        for threshold_hu in SENSITIVITY_HU
    ),
    *(column for artery in Artery for column in _artery_columns(artery)),
    Column("risk_scheme", "", "name of the risk scheme", _key("risk", "scheme")),
    Column("risk_version", "", "version of the risk scheme", _key("risk", "version")),
    Column("risk_group", "", "risk group; empty when it has none", _key("risk", "group")),
    Column("sex", "", "F or M, as given, else as tagged", _key("sex")),
    Column("age_years", "years", "age, as given, else as tagged", _key("age_years")),
    Column(
        "mask_left_out_below_threshold",
        "voxels",
        "voxels of a supplied mask below 130 HU, which do not count",
        _key("mask", "left_out_below_threshold"),
        Kind.WHOLE,
    ),
    Column(
        "mask_left_out_single_voxels",
        "voxels",
        "voxels of a supplied mask without a neighbour, which do not count",
        _key("mask", "left_out_single_voxels"),
        Kind.WHOLE,
    ),
    Column(
        "mask_outside_scan",
        "voxels",
        "voxels of a supplied mask that lie outside the scan",
        _key("mask", "outside_scan"),
        Kind.WHOLE,
    ),
    Column("study_uid", "", "StudyInstanceUID", _key("series", "study_uid")),
    Column("series_uid", "", "SeriesInstanceUID", _key("series", "series_uid")),
    Column("input_kind", "", "dicom or nifti", _key("series", "kind")),
    Column("manufacturer", "", "of the scanner, as tagged", _key("series", "manufacturer")),
    Column("scanner_model", "", "of the scanner, as tagged", _key("series", "scanner_model")),
    Column("kernel", "", "reconstruction kernel, as tagged", _key("series", "kernel")),
    Column("kvp_kv", "kV", "tube voltage, as tagged", _key("series", "kvp")),
    Column("thickness_mm", "mm", "SliceThickness, as tagged", _key("series", "thickness_mm")),
    Column("n_slices", "", "number of slices", _of_series("shape", lambda one: one[0]), Kind.WHOLE),
    Column(
        "smallest_increment_mm",
        "mm",
        "smallest distance between neighbouring slices along their normal",
        _of_series("increments_mm", min),
    ),
    Column(
        "largest_increment_mm",
        "mm",
        "largest distance between neighbouring slices along their normal",
        _of_series("increments_mm", max),
    ),
    Column("pixel_row_mm", "mm", "distance of rows", _of_series("pixel_mm", lambda one: one[0])),
    Column(
        "pixel_column_mm", "mm", "distance of columns", _of_series("pixel_mm", lambda one: one[1])
    ),
    Column("tilt_deg", "degrees", "gantry tilt, from slice positions", _key("series", "tilt_deg")),
    Column("model_name", "", "network; empty for a supplied mask", _key("model", "name")),
    Column("model_version", "", "version of the network", _key("model", "version")),
    Column("model_sha256", "", "hash of the network's file", _key("model", "sha256")),
    Column("provider", "", "what ran the network", _key("provider", "name")),
    Column("iac_cli_version", "", "version of this tool", lambda d: d["versions"].get("iac-cli")),
    Column("input_sha256", "", "hash of the HU values and geometry", _key("input_sha256")),
)
"""Columns of scores.csv, one row a case; a batch has the same."""

LESION_COLUMNS: tuple[Column, ...] = (
    Column("case_id", "", "name of the case", _key("case_id")),
    Column(
        "lesion", "", "number of the lesion, from below upwards, from 1", _key("number"), Kind.WHOLE
    ),
    Column("artery", "", "artery and side; empty when it has no name", _key("artery")),
    Column("segment", "", "segment of the ICA; empty for other arteries", _key("segment")),
    Column("distance_mm", "mm", "median distance to the centre line", _key("distance_mm")),
    Column("named_by", "", "how the artery was chosen", _key("named_by")),
    Column("n_voxels", "voxels", "number of voxels", _key("n_voxels"), Kind.WHOLE),
    Column("volume_mm3", "mm3", "volume (volume 1)", _key("volume_mm3")),
    Column("agatston", "", "Agatston score (classic 1)", _key("agatston"), Kind.NUMBER),
    Column("agatston_kvp", "", "Agatston score (kvp 1)", _key("agatston_kvp"), Kind.NUMBER),
    Column("hu_mm3", "HU mm3", "sum of HU x voxel volume (hu integral 1)", _key("hu_mm3")),
    Column("peak_hu", "HU", "brightest voxel", _key("peak_hu")),
    Column("mean_hu", "HU", "mean, voxels weighted by their volume", _key("mean_hu")),
    Column("centre_x_mm", "mm", "centre, towards the patient's left", lambda d: d["centre_mm"][0]),
    Column("centre_y_mm", "mm", "centre, towards posterior", lambda d: d["centre_mm"][1]),
    Column("centre_z_mm", "mm", "centre, towards superior", lambda d: d["centre_mm"][2]),
    Column(
        "first_slice", "", "lowest slice that it touches, from 0", _key("first_slice"), Kind.WHOLE
    ),
    Column(
        "last_slice", "", "highest slice that it touches, from 0", _key("last_slice"), Kind.WHOLE
    ),
    Column("at_edge", "", "whether it touches the border of the scan", _key("at_edge"), Kind.TRUTH),
    Column(
        "confidence",
        "",
        "probability that at least a quarter of it is calcification; empty: none is estimated",
        lambda lesion: lesion.get("confidence"),
        Kind.NUMBER,
    ),
)
"""Columns of lesions.csv, one row a lesion."""

RISK_COLUMNS: tuple[Column, ...] = (
    Column("case_id", "", "name of the case", _key("case_id")),
    Column("status", "", "measured, not_measurable or failed", _key("status")),
    Column("risk_scheme", "", "name of the risk scheme", _key("scheme")),
    Column("risk_version", "", "version of the risk scheme", _key("version")),
    Column(
        "validated_intracranially",
        "",
        "true or false",
        _key("validated_intracranially"),
        Kind.TRUTH,
    ),
    Column("risk_score", "", "which score is grouped", _key("score")),
    Column("risk_value", "as risk_score", "its value; empty when not measured", _key("value")),
    Column("sex", "", "F or M", _key("sex")),
    Column("age_years", "years", "age", _key("age_years")),
    Column("risk_group", "", "risk group; empty when it has none", _key("group")),
    Column(
        "risk_group_low",
        "",
        "group of the lower limit of the volume; empty: no interval, or another score",
        _key("group_low"),
    ),
    Column("risk_group_high", "", "group of its upper limit; empty likewise", _key("group_high")),
    Column("risk_undefined", "", "why it has no group", _key("why")),
)
"""Columns of the table that export-risk writes, one row a case."""

TABLES: Mapping[str, tuple[Column, ...]] = {
    "scores.csv": SCORES_COLUMNS,
    "lesions.csv": LESION_COLUMNS,
    "export-risk": RISK_COLUMNS,
}
"""Every table and its columns."""


def scores_csv(results: Iterable[Result]) -> str:
    """The text of scores.csv: a row for each result."""
    return csv_text(SCORES_COLUMNS, [result.to_json_dict() for result in results])


def lesions_csv(results: Iterable[Result]) -> str:
    """The text of lesions.csv: a row for each lesion of each result."""
    rows: list[Document] = []
    for result in results:
        lesions = result.to_json_dict()["lesions"] or ()
        rows.extend({"case_id": result.case_id, **lesion} for lesion in lesions)
    return csv_text(LESION_COLUMNS, rows)


def score_cells(document: Document) -> tuple[str, ...]:
    """A row of scores.csv as text."""
    return tuple(cell(column.read(document)) for column in SCORES_COLUMNS)


def lesion_cells(document: Document) -> Iterator[tuple[str, ...]]:
    """The rows of lesions.csv of one case as text."""
    for lesion in document["lesions"] or ():
        row = {"case_id": document["case_id"], **lesion}
        yield tuple(cell(column.read(row)) for column in LESION_COLUMNS)


def csv_text(columns: Sequence[Column], rows: Iterable[Document]) -> str:
    """A table as text; each row's source is read by the columns."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([cell(column.read(row)) for column in columns])
    return stream.getvalue()


def cell(value: Any) -> str:
    """A value as a cell: empty for None, true/false, the shortest exact digits, harmless text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return harmless(str(value))


def harmless(text: str) -> str:
    """Text on one line, without control characters, that no spreadsheet takes for a formula."""
    if text.isascii() and text.isprintable() and text[:1] not in FORMULA_STARTS:
        return text
    clean = "".join(
        " " if character.isspace() else character
        for character in text
        if character.isspace() or unicodedata.category(character)[0] != "C"
    )
    if text[:1] in FORMULA_STARTS and not _is_number(text):
        return "'" + clean
    return "'" + clean if clean[:1] in FORMULA_STARTS and not _is_number(clean) else clean


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters that make a spreadsheet run a cell. (An empty text starts with none.)"""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def data_dictionary() -> str:
    """The text of docs/data-dictionary.md."""
    lines = [
        "# Data dictionary",
        "",
        "Every column of the tables below. Made by `iac_cli/report/dictionary.py` from the columns",
        "in `iac_cli/report/tables.py`: change them there. What a batch adds (`patient_key`,",
        "`study_day`, a manifest's own columns, `failures.csv`) is told in [batch.md](batch.md),",
        "the tables of an evaluation in [evaluation.md](evaluation.md), a cohort's in",
        "[simulator.md](simulator.md).",
        "",
        "UTF-8, comma, decimal point, quotes as in RFC 4180. An empty cell is missing, never zero.",
        "Text that begins like a formula carries a leading `'`.",
    ]
    for table, columns in TABLES.items():
        lines += ["", f"## {table}", "", "| column | unit | meaning |", "|---|---|---|"]
        lines += [f"| `{c.name}` | {c.unit or '–'} | {c.meaning} |" for c in columns]
    return "\n".join(lines) + "\n"
