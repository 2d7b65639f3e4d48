"""The two lattices that a head is painted on, and how their images become one.

The whole head is painted on a coarse lattice and the skull base around the arteries on a fine one
(0.25 mm in plane, 0.5 mm along the axis); their images are blended at the fine lattice's rim.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.source import Anatomy
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import Field, Scan, Slices, acquire, gantry_axes

Float = NDArray[np.float64]

FINE_MM = (0.5, 0.25, 0.25)
"""Cells of the fine lattice along (normal, column axis, row axis)."""

COARSE_MM = (1.0, 0.7, 0.7)
FINE_MARGIN_MM = 6.0
"""Distance from the arteries to the fine lattice's blended rim."""

RIM_MM = 3.0
"""Width over which the fine image fades into the coarse one."""

HEAD_REACH_MM = (85.0, 108.0, 112.0)
"""Half sizes of the painted space along (row axis, column axis, normal), head and holder."""


def make_lattices(
    head: Anatomy, grids: Sequence[Grid], scans: Sequence[Scan], room_mm: float = 0.0
) -> tuple[Lattice, Lattice]:
    """The coarse lattice over the scanned part of the head and the fine one over its arteries.

    `room_mm`: how far slices may lie outside their stack when the head moves between them.
    """
    axes = gantry_axes(grids[0])
    reach_mm = max(scan.reach_mm for scan in scans)
    fine = fine_lattice(head.lines, grids[0], reach_mm)
    lowest = min(float(grid.offsets_mm[0]) for grid in grids)
    highest = max(float(grid.offsets_mm[-1]) for grid in grids)
    across, down, _ = HEAD_REACH_MM
    coarse = Lattice.spanning(
        (
            (lowest - reach_mm - room_mm, highest + reach_mm + room_mm),
            (-down, down + 14.0),
            (-max(across, 108.0), max(across, 108.0)),
        ),
        COARSE_MM,
        axes,
    )
    return coarse, fine


def fine_lattice(lines: Mapping[Artery, CentreLine], grid: Grid, reach_mm: float) -> Lattice:
    """The lattice over the arteries, with room for half a slice profile and the blended rim."""
    axes = gantry_axes(grid)
    local = np.concatenate([line.points_mm for line in lines.values()]) @ axes.T
    margin = FINE_MARGIN_MM + RIM_MM + np.array([reach_mm, 0.0, 0.0])
    low, high = local.min(axis=0) - margin, local.max(axis=0) + margin
    return Lattice.spanning(
        ((low[0], high[0]), (low[1], high[1]), (low[2], high[2])), FINE_MM, axes
    )


def blended(
    whole: tuple[Field, Lattice], base: tuple[Field, Lattice], grid: Slices, scan: Scan
) -> Field:
    """The noise-free scan, HU: the coarse image with the fine one faded into it."""
    painted, lattice = whole
    image = np.full(grid.shape, -1000.0, dtype=np.float32)
    part, window = acquire(painted + np.float32(1000.0), lattice, grid, scan)
    image[window.cut] += part
    painted, lattice = base
    part, window = acquire(painted + np.float32(1000.0), lattice, grid, scan)
    part -= np.float32(1000.0)
    at = grid.positions_mm[window.slices]
    along = _fade(at @ lattice.axes[0], lattice.ticks(0), scan.reach_mm)
    for k in range(part.shape[0]):
        rows = at[k] @ lattice.axes[1] + grid.pixel_mm[0] * np.arange(grid.shape[1])
        columns = at[k] @ lattice.axes[2] + grid.pixel_mm[1] * np.arange(grid.shape[2])
        down = _fade(rows[window.rows], lattice.ticks(1), scan.spread.reach_mm)
        across = _fade(columns[window.columns], lattice.ticks(2), scan.spread.reach_mm)
        weight = (along[k] * down[:, None] * across[None, :]).astype(np.float32)
        view = image[window.slices.start + k][window.rows, window.columns]
        view += weight * (part[k] - view)
    return image


def _fade(at_mm: Float, ticks_mm: Float, reach_mm: float) -> Float:
    """1 well inside a lattice's axis, 0 where a blur of that reach would leave it."""
    inside = np.minimum(at_mm - ticks_mm[0], ticks_mm[-1] - at_mm) - reach_mm
    return np.asarray(np.clip(inside / RIM_MM, 0.0, 1.0))
