"""The shipped network: a ViT on raw patches beside a thin convolutional path.

The path keeps what a patch blurs (few-voxel targets), the ViT sees the surroundings. A U-shaped
decoder joins both at the token grid and climbs back by interpolation and convolution. Batch
normalisation makes the answer independent of the window's size; `folded` merges it into the
convolutions for export.
"""

import copy
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from iac_cli.train.segmenting import ARTERY_HEAD, VitSegmenter, strides_of
from iac_cli.train.vit import Sides, VitConfig

PATH_CHANNELS = (8, 16, 48, 96, 128)
"""Channels of the path from full resolution down, as many levels as a patch needs."""


def default_path(patch: Sides) -> tuple[int, ...]:
    """Channels of the path for a patch; the shipped (4, 8, 8) has four levels."""
    return PATH_CHANNELS[: len(strides_of(patch)) + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class HybridConfig:
    """Sizes of the hybrid: the ViT and the channels of the path from full resolution down."""

    vit: VitConfig = field(default_factory=VitConfig)
    path: tuple[int, ...] = (8, 16, 48, 96)
    normalised: bool = True
    """False in an exported network, whose normalisation is folded into the convolutions."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model card."""
        return {"name": "hybrid"} | asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "HybridConfig":
        """The inverse of `to_dict`."""
        return cls(
            vit=VitConfig.from_dict(values["vit"]),
            path=tuple(values["path"]),
            normalised=values["normalised"],
        )


class Conv(nn.Module):
    """Convolution, normalisation, rectifier."""

    def __init__(self, inputs: int, outputs: int, kernel: Sides, normalised: bool) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, padding=padding, bias=not normalised)
        self.norm: nn.Module = nn.BatchNorm3d(outputs) if normalised else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """(b, inputs, z, y, x) -> (b, outputs, z, y, x)."""
        return functional.relu(self.norm(self.conv(features)))


class Down(nn.Module):
    """Strided convolution to the next level, then one more convolution with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: Sides, normalised: bool) -> None:
        super().__init__()
        self.shrink = nn.Conv3d(inputs, outputs, stride, stride=stride)
        self.conv = Conv(outputs, outputs, (3, 3, 3), normalised)

    def forward(self, features: Tensor) -> Tensor:
        """(b, inputs, z, y, x) -> (b, outputs, z / stride, ...)."""
        shrunk: Tensor = self.shrink(features)
        added: Tensor = self.conv(shrunk)
        return shrunk + added


class Up(nn.Module):
    """Interpolation to the finer level, then a convolution over it and the skip."""

    def __init__(self, inputs: int, skip: int, stride: Sides, normalised: bool) -> None:
        super().__init__()
        self.stride = stride
        self.narrow = nn.Conv3d(inputs, skip, 1)
        self.conv = Conv(2 * skip, skip, (3, 3, 3), normalised)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Coarse (b, inputs, ...) and skip (b, skip, z, y, x) -> (b, skip, z, y, x)."""
        scale = tuple(float(s) for s in self.stride)
        grown = functional.interpolate(self.narrow(features), scale_factor=scale, mode="nearest")
        joined: Tensor = self.conv(torch.cat([grown, skip], dim=1))
        return joined


class Hybrid(VitSegmenter):
    """Windows (b, channels, z, y, x) -> logits (b, 1, z, y, x)."""

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config.vit)
        strides = strides_of(config.vit.patch)
        if len(config.path) != len(strides) + 1:
            raise ValueError(f"patch {config.vit.patch} needs a path of {len(strides) + 1} levels")
        self.config = config
        on, path, inputs = config.normalised, config.path, config.vit.all_channels
        self.stem = nn.Sequential(
            Conv(inputs, path[0], (1, 3, 3), on), Conv(path[0], path[0], (3, 3, 3), on)
        )
        self.down = nn.ModuleList(
            Down(a, b, stride, on) for a, b, stride in zip(path, path[1:], strides, strict=False)
        )
        self.join = Conv(path[-1] + config.vit.dim, path[-1], (3, 3, 3), on)
        self.up = nn.ModuleList(
            Up(b, a, stride, on)
            for a, b, stride in reversed(list(zip(path, path[1:], strides, strict=False)))
        )
        self.head = nn.Conv3d(path[0], 1, 1)

    def decode(self, windows: Tensor, levels: list[Tensor]) -> Tensor:
        """The path runs down from the windows, meets the tokens, and climbs back."""
        path = [self.stem(windows)]
        for down in self.down:
            path.append(down(path[-1]))
        features = self.join(torch.cat([path.pop(), levels[-1]], dim=1))
        for up in self.up:
            features = up(features, path.pop())
        logits: Tensor = self.head(features)
        return logits


def folded(network: Any) -> Any:
    """The same function with every normalisation merged into its convolution, and without what
    serves training alone, for export."""
    merged = copy.deepcopy(network).eval()
    for module in merged.modules():
        if isinstance(module, Conv) and isinstance(module.norm, nn.BatchNorm3d):
            module.conv = fuse_conv_bn_eval(module.conv, module.norm)
            module.norm = nn.Identity()
    config = replace(network.config, normalised=False)
    if hasattr(config, "vit"):
        config = replace(config, vit=replace(config.vit, arteries=False))
    plain = type(network)(config).eval()
    weights = merged.state_dict().items()
    plain.load_state_dict({k: v for k, v in weights if not k.startswith(ARTERY_HEAD)})
    return plain
