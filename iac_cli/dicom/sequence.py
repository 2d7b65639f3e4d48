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
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


STANDS_OUT_STEPS, STANDS_OUT_SHARE = 0.9, 1.2
"""What a slice adds at its place, in steps and as a share of the way to its nearer neighbour, above
which it is told."""


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """How far the slices of a stack are apart, HU."""

    apart: NDArray[np.float64]
    """(n, n): every slice from every other."""
    steps: NDArray[np.float64]
    """(n - 1,): neighbours."""
    step: float
    """The median of `steps`."""


def judge_sequence(looks: Sequence[Look], numbers: Sequence[str]) -> list[Finding]:
    """Refuse a stack with slices at a wrong place, tell of slices that are unlike both neighbours.

    `numbers` name the slices, from below. Raises: IacError: slices_out_of_order.
    """
    names = [number for number, look in zip(numbers, looks, strict=True) if look.noisy]
    ways = ways_between([look.picture for look in looks if look.noisy])
    wrong = misplaced(ways)
    if wrong:
        what = "the anatomy does not run on from slice to slice"
        raise IacError(
            Word.SLICES_OUT_OF_ORDER,
            f"{what}: {listed(names, wrong)} would fit elsewhere",
            way_out="stack the slices by their positions, not by file names, or send the series "
            "again",
        )
    odd = standing_out(ways)
    if not odd:
        return []
    what = (
        f"{listed(names, odd)} does not run on from the slices beside it: the head moved, HU are "
        "shifted there, or it is another picture; look at the scan"
    )
    return [Finding(Word.SLICE_STANDS_OUT, what)]


def listed(names: Sequence[str], chosen: Sequence[int]) -> str:
    """The first five of the chosen names, and how many more there are."""
    rest = f" and {len(chosen) - 5} more" if len(chosen) > 5 else ""
    return ", ".join(names[i] for i in chosen[:5]) + rest


def misplaced(ways: Ways | None) -> list[int]:
    """Numbers of the slices that fit better at another place."""
    if ways is None:
        return []
    apart, steps, step = ways.apart, ways.steps, ways.step
    usual = float(np.median(steps[:-1] + steps[1:] - np.diagonal(apart, 2)))
    wrong = []
    for i in range(1, len(apart) - 1):
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


def standing_out(ways: Ways | None) -> list[int]:
    """Numbers of the slices that differ from both neighbours more than these from each other."""
    if ways is None:
        return []
    steps = ways.steps
    here = steps[:-1] + steps[1:] - np.diagonal(ways.apart, 2)
    nearer = np.minimum(steps[:-1], steps[1:])
    odd = (here > STANDS_OUT_STEPS * ways.step) & (here > STANDS_OUT_SHARE * nearer)
    return [int(i) + 1 for i in np.flatnonzero(odd)]


def ways_between(pictures: Sequence[Picture]) -> Ways | None:
    """The ways between the slices of a stack; None where they tell nothing."""
    if len(pictures) < FEWEST_SLICES:
        return None
    apart = differences(pictures)
    steps = np.diagonal(apart, 1)
    step = float(np.median(steps))
    return None if step < SEEN_STEP_HU else Ways(apart, steps, step)


def differences(pictures: Sequence[Picture]) -> NDArray[np.float64]:
    """Mean absolute differences (n, n) between pictures, HU."""
    flat = np.stack([picture.ravel() for picture in pictures]).astype(np.float32)
    apart = np.zeros((len(flat), len(flat)))
    for i, one in enumerate(flat[:-1]):  # SciPy's cdist would have to be imported for this alone
        apart[i, i + 1 :] = np.abs(flat[i + 1 :] - one).mean(axis=1)
    return apart + apart.T
