"""How overlapping windows become one answer: a weighted mean of logits on the scan's lattice."""

import numpy as np
from numpy.typing import NDArray

from iac_cli.infer.sample import Sides

LEAST_WEIGHT = 1e-3
"""Weight of a window's outermost voxels, so that a voxel seen once always has an answer."""


def smooth_weights(sides: Sides, margin: Sides) -> NDArray[np.float32]:
    """Weights (z, y, x) in (0, 1]: one inside twice the margin, next to nothing at the border."""
    ramps = [_ramp(n, m) for n, m in zip(sides, margin, strict=True)]
    weights = ramps[0][:, None, None] * ramps[1][None, :, None] * ramps[2][None, None, :]
    return np.maximum(weights, LEAST_WEIGHT).astype(np.float32)


def _ramp(n: int, margin: int) -> NDArray[np.float64]:
    depth = np.minimum(np.arange(n), np.arange(n)[::-1])
    rise = np.clip(depth / (2 * margin), 0.0, 1.0) if margin else np.ones(n)
    return np.asarray(np.sin(rise * np.pi / 2) ** 2)


class Blend:
    """The weighted mean of windows' logits over the box that holds all of them."""

    def __init__(self, starts: NDArray[np.intp], sides: Sides, margin: Sides) -> None:
        self._sides = sides
        self._weights = smooth_weights(sides, margin)
        self._low = starts.min(axis=0)
        shape = tuple(starts.max(axis=0) - self._low + np.array(sides))
        self._sum = np.zeros(shape, dtype=np.float32)
        self._total = np.zeros(shape, dtype=np.float32)

    def add(self, start: NDArray[np.intp], logits: NDArray[np.float32]) -> None:
        """Add one window's logits (z, y, x)."""
        z, y, x = (slice(a, a + n) for a, n in zip(start - self._low, self._sides, strict=True))
        self._sum[z, y, x] += self._weights * logits
        self._total[z, y, x] += self._weights

    def at(self, voxels: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Blended logits (k,) at lattice voxels (k, 3), and (k,) whether a window covered each."""
        index = voxels - self._low
        inside = ((index >= 0) & (index < self._sum.shape)).all(axis=1)
        clipped = np.clip(index, 0, np.array(self._sum.shape) - 1)
        total = self._total[tuple(clipped.T)]
        seen = inside & (total > 0.0)
        logits = self._sum[tuple(clipped.T)] / np.where(seen, total, 1.0)
        return np.where(seen, logits, 0.0).astype(np.float32), seen
