"""A soft source scan made sharper once, before it is blurred again by a simulated scanner.

Only edges change: where HU hardly differ within some mm, noise would be all that grows.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import maximum_filter, minimum_filter

from iac_cli.simulate import laws

Field = NDArray[np.float32]

WANTED_BLUR_MM = 0.6
"""Standard deviation of the point spread that a sharpened scan has, where it allows one."""

LEAST_POWER = 0.004
"""Frequencies of which the source kept less than this power are not raised any further."""

EDGE_HU = (120.0, 320.0)
"""Range of HU within `REACH_MM` at which sharpening begins, and from which it is whole."""

REACH_MM = 2.5
OVER, UNDER = 0.3, 0.05
"""How far a sharpened voxel may leave the range of its neighbours, as a share of that range: thin
bone was brighter than it looks; dark rims are made up."""


def sharper(hu: Field, pixel_mm: tuple[float, float], blur_mm: float) -> Field:
    """A scan (slice, row, column) with a point spread of `blur_mm` (standard deviation) undone.

    A blur that is no wider than `WANTED_BLUR_MM` is left alone.
    """
    if blur_mm <= WANTED_BLUR_MM:
        return hu
    size = (1, *(2 * max(1, round(REACH_MM / p)) + 1 for p in pixel_mm))
    low, high = minimum_filter(hu, size), maximum_filter(hu, size)
    spread = high - low
    edge = np.clip((spread - EDGE_HU[0]) / (EDGE_HU[1] - EDGE_HU[0]), 0.0, 1.0)
    raised = np.stack([_raised(plane, pixel_mm, blur_mm) for plane in hu])
    raised = np.clip(raised, low - UNDER * spread, high + OVER * spread)
    return np.asarray(hu + edge * (raised - hu), dtype=np.float32)


def _raised(plane: Field, pixel_mm: tuple[float, float], blur_mm: float) -> Field:
    """One slice with its high frequencies raised (Wiener), mirrored at its borders."""
    rows, columns = plane.shape
    pad = [(0, n) for n in plane.shape]
    whole = np.pad(plane, pad, mode="symmetric")
    fy = np.fft.fftfreq(2 * rows, pixel_mm[0])[:, None]
    fx = np.fft.rfftfreq(2 * columns, pixel_mm[1])[None, :]
    f = np.hypot(fy, fx)
    had = laws.transfer(f, blur_mm, blur_mm, 0.0)
    wanted = laws.transfer(f, WANTED_BLUR_MM, WANTED_BLUR_MM, 0.0)
    gain = wanted * had * (1.0 + LEAST_POWER) / (had**2 + LEAST_POWER)
    return np.asarray(irfft2(rfft2(whole) * gain, s=whole.shape)[:rows, :columns], np.float32)
