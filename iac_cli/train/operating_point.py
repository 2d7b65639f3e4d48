"""Where to draw: the thresholds of a calibrated network, chosen on a development set.

For Dice two are chosen together: the probability from which a voxel is drawn, and the mean that a
group of such voxels needs. Many pairs are as good as the best one, as far as so few patients tell.
Of those within one standard error of it the pair is taken that draws least (Breiman 1984 chooses
the simplest tree so): what is drawn wrongly is bone, and the bone of heads that no network was
trained on is taken for calcium more often than that of development patients. A third threshold, of
voxels, draws as much as is there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.infer.groups import groups_of, mean_in_groups
from iac_cli.train.candidates import Candidates

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)

LESION_THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.05), 2)
"""Tried beside 0, which leaves every group. In windows there are no whole lesions: 0 alone."""

RESAMPLES, SEED = 500, 20_000_005
"""Of the bootstrap."""

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
    best_dice: float
    """Of all pairs, and its standard error over patients."""
    standard_error: float


def operating_point(held: Candidates, p: FloatArray, weight: FloatArray) -> OperatingPoint:
    """The pair of thresholds that draws least of those as good as the best; all arrays (k,)."""
    lesion_thresholds = [0.0] if held.place is None else [0.0, *LESION_THRESHOLDS]
    drawn = np.array([drawn_amounts(held, p, weight, t, lesion_thresholds) for t in THRESHOLDS])
    there = _by_patient(held, weight * held.bright * held.label)
    dice = _dice(drawn.sum(axis=-1), there.sum())
    best = np.unravel_index(dice.argmax(), dice.shape)
    error = _standard_error(drawn[best], there)
    as_good = dice >= dice[best] - error
    volume = drawn[..., 1, :].sum(axis=-1)
    voxels, lesions = np.unravel_index(np.where(as_good, volume, np.inf).argmin(), dice.shape)
    unbiased = np.abs(volume[:, lesions] - there.sum()).argmin()
    return OperatingPoint(
        threshold=float(THRESHOLDS[voxels]),
        lesion_threshold=float(lesion_thresholds[lesions]),
        threshold_unbiased_volume=float(THRESHOLDS[unbiased]),
        dice=float(dice[voxels, lesions]),
        best_dice=float(dice[best]),
        standard_error=error,
    )


def _dice(amounts: FloatArray, there: Any) -> Any:
    """Of amounts (..., 2): drawn rightly, and drawn."""
    return 2.0 * amounts[..., 0] / np.maximum(1e-9, amounts[..., 1] + there)


def _standard_error(amounts: FloatArray, there: FloatArray) -> float:
    """Of the pooled Dice, by the bootstrap over patients: amounts (2, patients)."""
    random = np.random.default_rng(SEED)
    picked = random.integers(0, len(there), (RESAMPLES, len(there)))
    again = _dice(np.moveaxis(amounts[:, picked].sum(axis=-1), 0, -1), there[picked].sum(axis=-1))
    return float(np.std(again))


def _by_patient(held: Candidates, values: FloatArray) -> FloatArray:
    patients, number = np.unique(held.window, return_inverse=True)
    return np.bincount(number, weights=values, minlength=len(patients)).astype(np.float64)


def drawn_amounts(
    held: Candidates, p: FloatArray, weight: FloatArray, threshold: float, lesions: list[float]
) -> FloatArray:
    """How much is drawn rightly, and how much is drawn: (thresholds of groups, 2, patients)."""
    likely = p >= threshold
    mean = np.zeros(len(p))
    mean[likely] = p[likely]
    if held.place is not None:
        mean[likely] = mean_in_groups(groups_of(held.place[likely]), p[likely])
    counts = weight * held.bright * likely
    kept = [counts * (mean >= one) for one in lesions]
    both = [(_by_patient(held, one * held.label), _by_patient(held, one)) for one in kept]
    return np.array(both)
