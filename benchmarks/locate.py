"""How far located arteries lie from traced ones: mean and 95th percentile of distances, mm.

    python benchmarks/locate.py [DATA]

DATA is the folder of real heads with traced lines (default: IAC_TEST_DATA, else ../shared/data).
Distances are of each point of the located line, every 0.5 mm, from the traced line: tracers went
farther at either end (into the neck, beyond the dural ring), so the other way round is no error.
"""

import json
import os
import sys
from pathlib import Path

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


def measured(data: Path) -> list[dict[str, object]]:
    """A row for each artery of each head."""
    locator = load_locator(shipped_models())
    rows: list[dict[str, object]] = []
    for head, image, lines, trained in HEADS:
        volume = read_series(data / image).volume
        known, found = traced(data / lines, volume), locate_arteries(volume, locator).lines
        for artery in [a for a in Artery if a in known and a in found]:
            gaps = distances(found[artery], known[artery])
            rows.append(
                {
                    "head": head,
                    "trained": trained,
                    "artery": artery.value,
                    "mean_mm": round(float(gaps.mean()), 2),
                    "p95_mm": round(float(np.percentile(gaps, 95)), 2),
                }
            )
    return rows


def main() -> None:
    default = Path(__file__).parents[2] / "shared" / "data"
    data = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("IAC_TEST_DATA", default))
    rows = measured(data)
    for head, *_ in HEADS:
        own = [row for row in rows if row["head"] == head]
        told = ", ".join(f"{row['artery']} {row['mean_mm']} ({row['p95_mm']})" for row in own)
        print(f"{head}, {own[0]['trained']}: {told}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
