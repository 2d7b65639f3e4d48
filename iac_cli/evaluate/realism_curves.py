"""The distributions behind the figures of `realism`: HU, noise power spectrum, edge response."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.evaluate.realism import (
    INSIDE_MM,
    OUTSIDE_MM,
    RAY_STEP_MM,
    brain_patches,
    brain_slices,
    detrended,
    edge_share,
    skin_rays,
)
from iac_cli.geometry.volume import Volume

Float = NDArray[np.float64]

TISSUE_BINS_HU = np.arange(-150.0, 151.0, 5.0)
BONE_BINS_HU = np.arange(200.0, 2501.0, 50.0)
FREQUENCY_STEP_PER_MM = 0.05
HIGHEST_PER_MM = 1.0


@dataclass(frozen=True, slots=True)
class Curves:
    """Curves of one scan as plain lists; HU, 1/mm and mm are the middles of bins."""

    tissue_hu: list[float]
    tissue: list[float]
    """Share of the voxels between -150 and 150 HU in the brain's slices."""
    bone_hu: list[float]
    bone: list[float]
    """Share of the voxels between 200 and 2500 HU in the whole scan."""
    frequency_per_mm: list[float]
    noise_power: list[float]
    """HU2 mm2 in plane, averaged over directions; empty where no patch lies in the brain."""
    edge_mm: list[float]
    edge: list[float]
    """Median edge response in plane, 1 in the skin; empty where no ray meets plain skin."""

    def to_json_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def _shares(values: NDArray[np.float32], bins: Float) -> list[float]:
    counts, _ = np.histogram(values, bins)
    return [float(v) for v in counts / max(1, counts.sum())]


def _middles(bins: Float) -> list[float]:
    return [float(v) for v in (bins[1:] + bins[:-1]) / 2]


def frequency_bins() -> Float:
    """Edges of the radial frequency's bins, 1/mm."""
    return np.asarray(
        np.arange(0.0, HIGHEST_PER_MM + FREQUENCY_STEP_PER_MM / 2, FREQUENCY_STEP_PER_MM)
    )


def radial_power(patches: Sequence[Float], pixel_mm: tuple[float, float]) -> Float:
    """Noise power of patches (rows, columns), HU2 mm2, by radial frequency; NaN in empty bins."""
    rows, columns = patches[0].shape
    power = np.mean([np.abs(np.fft.fft2(one)) ** 2 for one in patches], axis=0)
    power = power * pixel_mm[0] * pixel_mm[1] / (rows * columns)
    fy, fx = (np.fft.fftfreq(n, p) for n, p in zip((rows, columns), pixel_mm, strict=True))
    index = np.digitize(np.hypot(fy[:, None], fx[None]).ravel(), frequency_bins()) - 1
    n = len(frequency_bins()) - 1
    kept = index < n
    counts = np.bincount(index[kept], minlength=n)
    total = np.bincount(index[kept], weights=power.ravel()[kept], minlength=n)
    return np.where(counts > 0, total / np.maximum(counts, 1), np.nan)


def curves_of(volume: Volume) -> Curves:
    """Measure a head scan."""
    slices, pixel_mm = brain_slices(volume), volume.grid.pixel_mm
    patches = [detrended(patch) for k in slices for patch in brain_patches(volume, k)]
    rays = [ray for k in slices for ray in skin_rays(volume.hu[k], pixel_mm)]
    edges = [share for ray in rays if (share := edge_share(ray)) is not None]
    power = radial_power(patches, pixel_mm) if patches else np.array([])
    known = np.isfinite(power)
    frequency = np.array(_middles(frequency_bins()))[: len(power)]
    along = np.arange(-INSIDE_MM[1], OUTSIDE_MM - RAY_STEP_MM / 2, RAY_STEP_MM)
    return Curves(
        tissue_hu=_middles(TISSUE_BINS_HU),
        tissue=_shares(volume.hu[slices], TISSUE_BINS_HU),
        bone_hu=_middles(BONE_BINS_HU),
        bone=_shares(volume.hu, BONE_BINS_HU),
        frequency_per_mm=[float(v) for v in frequency[known]],
        noise_power=[float(v) for v in power[known]],
        edge_mm=[float(v) for v in along] if edges else [],
        edge=[float(v) for v in np.median(edges, axis=0)] if edges else [],
    )
