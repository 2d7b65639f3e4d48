"""Voxels that never travel without their grid."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid


def _read_only(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    if array.shape != grid.shape:
        raise ValueError(f"voxels must have the grid's shape {grid.shape}, got {array.shape}")
    view = array.view()
    view.setflags(write=False)
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A CT volume: `hu` (slice, row, column) float32 in HU, on `grid`."""

    hu: NDArray[np.float32]
    grid: Grid

    def __post_init__(self) -> None:
        hu = np.ascontiguousarray(self.hu, dtype=np.float32)
        object.__setattr__(self, "hu", _read_only(hu, self.grid))


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A binary mask: `voxels` (slice, row, column) bool, on `grid`."""

    voxels: NDArray[np.bool_]
    grid: Grid

    def __post_init__(self) -> None:
        voxels = np.ascontiguousarray(self.voxels, dtype=np.bool_)
        object.__setattr__(self, "voxels", _read_only(voxels, self.grid))
