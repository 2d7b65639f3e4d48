"""How well a network does on windows of a stream: Dice, lesions found, false positives.

Only voxels of at least 130 HU on acquired slices count: the score's threshold decides all others.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import label as components

from iac_cli.simulate.laws import THRESHOLD_HU
from iac_cli.simulate.stream import PIXEL_MM, PLANE_MM, Windows, WindowStream
from iac_cli.train.segmenter import hu_channels

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)
AT_ONCE = 32
EVERY_NEIGHBOUR = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True)
class WindowScores:
    """One network on one stream. None where nothing of that kind was there."""

    windows: int
    dice: float | None
    """Pooled over all windows, at the threshold."""
    best_dice: float | None
    """At the best of all thresholds: what another calibration could give."""
    lesions: int
    sensitivity: float | None
    """Share of lesions (connected labels, from slice to slice) of which any voxel is found."""
    bright_false_share: float | None
    """Share of unlabelled voxels of at least 130 HU, nearly all bone, that are called calcium."""
    false_mm3_per_window: float


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """A batch on the CPU, (b, z, y, x): probability, label, what counts, and acquired planes."""

    p: NDArray[np.float32]
    label: NDArray[np.bool_]
    counts: NDArray[np.bool_]
    planes: NDArray[np.bool_]
    """(b, z)"""


@torch.inference_mode()
def _seen(network: torch.nn.Module, made: Windows) -> _Seen:
    counts = (made.weight > 0.5) & (made.hu >= THRESHOLD_HU)
    p = network(hu_channels(made.hu))[:, 0].float().sigmoid()
    return _Seen(
        p.cpu().numpy(),
        ((made.label > 0.5) & counts).cpu().numpy(),
        counts.cpu().numpy(),
        (made.weight > 0.5).flatten(2).any(dim=2).cpu().numpy(),
    )


def _all_seen(network: torch.nn.Module, stream: WindowStream, n: int) -> _Seen:
    parts = [
        _seen(network, stream.batch(min(AT_ONCE, n - k))) for k in range(0, max(n, 1), AT_ONCE)
    ]
    return _Seen(
        np.concatenate([part.p for part in parts]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.counts for part in parts]),
        np.concatenate([part.planes for part in parts]),
    )


def _dice(seen: _Seen, threshold: float) -> float | None:
    called = (seen.p >= threshold) & seen.counts
    both = int(called.sum() + seen.label.sum())
    return 2.0 * float((called & seen.label).sum()) / both if both else None


def _best(seen: _Seen) -> tuple[float, float | None]:
    """The threshold of the highest Dice, and that Dice."""
    scored = [(t, _dice(seen, float(t))) for t in THRESHOLDS]
    known = [(d, -abs(t - 0.5), float(t)) for t, d in scored if d is not None]
    if not known:
        return 0.5, None
    dice, _, threshold = max(known)
    return threshold, dice


def operating_threshold(network: torch.nn.Module, stream: WindowStream, n: int) -> float:
    """The threshold of the highest pooled Dice on windows like those that were trained on."""
    return _best(_all_seen(network, stream, n))[0]


def lesions_found(
    label: NDArray[np.bool_], called: NDArray[np.bool_], planes: NDArray[np.bool_]
) -> tuple[int, int]:
    """Lesions of one window (z, y, x), and how many of them are met; `planes` (z,) are slices."""
    parts, n = components(label[planes], structure=EVERY_NEIGHBOUR)
    met = np.unique(parts[called[planes] & (parts > 0)])
    return int(n), len(met)


def judged(
    network: torch.nn.Module, stream: WindowStream, n: int, threshold: float
) -> WindowScores:
    """Judge a network on `n` windows of a stream."""
    seen = _all_seen(network, stream, n)
    called = (seen.p >= threshold) & seen.counts
    lesions = met = 0
    for label, found, planes in zip(seen.label, called, seen.planes, strict=True):
        more, more_met = lesions_found(label, found, planes)
        lesions, met = lesions + more, met + more_met
    wrong = called & ~seen.label
    bright = int((seen.counts & ~seen.label).sum())
    planes = seen.planes.sum(axis=1).clip(min=1)
    step_mm = seen.planes.shape[1] * PLANE_MM / planes
    false_mm3 = wrong.sum(axis=(1, 2, 3)) * step_mm * PIXEL_MM**2
    return WindowScores(
        windows=n,
        dice=_dice(seen, threshold),
        best_dice=_best(seen)[1],
        lesions=lesions,
        sensitivity=met / lesions if lesions else None,
        bright_false_share=float(wrong.sum()) / bright if bright else None,
        false_mm3_per_window=float(false_mm3.mean()),
    )
