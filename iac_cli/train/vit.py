"""A 3D Vision Transformer on raw patches, on one page.

Tokens run in z-y-x order everywhere: in `patchify`, in the positions and in whatever is built on
top. Positions are rotary and relative, so a trained encoder runs on windows of other sizes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

HEAD_DIM = 64
ROTARY_PAIRS = (10, 11, 11)
"""How many of a head's 32 channel pairs turn with z, y and x."""
ROTARY_BASE = 100.0

Sides = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class VitConfig:
    """Size of the encoder. `patch` is (z, y, x) in voxels, `dim` a multiple of 64."""

    channels: int = 2
    patch: Sides = (4, 8, 8)
    dim: int = 192
    depth: int = 6
    mlp_ratio: float = 4.0
    drop_path: float = 0.1
    prior: bool = False
    """Whether one more channel tells the distance to the nearest artery (`with_prior`)."""
    arteries: bool = False
    """Whether the tokens also learn where the arteries run, a task of training alone."""

    @property
    def all_channels(self) -> int:
        """HU channels, and the prior's."""
        return self.channels + int(self.prior)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "VitConfig":
        """From a card's plain values."""
        return cls(**(values | {"patch": tuple(values["patch"])}))


class Preset(StrEnum):
    """Sizes of the encoder: about 3, 7 and 22 million parameters."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"


WIDTH_AND_DEPTH = {Preset.TINY: (192, 6), Preset.SMALL: (256, 8), Preset.BASE: (384, 12)}


def preset_config(preset: Preset, patch: Sides = (4, 8, 8), *, prior: bool = False) -> VitConfig:
    """The encoder of a preset."""
    dim, depth = WIDTH_AND_DEPTH[preset]
    return VitConfig(patch=patch, dim=dim, depth=depth, prior=prior)


NO_PRIOR = 1.0
"""Value of the prior's channel where no artery is known: as far from every one."""


def with_prior(windows: Tensor, config: VitConfig) -> Tensor:
    """Windows (b, c, z, y, x) with the prior's channel, which says nothing where it is missing."""
    if not config.prior or windows.shape[1] == config.all_channels:
        return windows
    unknown = torch.full_like(windows[:, :1], NO_PRIOR)
    return torch.cat([windows, unknown], dim=1)


def patchify(windows: Tensor, patch: Sides) -> Tensor:
    """Cut (b, c, z, y, x) windows into patches: (b, n, c * pz * py * px), n in z-y-x order."""
    b, c, z, y, x = windows.shape
    pz, py, px = patch
    if z % pz or y % py or x % px:
        raise ValueError(f"sides must be multiples of {patch}, got {(z, y, x)}")
    cut = windows.reshape(b, c, z // pz, pz, y // py, py, x // px, px)
    cut = cut.permute(0, 2, 4, 6, 1, 3, 5, 7)  # (b, z/pz, y/py, x/px, c, pz, py, px)
    return cut.reshape(b, (z // pz) * (y // py) * (x // px), c * pz * py * px)


def unpatchify(patches: Tensor, patch: Sides) -> Tensor:
    """The inverse of `patchify` for one channel: (b, gz, gy, gx, p) -> (b, 1, z, y, x)."""
    b, gz, gy, gx, _ = patches.shape
    pz, py, px = patch
    laid = patches.reshape(b, gz, gy, gx, pz, py, px).permute(0, 1, 4, 2, 5, 3, 6)
    return laid.reshape(b, 1, gz * pz, gy * py, gx * px)


def token_grid(tokens: Tensor, sides: Sides) -> Tensor:
    """Lay tokens (b, n, d) out on their grid: (b, d, z, y, x), the inverse order of `patchify`."""
    b, _, d = tokens.shape
    return tokens.transpose(1, 2).reshape(b, d, *sides)


def rotary_angles(sides: Sides, device: torch.device | None = None) -> Tensor:
    """Angle of each channel pair at each token of a (z, y, x) grid: (n, 32) radians."""
    axes = [torch.arange(side, dtype=torch.float32, device=device) for side in sides]
    places = torch.meshgrid(*axes, indexing="ij")
    angles = []
    for place, pairs in zip(places, ROTARY_PAIRS, strict=True):
        steps = torch.arange(pairs, dtype=torch.float32, device=device) / pairs
        angles.append(place.reshape(-1, 1) * ROTARY_BASE**-steps)  # (n, pairs)
    return torch.cat(angles, dim=1)


def turn(heads: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotate the channel pairs of (b, h, n, 64) by (n, 32) angles given as cosine and sine."""
    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


class Block(nn.Module):
    """Pre-norm transformer block: attention with rotary positions, then an MLP."""

    def __init__(self, dim: int, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.heads = dim // HEAD_DIM
        self.drop_path = drop_path
        self.norm_1 = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.norm_2 = nn.LayerNorm(dim)
        self.mlp_in = nn.Linear(dim, int(dim * mlp_ratio))
        self.mlp_out = nn.Linear(int(dim * mlp_ratio), dim)

    def forward(self, tokens: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        """(b, n, d) -> (b, n, d)."""
        tokens = tokens + self._kept(self._attend(self.norm_1(tokens), cosine, sine))
        hidden = functional.gelu(self.mlp_in(self.norm_2(tokens)))
        return tokens + self._kept(self.mlp_out(hidden))

    def _attend(self, tokens: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        b, n, d = tokens.shape
        qkv = self.qkv(tokens).reshape(b, n, 3, self.heads, HEAD_DIM).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]  # each (b, h, n, 64)
        mixed = functional.scaled_dot_product_attention(
            turn(q, cosine, sine), turn(k, cosine, sine), v
        )
        answer: Tensor = self.out(mixed.transpose(1, 2).reshape(b, n, d))
        return answer

    def _kept(self, update: Tensor) -> Tensor:
        """Stochastic depth: in training each sample's update is dropped with `drop_path`."""
        if not self.training or self.drop_path == 0.0:
            return update
        keep = 1.0 - self.drop_path
        kept = torch.rand(len(update), 1, 1, device=update.device, dtype=update.dtype) < keep
        return update * kept / keep


class VitEncoder(nn.Module):
    """Raw patches in, tokens on their grid out."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        if config.dim % HEAD_DIM:
            raise ValueError(f"dim must be a multiple of {HEAD_DIM}, got {config.dim}")
        self.config = config
        pz, py, px = config.patch
        self.embed = nn.Linear(config.all_channels * pz * py * px, config.dim)
        rates = torch.linspace(0.0, config.drop_path, config.depth).tolist()
        self.blocks = nn.ModuleList(Block(config.dim, config.mlp_ratio, rate) for rate in rates)
        self.norm = nn.LayerNorm(config.dim)

    def sides(self, windows: Tensor) -> Sides:
        """Token grid (z, y, x) of windows (b, c, z, y, x)."""
        z, y, x = windows.shape[2:]
        pz, py, px = self.config.patch
        return z // pz, y // py, x // px

    def forward(self, windows: Tensor, kept: Tensor | None = None) -> Tensor:
        """(b, c, z, y, x) -> tokens (b, n, d) in z-y-x order.

        `kept` (b, k) picks the visible tokens of a masked autoencoder: then (b, k, d).
        """
        patches = patchify(windows, self.config.patch)
        angles = rotary_angles(self.sides(windows), windows.device)
        cosine, sine = angles.cos(), angles.sin()
        if kept is not None:
            patches = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[2]))
            cosine, sine = cosine[kept][:, None], sine[kept][:, None]  # (b, 1, k, 32)
        tokens = self.embed(patches)
        cosine, sine = cosine.to(tokens.dtype), sine.to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, cosine, sine)
        answer: Tensor = self.norm(tokens)
        return answer

    def levels(self, windows: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Tokens after `depths` blocks each (rising), then the answer of `forward`: (b, n, d)."""
        tokens = self.embed(patchify(windows, self.config.patch))
        angles = rotary_angles(self.sides(windows), windows.device)
        cosine, sine = angles.cos().to(tokens.dtype), angles.sin().to(tokens.dtype)
        found = []
        for depth, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, cosine, sine)
            if depth in depths:
                found.append(tokens)
        return [*found, self.norm(tokens)]
