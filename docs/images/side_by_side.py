"""Real heads beside simulated ones: `python docs/images/side_by_side.py --data DATA`.

Shows the middle of the skull base alone, 96 mm wide, so that no face is in any picture; of heads
whose terms allow it. Simulated ones have the real one's slice thickness, distance and pixels.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from iac_cli.cli.anatomy import read_anatomy, read_traced
from iac_cli.dicom.read import read_series
from iac_cli.geometry.lines import Artery
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.anatomy.real import make_real_head
from iac_cli.simulate.head import SimulatedHead, anatomy_stream, simulate_head
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.implant import ImplantSettings, implant

HERE = Path(__file__).resolve().parent
WIDE_MM = 96.0
TILE = 230
FRACTIONS = (0.3, 0.62, 0.95)
"""Levels along the carotids: petrous canal, cavernous part, end."""

WINDOW_HU = (-200.0, 900.0)
SPAN_MM = 90.0
"""Height of the part of a head that is simulated: the arteries."""


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A scan, what is labelled in it, and where its carotids run."""

    title: str
    volume: Volume
    labels: np.ndarray
    lines: dict


def main() -> None:
    """Make both pictures beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    data = parser.parse_args().data
    save(
        [
            real(data, "head_pet_ct", data / "head_pet_ct", "real: PET/CT, 5 mm"),
            with_implants(data, "head_pet_ct", data / "head_pet_ct"),
            changed(data, "head_pet_ct", (5.0, 4.25), "changed and scanned anew"),
            procedural((5.0, 4.25), "procedural head"),
        ],
        HERE / "beside_pet_ct.png",
    )
    cadaver = data / "head_cadaver" / "head.nii.gz"
    save(
        [
            real(data, "head_cadaver", cadaver, "real: cadaver, 2 mm"),
            changed(data, "head_cadaver", (1.95, 1.95), "changed and scanned anew"),
            changed(data, "visible_human_male", (1.95, 1.95), "Visible Human, changed"),
            procedural((1.95, 1.95), "procedural head"),
        ],
        HERE / "beside_cadaver.png",
    )


def real(data: Path, name: str, scan: Path, title: str) -> Shown:
    """The scan as it is, with readers' labels where it has some."""
    from iac_cli.dicom.labels import read_labels

    volume = read_series(scan).volume
    labels = np.zeros(volume.grid.shape, dtype=bool)
    drawn = data / name / "labels.nii.gz"
    if drawn.exists():
        found = read_labels(drawn, volume.grid)
        labels = (found > 0) & (found < 254)
    return Shown(title, volume, labels, dict(read_traced(data / "anatomy" / f"{name}.json")))


def with_implants(data: Path, name: str, scan: Path) -> Shown:
    """Calcification set into the very slices."""
    volume = read_series(scan).volume
    lines = read_traced(data / "anatomy" / f"{name}.json")
    settings = ImplantSettings(seed=5, burden_mm3=250.0, thickness_mm=5.0)
    return shown(implant(volume, lines, "0" * 64, settings), "the same slices with implants")


def changed(data: Path, name: str, step: tuple[float, float], title: str) -> Shown:
    """The head turned, warped and changed, then scanned by the simulator."""
    source = read_anatomy(data / "anatomy" / f"{name}.json", 5)
    return shown(simulate_head(asked(step), None, make_real_head(source, anatomy_stream(5))), title)


def procedural(step: tuple[float, float], title: str) -> Shown:
    """A drawn head."""
    return shown(simulate_head(asked(step)), title)


def asked(step: tuple[float, float]) -> HeadSettings:
    """The arteries' part of a head on pixels of 0.977 mm."""
    thickness_mm, increment_mm = step
    return HeadSettings(
        seed=5,
        thickness_mm=thickness_mm,
        increment_mm=increment_mm,
        burden_mm3=250.0,
        rows=256,
        columns=256,
        pixel_mm=0.977,
        n_slices=int(SPAN_MM / increment_mm),
        noise_hu=5.0,
    )


def shown(head: SimulatedHead, title: str) -> Shown:
    """A simulated head with its labels."""
    volume = Volume(head.hu.astype(np.float32), head.grid)
    return Shown(title, volume, head.truth.arteries > 0, dict(head.anatomy.lines))


def tile(one: Shown, fraction: float) -> Image.Image:
    """The skull base around the carotids at one level; a red rim around what is labelled."""
    grid = one.volume.grid
    pair = [one.lines[artery] for artery in (Artery.ICA_L, Artery.ICA_R)]
    level, middle = (
        np.mean([line.at_fractions([f])[0] for line in pair], axis=0) for f in (fraction, 0.62)
    )
    k = int(np.clip(np.rint(grid.to_index(level)[0, 0]), 0, grid.shape[0] - 1))
    _, row, column = grid.to_index(middle)[0]
    half = [round(WIDE_MM / 2 / size) for size in grid.pixel_mm]
    cut = tuple(
        slice(max(0, round(at) - n), round(at) + n)
        for at, n in zip((row, column), half, strict=True)
    )
    low, high = WINDOW_HU
    grey = np.clip((one.volume.hu[k][cut] - low) / (high - low), 0.0, 1.0) * 255
    picture = Image.fromarray(grey.astype(np.uint8)).resize((TILE, TILE), Image.Resampling.BICUBIC)
    label = Image.fromarray(one.labels[k][cut]).resize((TILE, TILE), Image.Resampling.NEAREST)
    inside = binary_dilation(np.asarray(label), iterations=4)
    rgb = np.array(picture.convert("RGB"))
    rgb[binary_dilation(inside, iterations=1) & ~inside] = (230, 60, 50)
    return Image.fromarray(rgb)


def save(scans: list[Shown], path: Path) -> None:
    """One column a scan, one row a level."""
    size = (len(scans) * (TILE + 4), 20 + len(FRACTIONS) * (TILE + 4))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, one in enumerate(scans):
        pen.text((column * (TILE + 4) + 4, 4), one.title, fill="black")
        for row, fraction in enumerate(FRACTIONS):
            sheet.paste(tile(one, fraction), (column * (TILE + 4), 20 + row * (TILE + 4)))
    sheet.save(path, optimize=True)


if __name__ == "__main__":
    main()
