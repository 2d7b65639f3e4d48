"""A manifest: a CSV with a case on each line, and columns that are carried to the output."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from iac_cli.batch.job import Job
from iac_cli.batch.plan import MANIFEST, PLAN_COLUMNS, Plan, plain_id
from iac_cli.dicom.studies import fingerprint_of
from iac_cli.errors import IacError, Word, forbidden
from iac_cli.report.tables import SCORES_COLUMNS, harmless

NEEDED = ("case_id", "path")
KNOWN = (*NEEDED, "sex", "age", "series", *PLAN_COLUMNS)
"""Columns with a meaning; every other one is carried through to scores.csv as it is."""

WHOLE_DAYS = re.compile(r"-?\d{1,6}")


def read_manifest(manifest: Path, root: Path | None = None) -> Plan:
    """A job for every line. A relative path starts at `root`, else at the manifest's folder.

    With `root` every path must lie in it; without, only a relative path must stay in the folder.
    The whole manifest is refused for one bad line: better now than after a week.
    Raises: IacError: input_not_found, bad_case_list.
    """
    rows = _rows(manifest)
    carried = tuple(name for name in rows[0] if name not in KNOWN)
    _check_columns(carried)
    place = _Place((root or manifest.parent).resolve(), root is not None)
    jobs = [_job(row, f"line {line}", carried, place) for line, row in enumerate(rows, start=2)]
    _check_distinct(jobs)
    columns = (*PLAN_COLUMNS, *carried)
    renamed = sum(job.case_id != row["case_id"] for job, row in zip(jobs, rows, strict=True))
    told = (
        (f"case ids that are no plain names and were changed (--key says which): {renamed}",)
        if renamed
        else ()
    )
    return Plan(tuple(sorted(jobs, key=lambda job: job.case_id)), columns, told, MANIFEST)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where paths start, and whether absolute ones must lie there too."""

    root: Path
    binding: bool


def _rows(manifest: Path) -> list[dict[str, str]]:
    try:
        text = manifest.read_text(encoding="utf-8-sig")
    except PermissionError as error:
        raise forbidden("the manifest may not be read") from error
    except OSError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND, "the manifest cannot be read", way_out="check its path"
        ) from error
    except UnicodeDecodeError as error:
        raise _bad("is not UTF-8 text") from error
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        rows = list(reader)
    except csv.Error as error:
        raise _bad("is not a table of comma-separated values") from error
    if len(set(names)) < len(names):
        raise _bad("has a column twice")
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise _bad(f"has no column {missing[0]!r}")
    if not rows:
        raise _bad("holds no case")
    _check_cells(rows)
    return rows


def _check_cells(rows: Sequence[Mapping[str | None, str | None]]) -> None:
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise _bad(f"has a wrong number of cells in line {line}")
        if not (row["case_id"] or "").strip():
            raise _bad(f"has an empty case_id in line {line}")


def _check_columns(carried: Sequence[str]) -> None:
    taken = {column.name for column in SCORES_COLUMNS}
    for name in carried:
        if name in taken:
            raise _bad(f"has a column {name!r}, which scores.csv has already: rename it")
        if not name or harmless(name) != name:
            raise _bad("has a column whose name is empty or begins like a formula")


def _job(row: Mapping[str, str], where: str, carried: Sequence[str], place: _Place) -> Job:
    path = _path(row["path"].strip(), where, place)
    sex = row.get("sex", "").strip().upper() or None
    if sex not in ("F", "M", None):
        raise _bad(f"has an unknown sex in {where}: F, M or nothing is known")
    return Job(
        plain_id(row["case_id"], "manifest"),
        path,
        None,
        fingerprint_of(path),
        series=row.get("series", "").strip() or None,
        sex=sex,
        age_years=_age(row.get("age", ""), where),
        about=(*_patient(row, where), *(harmless(row[name]) for name in carried)),
        given_id=row["case_id"],
    )


def _path(text: str, where: str, place: _Place) -> Path:
    if not text or "\0" in text:
        raise _bad(f"has an empty path in {where}")
    given = Path(text)
    path = place.root / given
    if place.binding or not given.is_absolute():
        resolved = path.resolve()
        if resolved != place.root and place.root not in resolved.parents:
            raise _bad(f"has a path in {where} that leaves the folder of the studies")
    return path


def _patient(row: Mapping[str, str], where: str) -> tuple[str, str]:
    """A patient's key and a study's day, as whoever made the manifest tells them."""
    key, day = (row.get(name, "").strip() for name in PLAN_COLUMNS)
    if day and not WHOLE_DAYS.fullmatch(day):
        raise _bad(f"has no whole number of days as study_day in {where}")
    return harmless(key), str(int(day)) if day else ""


def _age(text: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        age_years = float(text)
    except ValueError as error:
        raise _bad(f"has no number as age in {where}") from error
    if not isfinite(age_years) or not 0 <= age_years <= 130:
        raise _bad(f"has an age outside 0 to 130 years in {where}")
    return age_years


def _check_distinct(jobs: Sequence[Job]) -> None:
    seen: dict[str, int] = {}
    for line, job in enumerate(jobs, start=2):
        folded = job.case_id.casefold()  # folders differ by more than case on some systems
        if folded in seen:
            raise _bad(f"has the same case_id in lines {seen[folded]} and {line}")
        seen[folded] = line


def _bad(what: str) -> IacError:
    return IacError(
        Word.BAD_CASE_LIST,
        f"the manifest {what}",
        way_out="correct the manifest; its columns are case_id,path[,sex,age,series,...]",
    )
