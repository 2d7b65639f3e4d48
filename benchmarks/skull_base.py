"""Bone and air around the arteries of drawn heads and of real ones, as a table.

    python benchmarks/skull_base.py [--people 5] [--anatomy HEAD.json[:LABELS] ...]

Counts the voxels of at least 130 HU, and of air, within 4, 8 and 12 mm of the centre lines, by part
of the course. Real heads are as they are, but for gas and calcium in their arteries; drawn ones
are blurred by 0.6 mm (standard deviation) in every direction, as a thin-sliced scan is.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from iac_cli.cli.anatomy import read_anatomy
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.anatomy.real import AS_IT_IS, make_real_head
from iac_cli.simulate.anatomy.source import Anatomy
from iac_cli.simulate.head import anatomy_stream
from iac_cli.simulate.lattice import Lattice

PARTS = (
    ("ICA, entrance", "ICA", 0.0, 0.22),
    ("ICA, horizontal canal", "ICA", 0.22, 0.45),
    ("ICA, lacerum", "ICA", 0.45, 0.6),
    ("ICA, cavernous", "ICA", 0.6, 0.8),
    ("ICA, clinoid to end", "ICA", 0.8, 1.0),
    ("V4", "V4", 0.0, 1.0),
    ("BA", "BA", 0.0, 1.0),
    ("M1", "M1", 0.0, 1.0),
    ("P1", "P1", 0.0, 1.0),
)
CELL_MM, BLUR_MM, REACHES_MM = 0.7, 0.6, (4.0, 8.0, 12.0)
AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
Row = tuple[float, ...]


def measure(head: Anatomy, blur_mm: float) -> dict[str, Row]:
    """By part: share of bone within each reach, of air within 12 mm, median HU of the bone."""
    points = np.concatenate([line.points_mm for line in head.lines.values()]) @ AXES.T
    low, high = points.min(axis=0) - 14.0, points.max(axis=0) + 14.0
    spans = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
    lattice = Lattice.spanning(spans, (CELL_MM,) * 3, AXES)
    hu = gaussian_filter(head.painted(lattice), blur_mm / CELL_MM)
    cells = lattice.points_mm((slice(None),) * 3)
    return {
        label: row(hu, cells, points)
        for label, name, start, end in PARTS
        if len(points := course(head, name, start, end))
    }


def course(head: Anatomy, name: str, start: float, end: float) -> np.ndarray:
    """Points of both sides' lines of an artery between two fractions, (k, 3) mm."""
    found = [np.zeros((0, 3))]
    for artery, line in head.lines.items():
        if artery.value.partition("-")[0] == name:
            fractions = np.arange(start, end, 0.5 / line.arc_mm[-1])
            found.append(line.at_fractions(fractions))
    return np.concatenate(found)


def row(hu: np.ndarray, cells: np.ndarray, points: np.ndarray) -> Row:
    near = ((cells > points.min(axis=0) - 13) & (cells < points.max(axis=0) + 13)).all(axis=-1)
    gap, _ = cKDTree(points).query(cells[near], distance_upper_bound=REACHES_MM[-1] + 0.01)
    value = hu[near]
    shares = [float((value[gap <= reach] >= 130).mean()) for reach in REACHES_MM]
    inside = value[gap <= REACHES_MM[-1]]
    bone = inside[inside >= 130]
    return (*shares, float((inside < -300).mean()), float(np.median(bone)))


def real_head(text: str) -> Anatomy:
    path, _, labels = text.partition(":")
    source = read_anatomy(Path(path), 0, labels or None)
    return make_real_head(source, np.random.default_rng(0), AS_IT_IS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--anatomy", nargs="*", default=[])
    asked = parser.parse_args()
    drawn = [measure(draw_head(anatomy_stream(n + 1)), BLUR_MM) for n in range(asked.people)]
    real = [measure(real_head(text), 0.0) for text in asked.anatomy]
    for label, *_ in PARTS:
        mean = np.mean([one[label] for one in drawn], axis=0)
        columns = [" ".join(f"{v:.2f}" for v in mean[:3])]
        known = np.array([one[label] for one in real if label in one])
        low, high = (known.min(axis=0), known.max(axis=0)) if len(known) else (mean * 0, mean * 0)
        columns.append(" ".join(f"{a:.2f}-{b:.2f}" for a, b in zip(low[:3], high[:3], strict=True)))
        columns.append(f"{mean[3]:.2f}, {low[3]:.2f}-{high[3]:.2f}")
        columns.append(f"{mean[4]:.0f}, {low[4]:.0f}-{high[4]:.0f}")
        print(f"| {label} | " + " | ".join(columns) + " |", flush=True)


if __name__ == "__main__":
    main()
