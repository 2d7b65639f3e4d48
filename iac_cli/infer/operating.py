"""Where a segmenter draws: from which probability on, by the thickness of the slices.

The same calcification is fainter in thick slices, and the best threshold for Dice is about half of
the Dice that can be had (Lipton 2014), which falls as slices thicken.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Thresholds of the calibrated probability, for slices over some thickness."""

    threshold: float
    """From which a voxel is calcified."""
    lesion_threshold: float = 0.0
    """Of the mean over a group of such voxels, from which the group is drawn; 0 draws every one."""
    threshold_unbiased_volume: float | None = None
    """In place of `threshold`, to draw as much as is there."""
    over_mm: float = 0.0
    """Thickness over which the point is meant; the first one's is 0."""


OperatingPoints = tuple[OperatingPoint, ...]
"""By rising `over_mm`, the first over 0."""

DECIDING = ("threshold", "lesion_threshold", "thicker_slices")
"""The names in `thresholds_of`."""


def point_for(points: OperatingPoints, thickness_mm: float) -> OperatingPoint:
    """The point that is meant for slices of some thickness."""
    return [points[0], *(point for point in points[1:] if point.over_mm < thickness_mm)][-1]


def for_volume(points: OperatingPoints) -> OperatingPoints | None:
    """Points that draw as much as is there; None where one of them does not know how."""
    known = [(p, p.threshold_unbiased_volume) for p in points]
    able = tuple(replace(p, threshold=volume) for p, volume in known if volume is not None)
    return able if len(able) == len(points) else None


def as_card(points: OperatingPoints) -> dict[str, Any]:
    """As a model card holds them: those of the thinnest slices, and of thicker ones."""
    first, *others = (asdict(point) for point in points)
    del first["over_mm"]
    return first | {"thicker_slices": others}


def thresholds_of(points: OperatingPoints) -> dict[str, Any]:
    """What decides which voxels are drawn, and nothing else, as a card holds it."""
    values = as_card(points)
    for one in (values, *values["thicker_slices"]):
        del one["threshold_unbiased_volume"]
    return values
