"""Calibration against data whose law is known."""

import numpy as np
import pytest

from iac_cli.train.calibrate import (
    Candidates,
    calibrate,
    expected_calibration_error,
    fit_platt,
    unbiased_threshold,
)


def _candidates(a, b, n=40000):
    """Labels drawn from sigmoid(a * logit + b)."""
    rng = np.random.default_rng(7)
    logit = rng.normal(-1.0, 3.0, n)
    label = (rng.random(n) < 1.0 / (1.0 + np.exp(-(a * logit + b)))).astype(float)
    return Candidates(logit, label, np.arange(n) // 100)


def test_platt_scaling_finds_the_law_behind_the_labels():
    assert fit_platt(_candidates(0.6, -0.8), np.ones(40000)) == pytest.approx((0.6, -0.8), abs=0.05)


def test_calibration_lowers_the_error_of_an_overconfident_network():
    figures = calibrate(_candidates(0.4, -0.5), calcified_share=0.33)["figures"]
    assert figures["ece_raw"] > 0.04
    assert figures["ece"] < 0.01


def test_calibration_error_by_hand():
    # bin of 0.1: stated 0.1, seen 0.5; bin of 0.9: stated 0.9, seen 1
    p = np.array([0.1, 0.1, 0.9, 0.9])
    label = np.array([0.0, 1.0, 1.0, 1.0])
    assert expected_calibration_error(p, label, np.ones(4)) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1)


def test_the_unbiased_threshold_draws_as_many_voxels_as_are_calcified():
    p = np.linspace(0.0, 1.0, 101)
    label = (p > 0.7).astype(float)
    threshold = unbiased_threshold(p, label, np.ones(101))
    assert abs((p >= threshold).sum() - label.sum()) <= 1


def test_windows_with_calcium_are_weighted_down_to_the_wanted_share():
    # two windows of 10 candidates with 5 calcified, eight without any
    window = np.repeat(np.arange(10), 10)
    label = ((window < 2) & (np.arange(100) % 2 == 0)).astype(float)
    weight = Candidates(np.zeros(100), label, window).weights(0.02)
    assert (weight * label).sum() / weight.sum() == pytest.approx(0.02)
    assert weight.mean() == pytest.approx(1.0)
