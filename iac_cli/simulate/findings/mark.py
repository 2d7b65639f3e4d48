"""What a finding changes, and how it is laid over a painted head.

A mark is a solid in the head's frame with a rule for the HU within it. The same mark on the coarse
and on the fine lattice is the same thing. Marks that must not touch an artery keep off its wall.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Shape
from iac_cli.simulate.findings.frame import Frame
from iac_cli.simulate.lattice import Lattice

Change = Callable[[Coordinates, Array, Array], Array]
"""New HU from places of the head's frame, depth (negative inside) and the HU that were there."""

KEPT_OFF_MM = 0.6
"""Marks keep this far from a lumen's edge: outside of the wall that is painted."""


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A solid and what it does to the HU within."""

    shape: Shape
    change: Change
    off_arteries: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """One finding of a person: its name, facts for the truth, and its marks."""

    kind: str
    facts: Mapping[str, Any]
    marks: tuple[Mark, ...] = ()


def solid(hu: float) -> Change:
    """The HU of a solid, where nothing denser was."""

    def change(p: Coordinates, d: Array, old: Array) -> Array:
        return np.maximum(old, np.float32(hu))

    return change


class Walls:
    """The arteries' lumens: how far points lie from their edge."""

    def __init__(self, lines: Mapping[Artery, CentreLine]) -> None:
        fine = [line.resampled(0.5) for line in lines.values()]
        self._tree = cKDTree(np.concatenate([line.points_mm for line in fine]))
        self._radii = np.concatenate([line.radius_mm for line in fine])

    def clear(self, points_mm: NDArray[np.float64]) -> NDArray[np.float32]:
        """1 well outside every wall, 0 on and within one, (k,)."""
        reach = float(self._radii.max()) + 2.0
        answer = self._tree.query(points_mm, distance_upper_bound=reach)
        gap, index = np.asarray(answer[0]), np.asarray(answer[1])
        share = np.ones(len(points_mm), dtype=np.float32)
        near = np.isfinite(gap)
        edge = gap[near] - self._radii[index[near]] - KEPT_OFF_MM
        share[near] = np.clip(edge / 0.4, 0.0, 1.0)
        return share


def lay(
    field: NDArray[np.float32], lattice: Lattice, marks: list[Mark], frame: Frame, walls: Walls
) -> None:
    """Lay marks over a painted field (normal, column, row), in place."""
    blur = float(np.cbrt(lattice.cell_mm3)) / frame.scale
    for mark in marks:
        block = _block(lattice, mark, frame, blur)
        if block is None:
            continue
        for k in range(block[0].start, block[0].stop):
            points = lattice.points_mm((slice(k, k + 1), block[1], block[2]))[0]
            _lay_plane(field[k, block[1], block[2]], points, mark, (frame, walls, blur))


def _lay_plane(
    view: NDArray[np.float32],
    points_mm: NDArray[np.float64],
    mark: Mark,
    by: tuple[Frame, Walls, float],
) -> None:
    frame, walls, blur = by
    places = frame.to_head(points_mm).astype(np.float32)
    p = (places[..., 0], places[..., 1], places[..., 2])
    d = mark.shape.distance(p)
    near = d < 0.5 * blur
    if not near.any():
        return
    q, d, old = (p[0][near], p[1][near], p[2][near]), d[near], view[near]
    share = np.clip(0.5 - d / np.float32(blur), 0.0, 1.0)
    if mark.off_arteries:
        share = share * walls.clear(points_mm[near])
    view[near] = old + share * (mark.change(q, d, old) - old)


def _block(
    lattice: Lattice, mark: Mark, frame: Frame, blur_mm: float
) -> tuple[slice, slice, slice] | None:
    low, high = mark.shape.box()
    ends = np.stack([low, high])
    corners = np.stack([ends[[i, j, k], [0, 1, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    return lattice.block_around(frame.to_world(corners), blur_mm)
