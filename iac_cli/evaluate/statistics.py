"""Statistics of an evaluation: patients are drawn anew, never voxels or series.

Series of one patient are not independent, so every interval is the percentile bootstrap over
patients (Efron 1979), with all series of a drawn patient.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

REPEATS = 1000
SEED = 20_261_127
LEAST_PATIENTS = 5
"""With fewer there is no interval."""

LEAST_DRAWN = 0.5
"""Share of the drawn samples in which a figure must exist for an interval to be told."""


class Resamples:
    """Rows of patients drawn with replacement; the same draws for every figure."""

    def __init__(self, patients: Sequence[str], repeats: int = REPEATS, seed: int = SEED) -> None:
        known, number = np.unique(np.array(patients, dtype=str), return_inverse=True)
        self.n_patients = len(known)
        self.n_rows = len(number)
        rng = np.random.default_rng(seed)
        rows = [np.flatnonzero(number == n) for n in range(self.n_patients)]
        self._drawn: list[IndexArray] = []
        if self.n_patients >= LEAST_PATIENTS:
            for picked in rng.integers(0, self.n_patients, (repeats, self.n_patients)):
                self._drawn.append(np.concatenate([rows[n] for n in picked]))

    def interval(
        self, figure: Callable[[IndexArray], float | None], confidence: float = 0.95
    ) -> tuple[float, float] | None:
        """Interval of a figure of rows; None with too few patients, or where it rarely exists."""
        values = [value for value in map(figure, self._drawn) if value is not None]
        if not values or len(values) < LEAST_DRAWN * len(self._drawn):
            return None
        tail = 50.0 * (1.0 - confidence)
        low, high = np.percentile(values, (tail, 100.0 - tail))
        return float(low), float(high)


def quadratic_kappa(one: FloatArray, other: FloatArray) -> float | None:
    """Cohen's kappa of ordered groups (k,) with quadratic weights (Cohen 1968).

    None when all are in one group on both sides.
    """
    apart = float(np.mean((one - other) ** 2))
    by_chance = float(one.var() + other.var() + (one.mean() - other.mean()) ** 2)
    return None if by_chance == 0.0 else 1.0 - apart / by_chance


def binomial_interval(successes: int, n: int) -> tuple[float, float] | None:
    """Exact 95 % interval of a share (Clopper & Pearson 1934); None of nothing."""
    from scipy.stats import binomtest

    if n == 0:
        return None
    found = binomtest(successes, n).proportion_ci(0.95, "exact")
    return float(found.low), float(found.high)
