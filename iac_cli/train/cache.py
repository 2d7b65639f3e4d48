"""Windows of scans, cut once on the network's grid and kept as files that a bare machine can read.

Arteries are located as at inference. Half of a labelled scan's windows lie on its lesions, the rest
along the arteries. A file's name is a hash of the scan and of how it was cut; it holds no identity.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume
from iac_cli.infer.prior import distances
from iac_cli.infer.sample import Lattice, sample_windows
from iac_cli.report.files import write_text
from iac_cli.train.pool import DISTANCE_STEPS, FIELDS, Windows
from iac_cli.train.segmenter import LARGE_WINDOW, LOSS_FROM_HU
from iac_cli.train.splits import Split

GRID = (1.0, 0.44, 0.44)
"""The network's grid: distance of planes, rows and columns, mm."""

UNCERTAIN = 254
"""Label of voxels that count neither way."""

JITTER_MM = 5.0
ON_LESIONS = 0.5
FAR_MM = 30.0
"""Distances beyond are kept as this."""
TISSUE_HU = -300.0

FloatArray = NDArray[np.float64]
Locate = Callable[[Volume], Sequence[FloatArray]]
"""The centre lines of a head, each (k, 3) LPS mm; none where no artery is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """How a scan is cut into windows."""

    windows: int = 24
    """A scan's windows."""
    size: tuple[int, int, int] = LARGE_WINDOW
    seed: int = 1


def cache_name(fingerprints: Iterable[str], settings: CacheSettings) -> str:
    """File name of a scan's windows, from hashes of its files and of the settings."""
    text = json.dumps([*fingerprints, asdict(settings)])
    return hashlib.sha256(text.encode()).hexdigest()[:24] + ".npz"


def cut_windows(
    volume: Volume, labels: NDArray[np.uint8] | None, locate: Locate, settings: CacheSettings
) -> dict[str, NDArray[Any]]:
    """A scan's windows: hu, label, weight, distance (in eighths of a mm), each (n, z, y, x)."""
    rng = np.random.default_rng(settings.seed)
    lattice = Lattice.over(volume.grid, GRID)
    lines = [line for line in locate(volume) if len(line)]
    points = np.concatenate(lines) if lines else np.empty((0, 3))
    places = _places(volume, labels, points, rng, settings.windows)
    starts = _starts(lattice, places, settings.size)
    hu = sample_windows(volume, lattice, starts, settings.size)
    acquired = _acquired(lattice, starts, settings.size)
    weight = np.broadcast_to(acquired[:, :, None, None], hu.shape) & (hu >= LOSS_FROM_HU)
    label = np.zeros(hu.shape, dtype=bool)
    if labels is not None:
        label = _sampled(
            labels, (labels > 0) & (labels != UNCERTAIN), volume.grid, starts, settings
        )
        doubt = _sampled(labels, labels == UNCERTAIN, volume.grid, starts, settings)
        weight = weight & ~doubt
    far = distances(lattice, starts, settings.size, points, FAR_MM)
    return {
        "hu": hu.astype(np.float16),
        "label": label,
        "weight": weight,
        "distance": np.rint(DISTANCE_STEPS * far).astype(np.uint8),
    }


def _places(
    volume: Volume,
    labels: NDArray[np.uint8] | None,
    points: FloatArray,
    rng: np.random.Generator,
    n: int,
) -> NDArray[np.intp]:
    """Source voxels (n, 3) in the middle of windows: on lesions, along arteries, else in tissue."""
    on_line = volume.grid.to_index(points) if len(points) else np.empty((0, 3))
    if not len(on_line):
        on_line = np.argwhere(volume.hu[:, ::8, ::8] > TISSUE_HU) * np.array([1.0, 8.0, 8.0])
    if not len(on_line):
        raise IacError(
            Word.EMPTY_VOLUME, "a scan holds nothing but air", way_out="leave it out of the data"
        )
    lesion = (
        np.empty((0, 3)) if labels is None else np.argwhere((labels > 0) & (labels != UNCERTAIN))
    )
    n_lesion = round(n * ON_LESIONS) if len(lesion) else 0
    chosen = np.concatenate(
        [
            lesion[rng.integers(len(lesion), size=n_lesion)] if n_lesion else np.empty((0, 3)),
            on_line[rng.integers(len(on_line), size=n - n_lesion)],
        ]
    )
    spacing = np.array([volume.grid.mean_step_mm, *volume.grid.pixel_mm])
    moved = chosen + rng.normal(size=chosen.shape) * JITTER_MM / spacing
    return np.asarray(np.clip(np.rint(moved), 0, np.array(volume.grid.shape) - 1), dtype=np.intp)


def _starts(
    lattice: Lattice, places: NDArray[np.intp], size: tuple[int, int, int]
) -> NDArray[np.intp]:
    """First lattice voxels (n, 3), inside the scan where it is large enough."""
    middle = lattice.of_voxels(places)
    ends = lattice.of_voxels(np.array([lattice.grid.shape]) - 1)[0]
    ends[1:] = (
        lattice.slice_starts + (np.array(lattice.grid.shape[1:]) - 1) * lattice.pixel_steps
    ).max(0)
    latest = np.maximum(np.floor(ends).astype(int) + 1 - np.array(size), 0)
    starts = np.rint(middle - np.array(size) / 2.0).astype(np.intp)
    return np.asarray(np.clip(starts, 0, latest), dtype=np.intp)


def _acquired(
    lattice: Lattice, starts: NDArray[np.intp], size: tuple[int, int, int]
) -> NDArray[np.bool_]:
    """(n, z) whether a window's plane stands on an acquired slice, not between two."""
    planes = starts[:, :1] + np.arange(size[0])  # (n, z)
    gap = np.abs(planes[..., None] - lattice.slice_planes).min(axis=-1)
    return np.asarray(gap <= 0.5)


def _sampled(
    labels: NDArray[np.uint8],
    chosen: NDArray[np.bool_],
    grid: Grid,
    starts: NDArray[np.intp],
    settings: CacheSettings,
) -> NDArray[np.bool_]:
    """Where at least half of a window's voxel is among some labelled ones."""
    if not chosen.any():
        return np.zeros((len(starts), *settings.size), dtype=bool)
    share = Volume(np.where(chosen, 1.0, 0.0).astype(np.float32), grid)
    sampled = sample_windows(share, Lattice.over(grid, GRID), starts, settings.size)
    return np.asarray(sampled >= 0.5)  # outside the scan it is air


@dataclass(frozen=True, slots=True)
class Entry:
    """One scan's windows on file."""

    file: Path
    patient: str
    """Hash of the patient."""
    split: Split
    labelled: bool


INDEX = "index.json"


def write_index(folder: Path, entries: Sequence[Entry]) -> None:
    """List what a folder of windows holds, so that a bare machine can train on it."""
    rows = [asdict(entry) | {"file": entry.file.name} for entry in entries]
    write_text(folder / INDEX, json.dumps({"schema": 1, "scans": rows}, indent=1) + "\n")


def read_index(folder: Path) -> list[Entry]:
    """What a folder of windows holds. Raises: IacError: input_not_found."""
    try:
        rows = json.loads((folder / INDEX).read_text(encoding="utf-8"))["scans"]
    except (OSError, ValueError, KeyError) as error:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "the folder holds no windows that were cut by this program",
            way_out="give the scans, or a folder 'windows' of a run",
        ) from error
    return [
        Entry(folder / row["file"], row["patient"], Split(row["split"]), row["labelled"])
        for row in rows
    ]


def load_windows(files: Sequence[Path]) -> Windows:
    """Windows of several scans in one. Raises: IacError: empty_set."""
    if not files:
        raise IacError(
            Word.EMPTY_SET,
            "no scan is left in this split",
            way_out="give more patients, or smaller shares of the other splits",
        )
    parts: list[dict[str, NDArray[Any]]] = []
    for path in files:
        with np.load(path, allow_pickle=False) as stored:
            parts.append({name: stored[name] for name in FIELDS})
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Windows(**{name: torch.from_numpy(values) for name, values in joined.items()})
