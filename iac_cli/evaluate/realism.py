"""What a head scan looks like in figures, so that simulated and real ones can be put side by side.

Measured the same way on both sides: tissue HU, noise and its texture in the brain, and sharpness of
the skin's edge in plane and through plane. Nothing here knows which side a scan is from.
`realism_curves` has the distributions and spectra behind the figures.
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

OUTSIDE_MM = 6.0
EDGE_LEVELS = (0.1, 0.9)
SKIN_TISSUE_HU = (-200.0, 150.0)
"""What may lie under a skin's edge that is measured."""

VERTEX_MM = 22.0
"""Half the side of the square around the vertex in which its edge is measured."""

VERTEX_TOLERANCE_MM = 1.0
"""Columns whose edge lies further off the smooth surface than this are left out."""

LEAST_COLUMNS = 200
DEPTH_STEP_MM = 0.25
AIR_HU, SKIN_LEVEL_HU = -1000.0, 20.0


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
    through_plane_mm: float | None
    """The same along the slice normal at the vertex: twice its outer half, 10 to 50 %."""

    def to_json_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def look_of(volume: Volume) -> Look:
    """Measure a head scan."""
    slices = brain_slices(volume)
    patches = [patch for k in slices for patch in brain_patches(volume, k)]
    bone = volume.hu[volume.hu > BONE_HU]
    profiles = [ray for k in slices for ray in skin_rays(volume.hu[k], volume.grid.pixel_mm)]
    edges = [width for ray in profiles if (width := edge_width(ray)) is not None]
    noise = [detrended(patch) for patch in patches]
    row_mm, column_mm = volume.grid.pixel_mm
    return Look(
        brain_hu=_median([float(np.median(patch)) for patch in patches]),
        bone_hu=_percentiles(bone),
        noise_hu=_median([float(one.std()) for one in noise]),
        noise_frequency_per_mm=_median([mean_frequency(one, (row_mm, column_mm)) for one in noise]),
        edge_mm=_median(edges),
        through_plane_mm=through_plane_width(volume),
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


def brain_slices(volume: Volume) -> list[int]:
    """The slices with most brain: a run in the middle of the head."""
    areas = np.array([_brain_of(plane, volume.grid.pixel_mm).sum() for plane in volume.hu])
    most = np.argsort(areas)[::-1][:SLAB_SLICES]
    return sorted(int(k) for k in most if areas[k] > 0)


def brain_patches(volume: Volume, k: int) -> list[Float]:
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


def skin_rays(plane: NDArray[np.float32], pixel_mm: tuple[float, float]) -> list[Float]:
    """Profiles from the middle of one slice's head outwards, in steps of 0.1 mm."""
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
    rays = []
    for angle in np.linspace(0, 2 * np.pi, RAYS, endpoint=False):
        along = np.stack(
            [
                middle[0] + np.sin(angle) * steps / pixel_mm[0],
                middle[1] + np.cos(angle) * steps / pixel_mm[1],
            ]
        )
        ray = map_coordinates(plane, along, order=1, mode="constant", cval=-1000.0)
        rays.append(np.asarray(ray, dtype=np.float64))
    return rays


def edge_share(profile: Float, tissue_hu: tuple[float, float] = SKIN_TISSUE_HU) -> Float | None:
    """The outermost edge of a profile (0.1 mm steps, from inside): 1 in the tissue, 0 in air.

    From 4 mm within half-height to 6 mm outside. None where the ray leaves the picture, or where
    what lies within the edge is not plain tissue of `tissue_hu`.
    """
    above = np.flatnonzero(profile > SKIN_HU)
    inside, outside = (round(mm / RAY_STEP_MM) for mm in (INSIDE_MM[1], OUTSIDE_MM))
    if not len(above) or above[-1] < inside or above[-1] + outside >= len(profile):
        return None
    edge = int(above[-1])
    skin = profile[edge - inside : edge - round(INSIDE_MM[0] / RAY_STEP_MM)]
    air = float(profile[edge + outside])
    if air > -900.0 or skin.min() < tissue_hu[0] or skin.max() > tissue_hu[1]:
        return None
    return (profile[edge - inside : edge + outside] - air) / (float(skin.mean()) - air)


def edge_width(profile: Float, tissue_hu: tuple[float, float] = SKIN_TISSUE_HU) -> float | None:
    """Rise of a profile's outermost edge, 10 to 90 %, mm; None where there is none."""
    share = edge_share(profile, tissue_hu)
    return None if share is None else width_of(share)


def width_of(share: Float) -> float | None:
    """Rise of an edge response, 10 to 90 %, mm; None where it does not rise so far."""
    low = np.flatnonzero(share >= EDGE_LEVELS[0])
    high = np.flatnonzero(share >= EDGE_LEVELS[1])
    return float(low[-1] - high[-1]) * RAY_STEP_MM if len(low) and len(high) else None


def vertex_edge(volume: Volume) -> tuple[Float, Float] | None:
    """Distance above the skin at the vertex along the slice normal (mm, rising), and HU there.

    The vertex is curved, so that columns of voxels cut its edge at many phases: together they show
    it far finer than slices lie apart. None where the scan does not show the vertex.
    """
    grid, heights = volume.grid, volume.grid.offsets_mm
    parts, n = label(volume.hu > SKIN_HU)
    if not n:
        return None
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    above = parts == sizes.argmax()  # the head alone, without holders
    if above[-1].any():
        return None
    top = len(heights) - 1 - np.argmax(above[::-1], axis=0)
    highest = np.flatnonzero(above.any(axis=(1, 2)))[-1]
    there = np.argwhere((top == highest) & above.any(axis=0))
    middle = there.mean(axis=0)
    size = np.ceil(VERTEX_MM / np.array(grid.pixel_mm)).astype(int)
    low = np.maximum(np.rint(middle).astype(int) - size, 0)
    y, x = (slice(int(first), int(first + 2 * n)) for first, n in zip(low, size, strict=True))
    return _pooled_edge(volume.hu[:, y, x], top[y, x], heights, grid.pixel_mm)


def _pooled_edge(
    hu: NDArray[np.float32],
    top: NDArray[np.intp],
    heights: Float,
    pixel_mm: tuple[float, float],
) -> tuple[Float, Float] | None:
    """The columns of a block laid on each other at the smooth surface of their half-height."""
    y, x = np.nonzero((top > 1) & (top < len(heights) - 1))
    k = top[y, x]
    if len(y) < LEAST_COLUMNS:
        return None
    # bone that a thick slice reaches would lift the edge: no more than skin counts
    seen = np.clip(hu, AIR_HU, SKIN_LEVEL_HU).astype(np.float64)
    step = float(np.median(np.diff(heights)))
    crossing = heights[k - 1] - step / 2
    for j in range(-1, 3):  # the height up to which skin would reach if its edge were sharp
        share = (seen[np.minimum(k + j, len(heights) - 1), y, x] - AIR_HU) / (
            SKIN_LEVEL_HU - AIR_HU
        )
        crossing = crossing + step * share * (k + j < len(heights))
    u, v = y * pixel_mm[0] / VERTEX_MM - 1.0, x * pixel_mm[1] / VERTEX_MM - 1.0
    terms = np.stack([np.ones_like(u), u, v, u * v, u * u, v * v], axis=-1)
    kept = np.ones(len(y), dtype=bool)
    for _ in range(3):  # hair and noise are no skin
        weights, *_ = np.linalg.lstsq(terms[kept], crossing[kept], rcond=None)
        kept = np.abs(crossing - terms @ weights) < VERTEX_TOLERANCE_MM
        if kept.sum() < LEAST_COLUMNS:
            return None
    away = (heights[:, None] - (terms @ weights)[None, kept]).ravel()
    values = seen[:, y[kept], x[kept]].ravel()
    near = np.abs(away) < OUTSIDE_MM
    order = np.argsort(away[near])
    return away[near][order], values[near][order]


def through_plane_width(volume: Volume) -> float | None:
    """Width of the vertex' edge along the normal, mm: twice its outer half, 10 to 50 %.

    The outer half alone, since thick slices reach from the skin into the skull.
    """
    edge = vertex_edge(volume)
    if edge is None:
        return None
    away, values = edge
    share = (values - AIR_HU) / (SKIN_LEVEL_HU - AIR_HU)
    steps = np.arange(-OUTSIDE_MM, OUTSIDE_MM, DEPTH_STEP_MM)
    index = np.clip(np.searchsorted(steps, away) - 1, 0, len(steps) - 1)
    counts = np.bincount(index, minlength=len(steps))
    mean = np.bincount(index, weights=share, minlength=len(steps)) / np.maximum(counts, 1)
    middles, mean = steps[counts > 0] + DEPTH_STEP_MM / 2, mean[counts > 0]
    inside = int(np.argmax(mean))  # what lies deeper may be air again, in a replica
    middles, falling = middles[inside:], np.minimum.accumulate(mean[inside:])
    half, tenth = (float(np.interp(-level, -falling, middles)) for level in (0.5, EDGE_LEVELS[0]))
    return 2.0 * (tenth - half) if tenth > half else None
