"""How well repeated measurements agree: ICC(2,1), limits of agreement, smallest difference.

Repeats of a subject stand in one row of `ratings` (subject, repeat); none may be missing. All three
come from the same two-way analysis of variance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Z95 = 1.959963984540054
"""95 % of a normal distribution lie within so many standard deviations."""


@dataclass(frozen=True, slots=True)
class Icc:
    """ICC(2,1) of Shrout & Fleiss 1979: two-way random effects, absolute agreement, one rating."""

    value: float
    low: float | None
    """Lower end of the 95 % interval; None where the residual is zero."""
    high: float | None


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of agreement of pairs (Bland & Altman 1986), of second less first."""

    n: int
    bias: float
    low: float
    high: float
    smallest_difference: float
    """1.96 x sqrt(2) x SEM: a smaller difference can be noise (19 of 20 times)."""


@dataclass(frozen=True, slots=True)
class _MeanSquares:
    subjects: float
    repeats: float
    residual: float


def _mean_squares(ratings: NDArray[np.float64]) -> _MeanSquares:
    """Two-way analysis of variance of (subject, repeat), one observation a cell."""
    n, k = ratings.shape
    overall = ratings.mean()
    of_subject = ratings.mean(axis=1, keepdims=True)
    of_repeat = ratings.mean(axis=0, keepdims=True)
    residual = ratings - of_subject - of_repeat + overall
    return _MeanSquares(
        subjects=float(k * ((of_subject - overall) ** 2).sum() / (n - 1)),
        repeats=float(n * ((of_repeat - overall) ** 2).sum() / (k - 1)),
        residual=float((residual**2).sum() / ((n - 1) * (k - 1))),
    )


def icc_2_1(ratings: NDArray[np.float64]) -> Icc | None:
    """ICC(2,1), None when nothing varies, with its 95 % interval, if the data allow one.

    At least 2 x 2 ratings.
    """
    n, k = ratings.shape
    ms = _mean_squares(ratings)
    value = _icc_of(ms, n, k)
    if value is None:
        return None
    if ms.residual <= 0:
        return Icc(value, None, None)
    low, high = _icc_interval(value, ms, n, k)
    return Icc(value, low, high) if low <= value <= high else Icc(value, None, None)


def icc_value(ratings: NDArray[np.float64]) -> float | None:
    """ICC(2,1) alone, for who draws many samples; None when nothing varies."""
    n, k = ratings.shape
    return _icc_of(_mean_squares(ratings), n, k)


def _icc_of(ms: _MeanSquares, n: int, k: int) -> float | None:
    whole = ms.subjects + (k - 1) * ms.residual + k * (ms.repeats - ms.residual) / n
    return None if whole <= 0 else (ms.subjects - ms.residual) / whole


def _icc_interval(icc: float, ms: _MeanSquares, n: int, k: int) -> tuple[float, float]:
    """Shrout & Fleiss 1979, Psychol Bull 86:420-428, page 424, by Satterthwaite's degrees.

    Near an ICC of 0 or below the degrees may be so few that a quantile is beyond any number: then
    the ends are not numbers, or do not hold the value.
    """
    from scipy.stats import f

    ratio = ms.repeats / ms.residual
    inner = n * (1 + (k - 1) * icc) - k * icc
    degrees = (
        (k - 1)
        * (n - 1)
        * (k * icc * ratio + inner) ** 2
        / ((n - 1) * k**2 * icc**2 * ratio**2 + inner**2)
    )
    upper, lower = f.ppf(0.975, n - 1, degrees), f.ppf(0.975, degrees, n - 1)
    rest = k * ms.repeats + (k * n - k - n) * ms.residual
    with np.errstate(all="ignore"):
        low = n * (ms.subjects - upper * ms.residual) / (upper * rest + n * ms.subjects)
        high = n * (lower * ms.subjects - ms.residual) / (rest + n * lower * ms.subjects)
    return float(low), float(high)


def limits_of_agreement(ratings: NDArray[np.float64]) -> Limits:
    """Bias, 95 % limits and smallest detectable difference of pairs (n, 2), n at least 2."""
    difference = ratings[:, 1] - ratings[:, 0]
    bias, half = float(difference.mean()), Z95 * float(difference.std(ddof=1))
    sem = np.sqrt(_mean_squares(ratings).residual)
    return Limits(len(ratings), bias, bias - half, bias + half, float(Z95 * np.sqrt(2) * sem))
