"""Calibration figures against scikit-learn and against arithmetic."""

import numpy as np
import pytest

from iac_cli.measure.reliability import (
    Reliability,
    adaptive_curve,
    brier_score,
    curve,
    negative_log_likelihood,
)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    p = rng.beta(0.4, 2.0, 5000)
    return p, (rng.random(5000) < p**1.4).astype(float), rng.uniform(0.1, 3.0, 5000)


def test_curve_is_that_of_scikit_learn(drawn) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    p, label, _ = drawn
    seen, stated = calibration.calibration_curve(label, p, n_bins=15)
    ours = curve(p, label, np.ones(len(p)))
    np.testing.assert_allclose(ours.stated, stated)
    np.testing.assert_allclose(ours.seen, seen)


def test_adaptive_bins_are_the_quantile_bins_of_scikit_learn(drawn) -> None:
    calibration = pytest.importorskip("sklearn.calibration")
    p, label, _ = drawn
    seen, stated = calibration.calibration_curve(label, p, n_bins=15, strategy="quantile")
    ours = adaptive_curve(p, label, np.ones(len(p)))
    np.testing.assert_allclose(ours.stated, stated, atol=2e-3)
    np.testing.assert_allclose(ours.seen, seen, atol=6e-3)
    assert ours.weight.max() - ours.weight.min() <= 1


def test_brier_and_likelihood_are_those_of_scikit_learn(drawn) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    p, label, weight = drawn
    assert brier_score(p, label, weight) == pytest.approx(
        metrics.brier_score_loss(label, p, sample_weight=weight)
    )
    assert negative_log_likelihood(p, label, weight) == pytest.approx(
        metrics.log_loss(label, p, sample_weight=weight)
    )


def test_calibration_error_by_hand() -> None:
    # bin of 0.1: stated 0.1, seen 0.5; bin of 0.9: stated 0.9, seen 1
    p = np.array([0.1, 0.1, 0.9, 0.9])
    label = np.array([0.0, 1.0, 1.0, 1.0])
    figures = Reliability.of(p, label, np.ones(4))
    assert figures.ece == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)
    assert figures.brier == pytest.approx((0.01 + 0.81 + 0.01 + 0.01) / 4)


def test_equal_probabilities_stay_in_one_adaptive_bin() -> None:
    p, label = np.full(100, 0.3), np.zeros(100)
    label[:30] = 1.0
    figures = Reliability.of(p, label, np.ones(100))
    assert figures.adaptive_ece == pytest.approx(0.0, abs=1e-12)
    assert len(adaptive_curve(p, label, np.ones(100)).weight) == 1


def test_a_weight_counts_as_so_many_copies(drawn) -> None:
    p, label, _ = drawn
    copies = np.random.default_rng(0).integers(0, 3, len(p))
    whole = np.repeat(np.arange(len(p)), copies)
    weighted = Reliability.of(p, label, copies.astype(float))
    repeated = Reliability.of(p[whole], label[whole], np.ones(len(whole)))
    assert weighted.ece == pytest.approx(repeated.ece)
    assert weighted.brier == pytest.approx(repeated.brier)


def test_nothing_has_no_error() -> None:
    empty = np.zeros(0)
    assert Reliability.of(empty, empty, empty).ece == 0.0
