"""Is a head in HU? What its values say: air, the rim of the image, and how far bone reaches.

A rescale tag or an earlier step may have scaled, windowed or stripped a head without a trace in
the header. Air lies near -1000 HU, and the petrous bone of a head reaches 1500 HU and more.
"""

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import Finding, Severity, Word
from iac_cli.geometry.volume import Volume
from iac_cli.settings import CheckSettings

MOST_VOXELS = 4_000_000
"""About so many voxels, evenly picked, stand for all in a histogram."""

LOWEST_HU, NOT_AIR_HU = -1324, -300
"""Air is looked for between these."""

SPIKE_SHARE, SPIKE_TIMES = 0.02, 4.0
"""One value of so large a share of all voxels, so many times its neighbours', was not measured."""

PEAK_HALF_HU = 25
"""A mode counts with the voxels within so many HU."""

PEAK_SHARE = 0.03
"""Share of all voxels below which a mode tells nothing: air in sinuses alone is blurred by bone."""

RIM_SHARE = 0.5
"""Share of the image's rim that holds one value, above which it is a background."""

RIM_PIXELS = 2
"""The rim is looked at so far inside: resampling often leaves the last row and column empty."""

PILED_VOXELS, PILED_TIMES = 20, 20.0
"""So many voxels just below the highest value, and at it so many times what each value below holds
on average, show that what was higher was cut off."""

TWELVE_BIT_HU = 2976.0
"""Highest value from which on a ceiling is the scanner's own."""


def judge_scale(volume: Volume, settings: CheckSettings) -> Finding | None:
    """Air where air should be: another value tells of a wrong slope or offset, or of stripping."""
    rim = rim_value(volume.hu)
    low, high = settings.air_hu
    if rim is not None and rim > high:
        what = f"most of the image's rim is exactly {rim:.0f} HU, where air should be near -1000 HU"
        return Finding(Word.HU_SCALE_WRONG, what)
    air = air_mode(volume.hu)
    if air is None or low <= air <= high:
        return None
    what = f"air lies at {air:.0f} HU, and should lie between {low:.0f} and {high:.0f} HU"
    return Finding(Word.HU_SCALE_WRONG, what)


def rim_value(hu: NDArray[np.float32]) -> float | None:
    """The one value that most voxels along the rim of all slices hold; None without one."""
    inside = hu[:, RIM_PIXELS:-RIM_PIXELS, RIM_PIXELS:-RIM_PIXELS]
    sides = (inside[:, 0], inside[:, -1], inside[:, :, 0], inside[:, :, -1])
    values, counts = np.unique(np.concatenate([side.ravel() for side in sides]), return_counts=True)
    most = int(counts.argmax())
    return float(values[most]) if counts[most] > RIM_SHARE * counts.sum() else None


def air_mode(hu: NDArray[np.float32]) -> float | None:
    """The commonest measured HU of air; None where there is too little that was measured.

    Values that a step before filled in (padding, a stripped background) are left out.
    """
    stride = max(1, int(np.ceil(np.sqrt(hu.size / MOST_VOXELS))))
    some = hu[:, ::stride, ::stride]
    bins = NOT_AIR_HU - LOWEST_HU
    air = some[(some >= LOWEST_HU) & (some < NOT_AIR_HU)]
    counts = np.bincount((np.rint(air) - LOWEST_HU).astype(int), minlength=bins + 1)[:bins]
    around = np.convolve(counts, np.ones(11), "same") - counts
    spikes = (counts > SPIKE_SHARE * some.size) & (counts > SPIKE_TIMES * around / 10.0)
    counts[spikes] = 0
    near = np.convolve(counts, np.ones(2 * PEAK_HALF_HU + 1), "same")
    mode = int(near.argmax())
    return float(mode + LOWEST_HU) if near[mode] >= PEAK_SHARE * some.size else None


def judge_ceiling(volume: Volume, settings: CheckSettings) -> Finding | None:
    """Bone must reach its true HU: a ceiling below is refused or told."""
    slice_highest = volume.hu.max(axis=(1, 2))
    highest = float(slice_highest.max())
    if highest < settings.bone_reaches_hu:
        what = (
            f"the highest value is {highest:.0f} HU: the bone of a head reaches more than "
            f"{settings.bone_reaches_hu:.0f} HU, so the values were cut off or scaled"
        )
        return Finding(Word.HU_CLIPPED, what)
    if highest >= TWELVE_BIT_HU:
        return None
    bright = volume.hu[slice_highest >= highest - 20.0]  # the other slices hold nothing of it
    n_highest = int((bright == highest).sum())
    below = int((bright >= highest - 20.0).sum()) - n_highest
    if below < PILED_VOXELS or n_highest < PILED_TIMES * below / 20.0:
        return None
    what = f"values end at {highest:.0f} HU ({n_highest} voxels): HU sums and means may be too low"
    if highest >= settings.network_sees_hu:
        return Finding(Word.HU_CEILING, what, Severity.INFO)
    return Finding(Word.HU_CEILING, f"{what}, and the network sees bone as it never saw it")
