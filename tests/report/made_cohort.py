"""Small made tables of a cohort, cell by cell, for the tests of what is made from them."""

import csv
from pathlib import Path

from iac_cli.report.scored import Scored, read_scored
from iac_cli.report.tables import SCORES_COLUMNS

COLUMNS = (*(column.name for column in SCORES_COLUMNS), "patient_key", "study_day")


def row(volume_mm3: float | None = 10.0, **cells: object) -> dict[str, object]:
    """A row: measured when it has a volume; what is not given is empty."""
    known = volume_mm3 is not None
    scores = {
        "volume_mm3": volume_mm3,
        "ica_volume_mm3": volume_mm3,
        "siphon_volume_mm3": volume_mm3,
        "agatston": volume_mm3,
    }
    status = "measured" if known else "not_measurable"
    return {"status": status, **(scores if known else {}), **cells}


def failed(code: str, **cells: object) -> dict[str, object]:
    return {"status": "failed", "reasons": code, **cells}


def table(folder: Path, rows: list[dict[str, object]]) -> Path:
    """Write the rows as scores.csv; case ids are numbered unless given."""
    path = folder / "scores.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        for number, cells in enumerate(rows):
            writer.writerow({"case_id": f"SECRET-{number}", **cells})
    return path


def scored(folder: Path, rows: list[dict[str, object]]) -> Scored:
    return read_scored(table(folder, rows))
