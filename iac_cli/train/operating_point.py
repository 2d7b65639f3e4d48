"""Where to draw: the thresholds of a calibrated network, chosen on a development set.

For Dice two are chosen together: the probability from which a voxel is drawn, and the mean that a
group of such voxels needs. For calibrated probabilities the first is about half of the best Dice
(Lipton 2014). A third, of voxels, draws as much as is there.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.infer.groups import groups_of, mean_in_groups
from iac_cli.train.candidates import Candidates

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)

LESION_THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.05), 2)
"""Tried beside 0, which leaves every group. In windows there are no whole lesions: 0 alone."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What a card says of where to draw."""

    threshold: float
    lesion_threshold: float
    threshold_unbiased_volume: float
    """Beside the same `lesion_threshold`."""
    dice: float
    """Pooled, at the first two."""


def operating_point(held: Candidates, p: FloatArray, weight: FloatArray) -> OperatingPoint:
    """The best of all pairs of thresholds, the lowest of equal ones; all arrays (k,)."""
    lesion_thresholds = [0.0] if held.place is None else [0.0, *LESION_THRESHOLDS]
    drawn = np.array([drawn_amounts(held, p, weight, t, lesion_thresholds) for t in THRESHOLDS])
    there = (weight * held.bright * held.label).sum()
    dice = 2.0 * drawn[..., 0] / np.maximum(1e-9, drawn[..., 1] + there)
    best, lesions = np.unravel_index(dice.argmax(), dice.shape)
    unbiased = np.abs(drawn[:, lesions, 1] - there).argmin()
    return OperatingPoint(
        threshold=float(THRESHOLDS[best]),
        lesion_threshold=float(lesion_thresholds[lesions]),
        threshold_unbiased_volume=float(THRESHOLDS[unbiased]),
        dice=float(dice.max()),
    )


def drawn_amounts(
    held: Candidates, p: FloatArray, weight: FloatArray, threshold: float, lesions: list[float]
) -> list[tuple[float, float]]:
    """At each of the thresholds of groups: how much is drawn rightly, and how much is drawn."""
    likely = np.flatnonzero(p >= threshold)
    mean = p[likely]
    if held.place is not None:
        mean = mean_in_groups(groups_of(held.place[likely]), mean)
    counts = weight[likely] * held.bright[likely]
    right = counts * held.label[likely]
    return [(float(right[mean >= one].sum()), float(counts[mean >= one].sum())) for one in lesions]
