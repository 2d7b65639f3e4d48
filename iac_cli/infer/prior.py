"""The artery-distance prior: how far the voxels of a window lie from the located centre lines.

Training and inference measure it alike, to points a millimetre apart along the lines.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import CentreLine
from iac_cli.infer.sample import Lattice, Sides
from iac_cli.infer.windows import LINE_STEP_MM

FloatArray = NDArray[np.float64]


def points_of(lines: Iterable[CentreLine]) -> FloatArray:
    """Points (k, 3) LPS mm that stand for centre lines."""
    points = [line.resampled(LINE_STEP_MM).points_mm for line in lines]
    return np.concatenate(points) if points else np.empty((0, 3))


def distances(
    lattice: Lattice,
    starts: NDArray[np.intp],
    sides: Sides,
    points_mm: FloatArray,
    at_most_mm: float,
) -> FloatArray:
    """Distance (n, *sides) of windows' voxels to the nearest of `points_mm` (k, 3), mm.

    `starts` (n, 3) are the windows' first lattice voxels; what is further counts as `at_most_mm`.
    """
    from scipy.spatial import cKDTree

    shape = (len(starts), *sides)
    if not len(points_mm):
        return np.full(shape, at_most_mm)
    grid = lattice.grid
    frame = np.stack([grid.normal, grid.column_axis, grid.row_axis])
    origins = grid.positions_mm @ frame.T  # (slices, 3)
    tree = cKDTree(points_mm @ frame.T - [origins[0, 0], *origins[:, 1:].min(axis=0)])
    cells = np.stack(np.meshgrid(*(np.arange(s) for s in sides), indexing="ij"), axis=-1)
    wanted = (starts[:, None, None, None] + cells).reshape(-1, 3) * np.array(lattice.spacing_mm)
    found = np.asarray(tree.query(wanted, distance_upper_bound=at_most_mm)[0])
    return np.asarray(np.minimum(found, at_most_mm).reshape(shape))


def as_prior(distance_mm: FloatArray, reach_mm: float) -> NDArray[np.float32]:
    """Distances (n, z, y, x) -> a channel (n, 1, z, y, x): -1 on a line, 1 from the reach on."""
    near = np.clip(distance_mm / reach_mm, 0.0, 1.0) * 2.0 - 1.0
    return np.asarray(near[:, None], dtype=np.float32)
