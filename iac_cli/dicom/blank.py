"""Which slices of a stack hold no image, hold it in part, or are another slice once more.

A broken transfer leaves slices of the right length that are filled up with one value, wholly or
from some row on, or a neighbour's pixels under another position. Such a slice is no measurement.
Noise tells an image from a drawing: a real slice never repeats bit for bit, and its rows are never
constant where there is tissue. Phantoms without noise are not judged.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TISSUE_HU = -300.0
"""HU above which a voxel is no air."""

EVERY = 2
"""Every second pixel of every second row is looked at."""

NOISY_SHARE = 0.5
"""Share of tissue voxels that differ from the next one, above which a slice has noise."""

FEWEST_TISSUE = 100
"""Looked-at tissue voxels below which a slice is air as far as this judge is concerned."""

LOST_SHARE = 0.05
"""Share of the neighbours' tissue that may be missing in a slice without being told."""

LOST_LINES = 2
"""Looked-at rows or columns in a row, of one value each amid tissue, that are told however few."""

AMID_TISSUE = 30
"""Looked-at tissue voxels that such a row or column has in all noisy neighbours."""

NEARLY_ALL = 0.9
"""Share from which a slice holds no image at all."""

PICTURE_SIDE = 32
PICTURE_HU = (-200.0, 300.0)
"""Soft tissue makes the difference between two slices, not bone alone."""

REPEATED, NO_IMAGE, PART_IMAGE = (
    "holds the pixels of another slice",
    "holds no image",
    "holds no image in a part where its neighbours do",
)


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What one slice looks like: for each looked-at row, then for each column."""

    digest: bytes
    constant: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    """Whether all its values are one."""
    value: tuple[NDArray[np.float32], NDArray[np.float32]]
    """Its lowest value, HU."""
    tissue: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Number of its voxels above air."""
    noisy: bool
    """True for an image of a body, with noise."""
    picture: NDArray[np.float32]
    """The slice made small, HU between `PICTURE_HU`."""

    @property
    def n_tissue(self) -> int:
        """Looked-at voxels above air in the whole slice."""
        return int(self.tissue[0].sum())


def look_at(hu: NDArray[np.float32], digest: bytes) -> Look:
    """Look at one slice (row, column) in HU."""
    some = np.ascontiguousarray(hu[::EVERY, ::EVERY])
    above_air = some > TISSUE_HU
    low = (some.min(axis=1), some.min(axis=0))
    constant = (some.max(axis=1) == low[0], some.max(axis=0) == low[1])
    n_tissue = int(above_air.sum())
    changes = int(((some[:, 1:] != some[:, :-1]) & above_air[:, 1:]).sum())
    noisy = n_tissue >= FEWEST_TISSUE and changes > NOISY_SHARE * n_tissue
    tissue = (above_air.sum(axis=1), above_air.sum(axis=0))
    return Look(digest, constant, low, tissue, noisy, _picture(some))


def _picture(some: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over blocks of pixels, so that noise counts for little."""
    high, wide = (max(1, side // PICTURE_SIDE) for side in some.shape)
    rows, columns = some.shape[0] // high, some.shape[1] // wide
    whole = some[: rows * high, : columns * wide].clip(*PICTURE_HU)
    means = whole.reshape(rows, high, -1).mean(axis=1)
    small: NDArray[np.float32] = means.reshape(rows, columns, wide).mean(axis=2)
    return small


def blank_slices(looks: Sequence[Look]) -> dict[int, str]:
    """Index of each slice of a stack, from below, that is no image of its own: what is wrong."""
    blank: dict[int, str] = {}
    same: dict[bytes, list[int]] = defaultdict(list)
    for i, look in enumerate(looks):
        if look.noisy:
            same[look.digest].append(i)
    for i, look in enumerate(looks):
        below = next((looks[k] for k in range(i - 1, -1, -1) if looks[k].noisy), None)
        above = next((looks[k] for k in range(i + 1, len(looks)) if looks[k].noisy), None)
        beside = [one for one in (below, above) if one is not None]
        lost = _lost_share(look, beside)
        if len(same.get(look.digest, ())) > 1:
            blank[i] = REPEATED
        elif lost > LOST_SHARE:
            blank[i] = NO_IMAGE if lost > NEARLY_ALL else PART_IMAGE
    return blank


def _lost_share(look: Look, beside: Sequence[Look]) -> float:
    """Share of the tissue that all noisy neighbours hold, where this slice is one value.

    At an end of the body a slice may be air: with one neighbour only values above air count.
    """
    if not beside:
        return 0.0
    expected = min(one.n_tissue for one in beside)
    if len(beside) == 2 and look.n_tissue < LOST_SHARE * expected:
        return 1.0
    worst, holed = 0, False
    for axis in (0, 1):
        flat = look.constant[axis].copy()
        if len(beside) < 2:
            flat &= look.value[axis] > TISSUE_HU
        for one in beside:
            flat &= ~one.constant[axis]
        held = np.minimum.reduce([one.tissue[axis] for one in beside])
        worst = max(worst, int(held[flat].sum()))
        holed |= _longest_run(flat & (held >= AMID_TISSUE)) >= LOST_LINES
    share = worst / max(expected, 1)
    return max(share, 2 * LOST_SHARE) if holed else share


def _longest_run(of: NDArray[np.bool_]) -> int:
    """Length of the longest stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], of.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))
