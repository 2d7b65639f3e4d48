"""Smooth random fields that depend on the place in the head alone, never on the grid that asks."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from iac_cli.simulate.anatomy.shapes import Array, Coordinates

PERIOD = 80
"""Edge of the periodic block of random numbers, in its own cells."""

EDGE = PERIOD + 1
"""Edge of the block with its first layer again at the end, for neighbours across it."""

CELL_SIGMA = 1.6
"""Smoothing of the block, in cells; a bump is then about four cells wide."""


class Texture:
    """A periodic random field of mean 0 and standard deviation 1."""

    def __init__(self, rng: np.random.Generator) -> None:
        raw = rng.standard_normal((PERIOD, PERIOD, PERIOD)).astype(np.float32)
        block = gaussian_filter(raw, CELL_SIGMA, mode="wrap")
        whole = np.pad((block - block.mean()) / block.std(), ((0, 1),) * 3, mode="wrap")
        self._flat: NDArray[np.float32] = whole.ravel()

    def at(self, p: Coordinates, bump_mm: float, *, shift: float = 0.0) -> Array:
        """The field at points, with bumps about `bump_mm` wide; `shift` gives another one."""
        per_mm = np.float32(4.0 / bump_mm)
        low, share = [], []
        for i, part in enumerate(p):
            cells = part * per_mm + np.float32(shift * (i + 1))
            floor = np.floor(cells)
            share.append(cells - floor)
            low.append(floor.astype(np.int32) % PERIOD)
        at = (low[0] * EDGE + low[1]) * EDGE + low[2]
        near = self._row(at, share[1], share[2])
        far = self._row(at + EDGE * EDGE, share[1], share[2])
        return np.asarray(near + (far - near) * share[0], dtype=np.float32)

    def _row(self, at: NDArray[np.int32], down: Array, across: Array) -> Array:
        """The field between four neighbours in one layer of the block, linearly."""
        values = []
        for offset in (0, EDGE):
            first = self._flat[at + offset]
            values.append(first + (self._flat[at + (offset + 1)] - first) * across)
        return np.asarray(values[0] + (values[1] - values[0]) * down, dtype=np.float32)


class Roughness:
    """A small random displacement, without which a head looks turned on a lathe."""

    def __init__(self, rng: np.random.Generator, size_mm: float = 0.55) -> None:
        self._texture = Texture(rng)
        self._size_mm = np.float32(size_mm)

    def moved(self, p: Coordinates) -> Coordinates:
        """The points of one plane, (rows, columns) each, displaced by up to about 2 mm."""
        rows, columns = _between(p[0].shape[0]), _between(p[0].shape[1])
        sparse = (p[0][::STRIDE, ::STRIDE], p[1][::STRIDE, ::STRIDE], p[2][::STRIDE, ::STRIDE])
        moved = []
        for axis in range(3):
            coarse = self._texture.at(sparse, 17.0, shift=11.0 * axis)
            fine = self._texture.at(sparse, 8.0, shift=11.0 * axis + 5.0)
            moved.append(p[axis] + rows @ (coarse + 0.4 * fine) @ columns.T * self._size_mm)
        return moved[0], moved[1], moved[2]


STRIDE = 4
"""Cells between the places where the roughness is asked; it is linear between them."""


def _between(n: int) -> NDArray[np.float32]:
    """Weights that turn every fourth sample into all n, (n, samples)."""
    at = np.arange(n) / STRIDE
    samples = (n + STRIDE - 1) // STRIDE
    gap = np.abs(np.minimum(at, samples - 1)[:, None] - np.arange(samples)[None, :])
    return np.clip(1.0 - gap, 0.0, 1.0).astype(np.float32)
