"""Do the slices of a stack lie in the order in which they were taken?

A script that sorts file names as text (1, 10, 11, 2 ...) stacks slices wrongly, and nothing in a
NIfTI tells; in DICOM two positions may be exchanged. But anatomy runs on. What a slice adds to the
way from one neighbour to the other, the mean absolute difference being the measure of way, is twice
how far its values lie outside those of the two: little at its own place, much at a wrong one. What
belongs to the slice alone (a streak, a move of the head) it takes along to every place.

`benchmarks/pixels.py` asks real stacks: in order, none has a slice at a wrong place or one that
stands out; of all exchanges of two neighbours 88 to 100 % are seen (some slices hardly differ);
names sorted as text always are. A body whose upper half mirrors its lower one is in order too:
there every slice leads on from one neighbour to the other. So, mostly, is a head that sways.

Nor do HU jump: from slice to slice the median change of soft tissue is below 10 HU in the heads of
the living, at 1 mm as at 7 mm. Where it is more, one side has another offset, or is another scan.
Gas in the head of a cadaver moves it as well.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.blank import Look
from iac_cli.errors import Finding, IacError, Word

Picture = NDArray[np.float32]
"""A slice made small, (row, column), HU."""

EXCESS_STEPS = 0.4
"""Steps that a slice must add more at its place than elsewhere to be out of order."""

FEWEST_SLICES = 12
"""In a shorter stack neighbours differ too much to tell."""

EXCESS_LEFT = 0.6
"""Share of what a slice adds at its place that it may still add elsewhere, where it belongs."""

UNUSUAL = 2.0
"""A misplaced slice adds so many times what the slices of its stack add. Where the head swayed from
slice to slice they all add much, and fit elsewhere, and are in order."""

SEEN_STEP_HU = 0.5
"""Neighbours that differ by less hold no anatomy: air, or a plain phantom."""


HU_STEP = 15.0
"""Median change of soft tissue from a slice to the next, HU, above which it is told."""

SOFT_HU = (0.0, 90.0)
"""Of a pixel of a small picture that holds soft tissue alone."""

FEWEST_SOFT = 30
"""Soft pixels of a small picture below which it says nothing."""

LARGEST_TOLD_HU = 150.0
"""Pictures are cut off above and below, so that larger steps are told as more than this."""

STANDS_OUT_STEPS, STANDS_OUT_SHARE = 0.9, 1.2
"""What a slice adds at its place, in steps and as a share of the way to its nearer neighbour, above
which it is told."""


def judge_sequence(looks: Sequence[Look], numbers: Sequence[str]) -> list[Finding]:
    """Refuse a stack with slices at a wrong place, tell of slices that are unlike both neighbours.

    `numbers` name the slices, from below. Raises: IacError: slices_out_of_order.
    """
    names = [number for number, look in zip(numbers, looks, strict=True) if look.noisy]
    pictures = [look.picture for look in looks if look.noisy]
    wrong = misplaced(pictures)
    if wrong:
        what = "the anatomy does not run on from slice to slice"
        raise IacError(
            Word.SLICES_OUT_OF_ORDER,
            f"{what}: {_listed(names, wrong)} would fit elsewhere",
            way_out="stack the slices by their positions, not by file names, or send the series "
            "again",
        )
    odd, told = standing_out(pictures), _hu_steps_told(looks, numbers)
    if odd:
        what = (
            f"{_listed(names, odd)} does not run on from the slices beside it: the head moved, HU "
            "are shifted there, or it is another picture; look at the scan"
        )
        told.append(Finding(Word.SLICE_STANDS_OUT, what))
    return told


def _hu_steps_told(looks: Sequence[Look], numbers: Sequence[str]) -> list[Finding]:
    """Of a scan; a drawing without noise may jump."""
    if sum(look.noisy for look in looks) < FEWEST_SLICES:
        return []
    steps = hu_steps([look.picture for look in looks])
    if not steps:
        return []
    pairs = [f"{numbers[i]} and {numbers[i + 1]}" for i in steps]
    largest = max(map(abs, steps.values()))
    size = f"up to {largest:.0f}" if largest < LARGEST_TOLD_HU else f"more than {LARGEST_TOLD_HU:g}"
    what = (
        f"soft tissue changes by {size} HU between {_listed(pairs, range(len(pairs)))}: on one "
        "side HU have another offset, or it is another scan"
    )
    return [Finding(Word.HU_STEP, what)]


def _listed(names: Sequence[str], chosen: Sequence[int]) -> str:
    rest = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    return ", ".join(names[i] for i in chosen[:5]) + rest


def misplaced(pictures: Sequence[Picture]) -> list[int]:
    """Numbers of the slices that fit better at another place, from their small pictures, HU."""
    ways = _ways(pictures)
    if ways is None:
        return []
    apart, steps, step = ways
    usual = float(np.median(steps[:-1] + steps[1:] - np.diagonal(apart, 2)))
    wrong = []
    for i in range(1, len(pictures) - 1):
        before, after, across = apart[i - 1, i], apart[i, i + 1], apart[i - 1, i + 1]
        if across >= max(before, after):  # the slice leads on from one neighbour to the other
            continue
        here = before + after - across
        elsewhere = apart[i, :-1] + apart[i, 1:] - steps
        elsewhere[[i - 1, i]] = np.inf
        best = elsewhere.min()
        fits = here - best > EXCESS_STEPS * step and best < EXCESS_LEFT * here
        if fits and here > UNUSUAL * usual:
            wrong.append(i)
    return wrong


def standing_out(pictures: Sequence[Picture]) -> list[int]:
    """Numbers of the slices that differ from both neighbours more than these from each other."""
    ways = _ways(pictures)
    if ways is None:
        return []
    apart, steps, step = ways
    here = steps[:-1] + steps[1:] - np.diagonal(apart, 2)
    nearer = np.minimum(steps[:-1], steps[1:])
    odd = (here > STANDS_OUT_STEPS * step) & (here > STANDS_OUT_SHARE * nearer)
    return [int(i) + 1 for i in np.flatnonzero(odd)]


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


def _ways(
    pictures: Sequence[Picture],
) -> tuple[NDArray[np.float64], NDArray[np.float64], float] | None:
    """All differences, those between neighbours, and their median; None where they tell nothing."""
    if len(pictures) < FEWEST_SLICES:
        return None
    apart = differences(pictures)
    steps = np.diagonal(apart, 1)
    step = float(np.median(steps))
    return None if step < SEEN_STEP_HU else (apart, steps, step)


def differences(pictures: Sequence[Picture]) -> NDArray[np.float64]:
    """Mean absolute differences (n, n) between pictures, HU."""
    flat = np.stack([picture.ravel() for picture in pictures]).astype(np.float32)
    apart = np.zeros((len(flat), len(flat)))
    for i, one in enumerate(flat[:-1]):  # SciPy's cdist would have to be imported for this alone
        apart[i, i + 1 :] = np.abs(flat[i + 1 :] - one).mean(axis=1)
    return apart + apart.T
