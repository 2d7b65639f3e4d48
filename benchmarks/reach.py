"""How far true and false lesions lie from the located lines.

    python benchmarks/reach.py COHORT.csv [--model FOLDER] [--reach-mm 8]

The cohort (patient_id, image, label: development patients, never those of a test) is segmented with
the limit of the card moved out to --reach-mm. A lesion is true where at least a quarter of its
voxels is labelled. Printed are number and volume of both, by median distance from the line.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from iac_cli.dicom.labels import read_labels
from iac_cli.dicom.read import read_series
from iac_cli.infer.models import Models, load_models
from iac_cli.infer.segment import segment_calcium
from iac_cli.locate.checks import is_reason
from iac_cli.measure.lesions import find_lesions
from iac_cli.pipeline import locate_case
from iac_cli.settings import Settings
from iac_cli.simulate.skull import UNCERTAIN_LABEL

TRUE_SHARE = 0.25
EDGES_MM = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, np.inf)

Seen = tuple[float, float, bool]
"""Median distance in mm, volume in mm3, whether the lesion is true."""


def seen_in(image: Path, label: Path, models: Models, settings: Settings) -> list[Seen]:
    reading = read_series(image)
    volume, located = reading.volume, locate_case(reading, models.locator, settings)
    arteries = located.arteries
    if arteries is None or any(map(is_reason, located.findings)):
        return []  # the product measures nothing here
    p = segment_calcium(volume, arteries, models.segmenter, settings.windows)
    likely = p.drawn(models.segmenter.card.point_for(p.thickness_mm(reading.series.thickness_mm)))
    found = find_lesions(volume, likely, places=arteries.places)
    labels = read_labels(label, volume.grid)
    true = (labels > 0) & (labels != UNCERTAIN_LABEL)
    seen = []
    for lesion in found.lesions:
        share = true[found.labels == lesion.number].mean()
        if lesion.distance_mm is not None:
            seen.append((lesion.distance_mm, lesion.volume_mm3, bool(share >= TRUE_SHARE)))
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--reach-mm", type=float, default=8.0)
    chosen = parser.parse_args()
    models, settings = load_models(chosen.model), Settings()
    card = replace(models.segmenter.card, reach_mm=chosen.reach_mm)
    models = replace(models, segmenter=replace(models.segmenter, card=card))
    seen: list[Seen] = []
    with chosen.cohort.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            places = (chosen.cohort.parent / row[name] for name in ("image", "label"))
            seen += seen_in(*places, models, settings)
    print("| median distance, mm | true | mm3 | false | mm3 |\n|---|---|---|---|---|")
    for low, high in zip(EDGES_MM[:-1], EDGES_MM[1:], strict=True):
        cells = []
        for wanted in (True, False):
            volumes = [v for d, v, is_true in seen if low <= d < high and is_true == wanted]
            cells.append(f"{len(volumes)} | {sum(volumes):.0f}")
        print(f"| {low:g} to {high:g} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
