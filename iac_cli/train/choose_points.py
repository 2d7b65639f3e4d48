"""Where to draw: the thresholds of a calibrated network, chosen on a development set.

For Dice two are chosen together: the probability from which a voxel is drawn, and the mean that a
group of such voxels needs. Many pairs are as good as the best one, as far as so few patients tell.
Of those within one standard error of it the pair is taken that draws least (Breiman 1984 chooses
the simplest tree so): what is drawn wrongly is bone, and the bone of heads that no network was
trained on is taken for calcium more often than that of development patients. A third threshold, of
voxels, draws as much as is there. Thin and thick slices have thresholds of their own where both
have patients enough.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.infer.groups import groups_of, mean_in_groups
from iac_cli.infer.operating import OperatingPoint
from iac_cli.train.candidates import Candidates

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)

LESION_THRESHOLDS = np.round(np.arange(0.1, 0.91, 0.05), 2)
"""Tried beside 0, which leaves every group. In windows there are no whole lesions: 0 alone."""

THICK_OVER_MM = 3.5
"""Thicker slices have thresholds of their own, given patients enough on both sides. It is one of
the limits of `measure.uncertainty`, so that all errors of a category are of one point."""

LEAST_PATIENTS = 12

RESAMPLES, SEED = 500, 20_000_005
"""Of the bootstrap."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Choice:
    """An operating point, and what it was chosen by."""

    point: OperatingPoint
    n: int
    """Patients, or windows."""
    drawn: tuple[float, float, float]
    """Amounts at the point: drawn rightly, drawn, and there."""
    best_dice: float
    """Of all pairs, and its standard error over patients."""
    standard_error: float

    @property
    def dice(self) -> float:
        """Pooled, at the point."""
        return pooled_dice([self])

    def to_json_dict(self) -> dict[str, Any]:
        """Its figures, as a card holds them."""
        return {
            "over_mm": self.point.over_mm,
            "n": self.n,
            "dice_pooled": self.dice,
            "dice_pooled_best": self.best_dice,
            "dice_standard_error": self.standard_error,
        }


def pooled_dice(choices: list[Choice]) -> float:
    """Of all voxels, each drawn at the point of its own thickness."""
    rightly, drawn, there = np.sum([choice.drawn for choice in choices], axis=0)
    return float(2.0 * rightly / max(1e-9, drawn + there))


def choose_points(seen: Candidates, p: FloatArray, weight: FloatArray) -> list[Choice]:
    """The points of thin and of thick slices, or one for all; p and weight are (k,)."""
    if seen.thickness_mm is not None:
        thick = seen.thickness_mm > THICK_OVER_MM
        parts = [(seen.part(one), p[one], weight[one]) for one in (~thick, thick)]
        if all(_is_enough(part) for part, *_ in parts):
            limits_mm = (0.0, THICK_OVER_MM)
            return [
                choose_point(*part, over_mm) for part, over_mm in zip(parts, limits_mm, strict=True)
            ]
    return [choose_point(seen, p, weight)]


def _is_enough(part: Candidates) -> bool:
    """Whether a part has patients enough to choose by, and half as many with calcification."""
    calcified = part.window[part.bright & (part.label > 0)]
    n_patients, n_calcified = (len(np.unique(some)) for some in (part.window, calcified))
    return n_patients >= LEAST_PATIENTS and n_calcified >= LEAST_PATIENTS // 2


def choose_point(
    seen: Candidates, p: FloatArray, weight: FloatArray, over_mm: float = 0.0
) -> Choice:
    """The pair of thresholds that draws least of those as good as the best; all arrays (k,)."""
    lesion_thresholds = [0.0] if seen.place is None else [0.0, *LESION_THRESHOLDS]
    seen = replace(seen, window=np.unique(seen.window, return_inverse=True)[1])
    drawn = np.array([drawn_amounts(seen, p, weight, t, lesion_thresholds) for t in THRESHOLDS])
    there = np.bincount(seen.window, weights=weight * seen.bright * seen.label).astype(np.float64)
    dice = _dice(drawn.sum(axis=-1), there.sum())
    best = np.unravel_index(dice.argmax(), dice.shape)
    error = _standard_error(drawn[best], there)
    as_good = dice >= dice[best] - error
    volume = drawn[..., 1, :].sum(axis=-1)
    voxels, lesions = np.unravel_index(np.where(as_good, volume, np.inf).argmin(), dice.shape)
    unbiased = np.abs(volume[:, lesions] - there.sum()).argmin()
    rightly, all_drawn = drawn[voxels, lesions].sum(axis=-1)
    return Choice(
        OperatingPoint(
            threshold=float(THRESHOLDS[voxels]),
            lesion_threshold=float(lesion_thresholds[lesions]),
            threshold_unbiased_volume=float(THRESHOLDS[unbiased]),
            over_mm=over_mm,
        ),
        n=len(there),
        drawn=(float(rightly), float(all_drawn), float(there.sum())),
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


def drawn_amounts(
    seen: Candidates, p: FloatArray, weight: FloatArray, threshold: float, lesions: list[float]
) -> FloatArray:
    """How much is drawn rightly, and how much is drawn: (thresholds of groups, 2, patients).

    Patients (`window`) are numbered from 0.
    """
    n_patients = int(seen.window.max()) + 1
    likely = p >= threshold
    mean, few = p[likely], seen.part(likely)
    if few.place is not None:
        mean = mean_in_groups(groups_of(few.place), mean)
    counts = weight[likely] * few.bright

    def summed(values: FloatArray) -> FloatArray:
        return np.bincount(few.window, weights=values, minlength=n_patients).astype(np.float64)

    kept = [counts * (mean >= one) for one in lesions]
    return np.array([(summed(one * few.label), summed(one)) for one in kept])
