"""Intervals and kappa against other libraries and closed forms."""

import numpy as np
import pytest
from scipy import stats

from iac_cli.evaluate.statistics import Resamples, binomial_interval, quadratic_kappa


def test_bootstrap_is_that_of_scipy() -> None:
    values = np.random.default_rng(0).lognormal(size=60)
    ours = Resamples([str(k) for k in range(60)], repeats=4000).interval(
        lambda rows: float(values[rows].mean())
    )
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours == pytest.approx((theirs.low, theirs.high), rel=0.03)


def test_series_of_a_patient_are_drawn_together() -> None:
    """Ten copies of each patient tell nothing new: the interval stays as wide."""
    values = np.random.default_rng(0).normal(size=40)
    once = Resamples([f"{k:02d}" for k in range(40)])
    tenfold = Resamples([f"{k:02d}" for k in range(40) for _ in range(10)])
    repeated = np.repeat(values, 10)
    assert tenfold.interval(lambda rows: float(repeated[rows].mean())) == pytest.approx(
        once.interval(lambda rows: float(values[rows].mean()))
    )


def test_few_patients_have_no_interval() -> None:
    assert Resamples(["a", "b", "c", "d"] * 5).interval(lambda rows: 1.0) is None


def test_a_figure_that_rarely_exists_has_no_interval() -> None:
    draws = Resamples([str(k) for k in range(50)])
    assert draws.interval(lambda rows: 1.0 if (rows == 0).sum() > 3 else None) is None


def test_quadratic_kappa_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(5)
    for _ in range(20):
        one = rng.integers(0, 4, 50)
        other = np.clip(one + rng.integers(-1, 2, 50), 0, 3)
        assert quadratic_kappa(one.astype(float), other.astype(float)) == pytest.approx(
            metrics.cohen_kappa_score(one, other, weights="quadratic")
        )


def test_kappa_by_hand_and_where_it_does_not_exist() -> None:
    """Cohen 1960's two raters, two groups: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: 0.4."""
    one = np.repeat([1.0, 1.0, 0.0, 0.0], [20, 5, 10, 15])
    other = np.repeat([1.0, 0.0, 1.0, 0.0], [20, 5, 10, 15])
    assert quadratic_kappa(one, other) == pytest.approx(0.4)
    assert quadratic_kappa(np.ones(5), np.ones(5)) is None


def test_exact_binomial_interval_in_closed_form() -> None:
    """Nothing of n: the upper limit solves (1 - p)^n = 0.025."""
    assert binomial_interval(0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert binomial_interval(10, 10) == pytest.approx((0.025**0.1, 1.0))
    assert binomial_interval(0, 0) is None
