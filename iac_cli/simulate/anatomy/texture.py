"""Smooth random fields that depend on the place in the head alone, never on the grid that asks."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from iac_cli.simulate.anatomy.shapes import Array, Coordinates

PERIOD = 80
"""Edge of the periodic block of random numbers, in its own cells."""

CELL_SIGMA = 1.6
"""Smoothing of the block, in cells; a bump is then about four cells wide."""


class Texture:
    """A periodic random field of mean 0 and standard deviation 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        raw = rng.standard_normal((PERIOD, PERIOD, PERIOD)).astype(np.float32)
        block = gaussian_filter(raw, CELL_SIGMA, mode="wrap")
        self._block: NDArray[np.float32] = (block - block.mean()) / block.std()

    def at(self, p: Coordinates, bump_mm: float, *, shift: float = 0.0) -> Array:
        """The field at points, with bumps about `bump_mm` wide; `shift` gives another one."""
        per_mm = np.float32(4.0 / bump_mm)
        cells = np.stack([part * per_mm + np.float32(shift * (i + 1)) for i, part in enumerate(p)])
        return np.asarray(
            map_coordinates(self._block, cells, order=1, mode="grid-wrap"), dtype=np.float32
        )
