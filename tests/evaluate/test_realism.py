"""The figures of a scan's look against what is put in."""

import heads
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from iac_cli.evaluate.realism import detrended, edge_width, look_of, mean_frequency
from iac_cli.geometry.volume import Volume


@pytest.mark.parametrize("sigma_mm", [0.4, 0.8, 1.2])
def test_a_gaussian_edge_is_as_wide_as_theory_says(sigma_mm: float) -> None:
    """From 10 to 90 % a Gaussian's integral takes 2.563 standard deviations."""
    x = np.arange(0.0, 40.0, 0.1)
    profile = -1000.0 + 1030.0 * 0.5 * (1.0 - erf((x - 25.0) / (np.sqrt(2) * sigma_mm)))
    assert edge_width(profile) == pytest.approx(2.563 * sigma_mm, abs=0.15)


def test_an_edge_beyond_the_picture_is_none() -> None:
    assert edge_width(np.full(300, 30.0)) is None
    assert edge_width(np.full(300, -1000.0)) is None


def test_a_quadratic_surface_leaves_nothing() -> None:
    y, x = np.mgrid[0:20, 0:24]
    assert np.abs(detrended(3.0 + 2.0 * x - y + 0.1 * x * y + 0.2 * x * x)).max() < 1e-9


def test_white_noise_has_the_mean_frequency_of_the_square() -> None:
    """The mean distance from the middle of a unit square is 0.3826: times 1 / pixel."""
    rng = np.random.default_rng(0)
    found = np.mean([mean_frequency(rng.normal(size=(64, 64)), (0.5, 0.5)) for _ in range(40)])
    assert found == pytest.approx(0.3826 / 0.5, rel=0.01)


def test_smooth_noise_has_a_lower_frequency() -> None:
    rng = np.random.default_rng(0)
    white = rng.normal(size=(64, 64))
    assert mean_frequency(gaussian_filter(white, 2.0), (0.5, 0.5)) < 0.4


def test_a_made_head_looks_as_it_was_made() -> None:
    rng = np.random.default_rng(1)
    clean = heads.head()
    hu = clean.hu + rng.normal(0.0, 6.0, clean.hu.shape).astype(np.float32)
    look = look_of(Volume(hu, clean.grid))
    assert look.brain_hu == pytest.approx(heads.BRAIN_HU, abs=0.5)
    assert look.bone_hu is not None
    assert look.bone_hu[0] == pytest.approx(heads.SKULL_HU, abs=2.0)
    assert look.noise_hu == pytest.approx(6.0, rel=0.05)
    assert look.noise_frequency_per_mm == pytest.approx(0.3826, rel=0.05)
    assert look.edge_mm is not None
    assert look.edge_mm < 1.2


def test_air_has_no_look() -> None:
    empty = heads.head()
    look = look_of(Volume(np.full(empty.hu.shape, -1000.0, np.float32), empty.grid))
    assert look.to_json_dict() == {
        "brain_hu": None,
        "bone_hu": None,
        "noise_hu": None,
        "noise_frequency_per_mm": None,
        "edge_mm": None,
    }
