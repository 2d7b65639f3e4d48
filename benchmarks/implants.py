"""A test set in a head that no network saw: calcification set into a real scan, also thicker.

    python benchmarks/implants.py OUT [--scan SCAN --lines JSON] [--patients 12]
    iac-seg evaluate --data OUT -o EVAL

SCAN (default: the healthy head of IAC_TEST_DATA, else ../shared/data) is of somebody without
calcification, with traced arteries in JSON. Each patient has a burden of its own, log-uniform from
5 to 300 mm3; the thick slices are averages of three.
"""

import argparse
import csv
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from thick_slices import averaged

from iac_cli.cli.anatomy import read_traced
from iac_cli.dicom.nifti import write_nifti
from iac_cli.dicom.read import read_series
from iac_cli.dicom.reading import Reading
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.implant import ImplantSettings, implant
from iac_cli.simulate.study_out import write_head

DATA = Path(os.environ.get("IAC_TEST_DATA", "../shared/data"))
GROUPS = (1, 3)
BURDEN_MM3 = (5.0, 300.0)
FIRST_SEED = 9_001

Lines = Mapping[Artery, CentreLine]


Row = dict[str, object]


def implanted(
    out: Path, number: int, burden_mm3: float, reading: Reading, lines: Lines, group: int
) -> Row:
    """One patient's scan of one thickness with its truth, and its row of the table."""
    patient = f"P{number:04d}"
    settings = ImplantSettings(seed=FIRST_SEED + number - 1, burden_mm3=burden_mm3)
    made = implant(reading.volume, lines, reading.pixel_sha256, settings)
    (out / patient).mkdir(parents=True, exist_ok=True)
    write_head(out / patient / str(group), made)
    print(f"{patient}/{group}: {made.truth.protocol_volume_mm3:.1f} mm3 to draw", flush=True)
    return {
        "case_id": f"{patient}-{group}",
        "patient_id": patient,
        "image": f"{patient}/{group}/study",
        "label": f"{patient}/{group}/truth/labels.nii.gz",
        "thickness_mm": round(reading.volume.grid.mean_step_mm, 2),
        "kernel": "soft",
        "true_volume_mm3": round(made.truth.true_volume_mm3, 3),
        "protocol_volume_mm3": round(made.truth.protocol_volume_mm3, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--scan", type=Path, default=DATA / "head_healthy/head.nii.gz")
    parser.add_argument("--lines", type=Path, default=DATA / "anatomy/head_healthy.json")
    parser.add_argument("--patients", type=int, default=12)
    chosen = parser.parse_args()
    lines, volume = read_traced(chosen.lines), read_series(chosen.scan).volume
    burdens = np.exp(
        np.random.default_rng(FIRST_SEED).uniform(*np.log(BURDEN_MM3), chosen.patients)
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for group in GROUPS:
            thick = volume if group == 1 else averaged(volume, group)
            path = Path(folder) / f"{group}.nii.gz"
            write_nifti(path, np.rint(thick.hu).astype(np.int16), thick.grid)
            reading = read_series(path)
            rows += [
                implanted(chosen.out, number, float(burden_mm3), reading, lines, group)
                for number, burden_mm3 in enumerate(burdens, start=1)
            ]
    with (chosen.out / "cohort.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
