"""What a head without calcification is told to hold as its slices are made thicker.

    python benchmarks/thick_slices.py [SCAN] [--model FOLDER]

Neighbouring slices of SCAN (default: the healthy head of IAC_TEST_DATA, else ../shared/data) are
averaged in groups; every mm3 that is then drawn is false. Ideal averages are less noisy than thick
slices of a scanner.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from iac_cli.dicom.nifti import write_nifti
from iac_cli.dicom.read import read_series
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume
from iac_cli.infer.models import load_models
from iac_cli.pipeline import segment_case

GROUPS = (1, 2, 3, 4, 5)
DATA = Path(os.environ.get("IAC_TEST_DATA", "../shared/data"))


def averaged(volume: Volume, group: int) -> Volume:
    """Of an evenly spaced, untilted stack: every so many slices as one."""
    n = len(volume.hu) // group
    hu = volume.hu[: n * group].reshape(n, group, *volume.hu.shape[1:]).mean(axis=1)
    positions = volume.grid.positions_mm[: n * group].reshape(n, group, 3).mean(axis=1)
    grid = Grid(
        shape=(n, *volume.grid.shape[1:]),
        positions_mm=positions,
        row_axis=volume.grid.row_axis,
        column_axis=volume.grid.column_axis,
        pixel_mm=volume.grid.pixel_mm,
        extents_mm=np.full(n, group * volume.grid.mean_step_mm),
    )
    return Volume(np.rint(hu).astype(np.float32), grid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scan", type=Path, nargs="?", default=DATA / "head_healthy/head.nii.gz")
    parser.add_argument("--model", type=Path)
    chosen = parser.parse_args()
    volume, models = read_series(chosen.scan).volume, load_models(chosen.model)
    with tempfile.TemporaryDirectory() as folder:
        for group in GROUPS:
            thick = averaged(volume, group)
            path = Path(folder) / f"{group}.nii.gz"
            write_nifti(path, thick.hu.astype(np.int16), thick.grid)
            result = segment_case(path, models).result
            volume_mm3 = result.scores.volume_mm3 if result.scores else None
            told = "not measured" if volume_mm3 is None else f"{volume_mm3:.1f} mm3"
            print(f"{thick.grid.mean_step_mm:.1f} mm: {told}")


if __name__ == "__main__":
    main()
