"""Arteries as centre lines: the closed list of arteries that count, and where each runs."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Artery(StrEnum):
    """An artery and its side. R and L are the patient's right and left."""

    ICA_R = "ICA-R"
    ICA_L = "ICA-L"
    M1_R = "M1-R"
    M1_L = "M1-L"
    A1_R = "A1-R"
    A1_L = "A1-L"
    P1_R = "P1-R"
    P1_L = "P1-L"
    V4_R = "V4-R"
    V4_L = "V4-L"
    BA = "BA"

    @property
    def mirrored(self) -> "Artery":
        """The same artery of the other side; the basilar artery is its own mirror."""
        name, _, side = self.value.partition("-")
        return Artery(f"{name}-{'L' if side == 'R' else 'R'}") if side else self


class IcaSegment(StrEnum):
    """Segments of the internal carotid artery, from below upwards."""

    PETROUS = "petrous"
    CAVERNOUS = "cavernous"
    CLINOID_OPHTHALMIC = "clinoid_ophthalmic"
    SUPRACLINOID = "supraclinoid"


SIPHON = (IcaSegment.CAVERNOUS, IcaSegment.CLINOID_OPHTHALMIC, IcaSegment.SUPRACLINOID)
"""The published method's region: cavernous segment to terminus."""


COUNTED_FROM = {"ICA": 0.22}
"""Fraction of an artery's length, from its first point, from which calcification counts: of the ICA
from the horizontal petrous part on (as in the Rotterdam readings), not in the vertical canal."""


@dataclass(frozen=True, slots=True, eq=False)
class CentreLine:
    """One artery's course: `points_mm` (k, 3) LPS mm in order of flow, `radius_mm` (k,)."""

    artery: Artery
    points_mm: NDArray[np.float64]
    radius_mm: NDArray[np.float64]

    def __post_init__(self) -> None:
        points = np.array(self.points_mm, dtype=np.float64).reshape(-1, 3)
        radius = np.array(self.radius_mm, dtype=np.float64)
        if radius.shape != (len(points),):
            raise ValueError(f"radius_mm must be ({len(points)},), got {radius.shape}")
        for array, name in ((points, "points_mm"), (radius, "radius_mm")):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @property
    def arc_mm(self) -> NDArray[np.float64]:
        """Distance along the line from its first point, (k,) mm."""
        steps = np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1)
        return np.concatenate([[0.0], np.cumsum(steps)])

    def at_fractions(self, fractions: ArrayLike) -> NDArray[np.float64]:
        """Points at fractions [0, 1] of the line's length, (m, 3) LPS mm."""
        arc = self.arc_mm
        wanted = np.asarray(fractions, dtype=np.float64) * arc[-1]
        return np.stack([np.interp(wanted, arc, self.points_mm[:, i]) for i in range(3)], axis=1)

    def part_from(self, start_mm: float) -> "CentreLine":
        """What lies further along than a distance from the first point; its last point at least."""
        arc = self.arc_mm
        start_mm = min(max(start_mm, 0.0), arc[-1])
        further = arc > start_mm
        first = [np.interp(start_mm, arc, self.points_mm[:, i]) for i in range(3)]
        points = np.concatenate([[first], self.points_mm[further]])
        radius = np.concatenate(
            [[np.interp(start_mm, arc, self.radius_mm)], self.radius_mm[further]]
        )
        return CentreLine(self.artery, points, radius)

    def resampled(self, step_mm: float) -> "CentreLine":
        """The same line with a point about every `step_mm`."""
        arc = self.arc_mm
        n = max(2, int(np.ceil(arc[-1] / step_mm)) + 1)
        fractions = np.linspace(0.0, 1.0, n)
        radius = np.interp(fractions * arc[-1], arc, self.radius_mm)
        return CentreLine(self.artery, self.at_fractions(fractions), radius)
