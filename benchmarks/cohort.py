"""Time and memory of the cohort commands on a made-up table: `python benchmarks/cohort.py`.

`--rows N` (default 100,000) sets its length. Each command is a fresh process, the interpreter's
start included. `--table FILE` writes the table and runs nothing. Its numbers are invented: they
resemble no real cohort.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iac_cli.geometry.lines import Artery
from iac_cli.report.tables import SCORES_COLUMNS, artery_prefix

PROGRAM = str(Path(sys.executable).parent / "iac-seg")

RECONSTRUCTIONS = ((0.8, "H31s"), (1.0, "STANDARD"), (2.5, "H31s"), (5.0, "SOFT"), (1.0, "H60s"))
"""Thickness in mm and kernel."""

SCANNERS = (
    *(("SIEMENS", "Somatom Force"), ("SIEMENS", "Sensation 64"), ("GE", "Revolution")),
    *(("Philips", "iCT 256"), ("Canon", "Aquilion ONE")),
)
WARNINGS = ("", "", "", "sharp_kernel", "thick_slices", "kvp_not_120;lesion_at_edge")
REASONS = ("head_not_covered", "contrast_suspected", "too_thick")
CODES = ("pixels_truncated", "no_ct_series", "geometry_missing")


def made_cohort(rows: int, seed: int = 1) -> pd.DataFrame:
    """A table as a batch leaves it: some patients with two reconstructions or two days."""
    rng = np.random.default_rng(seed)
    patient, day, place = _visits(rows, rng)
    n_patients = patient[-1] + 1 if rows else 0
    burden = rng.lognormal(np.log(70), 1.3, n_patients) * (rng.random(n_patients) > 0.2)
    thickness = np.array([one for one, _ in RECONSTRUCTIONS])[place]
    noise = rng.normal(0, 0.1, rows)
    volume = burden[patient] * np.exp(noise + 0.08 * day / 365.25 + 0.03 * (thickness - 1))
    volume[volume < 1] = 0.0
    scanner = rng.integers(0, len(SCANNERS), n_patients)[patient]
    columns: dict[str, Any] = {
        "case_id": [f"case-{row:012x}" for row in range(rows)],
        "status": "measured",
        "reasons": "",
        "warnings": np.array(WARNINGS)[rng.integers(0, len(WARNINGS), rows)],
        **_scores(volume, rng),
        "sex": np.array(["F", "M"])[rng.integers(0, 2, n_patients)][patient],
        "age_years": rng.integers(45, 92, n_patients)[patient].astype(float),
        "study_uid": [f"1.2.840.1.{p}.{d}" for p, d in zip(patient, day, strict=True)],
        "series_uid": [f"1.2.840.2.{row}" for row in range(rows)],
        "input_kind": "dicom",
        "manufacturer": np.array([one for one, _ in SCANNERS])[scanner],
        "scanner_model": np.array([one for _, one in SCANNERS])[scanner],
        "kernel": np.array([one for _, one in RECONSTRUCTIONS])[place],
        "kvp_kv": np.array([120.0, 120.0, 120.0, 100.0])[rng.integers(0, 4, rows)],
        "thickness_mm": thickness,
        "model_name": "segmenter",
        "model_version": "1.0",
        "iac_cli_version": "0.1.0",
        "input_sha256": [f"{row:064x}" for row in range(rows)],
        "patient_key": [f"patient-{p:012x}" for p in patient],
        "study_day": day,
    }
    table = pd.DataFrame(columns, index=range(rows))
    names = [column.name for column in SCORES_COLUMNS]
    table = table.reindex(columns=[*names, "patient_key", "study_day"])
    return _with_exclusions(table, rng)


def _visits(rows: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each row's patient, day and reconstruction."""
    found: list[tuple[int, int, int]] = []
    patient = 0
    while len(found) < rows:
        kind = rng.random()
        first, second = (int(one) for one in rng.integers(0, len(RECONSTRUCTIONS), 2))
        found.append((patient, 0, first))
        if kind < 0.15:
            found.append((patient, 0, second))
        elif kind < 0.3:
            found.append((patient, int(rng.integers(200, 2000)), second))
        patient += 1
    whole = np.array(found[:rows], dtype=int).reshape(-1, 3)
    return whole[:, 0], whole[:, 1], whole[:, 2]


def _scores(volume: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Every score of a row, its arteries adding up to the volume."""
    usual = np.array([6.0 if artery.value.startswith("ICA") else 0.3 for artery in Artery])
    shares = rng.gamma(usual, size=(len(volume), len(usual)))
    shares[rng.random(shares.shape) < np.where(usual > 1, 0.1, 0.6)] = 0.0
    shares[:, 0] += 1e-3
    parts = volume[:, None] * shares / shares.sum(axis=1, keepdims=True)
    carotid = parts[:, usual > 1].sum(axis=1)
    scores = {
        "volume_mm3": volume,
        "ica_volume_mm3": carotid,
        "siphon_volume_mm3": 0.8 * carotid,
        "agatston": 1.1 * volume,
        "agatston_kvp": 1.1 * volume,
        "hu_mm3": 260 * volume,
        "n_lesions": np.ceil(volume / 40),
        "log1p_volume": np.log1p(volume),
        "volume_at_110hu_mm3": 1.2 * volume,
        "volume_at_130hu_mm3": volume,
        "volume_at_160hu_mm3": 0.8 * volume,
    }
    for artery, own in zip(Artery, parts.T, strict=True):
        scores[f"{artery_prefix(artery)}_volume_mm3"] = own
        scores[f"{artery_prefix(artery)}_agatston"] = 1.1 * own
    return scores


def _with_exclusions(table: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Some cases that were not measurable and some that failed, without numbers."""
    chance = rng.random(len(table))
    numbers = [name for name in table if str(table[name].dtype) == "float64"]
    scores = [name for name in numbers if name not in ("thickness_mm", "kvp_kv", "age_years")]
    refused, failed = chance < 0.05, chance > 0.98
    table.loc[refused | failed, scores] = np.nan
    table.loc[refused | failed, "warnings"] = ""
    table.loc[refused, "status"] = "not_measurable"
    table.loc[refused, "reasons"] = rng.choice(REASONS, int(refused.sum()))
    kept = ["case_id", "status", "reasons"]
    table.loc[failed, [name for name in table if name not in kept]] = np.nan
    table.loc[failed, "status"] = "failed"
    table.loc[failed, "reasons"] = rng.choice(CODES, int(failed.sum()))
    return table


def write_table(path: Path, rows: int, seed: int = 1) -> Path:
    """Write such a table as scores.csv."""
    made_cohort(rows, seed).to_csv(path, index=False, lineterminator="\n")
    return path


def measured_run(*arguments: str | Path) -> tuple[float, float]:
    """Seconds and peak MB of one run of the program."""
    start = time.perf_counter()
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen([PROGRAM, *map(str, arguments)], stdout=nowhere, stderr=nowhere)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024


def main() -> None:
    """Make the table; without --table, time both commands on it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    if given.table:
        write_table(given.table, given.rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        table = (
            out / "scores.csv"
        )  # made by a process of its own: a child inherits its parent's peak
        making = [sys.executable, __file__, "--rows", str(given.rows), "--table", table]
        subprocess.run(making, check=True)
        print(f"{given.rows:,} rows, {table.stat().st_size / 2**20:.0f} MB")
        runs = (
            ("export-risk", "risk.csv", "presence"),
            ("export-risk", "quartiles.csv", "cohort_quartiles"),
            ("summarise", "page.html", "presence"),
            ("summarise", "quartiles.html", "cohort_quartiles"),
        )
        for command, name, scheme in runs:
            wall_s, peak_mb = measured_run(command, table, "-o", out / name, "--scheme", scheme)
            size_kb = (out / name).stat().st_size / 1024
            print(
                f"{command:<12} {scheme:<17} {wall_s:5.1f} s {peak_mb:5.0f} MB {size_kb:8,.0f} kB"
            )


if __name__ == "__main__":
    main()
