"""Fits Platt, temperature and beta scaling by negative log-likelihood, and chooses one of them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.infer.calibrate import Beta, Calibration, Platt, Temperature
from iac_cli.measure.reliability import negative_log_likelihood

FloatArray = NDArray[np.float64]

SMALLEST = 1e-4
"""A slope or a temperature is at least this: a calibration must rise."""


SAME = 1e-3
"""Losses that differ by a smaller share are one."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Voxels to fit or to judge on, all (k,)."""

    logit: FloatArray
    label: FloatArray
    weight: FloatArray


def probability(calibration: Calibration, logit: FloatArray) -> FloatArray:
    """Calibrated probability (k,) in double precision."""
    from scipy.special import expit

    return np.asarray(expit(calibration.scaled(logit)))


def fit_platt(sample: Sample) -> Platt:
    """a and b of p = sigmoid(a * logit + b)."""
    a, b = _fitted(sample, lambda x: Platt(float(x[0]), float(x[1])), (1.0, 0.0), (SMALLEST, None))
    return Platt(a, b)


def fit_temperature(sample: Sample) -> Temperature:
    """The one temperature; found as its inverse, in which the loss is convex."""
    slope = fit_slope(sample)
    return Temperature(1.0 / slope)


def fit_slope(sample: Sample) -> float:
    """a of p = sigmoid(a * logit)."""
    (a,) = _fitted(sample, lambda x: Platt(float(x[0]), 0.0), (1.0,), (SMALLEST,))
    return a


def fit_beta(sample: Sample) -> Beta:
    """a, b and c of beta scaling; a and b not negative."""
    a, b, c = _fitted(sample, lambda x: Beta(*map(float, x)), (1.0, 1.0, 0.0), (0.0, 0.0, None))
    return Beta(max(a, SMALLEST) if a + b == 0.0 else a, b, c)


def _fitted(
    sample: Sample,
    make: Callable[[FloatArray], Calibration],
    start: tuple[float, ...],
    least: tuple[float | None, ...],
) -> tuple[float, ...]:
    """Parameters of the lowest weighted negative log-likelihood, none below its least."""
    from scipy.optimize import minimize

    total = sample.weight.sum()

    def loss(parameters: FloatArray) -> float:
        z = make(parameters).scaled(sample.logit)
        return float((sample.weight * (np.logaddexp(0.0, z) - sample.label * z)).sum() / total)

    bounds = [(low, None) for low in least]
    found = minimize(
        loss,
        np.array(start),
        method="Nelder-Mead",
        bounds=bounds,
        options={"xatol": 1e-5, "fatol": 1e-10, "maxiter": 2000},
    )
    return tuple(float(value) for value in found.x)


def choose(fit: Sample, held: Sample) -> tuple[Calibration, dict[str, float]]:
    """The way with the lowest negative log-likelihood on `held`, and that of each, raw included.

    Fitted on `fit` alone. A way with more parameters must be better by more than `SAME`.
    """
    ways: dict[str, Calibration] = {
        "temperature": fit_temperature(fit),
        "platt": fit_platt(fit),
        "beta": fit_beta(fit),
    }
    losses = {
        name: negative_log_likelihood(probability(way, held.logit), held.label, held.weight)
        for name, way in {"raw": Platt(1.0, 0.0), **ways}.items()
    }
    lowest = min(losses[name] for name in ways)
    best = next(name for name in ways if losses[name] <= lowest * (1.0 + SAME))
    return ways[best], losses
