"""Real and simulated heads side by side: what still tells them apart, in figures and curves.

    python benchmarks/realism.py measure [--data ../shared/data] [-o docs/realism.json]
    python benchmarks/realism.py draw docs/realism.json -o docs/images

Real scans are measured as they are. Each simulated one is made at the thickness, pixel size and a
noise like those of a real one, from the procedural head and from real heads that were changed.
`measure` keeps every scan it has measured, so that a run that is cut off goes on.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from measured import measure_or_draw, number, rounded

from iac_cli.cli.anatomy import read_anatomy
from iac_cli.dicom.read import read_series
from iac_cli.evaluate.realism import look_of
from iac_cli.evaluate.realism_curves import curves_of
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.anatomy.real import make_real_head
from iac_cli.simulate.head import anatomy_stream, simulate_head
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.scanner import Kernel

REAL = {
    "GE, 4-7.5 mm, tilted": "head_ge_tilted",
    "low dose, 1.5 mm": "head_healthy/head.nii.gz",
    "PET/CT, 4.25 mm": "head_pet_ct",
    "cadaver, 2 mm": "head_cadaver/head.nii.gz",
    "Visible Human, 1 mm": "anatomy/visible_human_male.nii.gz",
}

ANATOMIES = ("visible_human_male", "head_pet_ct")
SCANS = ((5.0, Kernel.SOFT), (1.5, Kernel.SOFT), (5.0, Kernel.SHARP))
PALETTE = {"real": "#b5651d", "simulated": "#1f5fa8"}

Row = dict[str, Any]


def simulated(
    seed: int, name: str | None, thickness_mm: float, kernel: Kernel, data: Path
) -> Volume:
    settings = HeadSettings(seed=seed, thickness_mm=thickness_mm, kernel=kernel, burden_mm3=20.0)
    anatomy = None
    if name is not None:
        source = read_anatomy(data / "anatomy" / f"{name}.json", seed)
        anatomy = make_real_head(source, anatomy_stream(seed))
    made = simulate_head(settings, anatomy=anatomy)
    return Volume(made.hu.astype("float32"), made.grid)


def scans(data: Path) -> Iterator[tuple[str, str, Callable[[], Volume]]]:
    """Side, name, and how to get each scan."""
    for name, place in REAL.items():
        yield "real", name, lambda place=place: read_series(data / place).volume
    for thickness_mm, kernel in SCANS:
        for seed, source in enumerate((None, *ANATOMIES), start=3):
            how = f"{source or 'procedural'}, {thickness_mm:g} mm {kernel.value}"
            yield (
                "simulated",
                how,
                lambda s=seed, n=source, t=thickness_mm, k=kernel: simulated(s, n, t, k, data),
            )


def measure(data: Path, out: Path) -> None:
    stored = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"scans": []}
    known = {row["name"] for row in stored["scans"]}
    for side, name, get in scans(data):
        if name not in known:
            volume = get()
            look, curves = look_of(volume).to_json_dict(), curves_of(volume).to_json_dict()
            if any(source in name for source in ANATOMIES):
                look["through_plane_mm"] = None  # these sources end below their vertex
            stored["scans"].append({"side": side, "name": name, "look": look, "curves": curves})
            out.write_text(rounded(stored), encoding="utf-8")
    print(table(stored))


def table(stored: Row) -> str:
    lines = [
        "| side | scan | brain HU | bone HU 50/90/99 % | noise HU | its frequency /mm "
        "| edge mm | through plane mm |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in stored["scans"]:
        look = row["look"]
        bone = "/".join(f"{value:.0f}" for value in look["bone_hu"] or ())
        lines.append(
            f"| {row['side']} | {row['name']} | {number(look['brain_hu'], 0)} | {bone} "
            f"| {number(look['noise_hu'], 1)} | {number(look['noise_frequency_per_mm'], 2)} "
            f"| {number(look['edge_mm'], 1)} | {number(look['through_plane_mm'], 1)} |"
        )
    return "\n".join(lines)


def draw(stored: Row, folder: Path) -> None:
    """One picture of four curves; real scans warm, simulated ones cold."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    panels = (
        ("tissue_hu", "tissue", "soft tissue in the brain's slices, HU", "share of voxels"),
        ("bone_hu", "bone", "bone, HU", "share of voxels"),
        ("frequency_per_mm", "noise_power", "noise: spatial frequency, 1/mm", "power (area 1)"),
        ("edge_mm", "edge", "distance from the skin's edge, mm", "edge response in plane"),
    )
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for axis, (x, y, along, up) in zip(axes.flat, panels, strict=True):
        for side in ("real", "simulated"):
            rows = [row for row in stored["scans"] if row["side"] == side and row["curves"][y]]
            for k, row in enumerate(rows):
                xs, ys = np.array(row["curves"][x]), np.array(row["curves"][y])
                if y == "noise_power":
                    ys = ys / np.trapezoid(ys, xs)
                style = "--" if "sharp" in row["name"] else "-"
                label = side if k == 0 else None
                axis.plot(xs, ys, style, color=PALETTE[side], lw=1.1, alpha=0.75, label=label)
        axis.set_xlabel(along)
        axis.set_ylabel(up)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False)
    axes[1, 0].set_title("dashed: simulated sharp kernel", fontsize=9)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "realism.png", dpi=80)


if __name__ == "__main__":
    measure_or_draw(__doc__, measure, draw, "docs/realism.json")
