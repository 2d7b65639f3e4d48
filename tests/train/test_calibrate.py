"""Calibration against data whose law is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit

from iac_cli.errors import IacError, Word
from iac_cli.infer.calibrate import Beta, Platt, Temperature
from iac_cli.measure.uncertainty import THICKNESS_LIMITS_MM
from iac_cli.train import candidates as candidates_module
from iac_cli.train.calibrate import calibrate
from iac_cli.train.candidates import Candidates, of_windows
from iac_cli.train.choose_points import (
    LEAST_PATIENTS,
    THICK_OVER_MM,
    choose_point,
    choose_points,
    drawn_amounts,
)
from iac_cli.train.decoders import Decoder
from iac_cli.train.networks import decoder_config, make_network
from iac_cli.train.runs import save_network
from iac_cli.train.scaling import Sample, choose, fit_beta, fit_platt, fit_temperature, probability
from iac_cli.train.vit import VitConfig
from tests.train.heads import make_skulls


def _candidates(way, n=40000):
    """Labels drawn from a known scaling of the logit."""
    rng = np.random.default_rng(7)
    logit = rng.normal(-1.0, 3.0, n)
    label = (rng.random(n) < expit(way.scaled(logit))).astype(float)
    return of_windows_alone(logit, label, np.arange(n) // 100)


def of_windows_alone(logit, label, window):
    return Candidates(logit, label, window, np.ones(len(label), dtype=bool))


def _sample(candidates):
    return Sample(candidates.logit, candidates.label, np.ones(len(candidates.label)))


def test_platt_scaling_finds_the_law_behind_the_labels():
    found = fit_platt(_sample(_candidates(Platt(0.6, -0.8))))
    assert (found.a, found.b) == pytest.approx((0.6, -0.8), abs=0.05)


def test_platt_scaling_is_a_logistic_regression():
    linear_model = pytest.importorskip("sklearn.linear_model")
    candidates = _candidates(Platt(0.6, -0.8), 4000)
    weight = np.random.default_rng(1).uniform(0.2, 2.0, 4000)
    found = fit_platt(Sample(candidates.logit, candidates.label, weight))
    other = linear_model.LogisticRegression(C=np.inf, tol=1e-8).fit(
        candidates.logit[:, None], candidates.label, sample_weight=weight
    )
    assert found.a == pytest.approx(float(other.coef_[0, 0]), abs=1e-3)
    assert found.b == pytest.approx(float(other.intercept_[0]), abs=1e-3)


def test_beta_scaling_is_a_logistic_regression_on_two_logarithms():
    linear_model = pytest.importorskip("sklearn.linear_model")
    candidates = _candidates(Beta(0.5, 1.4, -0.3), 6000)
    found = fit_beta(_sample(candidates))
    p = expit(candidates.logit)
    both = np.column_stack([np.log(p), -np.log1p(-p)])
    other = linear_model.LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    other.fit(both, candidates.label)
    assert (found.a, found.b) == pytest.approx(tuple(other.coef_[0]), abs=5e-3)
    assert found.c == pytest.approx(float(other.intercept_[0]), abs=5e-3)


def test_temperature_finds_the_law_behind_the_labels():
    found = fit_temperature(_sample(_candidates(Temperature(2.5))))
    assert found.temperature == pytest.approx(2.5, rel=0.05)


@pytest.mark.parametrize(
    ("law", "kind"), [(Platt(0.5, -1.5), Platt), (Beta(0.3, 1.6, -0.5), Beta)], ids=str
)
def test_the_way_that_the_labels_follow_is_chosen(law, kind):
    drawn = _candidates(law, 80000)
    half = drawn.window < 400
    chosen, losses = choose(_sample(drawn.part(half)), _sample(drawn.part(~half)))
    assert isinstance(chosen, kind)
    assert losses["raw"] > min(losses.values())


def test_of_equal_ways_the_simplest_is_chosen():
    drawn = _candidates(Temperature(1.0), 200)
    chosen, losses = choose(_sample(drawn), _sample(of_windows_alone(*[np.zeros(0)] * 3)))
    assert isinstance(chosen, Temperature)
    assert set(losses) == {"raw", "temperature", "platt", "beta"}


def test_calibration_lowers_the_error_of_an_overconfident_network():
    fields = calibrate(_candidates(Platt(0.4, -0.5)), calcified_share=0.33)
    figures = fields["figures"]
    assert figures["before"]["ece"] > 0.04
    assert figures["after"]["ece"] < 0.01
    assert figures["after"]["brier"] < figures["before"]["brier"]
    p = probability(Platt(0.4, -0.5), np.array([0.0]))
    assert 0 < float(p[0]) < 1


def test_the_threshold_for_dice_is_half_the_dice():
    """Lipton 2014: with calibrated probabilities the best F1 is twice its threshold."""
    fields = calibrate(_candidates(Platt(0.7, -1.0), 200_000), calcified_share=None)
    assert fields["threshold"] == pytest.approx(fields["figures"]["dice_pooled"] / 2, abs=0.03)


def test_the_unbiased_threshold_draws_as_many_voxels_as_are_calcified():
    p = np.linspace(0.0, 1.0, 101)
    label = (p > 0.7).astype(float)
    rows = of_windows_alone(p, label, np.zeros(101))
    point = choose_point(rows, p, np.ones(101)).point
    assert abs((p >= point.threshold_unbiased_volume).sum() - label.sum()) <= 1
    assert point.lesion_threshold == 0.0


def many_heads(n=20):
    """Pairs of heads at one place: in one calcium of 0.3 around 0.9, in the other bone at 0.45."""
    line = np.column_stack([np.zeros(9, int), np.full(9, 5), np.full(9, 5), np.arange(9)])
    calcium = np.where((np.arange(9) > 0) & (np.arange(9) < 8), 0.9, 0.3)
    p = np.tile(np.concatenate([calcium, np.full(9, 0.45)]), n)
    place = np.concatenate([line + [2 * k, 0, 0, 0] for k in range(2 * n)])
    label = np.tile(np.repeat([1.0, 0.0], 9), n)
    return Candidates(p, label, np.repeat(np.arange(2 * n), 9), np.ones(18 * n, bool), place)


def test_a_lesion_that_is_unlikely_in_the_mean_is_told_by_its_own_threshold():
    held = many_heads()
    p, weight = held.logit, np.ones(len(held.logit))
    choice = choose_point(held, p, weight)
    point = choice.point
    assert (choice.dice, choice.standard_error) == pytest.approx((1.0, 0.0))
    assert point.threshold <= 0.3 < 0.45 < point.lesion_threshold <= 0.9 * 7 / 9 + 0.3 * 2 / 9
    assert point.threshold_unbiased_volume <= 0.3
    alone = choose_point(replace(held, place=None), p, weight)
    assert alone.dice == pytest.approx(2 * 7 / (7 + 9))  # voxels by themselves: from 0.46 on


def test_of_pairs_as_good_as_the_best_the_one_that_draws_least_is_taken():
    """Calcium of 0.9, and beside it as much of 0.5 that is calcium in half of the patients."""
    n = 40
    p = np.tile([0.9, 0.5], n)
    label = np.column_stack([np.ones(n), np.arange(n) % 2]).ravel()
    held = of_windows_alone(p, label, np.repeat(np.arange(n), 2))
    choice = choose_point(held, p, np.ones(2 * n))
    assert choice.best_dice == pytest.approx(2 * 1.5 / (1.5 + 2.0))  # 0.857; without them 0.8
    picked = np.random.default_rng(1).binomial(n, 0.5, 20_000) / n  # share with the second one
    assert choice.standard_error == pytest.approx(np.std(2 * (1 + picked) / (3 + picked)), rel=0.15)
    assert choice.point.threshold <= 0.5
    in_18 = np.arange(n) < 18  # 0.841, without them 0.816, and an error of 0.026
    closer = replace(held, label=np.column_stack([np.ones(n), in_18]).ravel())
    choice = choose_point(closer, p, np.ones(2 * n))
    assert choice.point.threshold > 0.5
    assert choice.best_dice - choice.standard_error <= choice.dice < choice.best_dice


def in_slices(faint, patients=LEAST_PATIENTS):
    """Patients in thin and in thick slices: calcium of 0.9 in thin ones, `faint` in thick ones, and
    bone of half of that in each."""
    n = 2 * patients
    thick = np.repeat(np.arange(n) % 2, 2)
    p = np.tile([0.9, 0.45], n) * np.where(thick, faint / 0.9, 1.0)
    held = of_windows_alone(p, np.tile([1.0, 0.0], n), np.repeat(np.arange(n) // 2, 2))
    return replace(held, thickness_mm=np.where(thick, 5.0, 1.0))


def test_thick_slices_have_thresholds_of_their_own():
    held = in_slices(faint=0.3)
    thin, thick = choose_points(held, held.logit, np.ones(len(held.label)))
    assert 0.45 < thin.point.threshold <= 0.9
    assert 0.15 < thick.point.threshold <= 0.3
    assert (thin.point.over_mm, thick.point.over_mm) == (0.0, 3.5)
    assert thin.dice == thick.dice == 1.0
    fields = calibrate(held, None)
    (thicker,) = fields["thicker_slices"]
    assert thicker["over_mm"] == 3.5 and thicker["threshold"] < fields["threshold"]
    assert [one["n"] for one in fields["figures"]["operating_points"]] == [12, 12]
    assert fields["figures"]["dice_pooled"] == 1.0


def test_the_limit_between_thin_and_thick_is_one_of_the_errors_categories():
    """Else the errors of a category would be of two operating points."""
    assert THICK_OVER_MM in THICKNESS_LIMITS_MM


def test_without_patients_enough_all_slices_share_one_point():
    few = in_slices(faint=0.3, patients=LEAST_PATIENTS - 1)
    (one,) = choose_points(few, few.logit, np.ones(len(few.label)))
    assert one.point.over_mm == 0.0
    assert one.dice < 1.0
    healthy = in_slices(faint=0.3)
    healthy = replace(healthy, label=healthy.label * (healthy.thickness_mm < 3.0))
    assert len(choose_points(healthy, healthy.logit, np.ones(len(healthy.label)))) == 1


def test_faint_voxels_join_groups_and_count_for_nothing_else():
    """Together 0.67 in the mean, the two bright ones alone 0.9."""
    p = np.array([0.9, 0.2, 0.9])
    place = np.array([[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2]])
    held = Candidates(
        p, np.array([1.0, 0.0, 1.0]), np.zeros(3, int), np.array([True, False, True]), place
    )
    alone, joined = drawn_amounts(held, p, np.ones(3), 0.1, [0.0, 0.7])
    assert (alone.tolist(), joined.tolist()) == ([[2.0], [2.0]], [[0.0], [0.0]])
    doubtful = replace(held, label=np.ones(3))  # as readers may label below 130 HU
    assert choose_point(doubtful, p, np.ones(3)).dice == pytest.approx(1.0)


def test_calcium_that_is_faint_alone_is_too_little_to_calibrate_on():
    drawn = _candidates(Platt(1.0, 0.0), 2000)
    faint = replace(drawn, bright=(drawn.label == 0) | (drawn.window < 10))
    with pytest.raises(IacError) as caught:
        calibrate(faint, None)
    assert caught.value.word is Word.BAD_SETTING


def test_windows_with_calcium_are_weighted_down_to_the_wanted_share():
    # two windows of 10 candidates with 5 calcified, eight without any
    window = np.repeat(np.arange(10), 10)
    label = ((window < 2) & (np.arange(100) % 2 == 0)).astype(float)
    candidates = of_windows_alone(np.zeros(100), label, window)
    weight = candidates.weights(0.02)
    assert (weight * label).sum() / weight.sum() == pytest.approx(0.02)
    assert weight.mean() == pytest.approx(1.0)
    assert (candidates.weights(None) == 1.0).all()


def test_a_network_with_the_prior_is_calibrated_with_one(tmp_path):
    """The prior is moved as a locator may, but never absent, as it is at inference."""
    config = decoder_config(Decoder.LINEAR, VitConfig(dim=64, depth=1, prior=True))
    save_network(make_network(config), config.to_dict(), tmp_path)
    skulls = make_skulls(tmp_path / "skulls")
    told = []
    real = candidates_module.two_looks

    def two_looks(network, windows):
        told.append(windows[:, 2])
        return real(network, windows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates_module, "two_looks", two_looks)
        drawn = of_windows(tmp_path, skulls, 16, window=(16, 48, 48))
    assert len(drawn.logit) and len(np.unique(drawn.window)) > 1
    lowest = torch.cat(told).flatten(1).amin(dim=1)
    assert (lowest < 0.0).all()  # nearer than 8 mm somewhere in each window


@pytest.mark.parametrize("n", [0, 100, 300])
def test_too_few_patients_are_refused(n):
    label = np.zeros(n)
    label[:30] = 1.0  # in the first patient alone
    with pytest.raises(IacError) as caught:
        calibrate(of_windows_alone(np.zeros(n), label, np.arange(n) // 100), None)
    assert caught.value.word is Word.BAD_SETTING
