"""Decoders that the hybrid is compared with, all behind `VitSegmenter`.

Linear: a patch's logits straight from its token. Transposed: learned upsampling in steps by two.
Interpolated: one interpolation to the voxels, then a convolution. Progressive: interpolation and
convolution in turn. UNETR-like: tokens of several depths join on the way up, as in UNETR
(Hatamizadeh 2022).
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from iac_cli.train.hybrid import Conv
from iac_cli.train.segmenting import VitSegmenter, strides_of
from iac_cli.train.vit import Sides, VitConfig, unpatchify


class Decoder(StrEnum):
    """How tokens become voxels. `hybrid` is the shipped one."""

    HYBRID = "hybrid"
    LINEAR = "linear"
    UNETR = "unetr"
    TRANSPOSED = "transposed"
    INTERPOLATED = "interpolated"
    PROGRESSIVE = "progressive"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderConfig:
    """A decoder's kind and size; `width` is its channels at full resolution."""

    name: Decoder
    vit: VitConfig = field(default_factory=VitConfig)
    width: int = 16
    normalised: bool = True
    """False in an exported network, whose normalisation is folded into the convolutions."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model card."""
        return asdict(self) | {"name": self.name.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DecoderConfig":
        """The inverse of `to_dict`."""
        vit = VitConfig.from_dict(values["vit"])
        return cls(
            name=Decoder(values["name"]),
            vit=vit,
            width=values["width"],
            normalised=values["normalised"],
        )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level from full resolution to the token grid, twice as many a step."""
        steps = len(strides_of(self.vit.patch))
        return tuple(self.width * 2**step for step in range(steps + 1))


def grown(features: Tensor, stride: Sides) -> Tensor:
    """(b, c, z, y, x) on a grid finer by a stride, linear in between."""
    scale = tuple(float(s) for s in stride)
    return functional.interpolate(
        features, scale_factor=scale, mode="trilinear", align_corners=False
    )


class Linear(VitSegmenter):
    """Each token gives the logits of its own patch."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config.vit)
        self.config = config
        pz, py, px = config.vit.patch
        self.head = nn.Linear(config.vit.dim, pz * py * px)

    def decode(self, _windows: Tensor, levels: list[Tensor]) -> Tensor:
        """As the class says."""
        return unpatchify(self.head(levels[-1].permute(0, 2, 3, 4, 1)), self.config.vit.patch)


class Transposed(VitSegmenter):
    """Transposed convolutions by two from the tokens to the voxels."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config.vit)
        self.config = config
        channels = config.channels
        self.narrow = nn.Conv3d(config.vit.dim, channels[-1], 1)
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(b, a, stride, stride=stride)
            for a, b, stride in _coarse_to_fine(config)
        )
        self.head = nn.Conv3d(channels[0], 1, 1)

    def decode(self, _windows: Tensor, levels: list[Tensor]) -> Tensor:
        """As the class says."""
        features = self.narrow(levels[-1])
        for up in self.up:
            features = functional.gelu(up(features))
        logits: Tensor = self.head(features)
        return logits


class Interpolated(VitSegmenter):
    """One interpolation of narrowed tokens to the voxels, then convolutions."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config.vit)
        self.config = config
        self.narrow = nn.Conv3d(config.vit.dim, config.width, 1)
        self.conv = Conv(config.width, config.width, (3, 3, 3), config.normalised)
        self.head = nn.Conv3d(config.width, 1, 1)

    def decode(self, _windows: Tensor, levels: list[Tensor]) -> Tensor:
        """As the class says."""
        features = grown(self.narrow(levels[-1]), self.config.vit.patch)
        logits: Tensor = self.head(self.conv(features))
        return logits


class Progressive(VitSegmenter):
    """Interpolation by two and a convolution, in turn."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__(config.vit)
        self.config = config
        channels = config.channels
        self.narrow = nn.Conv3d(config.vit.dim, channels[-1], 1)
        self.convs = nn.ModuleList(
            Conv(b, a, (3, 3, 3), config.normalised) for a, b, _ in _coarse_to_fine(config)
        )
        self.head = nn.Conv3d(channels[0], 1, 1)

    def decode(self, _windows: Tensor, levels: list[Tensor]) -> Tensor:
        """As the class says."""
        features = self.narrow(levels[-1])
        for conv, stride in zip(self.convs, _strides_up(self.config), strict=True):
            features = conv(grown(features, stride))
        logits: Tensor = self.head(features)
        return logits


class Unetr(VitSegmenter):
    """Tokens of several depths, raised to each level by transposed convolutions, join on the way.

    The finest level sees the window itself.
    """

    def __init__(self, config: DecoderConfig) -> None:
        strides, channels = strides_of(config.vit.patch), config.channels
        n_skips = len(strides) - 1  # levels between the voxels and the tokens
        depths = tuple(
            max(1, round(config.vit.depth * (k + 1) / (n_skips + 1))) for k in range(n_skips)
        )
        super().__init__(config.vit, tuple(sorted(set(depths))))
        self.config, self._skip_depths = config, depths
        on = config.normalised
        self.stem = Conv(config.vit.all_channels, channels[0], (3, 3, 3), on)
        self.narrow = nn.Conv3d(config.vit.dim, channels[-1], 1)
        self.skips = nn.ModuleList(
            _raised(config.vit.dim, channels[level], strides[level:])
            for level in range(1, len(strides))
        )  # fine to coarse
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(b, a, stride, stride=stride)
            for a, b, stride in _coarse_to_fine(config)
        )
        self.convs = nn.ModuleList(
            Conv(2 * a, a, (3, 3, 3), on) for a, _, _ in _coarse_to_fine(config)
        )
        self.head = nn.Conv3d(channels[0], 1, 1)

    def decode(self, windows: Tensor, levels: list[Tensor]) -> Tensor:
        """As the class says; early tokens join fine levels."""
        tokens = dict(zip(self.depths, levels, strict=False))
        joined = [self.stem(windows)]
        joined += [
            skip(tokens[depth]) for skip, depth in zip(self.skips, self._skip_depths, strict=True)
        ]
        features = self.narrow(levels[-1])
        for up, conv in zip(self.up, self.convs, strict=True):
            features = conv(torch.cat([up(features), joined.pop()], dim=1))
        logits: Tensor = self.head(features)
        return logits


def _raised(dim: int, channels: int, strides: tuple[Sides, ...]) -> nn.Sequential:
    """Tokens (b, dim, ...) to a finer level: transposed convolutions, coarse to fine."""
    steps: list[nn.Module] = []
    inputs = dim
    for stride in reversed(strides):
        steps += [nn.ConvTranspose3d(inputs, channels, stride, stride=stride), nn.GELU()]
        inputs = channels
    return nn.Sequential(*steps)


def _strides_up(config: DecoderConfig) -> tuple[Sides, ...]:
    return tuple(reversed(strides_of(config.vit.patch)))


def _coarse_to_fine(config: DecoderConfig) -> list[tuple[int, int, Sides]]:
    """(channels above, channels below, stride) of each step up."""
    channels, strides = config.channels, strides_of(config.vit.patch)
    return list(reversed(list(zip(channels, channels[1:], strides, strict=False))))


DECODERS: dict[Decoder, Callable[[DecoderConfig], VitSegmenter]] = {
    Decoder.LINEAR: Linear,
    Decoder.UNETR: Unetr,
    Decoder.TRANSPOSED: Transposed,
    Decoder.INTERPOLATED: Interpolated,
    Decoder.PROGRESSIVE: Progressive,
}
