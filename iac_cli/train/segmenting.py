"""What every network with the transformer shares: its encoder, and one interface for decoders.

A decoder is a subclass that says how tokens climb back to voxels. What it gets is the same for all:
the windows, and the tokens on their grid after the blocks that it names.
"""

import math
from abc import abstractmethod

from torch import Tensor, nn

from iac_cli.train.vit import Sides, VitConfig, VitEncoder, token_grid, with_prior


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
    """Windows (b, channels, z, y, x) -> logits (b, 1, z, y, x)."""

    def __init__(self, vit: VitConfig, depths: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.encoder = VitEncoder(vit)
        self.depths = depths
        """Blocks after which the decoder wants the tokens too."""

    def forward(self, windows: Tensor) -> Tensor:
        """(b, channels, z, y, x) -> (b, 1, z, y, x)."""
        windows = with_prior(windows, self.encoder.config)
        sides = self.encoder.sides(windows)
        levels = self.encoder.levels(windows, self.depths)
        return self.decode(windows, [token_grid(tokens, sides) for tokens in levels])

    @abstractmethod
    def decode(self, windows: Tensor, levels: list[Tensor]) -> Tensor:
        """Windows (b, c, z, y, x), and (b, d, gz, gy, gx) of each depth and of the end."""
