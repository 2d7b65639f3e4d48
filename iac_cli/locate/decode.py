"""From the locator's maps to key points: where each lies, and whether it is in the scan at all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEIGHBOURHOOD = 2
"""Cells on each side of a map's maximum that share in the position."""


@dataclass(frozen=True, slots=True, eq=False)
class KeypointsFound:
    """Where key points lie and how sure that is."""

    cells: NDArray[np.float64]
    """(K, 3) cell coordinates (z, y, x) on the locator's grid."""
    p_present: NDArray[np.float64]
    """(K,) probability [0, 1] that the point lies inside the scan."""
    well_inside: NDArray[np.bool_] | None = None
    """(K,) False for points so near to the scan's end that they may lie beyond; None: no such."""


def decode(logits: NDArray[np.float32], absent: NDArray[np.float32]) -> KeypointsFound:
    """Maps (K, Z, Y, X) and logits (K,) of the one more place "absent" -> key points."""
    cells, present = [], []
    for one, nowhere in zip(logits, absent, strict=True):
        peak = np.array(np.unravel_index(int(one.argmax()), one.shape), dtype=np.intp)
        highest = max(float(one[tuple(peak)]), float(nowhere))
        total = float(np.exp(one - np.float32(highest)).sum(dtype=np.float64))
        cells.append(_mean_near(one, peak))
        present.append(total / (total + np.exp(float(nowhere) - highest)))
    return KeypointsFound(np.stack(cells), np.array(present))


def _mean_near(logits: NDArray[np.float32], peak: NDArray[np.intp]) -> NDArray[np.float64]:
    """Weighted mean place (3,) in the neighbourhood of a map's maximum."""
    low = np.maximum(peak - NEIGHBOURHOOD, 0)
    high = np.minimum(peak + NEIGHBOURHOOD + 1, logits.shape)
    near = logits[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].astype(np.float64)
    box = np.exp(near - near.max())
    total = box.sum()
    place = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        place.append(float((box.sum(axis=others) * np.arange(low[axis], high[axis])).sum() / total))
    return np.array(place)
