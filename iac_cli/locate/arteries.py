"""Where the arteries run in one head, and which artery a point belongs to."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import COUNTED_FROM, Artery, CentreLine, IcaSegment

ICA_SEGMENT_ENDS = (
    (0.46, IcaSegment.PETROUS),
    (0.80, IcaSegment.CAVERNOUS),
    (0.90, IcaSegment.CLINOID_OPHTHALMIC),
    (1.00, IcaSegment.SUPRACLINOID),
)
"""Fraction of the ICA's length, from the carotid canal's entrance, at which each segment ends."""


NAMING_STEP_MM = 0.5
"""Distance of the points that stand for a line when the nearest is sought."""


SIPHON_FROM = ICA_SEGMENT_ENDS[0][0]
"""Fraction of the ICA's length at which the siphon, the cavernous segment, begins."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """The artery nearest to a point, and how the answer was found."""

    artery: Artery
    segment: IcaSegment | None
    distance_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Arteries:
    """The located centre lines. An artery that the scan does not cover has `covered` False."""

    lines: Mapping[Artery, CentreLine]
    """Lines of every artery of which at least a part was found."""
    covered: Mapping[Artery, bool]
    """For all arteries: whether its whole course lies inside the scan."""
    confidence: Mapping[Artery, float]
    """For all arteries: mean probability [0, 1] that its key points lie inside the scan."""
    named_by: str = "nearest_centre_line"
    fractions: Mapping[Artery, NDArray[np.float64]] = field(default_factory=dict)
    """Fraction of the whole artery's length at each point of a line; a line of which only a part
    lies inside the scan does not run from 0 to 1. Without an entry it does."""
    siphons: Mapping[Artery, bool] = field(default_factory=dict)
    """For both ICAs: whether the part from the cavernous segment on lies inside the scan."""

    @property
    def counted_lines(self) -> tuple[CentreLine, ...]:
        """The lines from where calcification counts on them; without one that ends before that."""
        counted = []
        for artery, line in self.lines.items():
            start = COUNTED_FROM.get(artery.value.partition("-")[0], 0.0)
            arc = line.arc_mm
            fractions = self.fractions.get(artery, arc / max(arc[-1], 1e-9))
            if fractions[-1] > start:
                counted.append(line.part_from(float(np.interp(start, fractions, arc))))
        return tuple(counted)

    def places(self, points_mm: NDArray[np.float64]) -> list[Place]:
        """The nearest artery of each point (k, 3) LPS mm; empty when no line was found."""
        if not self.lines:
            return []
        samples = [line.resampled(NAMING_STEP_MM) for line in self.lines.values()]
        nearest = [_nearest(points_mm, line) for line in samples]
        distances = np.stack([distance for distance, _ in nearest])  # (lines, k)
        places = []
        for k, w in enumerate(distances.argmin(axis=0)):
            artery = samples[w].artery
            fraction = self._fraction(artery, nearest[w][1][k])
            places.append(Place(artery, ica_segment(artery, fraction), float(distances[w, k])))
        return places

    def _fraction(self, artery: Artery, along: float) -> float:
        """Fraction of the whole artery at a fraction of its line."""
        if artery not in self.fractions:
            return along
        arc = self.lines[artery].arc_mm
        return float(np.interp(along * arc[-1], arc, self.fractions[artery]))


def _nearest(
    points_mm: NDArray[np.float64], line: CentreLine
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distance (k,) mm to the line and the fraction (k,) of its length at the nearest point."""
    gaps = np.linalg.norm(points_mm[:, None, :] - line.points_mm[None], axis=2)
    index = gaps.argmin(axis=1)
    arc = line.arc_mm
    return gaps[np.arange(len(points_mm)), index], arc[index] / max(arc[-1], 1e-9)


def ica_segment(artery: Artery, fraction: float) -> IcaSegment | None:
    """The ICA segment at a fraction of the line's length; None for any other artery."""
    if artery not in (Artery.ICA_R, Artery.ICA_L):
        return None
    for end, segment in ICA_SEGMENT_ENDS:
        if fraction <= end:
            return segment
    return IcaSegment.SUPRACLINOID
