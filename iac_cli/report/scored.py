"""A scored cohort as columns: of a batch's folder, a scores.csv, or result.json files.

One row a case, in the order of the table or of the sorted paths. A number that is missing is NaN,
a missing word is "". The table is read row by row, so that a large one needs little memory.
"""

import csv
import json
import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word, forbidden
from iac_cli.geometry.lines import Artery
from iac_cli.measure.scheme import SCORES
from iac_cli.report.result import SCHEMA_VERSION, check_document
from iac_cli.report.tables import SCORES_COLUMNS, artery_prefix, cell

TABLE = "scores.csv"
"""The table that a batch leaves at the top of its folder."""


class RowStatus(StrEnum):
    """What became of a case; a failed one has a code and no numbers."""

    MEASURED = "measured"
    NOT_MEASURABLE = "not_measurable"
    FAILED = "failed"


REQUIRED = ("case_id", "status", *SCORES, "sex", "age_years")
"""Columns without which a table is refused; any other may be absent, and is then missing."""

WORDS = (
    *("case_id", "status", "reasons", "warnings", "sex", "patient_key", "study_uid", "series_uid"),
    *("manufacturer", "scanner_model", "kernel", "model_name", "model_version"),
    *("agatston_definition", "iac_cli_version", "input_sha256"),
)
NUMBERS = (
    *SCORES,
    *("volume_mm3_low", "volume_mm3_high", "n_lesions", "age_years", "study_day"),
    *("thickness_mm", "kvp_kv", "volume_at_110hu_mm3", "volume_at_160hu_mm3"),
    *(f"{artery_prefix(artery)}_volume_mm3" for artery in Artery),
)


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The columns of a cohort."""

    words: Mapping[str, Sequence[str]]
    numbers: Mapping[str, NDArray[np.float64]]
    folder: Path | None = None
    """Where the cases' folders lie, when it is known."""

    def __len__(self) -> int:
        return len(self.words["case_id"])

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which rows have numbers."""
        return np.array([status == RowStatus.MEASURED for status in self.words["status"]], bool)

    @property
    def patients(self) -> Sequence[str]:
        """A key of each row's patient; a row of an unknown patient has "" and stands alone."""
        return self.words["patient_key"]

    def once_a_patient(self, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """One row of each patient among the usable ones: earliest study, thinnest slices, first."""
        order = np.lexsort((self.numbers["thickness_mm"], self.numbers["study_day"]))
        taken: set[str] = set()
        chosen = np.zeros(len(self), dtype=bool)
        for row in order[usable[order]]:
            patient = self.patients[row]
            if not patient or patient not in taken:
                chosen[row] = True
                taken.add(patient)
        return chosen


def read_scored(source: Path) -> Scored:
    """The cases of a scores.csv or result.json, or of a folder: of its table, else its results.

    Raises: IacError: input_not_found, input_forbidden, file_unreadable.
    """
    if source.is_dir():
        if (source / TABLE).is_file():
            return _of_csv(source / TABLE, source)
        return _of_results(_results_under(source), source)
    if source.suffix == ".json":
        return _of_results([source], source.parent)
    return _of_csv(source, None)


def read_cases(source: Path) -> Scored:
    """As `read_scored`, for what needs at least one case."""
    scored = read_scored(source)
    if not len(scored):
        raise _unreadable(TABLE if source.is_dir() else source.name, "holds no case")
    return scored


def _results_under(folder: Path) -> list[Path]:
    """Every result.json, but none of an unfinished result (a hidden folder), sorted.

    Raises: IacError: input_forbidden: a cohort without the cases of a closed folder is another one.
    """
    found = []
    for place, subfolders, names in os.walk(folder, onerror=_closed):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if "result.json" in names:
            found.append(Path(place) / "result.json")
    found.sort(key=lambda path: path.relative_to(folder).parts)
    if not found:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            f"neither {TABLE} nor any result.json lies in {folder.name!r}",
            way_out="give the output folder of segment or of a batch, or a scores.csv",
        )
    return found


def _closed(error: OSError) -> None:
    raise IacError(
        Word.INPUT_FORBIDDEN,
        "a folder below the results may not be read by this user",
        way_out="give this user read permission on the folder and its files",
    ) from error


def _of_results(paths: Sequence[Path], folder: Path) -> Scored:
    columns = _Columns([column.name for column in SCORES_COLUMNS], "result.json")
    for path in paths:
        document = _document(path, path.relative_to(folder).as_posix())
        columns.add([cell(column.read(document)) for column in SCORES_COLUMNS])
    return columns.scored(folder)


def _of_csv(path: Path, folder: Path | None) -> Scored:
    with _told_as_input(path.name), path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        header = next(reader, None)
        if not header:
            raise _unreadable(path.name, "holds no case")
        columns = _Columns(header, path.name)
        for cells in reader:
            if cells:
                columns.add(cells)
        return columns.scored(folder)


class _Columns:
    """Columns that grow row by row; each cell is checked as it comes."""

    def __init__(self, header: Sequence[str], name: str) -> None:
        places = {column: k for k, column in reversed(list(enumerate(header)))}
        for column in REQUIRED:
            if column not in places:
                raise _unreadable(name, f"has no column {column!r}")
        self.name = name
        self.width = len(header)
        self.n = 0
        self.known: dict[str, str] = {}
        self.words: dict[str, list[str]] = {column: [] for column in WORDS}
        self.numbers = {column: array("d") for column in NUMBERS}
        self.word_cells = [(self.words[c], places[c]) for c in WORDS if c in places]
        self.number_cells = [(self.numbers[c], places[c], c) for c in NUMBERS if c in places]
        self.places = places

    def add(self, cells: Sequence[str]) -> None:
        """Take in a row. Raises: IacError: file_unreadable."""
        self.n += 1
        if len(cells) != self.width:
            raise self._bad("a wrong number of cells in", "")
        if cells[self.places["status"]] not in STATUSES:
            raise self._bad("an unknown status in", "")
        if cells[self.places["sex"]] not in SEXES:
            raise self._bad("an unknown sex in", ": F, M or nothing is known")
        for words, place in self.word_cells:
            word = cells[place]
            words.append(self.known.setdefault(word, word))  # one copy of each word
        for numbers, place, column in self.number_cells:
            numbers.append(self._number(cells[place], column))
        if self.numbers["volume_mm3_low"] and self._last("low") > self._last("high"):
            raise self._bad("a lower limit of the volume above the upper one in", "")

    def _last(self, end: str) -> float:
        values = self.numbers[f"volume_mm3_{end}"]
        return values[-1] if values else nan

    def _number(self, text: str, column: str) -> float:
        if not text.strip():
            return nan
        try:
            value = float(text)
        except ValueError as error:
            raise self._bad(f"no number as {column} of", "") from error
        if not isfinite(value):
            raise self._bad(f"no finite number as {column} of", "")
        if column == "study_day":
            if value != int(value):
                raise self._bad("no whole number of days as study_day of", "")
        elif value < 0:
            raise self._bad(f"a negative {column} in", "")
        return value

    def _bad(self, what: str, more: str) -> IacError:
        return _unreadable(self.name, f"has {what} line {self.n + 1}{more}")

    def scored(self, folder: Path | None) -> Scored:
        """The finished columns; those that the table lacks are missing in every row."""
        return Scored(
            words={name: one or [""] * self.n for name, one in self.words.items()},
            numbers={
                name: np.array(one) if len(one) else np.full(self.n, nan)
                for name, one in self.numbers.items()
            },
            folder=folder,
        )


STATUSES = frozenset(status.value for status in RowStatus)
SEXES = frozenset({"F", "M", ""})


def _document(path: Path, name: str) -> dict[str, Any]:
    """The document of a result.json, checked against its layout."""
    from jsonschema import ValidationError

    try:
        with _told_as_input(name):
            document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise _unreadable(name, "is not JSON") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise _unreadable(name, f"has layout {version!r}, this program reads {SCHEMA_VERSION}")
    try:
        check_document(document)
    except ValidationError as error:
        raise _unreadable(name, f"breaks the layout of a result at {error.json_path}") from error
    return dict(document)


@contextmanager
def _told_as_input(name: str) -> Iterator[None]:
    """Tell what keeps a file from being read by its word."""
    try:
        yield
    except FileNotFoundError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND, f"{name!r} does not exist", way_out="check the path"
        ) from error
    except PermissionError as error:
        raise forbidden(f"{name!r} may not be read") from error
    except csv.Error as error:
        raise _unreadable(name, "is not a table of comma-separated values") from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(name, "is not UTF-8 text that can be read") from error


def _unreadable(name: str, what: str) -> IacError:
    return IacError(
        Word.FILE_UNREADABLE,
        f"{name!r} {what}",
        way_out="give a scores.csv or result.json as this tool wrote it",
    )
