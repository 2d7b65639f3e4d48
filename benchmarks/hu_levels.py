"""HU levels that judge a scan: the brain's median, and how bright it gets by the arteries.

    python benchmarks/hu_levels.py [SCAN...]

SCAN is a folder, zip or NIfTI file of a head (default: the real heads of IAC_TEST_DATA, else
../shared/data). The limits in `settings.CheckSettings` were chosen with these figures in view.
"""

import os
import sys
from pathlib import Path

from iac_cli.dicom.read import read_series
from iac_cli.infer.card import shipped_models
from iac_cli.infer.models import load_locator
from iac_cli.infer.windows import voxels_near
from iac_cli.locate.head import make_coarse_head
from iac_cli.locate.locator import Locator
from iac_cli.locate.skull import find_skull
from iac_cli.pipeline import locate_case
from iac_cli.settings import Settings

HEADS = ("head_ge_tilted", "head_pet_ct", "head_healthy/head.nii.gz", "head_cadaver/head.nii.gz")
LEVELS_HU = (1800, 2000, 2200, 2500, 3000)


def levels(scan: Path, locator: Locator) -> str:
    """One line about a scan; its name is the user's own argument."""
    settings = Settings()
    reading = read_series(scan)
    volume = reading.volume
    head = make_coarse_head(volume, locator.card.grid_mm[0], settings.locate.longest_head_mm)
    brain_hu = find_skull(head, settings.checks).median_hu
    arteries = locate_case(reading, locator, settings, gate=False).arteries
    if arteries is None:
        return f"{scan}: no arteries"
    near = voxels_near(volume.grid, arteries.lines.values(), settings.checks.metal_near_mm)
    hu, voxel_mm3 = volume.hu[tuple(near.T)], volume.grid.voxel_mm3[near[:, 0]]
    above = ", ".join(f"{level} HU {voxel_mm3[hu >= level].sum():.1f}" for level in LEVELS_HU)
    return (
        f"{scan}: brain {brain_hu:.0f} HU; by arteries at most {hu.max():.0f} HU, mm3 from {above}"
    )


def main(arguments: list[str]) -> None:
    """Print a line a scan."""
    root = Path(__file__).resolve().parents[1]
    data = Path(os.environ.get("IAC_TEST_DATA", root.parent / "shared" / "data"))
    locator = load_locator(shipped_models())
    for scan in map(Path, arguments) if arguments else [data / name for name in HEADS]:
        print(levels(scan, locator))


if __name__ == "__main__":
    main(sys.argv[1:])
