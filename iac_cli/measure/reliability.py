"""How far stated probabilities are from what happens: calibration errors, Brier score, curves.

All arrays are (k,), one entry a voxel: `p` in [0, 1], `label` 0 or 1, `weight` at least 0.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

BINS = 15


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A reliability curve: in each bin the mean stated probability, what was seen, the weight."""

    stated: FloatArray
    seen: FloatArray
    weight: FloatArray

    @property
    def error(self) -> float:
        """Mean gap between stated and seen over the bins, by weight: the calibration error."""
        total = float(self.weight.sum())
        gaps = np.abs(self.stated - self.seen) * self.weight
        return float(gaps.sum() / total) if total > 0.0 else 0.0

    def to_json_dict(self) -> dict[str, list[float]]:
        """As plain lists."""
        return {
            name: [round(float(value), 6) for value in getattr(self, name)]
            for name in ("stated", "seen", "weight")
        }


@dataclass(frozen=True, slots=True)
class Reliability:
    """Figures of one set of probabilities."""

    ece: float
    """Expected calibration error, bins of equal width (Naeini 2015)."""
    adaptive_ece: float
    """The same with bins of equal weight (Nguyen & O'Connor 2015)."""
    brier: float
    """Mean squared difference from the label (Brier 1950)."""
    nll: float
    """Mean negative log-likelihood, nats."""

    @classmethod
    def of(cls, p: FloatArray, label: FloatArray, weight: FloatArray) -> "Reliability":
        """Every figure of probabilities."""
        return cls(
            curve(p, label, weight).error,
            adaptive_curve(p, label, weight).error,
            brier_score(p, label, weight),
            negative_log_likelihood(p, label, weight),
        )

    def to_json_dict(self) -> dict[str, float]:
        """As plain values."""
        return asdict(self)


def curve(p: FloatArray, label: FloatArray, weight: FloatArray, bins: int = BINS) -> Curve:
    """The reliability curve over bins of equal width; empty bins are left out."""
    place = np.minimum((p * bins).astype(int), bins - 1)
    return _binned(place, p, label, weight, bins)


def adaptive_curve(p: FloatArray, label: FloatArray, weight: FloatArray, bins: int = BINS) -> Curve:
    """The reliability curve over bins of equal weight; equal probabilities stay together."""
    if not len(p):
        return Curve(np.zeros(0), np.zeros(0), np.zeros(0))
    order = np.argsort(p, kind="stable")
    reached = np.cumsum(weight[order])
    wanted = reached[-1] * np.arange(1, bins) / bins
    edges = p[order][np.minimum(np.searchsorted(reached, wanted), len(p) - 1)]
    return _binned(np.searchsorted(np.unique(edges), p, side="left"), p, label, weight, bins)


def _binned(
    place: NDArray[np.intp], p: FloatArray, label: FloatArray, weight: FloatArray, bins: int
) -> Curve:
    held, stated, seen = (
        np.bincount(place, weights=values, minlength=bins).astype(np.float64)
        for values in (weight, weight * p, weight * label)
    )
    used = held > 0.0
    return Curve(stated[used] / held[used], seen[used] / held[used], held[used])


def brier_score(p: FloatArray, label: FloatArray, weight: FloatArray) -> float:
    """Weighted mean of (p - label) squared."""
    return float((weight * (p - label) ** 2).sum() / max(float(weight.sum()), 1e-300))


def negative_log_likelihood(p: FloatArray, label: FloatArray, weight: FloatArray) -> float:
    """Weighted mean of -ln of the probability that was given to what happened, nats."""
    given = np.clip(np.where(label > 0.5, p, 1.0 - p), 1e-12, 1.0)
    return float(-(weight * np.log(given)).sum() / max(float(weight.sum()), 1e-300))
