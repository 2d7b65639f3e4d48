"""The files of an evaluation, made anew from its records: tables, one JSON document, a page."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from iac_cli.evaluate.evaluation import Evaluation
from iac_cli.evaluate.page import report_page
from iac_cli.evaluate.plots import plots_of
from iac_cli.evaluate.record import Record
from iac_cli.report.files import write_text, written_whole
from iac_cli.report.tables import cell

JSON = "evaluation.json"

CASE_COLUMNS = (
    *("case", "patient", "reconstruction", "thickness_mm", "kernel", "noise_hu", "anatomy"),
    *("study_day", "measured", "reasons", "dice", "both_voxels", "only_mask_voxels"),
    *("only_truth_voxels", "volume_mm3", "low_mm3", "high_mm3", "drawn_mm3", "true_volume_mm3"),
    *("agatston", "drawn_agatston", "n_lesions", "n_true_lesions"),
)
FIGURE_COLUMNS = ("by", "level", "figure", "value", "low", "high", "n")
LESION_COLUMNS = ("case", "side", "artery", "volume_mm3", "share", "confidence")


def write_evaluation(
    out: Path, records: Sequence[Record], evaluation: Evaluation, asked: Mapping[str, Any]
) -> None:
    """Write every file of an evaluation; each appears whole.

    Raises: IacError: output_not_writable, disk_full.
    """
    tables = {
        "cases.csv": table(CASE_COLUMNS, map(_case_row, records)),
        "figures.csv": table(FIGURE_COLUMNS, _figure_rows(evaluation)),
        "lesions.csv": table(LESION_COLUMNS, _lesion_rows(records)),
        "arteries.csv": _plain_table(evaluation.arteries),
        "pairs.csv": _plain_table(evaluation.pairs),
    }
    for name, text in tables.items():
        write_text(out / name, text)
    names = []
    for name, figure in plots_of(records, evaluation):
        names.append(name)
        with written_whole(out / name) as building:
            figure.savefig(building, format="png", dpi=120, metadata={"Software": None})
    document = {"asked": dict(asked), **evaluation.to_json_dict()}
    write_text(out / "report.md", report_page(document, names))
    write_text(out / JSON, json.dumps(document, indent=1, allow_nan=False) + "\n")


def table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """CSV text of rows by column name; None is an empty cell."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([cell(row[name]) for name in columns] for row in rows)
    return stream.getvalue()


def _plain_table(rows: Sequence[Any]) -> str:
    if not rows:
        return "\n"
    plain = [asdict(row) for row in rows]
    return table(list(plain[0]), plain)


def _case_row(one: Record) -> dict[str, Any]:
    overlap = one.overlap
    return {
        **{name: getattr(one, name) for name in CASE_COLUMNS if hasattr(one, name)},
        "reasons": ";".join(one.reasons),
        "both_voxels": None if overlap is None else overlap.both,
        "only_mask_voxels": None if overlap is None else overlap.only_mask,
        "only_truth_voxels": None if overlap is None else overlap.only_truth,
        "n_lesions": len(one.lesions) if one.measured else None,
        "n_true_lesions": len(one.true_lesions) if one.measured else None,
    }


def _figure_rows(evaluation: Evaluation) -> Iterable[dict[str, Any]]:
    for group in evaluation.groups:
        for one in group.figures:
            yield {"by": group.by, "level": group.level, "figure": one.name, **asdict(one)}


def _lesion_rows(records: Sequence[Record]) -> Iterable[dict[str, Any]]:
    for one in records:
        for side, lesions in (("truth", one.true_lesions), ("mask", one.lesions)):
            for lesion in lesions:
                yield {"case": one.case, "side": side, **asdict(lesion)}
