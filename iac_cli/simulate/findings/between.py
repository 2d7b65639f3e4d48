"""A head that moves between slices: each slice is sharp, but shows the head where it then lay.

Axial scanners take slices one after another. What such a move does to a scan is exact here: the
slice cuts the head at another place, and what a reader draws is drawn on that slice.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from iac_cli.geometry.grid import Grid
from iac_cli.simulate.findings.rates import Rates

Float = NDArray[np.float64]
Field = NDArray[np.float32]

JUMP_MM = (0.5, 4.0)
JUMP_DEG = 3.0
"""Most that the head turns about the slice normal when it jumps."""

JUMP_AT = (0.1, 0.7)
DRIFT_MM = (0.2, 0.8)
DRIFT_DEG_PER_MM = 0.8
WAVES = (0.5, 5.0)
"""How often a drifting head goes to and fro during the scan."""

N_WAVES = 3
STREAM = (0, 1)
"""Sets these random numbers apart from those of the streaks, which start from the same seed."""


@dataclass(frozen=True, slots=True, eq=False)
class MovedSlices:
    """Where in the head the slices of a stack lie; they need not be in order any more."""

    shape: tuple[int, int, int]
    positions_mm: Float
    pixel_mm: tuple[float, float]
    offsets_mm: Float


@dataclass(frozen=True, slots=True, kw_only=True)
class BetweenSlices:
    """How one head moves during a scan. Lengths along (slice normal, column axis, row axis)."""

    jump_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where the head lies from the jump on, against where it lay before."""
    jump_deg: float = 0.0
    jump_at: float = 0.0
    """When, as a share of the stack from below."""
    drift_mm: float = 0.0
    """Standard deviation of a slow movement to and fro, along each axis."""
    seed: int = 0

    @property
    def is_still(self) -> bool:
        """True for a head that does not move between slices."""
        return self.jump_mm == (0.0, 0.0, 0.0) and not self.jump_deg and not self.drift_mm

    @property
    def facts(self) -> dict[str, Any]:
        """For the truth."""
        return {
            "jump_mm": list(self.jump_mm),
            "jump_deg": self.jump_deg,
            "jump_at": self.jump_at,
            "drift_mm": self.drift_mm,
        }

    def path(self, n_slices: int) -> Float:
        """Move of the head at each slice: (n, 4) mm along the three axes, and degrees."""
        share = np.arange(n_slices) / max(n_slices - 1, 1)
        moves = np.outer(share >= self.jump_at, [*self.jump_mm, self.jump_deg]).astype(np.float64)
        if self.drift_mm:
            rng = np.random.default_rng([self.seed, *STREAM, 2])
            often = rng.uniform(*WAVES, (4, N_WAVES, 1))
            phase = rng.uniform(0.0, 2 * np.pi, (4, N_WAVES, 1))
            size = self.drift_mm * np.array([1.0, 1.0, 1.0, DRIFT_DEG_PER_MM])
            waves = np.sin(2 * np.pi * often * share + phase).sum(axis=1) * np.sqrt(2 / N_WAVES)
            moves += (size[:, None] * waves).T
        return moves

    def room_mm(self, n_slices: int) -> float:
        """How far slices may leave the head's part that the stack spans, along the normal."""
        return 0.0 if self.is_still else float(np.abs(self.path(n_slices)[:, 0]).max())

    def seen(self, grid: Grid) -> Grid | MovedSlices:
        """Where in the head the slices of a stack lie: the head moved, so they moved against it."""
        if self.is_still:
            return grid
        axes = np.stack([grid.normal, grid.column_axis, grid.row_axis])
        positions = grid.positions_mm - self.path(grid.shape[0])[:, :3] @ axes
        return MovedSlices(grid.shape, positions, grid.pixel_mm, positions @ grid.normal)

    def turn(self, image: NDArray[Any]) -> None:
        """Turn each slice (slice, row, column) about the picture's middle, in place.

        Whole numbers are names of lesions: they are carried along, not blended.
        """
        if self.is_still:
            return
        order: Literal[0, 3] = 3 if image.dtype.kind == "f" else 0
        middle = (np.array(image.shape[1:]) - 1) / 2.0
        for k, degrees in enumerate(self.path(len(image))[:, 3]):
            if degrees and image[k].any():
                cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
                back = np.array([[cos, sin], [-sin, cos]])
                affine_transform(
                    image[k].copy(),
                    back,
                    middle - back @ middle,
                    output=image[k],
                    order=order,
                    mode="nearest",
                )


STILL = BetweenSlices()


def draw_between(rates: Rates, seed: int) -> BetweenSlices:
    """How one head moves between slices."""
    rng = np.random.default_rng([seed, *STREAM])
    jumps, drifts = rng.random(2)
    size, drift = rng.uniform(*JUMP_MM), rng.uniform(*DRIFT_MM)
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    degrees, at = rng.uniform(-JUMP_DEG, JUMP_DEG), rng.uniform(*JUMP_AT)
    if jumps >= rates.slice_jump:
        size, degrees, at = 0.0, 0.0, 0.0
    along, down, across = (round(float(v), 2) + 0.0 for v in size * direction)
    return BetweenSlices(
        jump_mm=(along, down, across),
        jump_deg=round(float(degrees), 2),
        jump_at=round(float(at), 3),
        drift_mm=round(float(drift), 2) if drifts < rates.slice_drift else 0.0,
        seed=seed,
    )
