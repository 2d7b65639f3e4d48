"""The figures of a scan's look against what is put in."""

import heads
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from iac_cli.evaluate.realism import (
    detrended,
    edge_width,
    look_of,
    mean_frequency,
    through_plane_width,
)
from iac_cli.evaluate.realism_curves import curves_of, radial_power
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.scanner import tilted_grid


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


@pytest.mark.parametrize(("thickness_mm", "sigma_mm"), [(5.0, 0.05), (3.0, 0.05), (1.0, 0.8)])
def test_the_vertex_is_as_sharp_as_slices_are_thick(thickness_mm: float, sigma_mm: float) -> None:
    """A box of a slice's thickness rises linearly: from 10 to 90 % over 0.8 of it. Where the box
    is short, the Gaussian that rounds it counts as well."""
    radius, pixel = 90.0, 1.0
    step = thickness_mm
    n = int(60 / step)
    z = radius + 12.0 - np.arange(n)[::-1] * step
    y = (np.arange(64) - 31.5) * pixel
    surface = np.sqrt(radius**2 - y[:, None] ** 2 - y[None] ** 2)
    fine = np.linspace(-6 * sigma_mm - step / 2, 6 * sigma_mm + step / 2, 401)
    box = 0.5 * (
        erf((fine + step / 2) / (np.sqrt(2) * sigma_mm))
        - erf((fine - step / 2) / (np.sqrt(2) * sigma_mm))
    )
    inside = np.cumsum(box) / box.sum()
    share = np.interp(surface[None] - z[:, None, None], fine, inside)
    hu = (-1000.0 + 1020.0 * share).astype(np.float32)
    variance = thickness_mm**2 / 12 + sigma_mm**2
    expected = 0.8 * thickness_mm if sigma_mm < 0.1 else 2.563 * np.sqrt(variance)
    grid = tilted_grid(
        hu.shape, pixel_mm=pixel, increment_mm=step, tilt_deg=0.0, lowest_mm=float(z[0])
    )
    assert through_plane_width(Volume(hu, grid)) == pytest.approx(expected, rel=0.12)


def test_a_scan_that_ends_below_the_vertex_has_no_through_plane_width() -> None:
    whole = heads.head()
    assert through_plane_width(Volume(np.full_like(whole.hu, 30.0), whole.grid)) is None


def test_air_has_no_look() -> None:
    empty = heads.head()
    look = look_of(Volume(np.full(empty.hu.shape, -1000.0, np.float32), empty.grid))
    assert look.to_json_dict() == {
        "brain_hu": None,
        "bone_hu": None,
        "noise_hu": None,
        "noise_frequency_per_mm": None,
        "edge_mm": None,
        "through_plane_mm": None,
    }


def test_the_spectrum_of_white_noise_is_flat_and_that_of_smooth_noise_falls() -> None:
    rng = np.random.default_rng(0)
    white = [rng.normal(0.0, 3.0, (32, 32)) for _ in range(200)]
    flat = radial_power(white, (0.5, 0.5))
    # the whole power is the variance: 9 HU2 over 1 / 0.5 mm squared
    assert flat[2:] == pytest.approx(np.full(len(flat) - 2, 9.0 * 0.25), rel=0.15)
    smooth = radial_power([gaussian_filter(one, 1.5, mode="wrap") for one in white], (0.5, 0.5))
    assert smooth[2] > 20 * smooth[-1]


def test_the_curves_of_a_made_head() -> None:
    clean = heads.head()
    rng = np.random.default_rng(1)
    hu = clean.hu + rng.normal(0.0, 6.0, clean.hu.shape).astype(np.float32)
    curves = curves_of(Volume(hu, clean.grid))
    assert curves.tissue_hu[int(np.argmax(curves.tissue))] == pytest.approx(heads.BRAIN_HU, abs=3)
    assert curves.bone_hu[int(np.argmax(curves.bone))] == pytest.approx(heads.SKULL_HU, abs=30)
    assert sum(curves.tissue) == pytest.approx(1.0) == sum(curves.bone)
    assert curves.edge[0] == pytest.approx(1.0, abs=0.1)
    assert curves.edge[-1] == pytest.approx(0.0, abs=0.05)
