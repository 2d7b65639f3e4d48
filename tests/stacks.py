"""Stacks of slices in world coordinates, with tilt and uneven steps, for the tests."""

import numpy as np

from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.volume import Volume


def stack(offsets_mm, *, tilt_deg: float = 0.0, pixel_mm=(0.5, 0.5), sides=(60, 60)) -> Grid:
    """Slices at given offsets, each shifted along the rows by the gantry's tilt."""
    offsets = np.asarray(offsets_mm, float)
    positions = np.zeros((len(offsets), 3))
    positions[:, 2] = offsets
    positions[:, 1] = np.tan(np.radians(tilt_deg)) * offsets
    return Grid(
        shape=(len(offsets), *sides),
        positions_mm=positions,
        row_axis=np.array([1.0, 0, 0]),
        column_axis=np.array([0, 1.0, 0]),
        pixel_mm=pixel_mm,
        extents_mm=slice_extents_mm(offsets),
    )


def volume_of(grid: Grid, field) -> Volume:
    """A volume whose HU are a function of world x, y, z."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    points = grid.to_world(index.reshape(-1, 3))
    return Volume(field(*points.T).reshape(grid.shape).astype(np.float32), grid)
