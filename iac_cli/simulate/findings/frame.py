"""Where the procedural head's places lie in any head, found from its arteries' lines.

The head's frame is that of `arteries.COURSES`: mm, x left, y posterior, z superior, origin on the
floor of the sella. A similarity brings its courses onto a head's own lines.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.arteries import course

Float = NDArray[np.float64]

FRACTIONS = np.linspace(0.0, 1.0, 13)
SCALES = (0.8, 1.25)
"""Sizes that a head may have against the procedural one."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """LPS mm = scale * rotation @ head + shift."""

    rotation: Float
    scale: float
    shift: Float

    def to_world(self, points: Float) -> Float:
        """Head's frame (..., 3) -> LPS mm."""
        return np.asarray(points @ self.rotation.T * self.scale + self.shift)

    def to_head(self, points_mm: Float) -> Float:
        """LPS mm (..., 3) -> head's frame."""
        return np.asarray((points_mm - self.shift) @ self.rotation / self.scale)


def frame_of(lines: Mapping[Artery, CentreLine]) -> Frame:
    """The similarity (least squares, no mirror) from the standard courses to these lines."""
    standard = np.concatenate([course(artery, FRACTIONS) for artery in lines])
    actual = np.concatenate([line.at_fractions(FRACTIONS) for line in lines.values()])
    a, b = standard - standard.mean(axis=0), actual - actual.mean(axis=0)
    u, s, vt = np.linalg.svd(b.T @ a)
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * flip) @ vt
    scale = float(np.clip((s * flip).sum() / (a**2).sum(), *SCALES))
    shift = actual.mean(axis=0) - scale * rotation @ standard.mean(axis=0)
    return Frame(rotation, scale, shift)
