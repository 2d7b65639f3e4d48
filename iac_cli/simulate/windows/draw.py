"""Random numbers for batches of windows, all on the stream's device."""

import math

import torch
from torch import Tensor

SMOOTH_GAIN = 1.4
"""Interpolating between knots takes variance off; this gives about one back."""


class Draw:
    """Draws tensors whose first axis is the window. The same seed and device give the same."""

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device = device
        self.generator = torch.Generator(device=device).manual_seed(seed)

    def uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        """Between two numbers."""
        drawn = torch.rand(*shape, generator=self.generator, device=self.device)
        return low + (high - low) * drawn

    def log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        """Between two positive numbers, uniform in the logarithm."""
        return torch.exp(self.uniform(*shape, low=math.log(low), high=math.log(high)))

    def of_kind(self, kind: Tensor, ranges: tuple[tuple[float, float], ...]) -> Tensor:
        """For each entry of `kind` (...) a number uniform in that kind's range."""
        chosen = torch.tensor(ranges, device=self.device)[kind]
        low, high = chosen[..., 0], chosen[..., 1]
        return low + (high - low) * self.uniform(*kind.shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal."""
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def chance(self, *shape: int, p: float) -> Tensor:
        """True with probability p."""
        return self.uniform(*shape) < p

    def amount(self, b: int, *, share: float, low: float, high: float) -> Tensor:
        """(b,) 0 for most windows, between two numbers for a share of them."""
        return torch.where(self.chance(b, p=share), self.uniform(b, low=low, high=high), 0.0)

    def one_of(self, allowed: Tensor, tries: int = 48) -> tuple[Tensor, Tensor]:
        """An allowed column of each row (b, k) bool: its index (b,), and whether one was met."""
        b, k = allowed.shape
        tried = (self.uniform(b, tries) * k).long().clamp_(max=k - 1)
        met = allowed.gather(1, tried)
        first = met.float().argmax(dim=1, keepdim=True)
        return tried.gather(1, first)[:, 0], met.any(dim=1)

    def choose(self, weights: Tensor) -> Tensor:
        """One index a row of non-negative weights (b, k): (b,)."""
        return torch.multinomial(weights, 1, generator=self.generator)[:, 0]

    def smooth(self, b: int, cells: tuple[int, int, int], size: tuple[int, int, int]) -> Tensor:
        """A smooth random field (b, *size) of about unit variance, `cells` knots an axis."""
        coarse = self.normal(b, 1, *cells)
        return SMOOTH_GAIN * grown(coarse, size)[:, 0]


def _between(n: int, knots: int, device: torch.device) -> Tensor:
    """(n, knots): linear interpolation, the outer knots on the outer voxels."""
    place = torch.linspace(0.0, knots - 1.0, n, device=device)[:, None]
    return (1.0 - (place - torch.arange(knots, device=device)).abs()).clamp(min=0.0)


def grown(coarse: Tensor, size: tuple[int, int, int]) -> Tensor:
    """(b, c, *knots) -> (b, c, *size): linear between knots, the outer ones on the outer voxels.

    Three matrix products, which cost a fraction of what an interpolation of every voxel does.
    """
    b, c = coarse.shape[:2]
    z, y, x = (_between(n, k, coarse.device) for n, k in zip(size, coarse.shape[2:], strict=True))
    planes = y @ (coarse @ x.T)  # (b, c, kz, y, x)
    return (z @ planes.reshape(b, c, len(z.T), size[1] * size[2])).reshape(b, c, *size)


def grown_places(coarse: Tensor, size: tuple[int, int, int]) -> Tensor:
    """Positions (b, 3, *knots) -> (b, *size, 3), in one piece of memory."""
    b = len(coarse)
    z, y, x = (_between(n, k, coarse.device) for n, k in zip(size, coarse.shape[2:], strict=True))
    planes = (y @ (coarse @ x.T)).permute(0, 2, 3, 4, 1)  # (b, kz, y, x, 3)
    return (z @ planes.reshape(b, len(z.T), size[1] * size[2] * 3)).reshape(b, *size, 3)


def per_window(values: Tensor) -> Tensor:
    """(b,) -> (b, 1, 1, 1), to meet volumes."""
    return values[:, None, None, None]
