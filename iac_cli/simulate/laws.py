"""The laws of the simulated scanner, stated once for full studies and for training windows.

Every function takes numpy arrays or torch tensors and answers in kind, so that the two paths can
never drift apart. Lengths in mm, frequencies in 1/mm. Nothing here draws random numbers.
"""

from typing import Any

import numpy as np
from scipy.special import erf

Array = Any
"""A numpy array or a torch tensor (all arguments of one call alike), or a plain number."""

LOWEST_HU, HIGHEST_HU = -1024, 3071

THRESHOLD_HU = 130.0
OWN_SHARE = 0.5
"""Least part of a voxel's HU above background that must be the lesions' own."""

LEAST_EXCESS_HU = 1.0
"""A voxel to which the lesions add less than this is none of theirs."""

BACKGROUND_RANGE_HU = (-50.0, 110.0)
"""What counts as soft tissue when the local background is averaged."""

BACKGROUND_REACH_MM = 5.0
LEAST_SOFT_SHARE = 0.02
"""Least share of soft tissue around a voxel that gives a local background."""

FALLBACK_BACKGROUND_HU = 40.0

NOISE_BLUR = 1.25
"""Noise is this much softer than the picture."""

NOISE_FLOOR_PER_MM = 0.01
"""Keeps the ramp of a back projection's noise from vanishing at frequency 0."""

REFERENCE_THICKNESS_MM = 5.0


def _maths(x: Array) -> Any:
    """The module that holds exp, sqrt and cos for an array of this kind."""
    if isinstance(x, np.ndarray | float | int | np.generic):
        return np
    import torch

    return torch


def blurred_step(x: Array, sigma_mm: Array) -> Array:
    """Integral of a Gaussian of unit area from minus infinity to x."""
    scaled = x / (np.sqrt(2.0) * sigma_mm)
    return 0.5 * (1.0 + (erf(scaled) if _maths(x) is np else _maths(x).erf(scaled)))


def blurred_ramp(x: Array, sigma_mm: Array) -> Array:
    """Integral of `blurred_step` from minus infinity to x."""
    gauss = _maths(x).exp(-0.5 * (x / sigma_mm) ** 2) / np.sqrt(2 * np.pi)
    return x * blurred_step(x, sigma_mm) + sigma_mm * gauss


def profile_share(gap_mm: Array, cell_mm: float, thickness_mm: Array, slope_mm: Array) -> Array:
    """Share of a cell in a slice whose middle lies `gap_mm` below the cell's.

    The profile is a box of the slice's thickness whose edges are rounded by a Gaussian, integrated
    exactly over the cell; over all cells the shares add up to 1.
    """
    half, half_cell = thickness_mm / 2, cell_mm / 2

    def passed(x: Array) -> Array:
        risen = blurred_ramp(x + half, slope_mm) - blurred_ramp(x - half, slope_mm)
        return risen / thickness_mm

    return passed(gap_mm + half_cell) - passed(gap_mm - half_cell)


def spread_share(gap_mm: Array, cell_mm: float, sigma_mm: Array) -> Array:
    """Share of a cell in a pixel `gap_mm` away along one axis, under a Gaussian point spread."""
    half_cell = cell_mm / 2
    return blurred_step(gap_mm + half_cell, sigma_mm) - blurred_step(gap_mm - half_cell, sigma_mm)


def with_edge(narrow: Array, wide: Array, edge: Array) -> Array:
    """A kernel's response from those of its narrow and its wide Gaussian; unit gain is kept."""
    return (1.0 + edge) * narrow - edge * wide


def transfer(per_mm: Array, narrow_mm: Array, wide_mm: Array, edge: Array) -> Array:
    """A kernel's in-plane transfer function at radial frequencies; 1 at frequency 0."""
    exp = _maths(per_mm).exp
    narrow = exp(-2 * (np.pi * per_mm * narrow_mm) ** 2)
    wide = exp(-2 * (np.pi * per_mm * wide_mm) ** 2)
    return with_edge(narrow, wide, edge)


def noise_amplitude(per_mm: Array, narrow_mm: Array, wide_mm: Array, edge: Array) -> Array:
    """Amplitude of noise at radial frequencies, up to its level: ramp times kernel."""
    softer = transfer(per_mm, narrow_mm * NOISE_BLUR, wide_mm, edge)
    return _maths(per_mm).sqrt(per_mm + NOISE_FLOOR_PER_MM) * abs(softer)


def noise_level(noise_hu: Array, gain: Array, thickness_mm: Array) -> Array:
    """Noise of a slice from that of a 5 mm slice with the soft kernel, HU."""
    return noise_hu * gain * (REFERENCE_THICKNESS_MM / thickness_mm) ** 0.5


def excess_hu(share: Array, lesion_hu: Array, below_hu: Array) -> Array:
    """What a lesion that fills a share of a cell adds to what it replaces; it takes nothing off."""
    return share * (lesion_hu - below_hu).clip(0.0, None)


def is_soft(hu: Array) -> Array:
    """What counts as soft tissue around a lesion."""
    return (hu > BACKGROUND_RANGE_HU[0]) & (hu < BACKGROUND_RANGE_HU[1])


def background_size(pixel_mm: float) -> int:
    """Edge of the square that the local background is averaged over, pixels, odd."""
    return max(3, 2 * int(BACKGROUND_REACH_MM / pixel_mm) + 1)


def is_drawn(hu: Array, excess: Array, background_hu: Array) -> Array:
    """Whether the published protocol labels a voxel, before single voxels are dropped.

    It must show 130 HU, and the lesions must give at least half of its HU above background.
    """
    own = excess >= OWN_SHARE * (hu - background_hu)
    return (excess > LEAST_EXCESS_HU) & (hu >= THRESHOLD_HU) & own
