"""The three scalings: their formulas, the card's entries, and what a card refuses."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit
from tiny_models import hu_segmenter, rewrite_card

from iac_cli.infer.calibrate import Beta, Platt, Temperature, calibrated, calibration_of
from iac_cli.infer.card import read_segmenter_card

LOGITS = np.array([-40.0, -6.0, -1.0, 0.0, 0.5, 3.0, 40.0], np.float32)


def test_beta_scaling_is_kulls_formula() -> None:
    a, b, c = 0.7, 1.3, -0.4
    inner = LOGITS[1:-1].astype(float)
    p = expit(inner)
    expected = expit(a * np.log(p) - b * np.log(1 - p) + c)
    np.testing.assert_allclose(calibrated(LOGITS[1:-1], Beta(a, b, c)), expected, rtol=1e-5)


def test_each_way_contains_the_identity() -> None:
    for way in (Platt(1.0, 0.0), Temperature(1.0), Beta(1.0, 1.0, 0.0)):
        np.testing.assert_allclose(calibrated(LOGITS, way), expit(LOGITS.astype(float)), rtol=1e-5)


def test_temperature_two_halves_the_logit() -> None:
    p = calibrated(LOGITS[1:-1], Temperature(2.0)).astype(float)
    np.testing.assert_allclose(logit(p), LOGITS[1:-1] / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", [Platt(0.5, -2.0), Temperature(1.7), Beta(0.6, 1.1, -0.2)])
def test_answers_are_single_precision_rising_and_never_overflow(way) -> None:
    wide = np.linspace(-3e4, 3e4, 1001).astype(np.float32)
    p = calibrated(wide, way)
    assert p.dtype == np.float32
    assert np.isfinite(p).all()
    assert (np.diff(p) >= 0).all()


@pytest.mark.parametrize("way", [Platt(0.5, -2.0), Temperature(1.7), Beta(0.6, 1.1, -0.2)])
def test_a_card_gives_back_what_was_put_in(tmp_path: Path, way) -> None:
    folder = hu_segmenter(tmp_path)
    rewrite_card(folder, "segmenter", calibration=way.to_json_dict())
    assert read_segmenter_card(folder).calibration == way


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"method": "isotonic"},
        {"method": "temperature"},
        {"method": "temperature", "temperature": 0.0},
        {"method": "temperature", "temperature": True},
        {"method": "beta", "a": 1.0, "b": 1.0},
        {"method": "beta", "a": -0.1, "b": 1.0, "c": 0.0},
        {"method": "beta", "a": 0.0, "b": 0.0, "c": 0.0},
        {"method": "platt", "a": 1.0, "b": float("nan")},
        {"method": "platt", "a": float("inf"), "b": 0.0},
    ],
)
def test_a_wrong_entry_is_refused_by_name(entry: dict) -> None:
    with pytest.raises(ValueError, match=r"calibration\."):
        calibration_of(entry)
