"""Example pictures of a training, where Pillow is installed: rows of windows, as PNG."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from iac_cli.report.files import written_whole

SCALE = 3
GAP = 2


def draw_rows(path: Path, rows: Sequence[Sequence[Tensor]]) -> None:
    """Rows of planes (y, x) in [0, 1], all of one size. Without Pillow nothing is drawn."""
    if find_spec("PIL") is None:
        return
    from PIL import Image

    strips = [np.concatenate([_tile(plane) for plane in row], axis=1) for row in rows]
    picture = np.concatenate(strips, axis=0)
    with written_whole(path) as building:
        Image.fromarray(picture).save(building, format="PNG")


def _tile(plane: Tensor) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    values = plane.detach().float().cpu().clamp(0.0, 1.0).numpy()
    large = np.repeat(np.repeat(values, SCALE, axis=0), SCALE, axis=1)
    return np.pad((255.0 * large).astype(np.uint8), GAP, constant_values=255)


def middle(volume: Tensor) -> Tensor:
    """The middle plane (y, x) of (z, y, x)."""
    return volume[len(volume) // 2]


def fullest(label: Tensor) -> int:
    """The plane of (z, y, x) with most labelled voxels; the middle one where there is none."""
    counts = label.sum(dim=(1, 2))
    return int(counts.argmax()) if bool(counts.any()) else len(label) // 2


def grey(channel: Tensor) -> Tensor:
    """A channel in [-1, 1] as grey in [0, 1]."""
    return (channel + 1.0) / 2.0


def stacked(*volumes: Tensor) -> Tensor:
    """Planes of several volumes at one place, one after the other."""
    return torch.stack(volumes)
