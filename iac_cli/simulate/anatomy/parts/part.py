"""A part of a drawn head: a shape and its HU."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Shape

Float = NDArray[np.float64]
Paint = Callable[[Coordinates, Array], Array]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A shape with its HU, a number or a function of place and depth; `share` thins it out."""

    shape: Shape
    hu: float | Paint
    share: Paint | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A thin curved surface within a box, given by its own distance."""

    gap: Callable[[Coordinates], Array]
    low: Point
    high: Point

    def distance(self, p: Coordinates) -> Array:
        """Signed distance, mm."""
        return self.gap(p)

    def box(self) -> tuple[Float, Float]:
        """Lowest and highest corner, mm."""
        return np.array(self.low), np.array(self.high)
