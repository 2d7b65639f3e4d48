"""The fine grid on which a head is painted, aligned with the gantry rather than with the head.

Its axes are the scan's slice normal, column axis and row axis, so that slice profile, point spread
and sampling are three separate matrix products however the gantry is tilted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Range = tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Lattice:
    """Cells at `start_mm + index * spacing_mm` along (normal, column axis, row axis), LPS mm."""

    start_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    axes: Float
    """(3, 3): rows are the unit vectors of slice normal, column axis and row axis."""

    @classmethod
    def spanning(
        cls, ranges: tuple[Range, Range, Range], spacing_mm: tuple[float, float, float], axes: Float
    ) -> "Lattice":
        """The lattice whose cells cover `ranges` along (normal, column axis, row axis)."""
        shape = tuple(
            int(np.ceil((high - low) / step)) + 1
            for (low, high), step in zip(ranges, spacing_mm, strict=True)
        )
        start = tuple(low for low, _ in ranges)
        return cls((start[0], start[1], start[2]), spacing_mm, (shape[0], shape[1], shape[2]), axes)

    def ticks(self, axis: int) -> Float:
        """Cell centres along one axis, mm."""
        return np.asarray(
            self.start_mm[axis] + self.spacing_mm[axis] * np.arange(self.shape[axis]), np.float64
        )

    @property
    def cell_mm3(self) -> float:
        """Volume of one cell."""
        return float(np.prod(self.spacing_mm))

    def points_mm(self, block: tuple[slice, slice, slice]) -> Float:
        """LPS points (a, b, c, 3) of a block of cells."""
        u, v, w = (self.ticks(axis)[block[axis]] for axis in range(3))
        return np.asarray(
            u[:, None, None, None] * self.axes[0]
            + v[None, :, None, None] * self.axes[1]
            + w[None, None, :, None] * self.axes[2]
        )

    def block_around(self, points_mm: Float, margin_mm: float) -> tuple[slice, slice, slice] | None:
        """The block of cells that holds LPS points (k, 3) with a margin; None when outside."""
        local = np.atleast_2d(points_mm) @ self.axes.T
        low, high = local.min(axis=0) - margin_mm, local.max(axis=0) + margin_mm
        cuts = []
        for axis in range(3):
            first = int(np.floor((low[axis] - self.start_mm[axis]) / self.spacing_mm[axis]))
            last = int(np.ceil((high[axis] - self.start_mm[axis]) / self.spacing_mm[axis]))
            cut = slice(max(first, 0), min(last + 1, self.shape[axis]))
            if cut.start >= cut.stop:
                return None
            cuts.append(cut)
        return cuts[0], cuts[1], cuts[2]

    def part(self, block: tuple[slice, slice, slice]) -> "Lattice":
        """The lattice of a block of cells."""
        first = [float(self.ticks(axis)[block[axis]][0]) for axis in range(3)]
        size = [cut.stop - cut.start for cut in block]
        return Lattice(
            (first[0], first[1], first[2]), self.spacing_mm, (size[0], size[1], size[2]), self.axes
        )

    def subdivided(self, by: tuple[int, int, int]) -> "Lattice":
        """The lattice with `by` times as many cells that cover the same space."""
        step = [whole / n for whole, n in zip(self.spacing_mm, by, strict=True)]
        start = [
            first - whole / 2 + fine / 2
            for first, whole, fine in zip(self.start_mm, self.spacing_mm, step, strict=True)
        ]
        shape = [n * k for n, k in zip(self.shape, by, strict=True)]
        return Lattice(
            (start[0], start[1], start[2]),
            (step[0], step[1], step[2]),
            (shape[0], shape[1], shape[2]),
            self.axes,
        )
