"""A skull replica's real series beside simulated scans of the same shape.

    python benchmarks/replica.py measure [--data ../shared/data] [-o docs/replica.json]
    python benchmarks/replica.py draw docs/replica.json -o docs/images

Each real series has a counterpart on the same slices and pixels: by the simulator's own kernel, and
by a Gaussian point spread as wide as the real kernel's at 1 mm. What that width does at 5 mm is
then foretold, not fitted.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measured import measure_or_draw, number, rounded

from iac_cli.dicom.read import read_series
from iac_cli.evaluate.replica import (
    THIN_MM,
    HardReplica,
    cut_grid,
    look_of_replica,
    measured_planes,
    surroundings,
)
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.scanner import POINT_SPREADS, Kernel, PointSpread, Scan

SERIES = {
    "Philips UB, 5 mm": ("S2010", 5.0),
    "Philips UB, 1 mm": ("S2020", 1.0),
    "Philips YA (bone), 1 mm": ("S2030", 1.0),
}
THIN = "S2020"
SOFT, SHARP = POINT_SPREADS[Kernel.SOFT], POINT_SPREADS[Kernel.SHARP]
AS_WIDE = PointSpread(0.69, 1.1, 0.0, 1.0, "AS UB")
COUNTERPARTS = {
    "UB": {"simulated, soft": SOFT, "simulated, as wide as UB": AS_WIDE},
    "YA": {"simulated, sharp": SHARP},
}
NOISE_HU = 3.5
MARGIN_PIXELS = 20
VERTEX_MM = (26.0, 40.0)
"""Height of the stack that shows the vertex, and half its width."""

Row = dict[str, Any]


def measure(data: Path, out: Path) -> None:
    replica = HardReplica(read_series(data / "phantom_philips" / THIN).volume)
    rows: list[Row] = []
    for name, (place, thickness_mm) in SERIES.items():
        volume = read_series(data / "phantom_philips" / place).volume
        kernel = name.split()[1].strip(",")
        scans = {
            title: Scan(thickness_mm, spread, noise_hu=NOISE_HU)
            for title, spread in COUNTERPARTS[kernel].items()
        }
        chosen = measured_planes(len(volume.hu))
        thin = thickness_mm < THIN_MM
        look = look_of_replica(
            [volume.hu[k] for k in chosen], volume.grid.pixel_mm, volume if thin else None
        )
        rows.append({"series": name, "side": "real", **look.to_json_dict()})
        planes = simulated_planes(replica, volume, chosen, list(scans.values()))
        tops = simulated_tops(replica, list(scans.values())) if thin else [None] * len(scans)
        for k, title in enumerate(scans):
            look = look_of_replica(planes[k], volume.grid.pixel_mm, tops[k])
            rows.append({"series": name, "side": title, **look.to_json_dict()})
    out.write_text(rounded(rows) + "\n", encoding="utf-8")
    print(table(rows))


def simulated_planes(
    replica: HardReplica, volume: Volume, chosen: list[int], scans: list[Scan]
) -> list[list[np.ndarray]]:
    """The chosen slices of a series by each scanner."""
    found: list[list[np.ndarray]] = [[] for _ in scans]
    for k in chosen:
        rows, columns = surroundings(volume.hu[k : k + 1] > 0.0, MARGIN_PIXELS)
        grid = cut_grid(volume.grid, slice(k, k + 1), rows, columns)
        for one, made in zip(found, replica.scanned(grid, scans, seed=k), strict=True):
            one.append(made[0])
    return found


def simulated_tops(replica: HardReplica, scans: list[Scan]) -> list[Volume]:
    """The replica's vertex by each scanner, without noise."""
    grid, hu = replica.thin.grid, replica.thin.hu
    high, half_mm = VERTEX_MM
    first = len(hu) - round(high / grid.mean_step_mm)
    rows, columns = surroundings(hu[first:] > 300.0, 0)
    half = round(half_mm / grid.pixel_mm[0])
    middle = [(span.start + span.stop) // 2 for span in (rows, columns)]
    spans = [slice(max(0, at - half), at + half) for at in middle]
    grid = cut_grid(grid, slice(first, len(hu)), spans[0], spans[1])
    made = replica.scanned(grid, [replace(scan, noise_hu=0.0) for scan in scans], seed=0)
    return [Volume(one, grid) for one in made]


def table(rows: list[Row]) -> str:
    lines = [
        "| series | side | edge mm | overshoot | through plane mm | noise HU | its frequency /mm |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['series']} | {row['side']} | {number(row['edge_mm'], 2)} "
        f"| {number(row['overshoot'], 3)} | {number(row['through_plane_mm'], 1)} "
        f"| {number(row['noise_hu'], 1)} | {number(row['noise_frequency_per_mm'], 2)} |"
        for row in rows
    ]
    return "\n".join(lines)


def draw(rows: list[Row], folder: Path) -> None:
    """Edge responses above, noise spectra below; a column a series."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(SERIES), figsize=(11, 6), layout="constrained")
    for column, name in enumerate(SERIES):
        mine = [row for row in rows if row["series"] == name]
        for row, colour in zip(mine, ("#b5651d", "#1f5fa8", "#6fa8dc"), strict=False):
            along = np.arange(len(row["edge"])) * 0.1 - 4.0
            axes[0, column].plot(along, row["edge"], color=colour, label=row["side"])
            power = np.array(row["noise_power"])
            if len(power):
                frequency = np.array(row["frequency_per_mm"])
                power = power / np.trapezoid(power, frequency)
                axes[1, column].plot(frequency, power, color=colour)
        axes[0, column].set_title(name, fontsize=10)
        axes[0, column].legend(frameon=False, fontsize=8)
        axes[0, column].set_xlabel("distance from the surface, mm")
        axes[1, column].set_xlabel("spatial frequency, 1/mm")
        for axis in axes[:, column]:
            axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("edge response in plane")
    axes[1, 0].set_ylabel("noise power (area 1)")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "replica.png", dpi=75)


if __name__ == "__main__":
    measure_or_draw(__doc__, measure, draw, "docs/replica.json")
