"""Risk groups of scored cases again, from scores.csv or result.json files, without segmenting.

The order of the cases is that of the table, or of the sorted paths. A case that was not measured
keeps its row, empty: it belongs to no group and to no quantile.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word
from iac_cli.measure.risk import group_of, groups_of_cohort
from iac_cli.measure.scheme import SCORES, Scheme, SchemeKind
from iac_cli.report.result import SCHEMA_VERSION, Status, check_document
from iac_cli.report.tables import RISK_COLUMNS, csv_text

WHOLE_COHORT = "all"
"""The one stratum of a cohort that is not split."""


@dataclass(frozen=True, slots=True)
class CohortCase:
    """A scored case: what grouping it needs."""

    case_id: str
    status: Status
    scores: Mapping[str, float | None]
    sex: str | None
    age_years: float | None


@dataclass(frozen=True, slots=True)
class Grouped:
    """A case with its group, or why it has none."""

    case: CohortCase
    group: str | None
    why: str | None


def read_cohort(source: Path) -> tuple[CohortCase, ...]:
    """The cases of a scores.csv, of one result.json, or of every result.json under a folder.

    Raises: IacError: input_not_found, input_forbidden, file_unreadable.
    """
    if source.is_dir():
        found = sorted(_results_under(source), key=lambda path: path.relative_to(source).parts)
        if not found:
            raise IacError(
                Word.INPUT_NOT_FOUND,
                f"no result.json lies under {source.name!r}",
                way_out="give the output folder of segment or of a batch, or a scores.csv",
            )
        return tuple(_of_json(path, path.relative_to(source).as_posix()) for path in found)
    if source.suffix == ".json":
        return (_of_json(source, source.name),)
    return _of_csv(source)


def _results_under(folder: Path) -> list[Path]:
    """Every result.json, but none of an unfinished result (a hidden folder)."""
    paths = folder.rglob("result.json")
    return [
        path
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND, f"{name!r} does not exist", way_out="check the path"
        ) from error
    except PermissionError as error:
        raise IacError(
            Word.INPUT_FORBIDDEN,
            f"{name!r} may not be read",
            way_out="give this user read permission",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(name, "is not UTF-8 text that can be read") from error


def _unreadable(name: str, what: str) -> IacError:
    return IacError(
        Word.FILE_UNREADABLE,
        f"{name!r} {what}",
        way_out="give a scores.csv or result.json as this tool wrote it",
    )


def _of_json(path: Path, name: str) -> CohortCase:
    from jsonschema import ValidationError

    try:
        document = json.loads(_text(path, name))
    except (json.JSONDecodeError, RecursionError) as error:
        raise _unreadable(name, "is not JSON") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise _unreadable(name, f"has layout {version!r}, this program reads {SCHEMA_VERSION}")
    try:
        check_document(document)
    except ValidationError as error:
        raise _unreadable(name, f"breaks the layout of a result at {error.json_path}") from error
    return CohortCase(
        case_id=document["case_id"],
        status=Status(document["status"]),
        scores={score: document[score] for score in SCORES},
        sex=document["sex"],
        age_years=document["age_years"],
    )


def _of_csv(path: Path) -> tuple[CohortCase, ...]:
    name = path.name
    try:
        table = list(csv.DictReader(io.StringIO(_text(path, name), newline=""), strict=True))
    except csv.Error as error:
        raise _unreadable(name, "is not a table of comma-separated values") from error
    if not table:
        raise _unreadable(name, "holds no case")
    for column in ("case_id", "status", *SCORES, "sex", "age_years"):
        if column not in table[0]:
            raise _unreadable(name, f"has no column {column!r}")
    return tuple(_of_row(row, f"line {line}", name) for line, row in enumerate(table, start=2))


def _of_row(row: Mapping[str, Any], line: str, name: str) -> CohortCase:
    if None in row or None in row.values():
        raise _unreadable(name, f"has a wrong number of cells in {line}")
    if row["status"] not in [status.value for status in Status]:
        raise _unreadable(name, f"has an unknown status in {line}")
    if row["sex"] not in ("F", "M", ""):
        raise _unreadable(name, f"has an unknown sex in {line}: F, M or nothing is known")
    numbers = {
        column: _number(row[column], f"{column} of {line}", name)
        for column in (*SCORES, "age_years")
    }
    age_years = numbers.pop("age_years")
    return CohortCase(row["case_id"], Status(row["status"]), numbers, row["sex"] or None, age_years)


def _number(text: str, where: str, name: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise _unreadable(name, f"has no number as {where}") from error
    if not isfinite(value):
        raise _unreadable(name, f"has no finite number as {where}")
    return value


def group_cohort(
    cases: Sequence[CohortCase], scheme: Scheme, *, by_sex: bool = False
) -> tuple[Grouped, ...]:
    """Each case with its group, in the given order.

    Raises: IacError: conflicting_options; risk_undefined when the cohort is too small for any.
    """
    values = [
        case.scores[scheme.score] if case.status is Status.MEASURED else None for case in cases
    ]
    if scheme.kind is SchemeKind.CUT_POINTS:
        if by_sex:
            raise IacError(
                Word.CONFLICTING_OPTIONS,
                f"{scheme.name} has cut-offs of its own; only quantiles are taken by sex",
                way_out="leave out --by, or choose a cohort scheme",
            )
        answers = [
            group_of(value, scheme, case.sex, case.age_years)
            for case, value in zip(cases, values, strict=True)
        ]
    else:
        strata = [case.sex if by_sex else WHOLE_COHORT for case in cases]
        answers = groups_of_cohort(values, scheme, strata)
        _check_any(answers, scheme)
    return tuple(Grouped(case, *answer) for case, answer in zip(cases, answers, strict=True))


def _check_any(answers: Sequence[tuple[str | None, str | None]], scheme: Scheme) -> None:
    if any(group is not None for group, _ in answers):
        return
    reasons = Counter(why for _, why in answers if why is not None)
    told = "; ".join(f"{why} ({n})" for why, n in sorted(reasons.items()))
    raise IacError(
        Word.RISK_UNDEFINED,
        f"no case has a group of {scheme.name}: {told}",
        way_out="give a larger cohort, leave out --by, or choose a scheme with cut-offs of its own",
    )


def risk_csv(grouped: Sequence[Grouped], scheme: Scheme) -> str:
    """The table that export-risk writes; the same cases and scheme give the same bytes."""
    return csv_text(RISK_COLUMNS, [_row(one, scheme) for one in grouped])


def _row(one: Grouped, scheme: Scheme) -> dict[str, Any]:
    measured = one.case.status is Status.MEASURED
    return {
        "case_id": one.case.case_id,
        "status": one.case.status.value,
        "scheme": scheme.name,
        "version": scheme.version,
        "validated_intracranially": scheme.validated_intracranially,
        "score": scheme.score,
        "value": one.case.scores[scheme.score] if measured else None,
        "sex": one.case.sex,
        "age_years": one.case.age_years,
        "group": one.group,
        "why": one.why,
    }


def group_sizes(grouped: Sequence[Grouped], scheme: Scheme) -> dict[str, int]:
    """Number of cases in each group, from the lowest; those without one last, under ''."""
    counts = Counter(one.group or "" for one in grouped)
    return {name: counts[name] for name in (*scheme.groups, "")}


def repeated_ids(cases: Sequence[CohortCase]) -> list[str]:
    """Case ids that more than one case carries: such a case counts twice in a quantile."""
    counts = Counter(case.case_id for case in cases)
    return sorted(name for name, n in counts.items() if n > 1)
