"""A soft scan made sharper: its edges, and nothing but its edges."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from iac_cli.simulate.sharper import WANTED_BLUR_MM, sharper

PIXEL = (0.5, 0.5)


def _width_mm(profile):
    """From 10 to 90 % of a rising edge."""
    share = (profile - profile[:8].mean()) / (profile[-8:].mean() - profile[:8].mean())
    x = np.arange(len(profile)) * PIXEL[1]
    return np.interp(0.9, share, x) - np.interp(0.1, share, x)


def _blurred_edge(sigma_mm, low=40.0, high=1000.0):
    hu = np.full((2, 96, 96), low, dtype=np.float32)
    hu[:, :, 48:] = high
    return gaussian_filter(hu, (0, sigma_mm / PIXEL[0], sigma_mm / PIXEL[1]))


@pytest.mark.parametrize("blur_mm", [0.9, 1.25])
def test_an_edge_becomes_as_sharp_as_wanted_or_nearly(blur_mm):
    soft = _blurred_edge(blur_mm)
    assert _width_mm(soft[0, 48]) == pytest.approx(2.563 * blur_mm, rel=0.05)
    after = _width_mm(sharper(soft, PIXEL, blur_mm)[0, 48])
    assert 0.9 * 2.563 * WANTED_BLUR_MM < after < 1.4 * 2.563 * WANTED_BLUR_MM


def test_noise_in_plain_tissue_stays_as_it_was():
    rng = np.random.default_rng(0)
    noise = rng.normal(40.0, 8.0, (2, 96, 96)).astype(np.float32)
    assert np.array_equal(sharper(noise, PIXEL, 1.25), noise)


def test_tissue_beside_an_edge_does_not_turn_dark():
    soft = _blurred_edge(1.25)
    assert sharper(soft, PIXEL, 1.25).min() > 40.0 - 0.06 * 960.0


def test_a_sharp_scan_is_left_alone():
    hu = _blurred_edge(0.5)
    assert sharper(hu, PIXEL, 0.5) is hu


def test_the_mean_across_an_edge_is_kept():
    soft = _blurred_edge(1.0)
    assert sharper(soft, PIXEL, 1.0).mean() == pytest.approx(soft.mean(), rel=0.01)
