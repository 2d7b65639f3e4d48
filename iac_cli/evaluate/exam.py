"""The frozen exam: which patients it has, and how the classical rule does on it.

    iac-seg simulate cohort --exam --anatomy FOLDER -o OUT [--patients 20] [-j N]
    python -m iac_cli.evaluate.exam OUT

A specification is a TOML file in `exams/` and is never edited. The rule (every voxel of at least
130 HU within 8 mm of an artery's true line) must do badly, or the exam would be too easy.
"""

import argparse
import csv
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from iac_cli.dicom.labels import read_labels
from iac_cli.dicom.read import read_series
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.simulate.cohort import SEED_STEP, CohortSettings
from iac_cli.simulate.findings.rates import rates_of
from iac_cli.simulate.scanner import Kernel
from iac_cli.simulate.skull import read_lines
from iac_cli.toml_file import read_toml

PROCEDURAL = "procedural"
WAY_OUT = "compare with iac_cli/evaluate/exams/exam-2.toml"
RULE_HU, RULE_REACH_MM = 130.0, 8.0


@dataclass(frozen=True, slots=True)
class Exam:
    """A frozen exam."""

    name: str
    version: int
    cohort: CohortSettings
    anatomies: tuple[str, ...]
    """Head of each patient, in order."""
    labels: Mapping[str, str]
    """Mask of a head's own calcification, as a path from the folder of the heads."""

    def anatomy_of(self, number: int) -> str:
        """Name of a patient's head; numbers start at 1."""
        return self.anatomies[number - 1]

    def anatomy_of_seed(self, seed: int) -> str:
        """Name of the head of the patient with this seed."""
        return self.anatomy_of(seed - self.cohort.seed * SEED_STEP)


def read_exam(path: Path | None = None) -> Exam:
    """The exam of a file, or the one that ships.

    Raises: IacError: bad_setting, input_not_found.
    """
    if path is None:
        document = tomllib.loads(_shipped())
    else:
        document = read_toml(path, "the exam", way_out=WAY_OUT)
    try:
        return _exam(document)
    except (KeyError, TypeError, ValueError) as error:
        raise IacError(
            Word.BAD_SETTING,
            "the exam file lacks an entry, or one has a wrong value",
            way_out=WAY_OUT,
        ) from error


def _shipped() -> str:
    return (files("iac_cli.evaluate") / "exams" / "exam-2.toml").read_text("utf-8")


def _exam(document: Mapping[str, Any]) -> Exam:
    cohort = CohortSettings(
        patients=int(document["patients"]),
        seed=int(document["seed"]),
        reconstructions_mm=tuple(map(float, document["reconstructions_mm"])),
        kernels=tuple(map(Kernel, document["kernels"])),
        rows=int(document["rows"]),
        columns=int(document["columns"]),
        noise_hu=_pair(document["noise_hu"]),
        largest_tilt_deg=float(document["largest_tilt_deg"]),
        rates=rates_of(document.get("rates", {})),
    )
    heads = [name for name, n in document["anatomy"].items() for _ in range(int(n))]
    if len(heads) != cohort.patients:
        raise ValueError("the heads must add up to the patients")
    order = np.random.default_rng([cohort.seed, 13]).permutation(len(heads))
    return Exam(
        str(document["name"]),
        int(document["version"]),
        cohort,
        tuple(heads[k] for k in order),
        {str(name): str(path) for name, path in document.get("labels", {}).items()},
    )


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = map(float, values)
    return low, high


# the classical rule


def near_lines(hu: NDArray[Any], grid: Grid, points_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    """What the rule marks: voxels of at least 130 HU within 8 mm of a line's points (k, 3)."""
    bright = np.argwhere(np.asarray(hu) >= RULE_HU)
    marked = np.zeros(grid.shape, dtype=bool)
    if len(bright):
        gap, _ = cKDTree(points_mm).query(
            grid.to_world(bright), distance_upper_bound=np.nextafter(RULE_REACH_MM, np.inf)
        )
        marked[tuple(bright[np.isfinite(gap)].T)] = True
    return marked


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """Overlap of two masks, [0, 1]; None when both are empty."""
    total = int(one.sum()) + int(other.sum())
    return None if total == 0 else 2.0 * float((one & other).sum()) / total


@dataclass(frozen=True, slots=True)
class RuleScore:
    """How the rule does on one series."""

    patient_id: str
    thickness_mm: float
    anatomy: str
    dice: float | None
    """None: neither the rule nor the truth marks a voxel."""
    marked_voxels: int
    true_voxels: int


def score_rule(cohort: Path) -> Iterator[RuleScore]:
    """The rule on every series of a cohort's folder.

    Raises: IacError: input_not_found, and the words of reading a series.
    """
    table = cohort / "cohort.csv"
    if not table.is_file():
        raise IacError(
            Word.INPUT_NOT_FOUND, "the folder holds no cohort.csv", way_out="finish the cohort"
        )
    for row in csv.DictReader(table.read_text(encoding="utf-8").splitlines()):
        truth = (cohort / row["label"]).parent
        volume = read_series(cohort / row["image"]).volume
        lines = read_lines(truth / "arteries.json")
        points = np.concatenate([line.resampled(0.5).points_mm for line in lines.values()])
        marked = near_lines(volume.hu, volume.grid, points)
        true = read_labels(cohort / row["label"], volume.grid) > 0
        yield RuleScore(
            row["patient_id"],
            float(row["thickness_mm"]),
            row["anatomy"],
            dice(marked, true),
            int(marked.sum()),
            int(true.sum()),
        )


def main(arguments: Sequence[str] | None = None) -> str:
    """The rule's mean Dice by thickness and by head, over patients with calcification."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    scores = [one for one in score_rule(parser.parse_args(arguments).cohort) if one.true_voxels]
    lines = ["group,series,mean_dice,highest_dice"]
    groups: dict[str, list[float]] = {}
    for one in scores:
        for group in (f"{one.thickness_mm:g} mm", one.anatomy, "all"):
            groups.setdefault(group, []).append(one.dice or 0.0)
    for group, values in sorted(groups.items()):
        lines.append(f"{group},{len(values)},{np.mean(values):.3f},{max(values):.3f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(main() + "\n")
