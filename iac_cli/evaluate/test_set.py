"""The series of an evaluation: a cohort's folder, or a CSV of patient_id, image and label.

Paths in the table start from its own folder. A patient may have several series, when thickness,
kernel or study day tell them apart.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from iac_cli.dicom.case_id import safe_id
from iac_cli.errors import IacError, Word, forbidden
from iac_cli.train.splits import key_of_row, load_splits

TABLE = "cohort.csv"
NOTE = "cohort.json"
"""Beside the table of a simulated cohort, whose labels tell the arteries apart."""

REQUIRED = ("patient_id", "image", "label")
NUMBERS = ("thickness_mm", "noise_hu", "study_day", "true_volume_mm3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One scan with its labels. What the table does not tell is None."""

    case: str
    """Its name in every output; also of its predicted mask."""
    patient: str
    image: Path
    label: Path
    line: int = 0
    """Its line in the table; the head is line 1."""
    thickness_mm: float | None = None
    kernel: str | None = None
    noise_hu: float | None = None
    """Of a 5 mm slice with the soft kernel: stands for dose."""
    anatomy: str | None = None
    study_day: float | None = None
    true_volume_mm3: float | None = None
    """What is really there, whatever the scan shows."""

    @property
    def reconstruction(self) -> str:
        """Thickness and kernel, such as `5 mm soft`."""
        thick = "" if self.thickness_mm is None else f"{self.thickness_mm:g} mm"
        return " ".join(filter(None, (thick, self.kernel))) or "unknown"


@dataclass(frozen=True, slots=True)
class TestSet:
    """What is evaluated on."""

    series: tuple[Series, ...]
    by_artery: bool
    """Whether label values are arteries, as the simulator writes them."""

    __test__ = False  # no test class, whatever its name


def read_test_set(place: Path, run: Path | None = None, split: str | None = None) -> TestSet:
    """The series of a cohort's folder or of a CSV file; with a split, only its patients.

    A patient is in the split that the training `run` gave, else in that of the table's own column.
    Raises: IacError: input_not_found, input_forbidden, bad_case_list, empty_set.
    """
    table = place / TABLE if place.is_dir() else place
    rows = _rows(table)
    names = _case_names(rows)
    folder = table.parent
    known = {} if run is None else load_splits(run)
    series = tuple(
        _series(row, case, folder, number)
        for number, (row, case) in enumerate(zip(rows, names, strict=True), start=2)
        if split is None or _split_of(row, known) == split
    )
    if not series:
        raise IacError(
            Word.EMPTY_SET,
            f"no patient of the table is in the split {split}",
            way_out="name another split, or the run that dealt the patients out",
        )
    _check_apart(series)
    _check_there(series)
    return TestSet(series, (folder / NOTE).is_file())


def _split_of(row: Mapping[str, str], known: Mapping[str, str]) -> str | None:
    own = row.get("split", "").strip() or None
    return known.get(key_of_row(row), own)


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        text = table.read_text(encoding="utf-8-sig")
    except PermissionError as error:
        raise forbidden("the table of the test set may not be read") from error
    except UnicodeDecodeError as error:
        raise _bad("the table is not UTF-8 text") from error
    except OSError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            f"there is no {TABLE} in the test set's folder, or no such table",
            way_out="give a finished cohort, or a CSV with patient_id, image and label",
        ) from error
    reader = csv.DictReader(text.splitlines())
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise _bad(f"the table lacks {', '.join(missing)}")
    rows = [{name: value or "" for name, value in row.items() if name} for row in reader]
    if not rows:
        raise IacError(
            Word.EMPTY_SET, "the table of the test set has no row", way_out="finish the cohort"
        )
    return rows


def _bad(what: str) -> IacError:
    return IacError(Word.BAD_CASE_LIST, what, way_out="correct the table; see docs/evaluation.md")


def _case_names(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """`case_id` where the table has it, else the patient, else patient and image."""
    times = Counter(row["patient_id"] for row in rows)
    names = []
    for row in rows:
        own = row.get("case_id", "").strip()
        alone = times[row["patient_id"]] == 1
        image = Path(row["image"]).name.split(".nii")[0]
        patient = row["patient_id"]
        names.append(safe_id(own or (patient if alone else f"{patient}_{image}")))
    return names


def _series(row: Mapping[str, str], case: str, folder: Path, line: int) -> Series:
    for name in REQUIRED:
        if not row[name].strip():
            raise _bad(f"line {line} of the table has no {name}")
    return Series(
        case=case,
        patient=row["patient_id"].strip(),
        image=folder / row["image"].strip(),
        label=folder / row["label"].strip(),
        line=line,
        kernel=row.get("kernel", "").strip() or None,
        anatomy=row.get("anatomy", "").strip() or None,
        **{name: _number(row.get(name, ""), name, line) for name in NUMBERS},
    )


def _number(text: str, name: str, line: int) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value):
        raise _bad(f"line {line} of the table: {name} is no number")
    return value


def _check_apart(series: Sequence[Series]) -> None:
    """Each case has its own name, image and place among its patient's series."""
    seen: dict[tuple[object, ...], int] = {}
    for one in series:
        keys: tuple[tuple[object, ...], ...] = (
            ("name", one.case),
            ("image", one.image.resolve()),
            ("series", one.patient, one.thickness_mm, one.kernel, one.study_day),
        )
        for key in keys:
            if key in seen:
                raise _bad(
                    f"lines {seen[key]} and {one.line} of the table are the same {key[0]} twice"
                    + _told_apart(key)
                )
            seen[key] = one.line


def _told_apart(key: tuple[object, ...]) -> str:
    if key[0] != "series":
        return ""
    return " of one patient: thickness_mm, kernel or study_day must tell them apart"


def _check_there(series: Sequence[Series]) -> None:
    for what in ("image", "label"):
        lines = [one.line for one in series if not getattr(one, what).exists()]
        if lines:
            raise IacError(
                Word.INPUT_NOT_FOUND,
                f"{len(lines)} {what}s of the table are not there, the first in line {lines[0]}",
                way_out="paths start from the table's own folder; finish a cohort before its use",
            )
