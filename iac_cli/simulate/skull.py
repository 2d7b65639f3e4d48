"""A real head made ready for the window stream: HU, artery lines and real labels, in mm.

Coordinates here are local: (z, y, x) in mm from the first voxel of the cached crop, along the
scan's own axes. A cache is one `.npz` file, so that the stream runs on a machine that has torch,
numpy and scipy but no DICOM reader.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.sharper import sharper

CROP_MARGIN_MM = 32.0
"""How far the cached crop reaches beyond the artery lines."""

BLOOD_HU = 42.0
"""HU that fills a lumen which the source shows as gas."""

REPLICA_AIR_HU = -200.0
"""Below this a skull replica's voxel is air where a head has brain or soft tissue."""

UNCERTAIN_LABEL = 254
"""Label of voxels that count neither way."""


@dataclass(frozen=True, slots=True, eq=False)
class Skull:
    """One head. Arrays are (z, y, x); lines are in local mm, (k, 3) as (z, y, x)."""

    name: str
    hu: NDArray[np.float16]
    spacing_mm: NDArray[np.float64]
    lines: Mapping[Artery, NDArray[np.float64]]
    """Per artery (k, 4): z, y, x, radius, all mm."""
    labels: NDArray[np.uint8] | None = None
    """0 background, 1 real calcification, 2 counts neither way; None where none is labelled."""

    def save(self, path: Path) -> None:
        """Write the cache file."""
        arrays: dict[str, NDArray[Any]] = {f"line/{a.value}": v for a, v in self.lines.items()}
        arrays |= {"hu": self.hu, "spacing_mm": self.spacing_mm, "name": np.array(self.name)}
        if self.labels is not None:
            arrays["labels"] = self.labels
        np.savez_compressed(path, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> "Skull":
        """Read a cache file."""
        with np.load(path, allow_pickle=False) as stored:
            lines = {
                Artery(key.removeprefix("line/")): stored[key]
                for key in stored.files
                if key.startswith("line/")
            }
            labels = stored["labels"] if "labels" in stored.files else None
            return cls(str(stored["name"]), stored["hu"], stored["spacing_mm"], lines, labels)


def read_lines(path: Path) -> dict[Artery, CentreLine]:
    """Artery lines of an anatomy JSON file; extra lines (PCOM) are left out."""
    document = json.loads(path.read_text(encoding="utf-8"))
    known = {artery.value for artery in Artery}
    return {
        Artery(name): CentreLine(
            Artery(name),
            np.array([point[:3] for point in points], dtype=np.float64),
            np.array([point[3] for point in points], dtype=np.float64),
        )
        for name, points in document["lines"].items()
        if name in known and len(points) > 1
    }


def local_lines(volume: Volume, lines: Mapping[Artery, CentreLine]) -> dict[Artery, NDArray[Any]]:
    """Lines in mm along the scan's axes from its first voxel: (k, 4) as z, y, x, radius.

    Distances along the slice normal come from the true offsets; the scan must be straight.
    """
    grid = volume.grid
    if not grid.straight:
        raise ValueError("a skull must come from an untilted series")
    placed = {}
    for artery, line in lines.items():
        moved = line.points_mm - grid.positions_mm[0]
        axes = np.stack([grid.normal, grid.column_axis, grid.row_axis])
        placed[artery] = np.column_stack([moved @ axes.T, line.radius_mm])
    return placed


def make_skull(
    name: str,
    volume: Volume,
    lines: Mapping[Artery, CentreLine],
    *,
    labels: NDArray[Any] | None = None,
    is_replica: bool = False,
    blur_mm: float = 0.0,
) -> Skull:
    """Crop a head around its lines, fill gas in the lumina, and pour a brain into a replica.

    A soft scan, whose point spread has a standard deviation of `blur_mm`, is made sharper.
    """
    spacing = np.array([volume.grid.mean_step_mm, *volume.grid.pixel_mm])
    placed = local_lines(volume, lines)
    points = np.concatenate([line[:, :3] for line in placed.values()])
    shape = np.array(volume.hu.shape)
    low = np.clip(np.floor((points.min(0) - CROP_MARGIN_MM) / spacing), 0, shape - 1).astype(int)
    high = np.clip(np.ceil((points.max(0) + CROP_MARGIN_MM) / spacing), 1, shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    hu = np.array(volume.hu[box], dtype=np.float32)
    moved = {
        artery: np.column_stack([line[:, :3] - low * spacing, line[:, 3]])
        for artery, line in placed.items()
    }
    if is_replica:
        hu[hu < REPLICA_AIR_HU] = BLOOD_HU
    hu = sharper(fill_lumina(hu, spacing, moved), volume.grid.pixel_mm, blur_mm)
    cut = None if labels is None else _coarse_labels(labels[box])
    return Skull(name, hu.astype(np.float16), spacing, moved, cut)


def _coarse_labels(labels: NDArray[Any]) -> NDArray[np.uint8]:
    coarse = np.where(labels == UNCERTAIN_LABEL, 2, (labels > 0).astype(np.uint8))
    return np.asarray(coarse, dtype=np.uint8)


def fill_lumina(
    hu: NDArray[np.float32], spacing_mm: NDArray[np.float64], lines: Mapping[Artery, NDArray[Any]]
) -> NDArray[np.float32]:
    """Replace gas inside the arteries of a cadaver by blood, and soften its rim."""
    from scipy.ndimage import binary_dilation
    from scipy.spatial import cKDTree

    dense = np.concatenate([densify(line, 0.25) for line in lines.values()])
    gas = np.argwhere(hu < 10.0)
    distance, index = map(
        np.asarray, cKDTree(dense[:, :3]).query(gas * spacing_mm, distance_upper_bound=6.0)
    )
    inside = np.isfinite(distance)
    near, gap, radius = gas[inside], distance[inside], dense[index[inside], 3]
    filled = hu.copy()
    core = near[gap <= radius + 0.9]
    filled[tuple(core.T)] = BLOOD_HU
    lumen = np.zeros(hu.shape, dtype=bool)
    lumen[tuple(core.T)] = True
    rim = binary_dilation(lumen) & ~lumen & (hu < 10.0)
    filled[rim] = np.maximum(filled[rim], 0.5 * (filled[rim] + BLOOD_HU))
    return filled


def pour_brain(hu: NDArray[np.float32], spacing_mm: NDArray[np.float64]) -> NDArray[np.float32]:
    """Give a skull replica in air a brain inside and 5 mm of soft tissue outside."""
    from scipy.ndimage import binary_fill_holes, distance_transform_edt, zoom

    step = np.array([2.0, 2.0, 2.0])
    bone = zoom((hu > 200.0).astype(np.float32), spacing_mm / step, order=1) > 0.4
    near = distance_transform_edt(~bone) <= 5.0
    closed = distance_transform_edt(near) > 5.0
    solid = np.stack([binary_fill_holes(plane) for plane in closed | bone])
    body = distance_transform_edt(~solid) <= 2.5
    body_fine = zoom(body.astype(np.float32), np.array(hu.shape) / np.array(body.shape), order=1)
    poured = hu.copy()
    poured[(body_fine > 0.5) & (hu < REPLICA_AIR_HU)] = BLOOD_HU - 6.0
    return poured


def densify(line: NDArray[np.float64], step_mm: float) -> NDArray[np.float64]:
    """A line (k, 4) with a point about every `step_mm`, smoothed by a cubic through its points."""
    from scipy.interpolate import PchipInterpolator

    steps = np.linalg.norm(np.diff(line[:, :3], axis=0), axis=1)
    arc = np.concatenate([[0.0], np.cumsum(np.maximum(steps, 1e-6))])
    n = max(2, int(np.ceil(arc[-1] / step_mm)) + 1)
    return np.asarray(PchipInterpolator(arc, line, axis=0)(np.linspace(0.0, arc[-1], n)))
