"""Any anatomy as a source of training windows: painted once around its arteries."""

import numpy as np

from iac_cli.simulate.anatomy.source import Anatomy
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.skull import CROP_MARGIN_MM, Skull

CELL_MM = (0.8, 0.7, 0.7)
"""Cells of the painted skull along z, y and x."""

PROCEDURAL = "procedural"
"""How the names of procedural heads begin in a cache."""


def painted_skull(name: str, head: Anatomy, cell_mm: tuple[float, float, float] = CELL_MM) -> Skull:
    """The skull base of a head, untilted, with its arteries and without calcification."""
    axes = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    placed = {artery: line.points_mm @ axes.T for artery, line in head.lines.items()}
    points = np.concatenate(list(placed.values()))
    low, high = points.min(axis=0) - CROP_MARGIN_MM, points.max(axis=0) + CROP_MARGIN_MM
    ranges = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
    lattice = Lattice.spanning(ranges, cell_mm, axes)
    lines = {
        artery: np.column_stack([placed[artery] - lattice.start_mm, line.radius_mm])
        for artery, line in head.lines.items()
    }
    hu = np.clip(head.painted(lattice), -1024.0, 3071.0).astype(np.float16)
    return Skull(name, hu, np.array(cell_mm), lines)
