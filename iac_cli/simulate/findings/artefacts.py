"""What a scan adds that is not in the head: streaks, cupping, dark bands, and motion.

All act on the noise-free image. Motion is linear and moves the lesions' share with the head, so
that the truth is drawn on what the scan shows.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift, zoom
from scipy.sparse import csr_matrix

from iac_cli.simulate.findings.between import STILL, BetweenSlices, draw_between
from iac_cli.simulate.findings.rates import Rates

Field = NDArray[np.float32]
Float = NDArray[np.float64]

METAL_HU = 3200.0
SIDE, N_ANGLES = 128, 120
"""Pixels of the small image whose projections are hardened, and views of it."""

HARDENING_HU = (3.0, 14.0)
CUPPING_HU = (0.0, 6.0)
STREAK_HU = (60.0, 220.0)
FULL_STREAK_MM2 = 40.0
"""Metal of this area in a slice makes the whole streak."""

MOTION_MM = (0.6, 3.0)
NOISE_SHARE = 0.35
"""Part of the streaks that comes from too few photons rather than from hardening."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefacts:
    """One scan's artefacts; all zero by default."""

    hardening_hu: float = 6.0
    """Depth of the dark band between thick bones."""
    cupping_hu: float = 0.0
    """How much brighter the brain's rim is than its middle."""
    streak_hu: float = 0.0
    """Size of the streaks near much metal."""
    motion_mm: tuple[float, float] = (0.0, 0.0)
    """Shift of the head during some slices, along (column, row)."""
    motion_at: tuple[float, float] = (0.0, 0.0)
    """First and last of these slices, as shares of the stack."""
    seed: int = 0
    between: BetweenSlices = STILL
    """How the head moves from one slice to the next."""

    @property
    def facts(self) -> dict[str, Any]:
        """For the truth."""
        between = {} if self.between.is_still else {"between_slices": self.between.facts}
        return between | {
            "hardening_hu": self.hardening_hu,
            "cupping_hu": self.cupping_hu,
            "streak_hu": self.streak_hu,
            "motion_mm": list(self.motion_mm),
            "motion_at": list(self.motion_at),
        }


def draw_artefacts(rates: Rates, rng: np.random.Generator) -> Artefacts:
    """One scan's artefacts. Streaks show only where there is metal."""
    motion, at = (0.0, 0.0), (0.0, 0.0)
    drawn = rng.random()
    angle, size = rng.uniform(0.0, 2 * np.pi), rng.uniform(*MOTION_MM)
    first, length = rng.uniform(0.0, 0.5), rng.uniform(0.1, 0.5)
    if drawn < rates.motion:
        motion = (round(float(size * np.cos(angle)), 2), round(float(size * np.sin(angle)), 2))
        at = (round(float(first), 3), round(float(first + length), 3))
    made = Artefacts(
        hardening_hu=round(float(rng.uniform(*HARDENING_HU)), 2),
        cupping_hu=round(float(rng.uniform(*CUPPING_HU)), 2),
        streak_hu=round(float(rng.uniform(*STREAK_HU)), 1),
        motion_mm=motion,
        motion_at=at,
        seed=int(rng.integers(2**31)),
    )
    return replace(made, between=draw_between(rates, made.seed))


def moved(image: Field, artefacts: Artefacts, pixel_mm: float) -> None:
    """Blur the slices that were taken while the head moved, in place."""
    if artefacts.motion_mm == (0.0, 0.0):
        return
    first, last = (round(share * len(image)) for share in artefacts.motion_at)
    step = np.array(artefacts.motion_mm) / pixel_mm
    for k in range(first, min(last + 1, len(image))):
        if not image[k].any():
            continue
        there, back = (shift(image[k], sign * step, order=1, mode="nearest") for sign in (1, -1))
        image[k] = 0.5 * image[k] + 0.3 * there + 0.2 * back


def added_hu(image: Field, artefacts: Artefacts, pixel_mm: float, slice_number: int) -> Field:
    """What cupping and streaks add to one slice (rows, columns) of the noise-free image, HU."""
    added = np.zeros(image.shape, dtype=np.float32)
    if artefacts.cupping_hu:
        added += artefacts.cupping_hu * _cup(image)
    metal = image > METAL_HU
    area_mm2 = float(metal.sum()) * pixel_mm**2
    if artefacts.streak_hu and area_mm2 > 0.5:
        size = artefacts.streak_hu * np.sqrt(min(1.0, area_mm2 / FULL_STREAK_MM2))
        rng = np.random.default_rng([artefacts.seed, slice_number])
        added += np.float32(size) * _streaks(image, metal, rng)
    return added


def _cup(image: Field) -> Field:
    """-0.5 in the middle of the head, 0.5 at its rim, 0 outside."""
    head = image > -300.0
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    if len(rows) < 2 or len(columns) < 2:
        return np.zeros(image.shape, dtype=np.float32)
    away = []
    for size, within in zip(image.shape, (rows, columns), strict=True):
        half = max((within[-1] - within[0]) / 2.0, 1.0)
        away.append(((np.arange(size) - (within[0] + within[-1]) / 2.0) / half) ** 2)
    radius2 = away[0][:, None] + away[1][None, :]
    return np.asarray((np.clip(radius2, 0.0, 1.0) - 0.5) * head, dtype=np.float32)


def _streaks(image: Field, metal: NDArray[np.bool_], rng: np.random.Generator) -> Field:
    """Streaks of about unit size around metal, 0 mean in the metal itself.

    The projections of a small image are hardened where metal meets metal or bone, and made noisy
    where little comes through; filtered back projection spreads both.
    """
    small_metal = _shrunk(metal.astype(np.float32))
    dense = _shrunk(np.clip(image + 1000.0, 0.0, 2500.0) / 1000.0)
    through, metal_through = _views() @ dense.ravel(), _views() @ small_metal.ravel()
    hardened = -metal_through * (through + 3.0 * metal_through)
    noise = metal_through * rng.standard_normal(len(through))
    parts = [_back_projected(part) for part in (hardened, noise)]
    outside = gaussian_filter(small_metal, 1.0) < 0.02
    nearness = gaussian_filter(small_metal, 12.0)
    near = outside & (nearness > np.quantile(nearness, 0.8))
    sizes = [max(float(np.quantile(np.abs(part[near]), 0.95)), 1e-9) for part in parts]
    streaks = parts[0] / sizes[0] * (1 - NOISE_SHARE) + parts[1] / sizes[1] * NOISE_SHARE
    streaks = np.clip(streaks, -3.0, 3.0) * outside
    factors = [n / SIDE for n in image.shape]
    return np.asarray(zoom(streaks.astype(np.float32), factors, order=1), dtype=np.float32)


def _shrunk(image: Field) -> Field:
    """The image on SIDE x SIDE pixels, averaged."""
    blurred = gaussian_filter(image, [max(n / SIDE - 1.0, 0.0) / 2.0 for n in image.shape])
    rows, columns = ((np.arange(SIDE) + 0.5) * n / SIDE for n in image.shape)
    return np.asarray(blurred[rows.astype(int)][:, columns.astype(int)], dtype=np.float32)


@lru_cache(maxsize=1)
def _views() -> csr_matrix:
    """Projections of the small image: (angles * bins, pixels), linear between bins."""
    centre = (SIDE - 1) / 2.0
    y, x = np.mgrid[0:SIDE, 0:SIDE] - centre
    bins = 2 * SIDE
    rows, columns, values = [], [], []
    pixels = np.arange(SIDE * SIDE)
    for k in range(N_ANGLES):
        angle = np.pi * k / N_ANGLES
        at = (x * np.cos(angle) + y * np.sin(angle)).ravel() + bins / 2
        low = np.floor(at).astype(int)
        for offset, weight in ((0, 1.0 - (at - low)), (1, at - low)):
            rows.append(k * bins + low + offset)
            columns.append(pixels)
            values.append(weight.astype(np.float32))
    shape = (N_ANGLES * bins, SIDE * SIDE)
    parts = (np.concatenate(rows), np.concatenate(columns))
    return csr_matrix((np.concatenate(values), parts), shape=shape)


def _back_projected(projections: Float) -> Float:
    """Filtered back projection of views (angles * bins,) onto the small image."""
    views = projections.reshape(N_ANGLES, -1)
    ramp = np.abs(np.fft.rfftfreq(views.shape[1]))
    filtered = np.fft.irfft(np.fft.rfft(views, axis=1) * ramp, n=views.shape[1], axis=1)
    return np.asarray(_views().T @ filtered.ravel()).reshape(SIDE, SIDE)
