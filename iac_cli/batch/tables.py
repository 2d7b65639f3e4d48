"""The tables of a batch, made from its ledger: whole, sorted, equal bytes from equal cases."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from iac_cli.batch.append import append_whole
from iac_cli.batch.job import Cells, Outcome
from iac_cli.report.files import told_as_output, write_text, written_whole
from iac_cli.report.tables import LESION_COLUMNS, SCORES_COLUMNS, Column, Kind, harmless

FAILURE_COLUMNS: tuple[Column, ...] = (
    Column("case_id", "", "name of the case", lambda one: one.case_id),
    Column("code", "", "stable code of why it failed; docs/errors.md", lambda one: one.code),
    Column("message", "", "the same in a sentence", lambda one: one.message),
    Column("study_uid", "", "StudyInstanceUID, where it is known", lambda one: _study(one.row)),
)
"""Columns of failures.csv, one row a failed case."""

TABLES = (
    *("scores.csv", "scores.schema.json", "scores.parquet"),
    *("lesions.csv", "lesions.schema.json", "failures.csv", "failures.schema.json"),
)
"""Every file that `write_tables` writes."""

PLAN_MEANINGS = {
    "patient_key": (Kind.TEXT, "", "opaque; cases of one patient share it"),
    "study_day": (
        Kind.WHOLE,
        "days",
        "days since the first study of this patient in the batch, or as a manifest counts them",
    ),
}
"""Kind, unit and meaning of the columns that the plan adds; a manifest's own are text."""


class Records(Protocol):
    """Ended cases, sorted by case id: one ledger, or several read as one."""

    def plan_columns(self) -> tuple[str, ...]:
        """Names of the columns that the plan adds."""

    def rows(self) -> Iterator[tuple[Cells, Cells]]:
        """Rows of scores.csv, each with its plan's cells."""

    def lesions(self) -> Iterator[Cells]:
        """Rows of lesions.csv."""

    def failures(self) -> Iterator[Outcome]:
        """Failed cases."""


def score_columns(plan_columns: Sequence[str]) -> tuple[Column, ...]:
    """Columns of a batch's scores.csv: those of one case, then the plan's."""
    return SCORES_COLUMNS + tuple(map(_plan_column, plan_columns))


def _plan_column(name: str) -> Column:
    kind, unit, meaning = PLAN_MEANINGS.get(name, (Kind.TEXT, "", "from the manifest"))
    return Column(name, unit, meaning, lambda row: row[name], kind)


def start_scores(path: Path, ledger: Records) -> None:
    """Write scores.csv with the cases that ended so far, to be appended to."""
    columns = score_columns(ledger.plan_columns())
    write_text(path, _csv([c.name for c in columns], _score_rows(ledger, len(columns))))


def append_score(path: Path, cells: Cells) -> None:
    """Append one row in one piece."""
    with told_as_output(path):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            append_whole(file, _csv_line(cells).encode())
        finally:
            os.close(file)


def write_tables(folder: Path, ledger: Records) -> None:
    """Write every table, each with its data dictionary beside it.

    Raises: IacError: output_not_writable, disk_full.
    """
    columns = score_columns(ledger.plan_columns())
    rows = list(_score_rows(ledger, len(columns)))
    write_text(folder / "scores.csv", _csv([c.name for c in columns], rows))
    _write_parquet(folder / "scores.parquet", columns, rows)
    write_text(folder / "scores.schema.json", table_schema(columns, "case_id"))
    write_text(folder / "lesions.csv", _csv([c.name for c in LESION_COLUMNS], ledger.lesions()))
    write_text(folder / "lesions.schema.json", table_schema(LESION_COLUMNS, "case_id", "lesion"))
    failures = ([harmless(str(c.read(one))) for c in FAILURE_COLUMNS] for one in ledger.failures())
    write_text(folder / "failures.csv", _csv([c.name for c in FAILURE_COLUMNS], failures))
    write_text(folder / "failures.schema.json", table_schema(FAILURE_COLUMNS, "case_id"))


def table_schema(columns: Sequence[Column], *key: str) -> str:
    """A data dictionary: a Frictionless Table Schema (specs.frictionlessdata.io/table-schema)."""
    fields = [_field(column) for column in columns]
    schema: dict[str, Any] = {"fields": fields, "missingValues": [""], "primaryKey": list(key)}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _field(column: Column) -> dict[str, str]:
    field = {"name": column.name, "type": column.kind.value, "description": column.meaning}
    return field | ({"unit": column.unit} if column.unit else {})


def _score_rows(ledger: Records, n_columns: int) -> Iterable[Cells]:
    for row, about in ledger.rows():
        cells = row + about
        yield cells + ("",) * (n_columns - len(cells))


def _csv(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return stream.getvalue()


def _csv_line(cells: Cells) -> str:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()


def _write_parquet(path: Path, columns: Sequence[Column], rows: Sequence[Cells]) -> None:
    """The same table, typed; a missing value is null."""
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        Kind.TEXT: pa.string(),
        Kind.NUMBER: pa.float64(),
        Kind.WHOLE: pa.int64(),
        Kind.TRUTH: pa.bool_(),
    }
    arrays = []
    for i, column in enumerate(columns):
        typed = TYPED[column.kind]
        values = [typed(row[i]) if row[i] else None for row in rows]
        arrays.append(pa.array(values, type=types[column.kind]))
    table = pa.table(arrays, names=[column.name for column in columns])
    # an open file: the folder's name may be no UTF-8
    with written_whole(path) as building, building.open("wb") as file:
        parquet.write_table(table, file)


TYPED: Mapping[Kind, Callable[[str], Any]] = {
    Kind.TEXT: str,
    Kind.NUMBER: float,
    Kind.WHOLE: int,
    Kind.TRUTH: lambda text: text == "true",
}
"""How a cell that is not empty becomes a value."""


def _study(row: Cells) -> str:
    return row[[column.name for column in SCORES_COLUMNS].index("study_uid")]
