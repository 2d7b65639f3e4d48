"""Where a segmenter draws: from which probability on, by the thickness of the slices.

The same calcification is fainter in thick slices, and the best threshold for Dice is about half of
the Dice that can be had (Lipton 2014), which falls as slices thicken.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Thresholds of the calibrated probability, for slices from some thickness on."""

    threshold: float
    """From which a voxel is calcified."""
    lesion_threshold: float = 0.0
    """Of the mean over a group of such voxels, from which the group is drawn; 0 draws every one."""
    threshold_unbiased_volume: float | None = None
    """In place of `threshold`, to draw as much as is there."""
    from_mm: float = 0.0
    """Thickness from which the point is meant; the first one's is 0."""


OperatingPoints = tuple[OperatingPoint, ...]
"""By rising `from_mm`, the first from 0."""


def point_for(points: OperatingPoints, thickness_mm: float) -> OperatingPoint:
    """The point that is meant for slices of some thickness."""
    return [point for point in points if point.from_mm <= thickness_mm][-1]


def for_volume(points: OperatingPoints) -> OperatingPoints | None:
    """Points that draw as much as is there; None where one of them does not know how."""
    known = [(p, p.threshold_unbiased_volume) for p in points]
    able = tuple(replace(p, threshold=volume) for p, volume in known if volume is not None)
    return able if len(able) == len(points) else None


THRESHOLDS = ("threshold", "lesion_threshold", "thicker_slices")
"""The names in `thresholds_of`."""


def thresholds_of(points: OperatingPoints) -> dict[str, Any]:
    """What decides which voxels are drawn, as plain values: of the thinnest slices, and thicker."""
    first, *others = ({"from_mm": p.from_mm} | _drawing(p) for p in points)
    del first["from_mm"]
    return first | {"thicker_slices": others}


def with_defaults(thresholds: Mapping[str, Any]) -> dict[str, Any]:
    """`thresholds_of`, also of a file from before lesions or thicker slices had thresholds."""
    return {"lesion_threshold": 0.0, "thicker_slices": []} | dict(thresholds)


def as_card(points: Sequence[OperatingPoint]) -> dict[str, Any]:
    """As a model card holds them."""
    first, *others = (asdict(point) for point in points)
    del first["from_mm"]
    return first | {"thicker_slices": others}


def _drawing(point: OperatingPoint) -> dict[str, float]:
    return {"threshold": point.threshold, "lesion_threshold": point.lesion_threshold}
