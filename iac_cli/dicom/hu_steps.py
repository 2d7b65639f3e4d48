"""Do HU jump from one slice to the next?

The rescale of some slices may be wrong, or two scans were joined, and no tag tells. In the heads of
the living the median change of soft tissue from slice to slice is below 10 HU, at 1 mm as at 7 mm
(`benchmarks/pixels.py`). Where it is more, one side has another offset, or is another scan. Gas in
the head of a cadaver moves it as well.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.blank import Look
from iac_cli.dicom.sequence import FEWEST_SLICES, Picture, listed
from iac_cli.errors import Finding, Word

HU_STEP = 15.0
"""Median change of soft tissue from a slice to the next, HU, above which it is told."""

SOFT_HU = (0.0, 90.0)
"""Of a pixel of a small picture that holds soft tissue alone."""

FEWEST_SOFT = 30
"""Soft pixels of a small picture below which it says nothing."""

LARGEST_TOLD_HU = 150.0
"""Pictures are cut off above and below, so that larger steps are told as more than this."""


def judge_hu_steps(looks: Sequence[Look], numbers: Sequence[str]) -> list[Finding]:
    """Tell where the HU of a scan jump; a drawing without noise may.

    `numbers` name the slices, from below.
    """
    if sum(look.noisy for look in looks) < FEWEST_SLICES:
        return []
    steps = hu_steps([look.picture for look in looks])
    if not steps:
        return []
    pairs = [f"{numbers[i]} and {numbers[i + 1]}" for i in steps]
    largest = max(map(abs, steps.values()))
    size = f"up to {largest:.0f}" if largest < LARGEST_TOLD_HU else f"more than {LARGEST_TOLD_HU:g}"
    what = (
        f"soft tissue changes by {size} HU between {listed(pairs, range(len(pairs)))}: on one "
        "side HU have another offset, or it is another scan"
    )
    return [Finding(Word.HU_STEP, what)]


def hu_steps(pictures: Sequence[Picture], above_hu: float = HU_STEP) -> dict[int, float]:
    """Where soft tissue jumps: the lower slice's number, and by how many HU.

    Soft tissue of the lower slice and that of the upper one are asked apart, and the smaller answer
    counts: where bone or air begins, only one of the two is another tissue in the other slice. A
    slice without soft tissue between others that have it is no end of the head: there the one
    answer counts.
    """
    flat = np.stack([picture.ravel() for picture in pictures])
    soft = (SOFT_HU[0] < flat) & (flat < SOFT_HU[1])
    holding = np.flatnonzero(soft.sum(axis=1) >= FEWEST_SOFT)
    if not len(holding):
        return {}
    change = np.diff(flat, axis=0)
    both = [_median_where(some, change) for some in (soft[:-1], soft[1:])]
    steps = {}
    for i in range(holding[0], holding[-1]):
        step = min((float(one[i]) for one in both if np.isfinite(one[i])), key=abs, default=0.0)
        if abs(step) > above_hu:
            steps[i] = step
    return steps


def _median_where(chosen: NDArray[np.bool_], values: Picture) -> Picture:
    """Median of each row's chosen values; infinite where they are too few."""
    ordered = np.sort(np.where(chosen, values, np.inf), axis=1)
    n, rows = chosen.sum(axis=1), np.arange(len(values))
    middle = (ordered[rows, (n - 1) // 2] + ordered[rows, n // 2]) / 2
    return np.where(n >= FEWEST_SOFT, middle, np.inf).astype(np.float32)
