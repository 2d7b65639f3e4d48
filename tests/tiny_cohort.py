"""A few phantom heads with balls of calcium as a test set: every overlap is known by counting."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import heads
import numpy as np

from iac_cli.dicom.nifti import write_nifti
from iac_cli.geometry.lines import Artery
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.truth import LABELS

FOUND_MM, MISSED_MM = (-12.0, -20.0, -12.0), (12.0, -20.0, -12.0)
"""On the right and on the left ICA."""
BONE_MM = (14.0, -10.0, -24.0)


@dataclass(frozen=True)
class Head:
    """A patient: radius of the ball that a threshold of 200 HU finds, and of one that it misses."""

    found_mm: float = 3.0
    missed_mm: float = 0.0
    thickness_mm: float = 4.0
    brain_hu: float = heads.BRAIN_HU
    bone_mm: float = 0.0
    """Radius of a ball of 300 HU beside the artery that is no calcium."""


def painted(head: Head) -> tuple[Volume, np.ndarray]:
    """The scan and its labels."""
    scan = heads.head(heads.head_grid(step_mm=head.thickness_mm), brain_hu=head.brain_hu)
    labels = np.zeros(scan.hu.shape, dtype=np.uint8)
    if head.bone_mm:
        scan = heads.with_ball(scan, BONE_MM, head.bone_mm, 300.0)
    for centre, radius, hu, artery in (
        (FOUND_MM, head.found_mm, 600.0, Artery.ICA_R),
        (MISSED_MM, head.missed_mm, 150.0, Artery.ICA_L),
    ):
        if radius:
            with_ball = heads.with_ball(scan, centre, radius, hu)
            labels[with_ball.hu != scan.hu] = LABELS[artery]
            scan = with_ball
    return scan, labels


def write_cohort(folder: Path, people: Sequence[Sequence[Head]]) -> Path:
    """A folder as `simulate cohort` leaves it; one list of reconstructions a patient."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, series in enumerate(people, start=1):
        for head in series:
            name = f"P{number:04d}_{head.thickness_mm:g}mm"
            scan, labels = painted(head)
            write_nifti(folder / f"{name}.nii.gz", scan.hu, scan.grid)
            write_nifti(folder / f"{name}-labels.nii.gz", labels, scan.grid)
            row = {
                "patient_id": f"P{number:04d}",
                "image": f"{name}.nii.gz",
                "label": f"{name}-labels.nii.gz",
                "thickness_mm": head.thickness_mm,
                "kernel": "soft",
                "true_volume_mm3": round(4.19 * (head.found_mm**3 + head.missed_mm**3), 2),
            }
            rows.append(row)
    write_table(folder / "cohort.csv", rows)
    (folder / "cohort.json").write_text("{}")
    return folder


def write_table(path: Path, rows: Sequence[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
