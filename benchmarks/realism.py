"""Real and simulated heads side by side in figures: what still tells them apart.

    python benchmarks/realism.py [--data ../shared/data] [-o docs/realism.json]

Real scans are measured as they are. Each simulated one is made at the thickness, pixel size and a
noise like those of a real one, from the procedural head and from real heads that were changed.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from iac_cli.cli.anatomy import read_anatomy
from iac_cli.dicom.read import read_series
from iac_cli.evaluate.realism import Look, look_of
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.anatomy.real import make_real_head
from iac_cli.simulate.anatomy.source import Anatomy
from iac_cli.simulate.head import HeadSettings, anatomy_stream, simulate_head
from iac_cli.simulate.scanner import Kernel

REAL = {
    "GE, 4-7.5 mm, tilted": "head_ge_tilted",
    "low dose, 1.5 mm": "head_healthy/head.nii.gz",
    "PET/CT, 4.25 mm": "head_pet_ct",
    "cadaver, 2 mm": "head_cadaver/head.nii.gz",
    "Visible Human, 1 mm": "anatomy/visible_human_male.nii.gz",
}
ANATOMIES = ("visible_human_male", "head_pet_ct")


@dataclass(frozen=True)
class Row:
    side: str
    name: str
    look: Look


def simulated(anatomy: Anatomy | None, seed: int, thickness_mm: float, kernel: Kernel) -> Volume:
    settings = HeadSettings(seed=seed, thickness_mm=thickness_mm, kernel=kernel, burden_mm3=20.0)
    made = simulate_head(settings, anatomy=anatomy)
    return Volume(made.hu.astype("float32"), made.grid)


def rows(data: Path) -> list[Row]:
    found = [Row("real", k, look_of(read_series(data / v).volume)) for k, v in REAL.items()]
    for thickness_mm, kernel in ((5.0, Kernel.SOFT), (1.5, Kernel.SOFT), (5.0, Kernel.SHARP)):
        how = f"{thickness_mm:g} mm {kernel.value}"
        volume = simulated(None, 3, thickness_mm, kernel)
        found.append(Row("simulated", f"procedural, {how}", look_of(volume)))
        for seed, name in enumerate(ANATOMIES, start=4):
            source = read_anatomy(data / "anatomy" / f"{name}.json", seed)
            head = make_real_head(source, anatomy_stream(seed))
            volume = simulated(head, seed, thickness_mm, kernel)
            found.append(Row("simulated", f"{name}, {how}", look_of(volume)))
    return found


def table(found: list[Row]) -> str:
    lines = [
        "| side | scan | brain HU | bone HU 50/90/99 % | noise HU | its frequency /mm | edge mm |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in found:
        look = row.look
        bone = "/".join(f"{value:.0f}" for value in look.bone_hu or ())
        lines.append(
            f"| {row.side} | {row.name} | {look.brain_hu:.0f} | {bone} | {look.noise_hu:.1f} "
            f"| {look.noise_frequency_per_mm:.2f} | {look.edge_mm:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    found = rows(chosen.data)
    if chosen.out is not None:
        document = [{"side": r.side, "name": r.name, **r.look.to_json_dict()} for r in found]
        chosen.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(table(found))


if __name__ == "__main__":
    main()
