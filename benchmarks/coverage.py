"""Whether arteries that a scan cuts are known to be cut: heads cut from below, slice by slice.

    python benchmarks/coverage.py [DATA] [--model FOLDER]

DATA is the folder of real heads with traced lines (default: IAC_TEST_DATA, else ../shared/data).
Each head is cut so that its lowest slice rises in steps of some 5 mm through the arteries. A key
point that then lies below the scan must not be placed well inside it: told are how far inside such
points are found at most, by how far outside they lie, and how often an artery counts as covered
whose lowest point is outside; and how often one counts as not covered that lies inside by more
than twice the margin, the price of it.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from locate import asked, traced
from numpy.typing import NDArray

from iac_cli.dicom.read import read_series
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery
from iac_cli.geometry.volume import Volume
from iac_cli.infer.models import load_locator
from iac_cli.locate.locator import Located, Locator, locate
from iac_cli.settings import LocateSettings

HEADS = (
    ("head_healthy/head.nii.gz", "anatomy/head_healthy.json"),
    ("head_pet_ct", "anatomy/head_pet_ct.json"),
    ("head_cadaver/head.nii.gz", "anatomy/head_cadaver.json"),
    ("anatomy/visible_human_male.nii.gz", "anatomy/visible_human_male.json"),
)
RISE_MM = 5.0
OUTSIDE_MM = (2.0, 4.0, 6.0, 10.0, np.inf)


def cut(volume: Volume, first: int) -> Volume:
    """A scan without its lowest slices."""
    grid = volume.grid
    kept = Grid(
        shape=(grid.shape[0] - first, *grid.shape[1:]),
        positions_mm=grid.positions_mm[first:],
        row_axis=grid.row_axis,
        column_axis=grid.column_axis,
        pixel_mm=grid.pixel_mm,
        extents_mm=grid.extents_mm[first:],
    )
    return Volume(volume.hu[first:], kept)


def placed(located: Located, artery: Artery, fraction: float) -> NDArray[np.float64] | None:
    """Where a key point was found, LPS mm; None where it was not."""
    fractions = located.arteries.fractions.get(artery)
    if fractions is None or not fractions[0] <= fraction <= fractions[-1]:
        return None
    line = located.arteries.lines[artery].points_mm
    return line[int(np.abs(fractions - fraction).argmin())]


def tell(name: str, volume: Volume, lines: Path, locator: Locator) -> None:
    """One head: cut it, locate, compare."""
    known = traced(lines, volume)
    points = [(a, f) for a, f in locator.card.keypoints if a in known]
    normal, offsets = volume.grid.normal, volume.grid.offsets_mm
    heights = np.array([known[a].at_fractions([f])[0] @ normal for a, f in points])
    inside_mm: dict[float, list[float]] = {limit: [] for limit in OUTSIDE_MM}
    counts: Counter[str] = Counter()
    for level in np.arange(heights.min() - RISE_MM, heights.max() - RISE_MM, RISE_MM):
        first = int(np.searchsorted(offsets, level))
        located = locate(cut(volume, first), locator)
        below = offsets[first] - heights  # positive: outside
        for (artery, fraction), outside in zip(points, below, strict=True):
            found = placed(located, artery, fraction)
            if outside > 0.0 and found is not None:
                limit = next(limit for limit in OUTSIDE_MM if outside <= limit)
                inside_mm[limit].append(float(found @ normal - offsets[first]))
        for artery in known:
            lowest = max(b for b, (a, _) in zip(below, points, strict=True) if a == artery)
            covered = located.arteries.covered[artery]
            if lowest > 0.0:
                counts["outside"] += 1
                counts["outside, covered"] += covered
            elif lowest < -2.0 * LocateSettings().edge_margin_mm:
                counts["inside"] += 1
                counts["inside, not covered"] += not covered
    print(
        f"{name}: of {counts['outside']} arteries with a point outside "
        f"{counts['outside, covered']} count as covered, of {counts['inside']} well inside "
        f"{counts['inside, not covered']} do not"
    )
    for limit, depths in inside_mm.items():
        if depths:
            deep = f"n = {len(depths)}, at most {max(depths):.1f} mm inside"
            print(f"  points up to {limit:g} mm outside that were found: {deep}", flush=True)


def main() -> None:
    chosen = asked(__doc__)
    locator = load_locator(chosen.model)
    for image, lines in HEADS:
        volume = read_series(chosen.data / image).volume
        tell(image, volume, chosen.data / lines, locator)


if __name__ == "__main__":
    main()
