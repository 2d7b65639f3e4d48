"""Several stacks under one series UID whose slices lie between each other.

Two reconstructions, or two acquisitions, of one region are no finer scan. Where each is a whole
stack they are told apart by a tag; where the tags differ and neither is whole, nobody can tell
what the stack is. Acquisitions that fill each other's holes, as interleaved scanning makes them,
are one stack.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from iac_cli.dicom.header import SliceHeader
from iac_cli.dicom.stack import EXPLAINED_BY_THICKNESS, find_gaps
from iac_cli.errors import Word

FEWEST_OF_A_STACK = 3
"""Fewer slices than this are strays and no stack of their own."""

MOST_WIDE = 0.5
"""Share of steps wider than the slices are thick, above which a stack is half of another."""

_KEYS: tuple[tuple[str, Callable[[SliceHeader], Hashable]], ...] = (
    ("kVp", lambda h: h.kvp),
    ("kernel", lambda h: h.kernel),
    ("acquisition", lambda h: h.acquisition_number),
)
"""What tells interleaved stacks apart, in the order in which it is tried."""


def interleaved(stack: list[SliceHeader]) -> list[tuple[list[SliceHeader], str]]:
    """A stack of distinct positions, split where it is several whole ones of one region."""
    for name, key in _KEYS:
        parts = _parts(stack, key)
        if _of_one_region(list(parts.values())) and all(map(_is_whole, parts.values())):
            return [(part, f"{name} {value}") for value, part in parts.items()]
    return [(stack, "")]


def mixed_up(stack: list[SliceHeader]) -> tuple[tuple[Word, str], ...]:
    """Why a stack cannot be measured: slices of two kernels or voltages lie between each other."""
    for name, key in _KEYS[:2]:
        parts = list(_parts(stack, key).values())
        if _of_one_region(parts):
            what = f"slices of {len(parts)} settings ({name}) lie between each other"
            return ((Word.CONFLICTING_SLICES, what),)
    return ()


def _parts(
    stack: Sequence[SliceHeader], key: Callable[[SliceHeader], Hashable]
) -> dict[Hashable, list[SliceHeader]]:
    parts: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for header in stack:
        parts[key(header)].append(header)
    return parts


def _of_one_region(parts: Sequence[list[SliceHeader]]) -> bool:
    return any(overlap(one, other) for one, other in combinations(parts, 2))


def _is_whole(part: list[SliceHeader]) -> bool:
    """True for a stack without holes, none between all its slices either."""
    normal = part[0].place.normal
    if len(part) < FEWEST_OF_A_STACK or normal is None:
        return False
    if any(h.place.position is None for h in part):
        return False
    offsets = np.array([h.place.position for h in part], dtype=np.float64) @ normal
    thickness = np.array([h.place.thickness_mm or np.nan for h in part])
    order = np.argsort(offsets)
    steps = np.diff(offsets[order])
    wide = steps > EXPLAINED_BY_THICKNESS * thickness[order][1:]
    return not wide.mean() > MOST_WIDE and not find_gaps(
        offsets[order], thickness[order], np.zeros(0)
    )


def overlap(stack: list[SliceHeader], other: list[SliceHeader]) -> bool:
    """True when both are stacks of their own, and the smaller lies half within the larger."""
    if min(len(stack), len(other)) < FEWEST_OF_A_STACK:
        return False
    (low, high), (other_low, other_high) = _range(stack, stack[0]), _range(other, stack[0])
    shared = min(high, other_high) - max(low, other_low)
    return shared >= 0.5 * min(high - low, other_high - other_low)


def _range(stack: list[SliceHeader], reference: SliceHeader) -> tuple[float, float]:
    offsets = offsets_along(stack, reference)
    return (float(np.nanmin(offsets)), float(np.nanmax(offsets))) if len(offsets) else (0.0, 0.0)


def offsets_along(stack: Sequence[SliceHeader], reference: SliceHeader) -> np.ndarray[Any, Any]:
    """Offsets along the reference's normal of the slices that have a position, sorted, (n,) mm."""
    normal = reference.place.normal
    positions = [h.place.position for h in stack if h.place.position is not None]
    if normal is None or not positions:
        return np.zeros(0)
    return np.sort(np.array(positions) @ normal)
