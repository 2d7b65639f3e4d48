"""How bright lesions get: those that are there, and those that are drawn on thick slices.

    python benchmarks/dense_lesions.py COHORT... [--from-mm 7] [--model FOLDER]

COHORT is a folder of `iac-seg simulate cohort` (or of patients of an exam). Prints the brightest
peaks of true lesions over all series, then for every series of at least so thick slices the peaks
of what is drawn. `measure.scores.DENSE_HU` was chosen with these figures in view.
"""

import argparse
import csv
from pathlib import Path

from iac_cli.infer.models import Models, load_models
from iac_cli.pipeline import segment_case

BRIGHTEST = 4


def true_peaks(cohort: Path) -> list[float]:
    """Peak HU of every lesion that the protocol draws, in every series."""
    tables = sorted(cohort.glob("*/truth/*/lesions.csv"))
    rows = [row for table in tables for row in csv.DictReader(table.open(encoding="utf-8"))]
    return [float(row["peak_hu"]) for row in rows if row["peak_hu"]]


def thick_series(cohort: Path, from_mm: float) -> list[Path]:
    """Series of at least so thick slices."""
    with (cohort / "cohort.csv").open(encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    return [cohort / row["image"] for row in rows if float(row["thickness_mm"]) >= from_mm]


def drawn_peaks(series: Path, models: Models) -> str:
    """In words: the brightest lesions that are drawn in one series."""
    scores = segment_case(series, models).result.scores
    if scores is None:
        return "not measured"
    peaks = sorted((one.lesion.peak_hu for one in scores.lesions), reverse=True)
    told = ", ".join(f"{peak:.0f}" for peak in peaks[:BRIGHTEST])
    return f"{told} HU" if told else "nothing drawn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohorts", type=Path, nargs="+")
    parser.add_argument("--from-mm", type=float, default=7.0)
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    models = load_models(chosen.model)
    peaks = sorted((p for cohort in chosen.cohorts for p in true_peaks(cohort)), reverse=True)
    told = ", ".join(f"{peak:.0f}" for peak in peaks[:BRIGHTEST])
    print(f"{len(peaks)} true lesions, the brightest: {told} HU")
    for cohort in chosen.cohorts:
        for series in thick_series(cohort, chosen.from_mm):
            print(f"{series.relative_to(cohort)}: {drawn_peaks(series, models)}", flush=True)


if __name__ == "__main__":
    main()
