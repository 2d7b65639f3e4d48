"""What every network with the transformer shares: its encoder, and one interface for decoders.

A decoder is a subclass that says how tokens climb back to voxels. What it gets is the same for all:
the windows, and the tokens on their grid after the blocks that it names.

Calcification is a few voxels in a window of thousands, so labels say little about most of it. In
training a network can have a second task, which every voxel teaches: where the arteries run.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

from iac_cli.train.vit import Sides, VitConfig, VitEncoder, token_grid, unpatchify, with_prior

ARTERY_HEAD = "arteries."
"""What the names of the second task's weights begin with. No exported network has them."""


def strides_of(patch: Sides) -> tuple[Sides, ...]:
    """Steps by two, or one, from a voxel to a patch, fine to coarse; the finest steps leave out z.

    (4, 8, 8) is ((1, 2, 2), (2, 2, 2), (2, 2, 2)).

    Raises:
        ValueError: a side is no power of two.

    """
    powers = [int(math.log2(side)) for side in patch]
    if any(2**power != side for power, side in zip(powers, patch, strict=True)):
        raise ValueError(f"the sides of a patch must be powers of two, got {patch}")
    steps = max(powers)
    strides = []
    for step in range(steps):
        z, y, x = (2 if step >= steps - power else 1 for power in powers)
        strides.append((z, y, x))
    return tuple(strides)


class VitSegmenter(nn.Module):
    """Windows (b, channels, z, y, x) -> logits (b, 1, z, y, x); two channels while it also learns
    where the arteries run."""

    def __init__(self, vit: VitConfig, depths: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.encoder = VitEncoder(vit)
        self.depths = depths
        """Blocks after which the decoder wants the tokens too."""
        pz, py, px = vit.patch
        self.arteries = nn.Linear(vit.dim, pz * py * px) if vit.arteries else None

    def forward(self, windows: Tensor) -> Tensor:
        """(b, channels, z, y, x) -> (b, 1, z, y, x); in training (b, 2, z, y, x) with the task."""
        windows = with_prior(windows, self.encoder.config)
        sides = self.encoder.sides(windows)
        levels = self.encoder.levels(windows, self.depths)
        grids = [token_grid(tokens, sides) for tokens in levels]
        logits = self.decode(windows, grids)
        if self.arteries is None or not self.training:
            return logits
        near = self.arteries(grids[-1].permute(0, 2, 3, 4, 1))
        return torch.cat([logits, unpatchify(near, self.encoder.config.patch)], dim=1)

    @abstractmethod
    def decode(self, windows: Tensor, levels: list[Tensor]) -> Tensor:
        """Windows (b, c, z, y, x), and (b, d, gz, gy, gx) of each depth and of the end."""
