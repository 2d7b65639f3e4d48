"""Which cells of each plane of a lattice a shape can touch: only these are painted."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from iac_cli.simulate.anatomy.shapes import Shape, Tube
from iac_cli.simulate.lattice import Lattice

Float = NDArray[np.float64]
Block = tuple[slice, slice]
Place = Callable[[Float], Float]
"""Points (k, 3) of the head's frame to LPS mm."""


def plane_blocks(
    lattice: Lattice, shape: Shape, place: Place, scale: float, margin_mm: float
) -> dict[int, Block]:
    """By plane: rows and columns that hold the shape with a margin; other planes are absent.

    A tube is followed along its axis, so that an oblique one takes a small block of each plane.
    """
    if not isinstance(shape, Tube):
        low, high = shape.box()
        ends = np.stack([low, high])
        corners = [ends[[i, j, k], [0, 1, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        block = lattice.block_around(place(np.array(corners)), margin_mm)
        return {} if block is None else {k: block[1:] for k in range(*_ends(block[0]))}
    radius = float(np.max(np.asarray(shape.radii, float))) * max(shape.flat)
    return _along(lattice, place(np.asarray(shape.points, float)), radius * scale + margin_mm)


def _ends(cut: slice) -> tuple[int, int]:
    return int(cut.start), int(cut.stop)


def _along(lattice: Lattice, points_mm: Float, reach_mm: float) -> dict[int, Block]:
    """Blocks around a chain of points."""
    local = points_mm @ lattice.axes.T
    start, step = np.array(lattice.start_mm), np.array(lattice.spacing_mm)
    low = int(np.floor((local[:, 0].min() - reach_mm - start[0]) / step[0]))
    high = int(np.ceil((local[:, 0].max() + reach_mm - start[0]) / step[0]))
    blocks = {}
    for k in range(max(low, 0), min(high + 1, lattice.shape[0])):
        near = _within(local, float(start[0] + k * step[0]), reach_mm)
        if near is None:
            continue
        first = np.floor((near.min(axis=0) - reach_mm - start[1:]) / step[1:])
        last = np.ceil((near.max(axis=0) + reach_mm - start[1:]) / step[1:]) + 1
        limits = np.array(lattice.shape[1:])
        first, last = (np.clip(edge, 0, limits).astype(int) for edge in (first, last))
        if (first < last).all():
            blocks[k] = (slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1])))
    return blocks


def _within(local: Float, u_mm: float, reach_mm: float) -> Float | None:
    """Ends, along (column, row), of the parts of a chain that lie near a plane, (k, 2)."""
    found = []
    for a, b in zip(local[:-1], local[1:], strict=True):
        rise = b[0] - a[0]
        if abs(rise) < 1e-9:
            shares = (0.0, 1.0) if abs(a[0] - u_mm) <= reach_mm else None
        else:
            one, other = (u_mm - reach_mm - a[0]) / rise, (u_mm + reach_mm - a[0]) / rise
            first, last = max(0.0, min(one, other)), min(1.0, max(one, other))
            shares = (first, last) if first <= last else None
        if shares is not None:
            found += [(a + share * (b - a))[1:] for share in shares]
    return np.array(found) if found else None
