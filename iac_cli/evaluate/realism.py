"""What a head scan looks like in figures, so that simulated and real ones can be put side by side.

Measured the same way on both sides: tissue HU, noise and its texture in the brain, and sharpness of
the skin's edge. Nothing here knows which side a scan is from.
"""

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, label, map_coordinates

from iac_cli.geometry.volume import Volume

Float = NDArray[np.float64]

BRAIN_HU = (5.0, 75.0)
BONE_HU = 300.0
SKIN_HU = -500.0
"""Half-way between air and skin."""

PATCH_MM = 14.0
"""Edge of the brain patches that noise is measured in."""

SLAB_SLICES = 12
"""Slices of most brain that are measured."""

RAYS = 90
RAY_STEP_MM = 0.1
INSIDE_MM = (2.0, 4.0)
"""Depth under the skin whose mean stands for skin."""

EDGE_LEVELS = (0.1, 0.9)


@dataclass(frozen=True, slots=True)
class Look:
    """Figures of one scan. None where the scan does not allow one."""

    brain_hu: float | None
    """Median of brain patches."""
    bone_hu: tuple[float, float, float] | None
    """50th, 90th and 99th percentile of voxels above 300 HU."""
    noise_hu: float | None
    """Median over patches of the standard deviation after a quadratic trend is taken out."""
    noise_frequency_per_mm: float | None
    """Mean radial frequency of the noise's power spectrum in plane."""
    edge_mm: float | None
    """Distance in which the skin's edge rises from 10 to 90 %, in plane; median over rays."""

    def to_json_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def look_of(volume: Volume) -> Look:
    """Measure a head scan."""
    slices = _brain_slices(volume)
    patches = [patch for k in slices for patch in _patches(volume, k)]
    bone = volume.hu[volume.hu > BONE_HU]
    edges = [width for k in slices for width in _edges(volume.hu[k], volume.grid.pixel_mm)]
    noise = [detrended(patch) for patch in patches]
    row_mm, column_mm = volume.grid.pixel_mm
    return Look(
        brain_hu=_median([float(np.median(patch)) for patch in patches]),
        bone_hu=_percentiles(bone),
        noise_hu=_median([float(one.std()) for one in noise]),
        noise_frequency_per_mm=_median([mean_frequency(one, (row_mm, column_mm)) for one in noise]),
        edge_mm=_median(edges),
    )


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def _percentiles(bone: NDArray[np.float32]) -> tuple[float, float, float] | None:
    if not len(bone):
        return None
    middle, high, top = np.percentile(bone, (50, 90, 99))
    return float(middle), float(high), float(top)


def _brain_of(plane: NDArray[np.float32], pixel_mm: tuple[float, float]) -> NDArray[np.bool_]:
    """Voxels of one slice that are brain and lie a few mm from anything else."""
    smooth = gaussian_filter(plane, [1.5 / p for p in pixel_mm])
    soft = (smooth > BRAIN_HU[0]) & (smooth < BRAIN_HU[1])
    parts, n = label(binary_erosion(soft, iterations=max(1, round(3.0 / pixel_mm[0]))))
    if not n:
        return np.zeros(plane.shape, dtype=bool)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def _brain_slices(volume: Volume) -> list[int]:
    """The slices with most brain: a run in the middle of the head."""
    areas = np.array([_brain_of(plane, volume.grid.pixel_mm).sum() for plane in volume.hu])
    most = np.argsort(areas)[::-1][:SLAB_SLICES]
    return sorted(int(k) for k in most if areas[k] > 0)


def _patches(volume: Volume, k: int) -> list[Float]:
    """Square patches that lie wholly in the brain of one slice."""
    pixel_mm = volume.grid.pixel_mm
    rows, columns = (max(8, round(PATCH_MM / p)) for p in pixel_mm)
    brain = _brain_of(volume.hu[k], pixel_mm)
    found = []
    for top in range(0, brain.shape[0] - rows + 1, rows):
        for left in range(0, brain.shape[1] - columns + 1, columns):
            place = (slice(top, top + rows), slice(left, left + columns))
            if brain[place].all():
                found.append(np.asarray(volume.hu[k][place], dtype=np.float64))
    return found


def detrended(patch: Float) -> Float:
    """The patch (rows, columns) without its best quadratic surface."""
    y, x = np.meshgrid(
        np.linspace(-1, 1, patch.shape[0]), np.linspace(-1, 1, patch.shape[1]), indexing="ij"
    )
    terms = np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=-1).reshape(-1, 6)
    weights, *_ = np.linalg.lstsq(terms, patch.ravel(), rcond=None)
    return np.asarray(patch - (terms @ weights).reshape(patch.shape))


def mean_frequency(patch: Float, pixel_mm: tuple[float, float]) -> float:
    """Power-weighted mean radial frequency of a patch, 1/mm."""
    power = np.abs(np.fft.fft2(patch)) ** 2
    fy, fx = (np.fft.fftfreq(n, p) for n, p in zip(patch.shape, pixel_mm, strict=True))
    radial = np.hypot(fy[:, None], fx[None, :])
    total = power.sum()
    return float((power * radial).sum() / total) if total > 0 else 0.0


def _edges(plane: NDArray[np.float32], pixel_mm: tuple[float, float]) -> list[float]:
    """Widths of the skin's edge along rays from the middle of the head, mm."""
    body = plane > SKIN_HU
    parts, n = label(body)
    if not n:
        return []
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    places = np.argwhere(parts == sizes.argmax())
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    reach_mm = float(max(np.ptp(places, axis=0) * pixel_mm)) / 2 + 15.0
    steps = np.arange(0.0, reach_mm, RAY_STEP_MM)
    widths = []
    for angle in np.linspace(0, 2 * np.pi, RAYS, endpoint=False):
        along = np.stack(
            [
                middle[0] + np.sin(angle) * steps / pixel_mm[0],
                middle[1] + np.cos(angle) * steps / pixel_mm[1],
            ]
        )
        profile = map_coordinates(plane, along, order=1, mode="constant", cval=-1000.0)
        width = edge_width(np.asarray(profile, dtype=np.float64))
        if width is not None:
            widths.append(width)
    return widths


def edge_width(profile: Float) -> float | None:
    """Rise of the outermost edge of a profile (0.1 mm steps, from inside), 10 to 90 %, mm.

    None where the ray leaves the picture, or where skin is no plain tissue.
    """
    above = np.flatnonzero(profile > SKIN_HU)
    inside, outside = (round(mm / RAY_STEP_MM) for mm in (INSIDE_MM[1], 6.0))
    if not len(above) or above[-1] < inside or above[-1] + outside >= len(profile):
        return None
    edge = int(above[-1])
    skin = profile[edge - inside : edge - round(INSIDE_MM[0] / RAY_STEP_MM)]
    air = float(profile[edge + outside])
    if air > -900.0 or skin.min() < -200.0 or skin.max() > 150.0:
        return None
    share = (profile[edge - inside : edge + outside] - air) / (float(skin.mean()) - air)
    low = np.flatnonzero(share >= EDGE_LEVELS[0])
    high = np.flatnonzero(share >= EDGE_LEVELS[1])
    return float(low[-1] - high[-1]) * RAY_STEP_MM if len(low) and len(high) else None
