"""How far located arteries lie from traced ones: mean and 95th percentile of distances, mm.

    python benchmarks/locate.py [DATA] [--model FOLDER]

DATA is the folder of real heads with traced lines (default: IAC_TEST_DATA, else ../shared/data).
For each artery distances are of each point of the located line, every 0.5 mm, from the traced line:
tracers went farther at either end (into the neck, beyond the dural ring), so the other way round is
no error there. Then, for the head and for each kind of artery, the mean distance of the points that
tracers set from the located line, ends included: one figure to compare locators by.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from iac_cli.dicom.read import read_series
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.infer.card import shipped_models
from iac_cli.infer.models import load_locator
from iac_cli.locate.locator import locate_arteries
from iac_cli.simulate.skull import read_lines

HEADS = (
    ("head_healthy", "head_healthy/head.nii.gz", "anatomy/head_healthy.json", "never trained on"),
    ("head_ge_tilted", "head_ge_tilted", "head_ge_tilted_truth/arteries.json", "never trained on"),
    ("head_pet_ct", "head_pet_ct", "anatomy/head_pet_ct.json", "trained on"),
    ("head_cadaver", "head_cadaver/head.nii.gz", "anatomy/head_cadaver.json", "trained on"),
)
STEP_MM = 0.5
SURE = 3
"""Of lines traced by slices, points of at least this confidence count, and lines of more than
`FEW_SLICES` slices of them."""
FEW_SLICES = 3


def traced(path: Path, volume: Volume) -> dict[Artery, CentreLine]:
    """Lines in mm; those that are traced by slice, row and column are put into the scan."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if "index" not in document["frame"]:
        return read_lines(path)
    lines = {}
    for name, points in document["lines"].items():
        kept = [p for p in points if p.get("confidence", SURE) >= SURE]
        if name in set(Artery) and len({p["slice"] for p in kept}) > FEW_SLICES:
            world = volume.grid.to_world([[p["slice"], p["y"], p["x"]] for p in kept])
            lines[Artery(name)] = CentreLine(Artery(name), world, np.ones(len(kept)))
    return lines


def distances(one: CentreLine, other: CentreLine) -> NDArray[np.float64]:
    """Of one line's points from the other line, mm."""
    a, b = one.resampled(STEP_MM).points_mm, other.resampled(STEP_MM).points_mm
    return np.asarray(cKDTree(b).query(a)[0])


def measured(data: Path, models: Path) -> list[dict[str, Any]]:
    """A row for each artery of each head."""
    locator = load_locator(models)
    rows: list[dict[str, Any]] = []
    for head, image, lines, trained in HEADS:
        volume = read_series(data / image).volume
        known, found = traced(data / lines, volume), locate_arteries(volume, locator).lines
        for artery in [a for a in Artery if a in known and a in found]:
            gaps = distances(found[artery], known[artery])
            line = found[artery].resampled(STEP_MM).points_mm
            set_mm = cKDTree(line).query(known[artery].points_mm)[0]
            rows.append(
                {
                    "head": head,
                    "trained": trained,
                    "artery": artery.value,
                    "mean_mm": round(float(gaps.mean()), 2),
                    "p95_mm": round(float(np.percentile(gaps, 95)), 2),
                    "set_mm": [round(float(gap), 2) for gap in set_mm],
                }
            )
    return rows


def by_kind(rows: list[dict[str, Any]]) -> str:
    """In words: mean distance of the points that tracers set, in all and by kind of artery."""
    kinds: dict[str, list[float]] = {"all": []}
    for row in rows:
        for kind in ("all", row["artery"].partition("-")[0]):
            kinds.setdefault(kind, []).extend(row["set_mm"])
    return ", ".join(f"{kind} {np.mean(gaps):.1f}" for kind, gaps in kinds.items())


def asked(description: str) -> argparse.Namespace:
    """The folder of real heads and that of the models."""
    default = Path(__file__).parents[2] / "shared" / "data"
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    data = Path(os.environ.get("IAC_TEST_DATA", default))
    parser.add_argument("data", type=Path, nargs="?", default=data)
    parser.add_argument("--model", type=Path, default=shipped_models())
    return parser.parse_args()


def main() -> None:
    chosen = asked(__doc__)
    rows = measured(chosen.data, chosen.model)
    for head, *_ in HEADS:
        own = [row for row in rows if row["head"] == head]
        told = ", ".join(f"{row['artery']} {row['mean_mm']} ({row['p95_mm']})" for row in own)
        print(f"{head}, {own[0]['trained']}: {told}")
        print(f"{head}, points that tracers set: {by_kind(own)}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
