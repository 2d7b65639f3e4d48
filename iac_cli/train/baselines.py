"""Networks without a transformer, trained on the same windows, loss and budget.

`unet` is a thin residual U-Net of the hybrid's size. `nnunet` and `nnunet-resenc` are nnU-Net's own
networks, from dynamic-network-architectures, with the shape that nnU-Net's planning rules give for
the shipped window; that package is needed for training them only.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from torch import Tensor, nn

from iac_cli.errors import IacError, Word
from iac_cli.train.hybrid import Conv, Down, Up
from iac_cli.train.vit import Sides

UNET_STRIDES: tuple[Sides, ...] = ((1, 2, 2), (2, 2, 2), (2, 2, 2))

NNUNET_FEATURES = (32, 64, 128, 256, 320)
NNUNET_KERNELS = ((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
NNUNET_STRIDES = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 2, 2))
"""In-plane pixels are less than half a plane apart, so the first stage does not mix planes; sides
are halved while more than four voxels are left of 24 x 80 x 80."""


class Baseline(StrEnum):
    """Networks to beat."""

    UNET = "unet"
    NNUNET = "nnunet"
    NNUNET_RESENC = "nnunet-resenc"


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineConfig:
    """A baseline's kind; `path` is the channels of `unet` from full resolution down."""

    name: Baseline
    channels: int = 2
    path: tuple[int, ...] = (24, 48, 112, 216)
    normalised: bool = True
    """False in an exported `unet`, whose normalisation is folded into the convolutions."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model card."""
        return asdict(self) | {"name": self.name.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "BaselineConfig":
        """The inverse of `to_dict`."""
        return cls(
            name=Baseline(values["name"]),
            channels=values["channels"],
            path=tuple(values["path"]),
            normalised=values["normalised"],
        )


class Unet(nn.Module):
    """Windows (b, channels, z, y, x) -> logits (b, 1, z, y, x): the hybrid without its ViT."""

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        on, path = config.normalised, config.path
        steps = list(zip(path, path[1:], UNET_STRIDES, strict=False))
        self.stem = nn.Sequential(
            Conv(config.channels, path[0], (1, 3, 3), on), Conv(path[0], path[0], (3, 3, 3), on)
        )
        self.down = nn.ModuleList(Down(a, b, stride, on) for a, b, stride in steps)
        self.middle = Conv(path[-1], path[-1], (3, 3, 3), on)
        self.up = nn.ModuleList(Up(b, a, stride, on) for a, b, stride in reversed(steps))
        self.head = nn.Conv3d(path[0], 1, 1)

    def forward(self, windows: Tensor) -> Tensor:
        """(b, channels, z, y, x) -> (b, 1, z, y, x)."""
        levels = [self.stem(windows)]
        for down in self.down:
            levels.append(down(levels[-1]))
        features = levels.pop()
        features = features + self.middle(features)
        for up in self.up:
            features = up(features, levels.pop())
        logits: Tensor = self.head(features)
        return logits


class NnUnet(nn.Module):
    """nnU-Net's network with one output channel: windows -> logits, as the others."""

    def __init__(self, config: BaselineConfig) -> None:
        super().__init__()
        self.config = config
        self.network = _nnunet(config)
        decoder: Any = self.network.decoder
        decoder.encoder = None  # it is held twice, and never called there
        for k in range(len(decoder.seg_layers) - 1):
            decoder.seg_layers[k] = nn.Identity()  # for deep supervision, which is not used

    def forward(self, windows: Tensor) -> Tensor:
        """(b, channels, z, y, x) -> (b, 1, z, y, x)."""
        logits: Tensor = self.network(windows)
        return logits


def _nnunet(config: BaselineConfig) -> nn.Module:
    """Raises: IacError: runtime_missing."""
    try:
        from dynamic_network_architectures.architectures.unet import (
            PlainConvUNet,
            ResidualEncoderUNet,
        )
    except ImportError as error:
        raise IacError(
            Word.RUNTIME_MISSING,
            "nnU-Net's network cannot be loaded",
            way_out="pip install --no-deps dynamic-network-architectures, or --baseline unet",
        ) from error
    shared = {
        "input_channels": config.channels,
        "n_stages": len(NNUNET_FEATURES),
        "features_per_stage": NNUNET_FEATURES,
        "conv_op": nn.Conv3d,
        "kernel_sizes": NNUNET_KERNELS,
        "strides": NNUNET_STRIDES,
        "num_classes": 1,
        "conv_bias": True,
        "norm_op": nn.InstanceNorm3d,
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": nn.LeakyReLU,
        "nonlin_kwargs": {"inplace": True},
        "deep_supervision": False,
    }
    stages = len(NNUNET_FEATURES)
    if config.name == Baseline.NNUNET:
        plain: nn.Module = PlainConvUNet(
            n_conv_per_stage=[2] * stages, n_conv_per_stage_decoder=[2] * (stages - 1), **shared
        )
        return plain
    residual: nn.Module = ResidualEncoderUNet(
        n_blocks_per_stage=[1, 3, 4, 6, 6], n_conv_per_stage_decoder=[1] * (stages - 1), **shared
    )
    return residual


BASELINES: dict[Baseline, Callable[[BaselineConfig], nn.Module]] = {
    Baseline.UNET: Unet,
    Baseline.NNUNET: NnUnet,
    Baseline.NNUNET_RESENC: NnUnet,
}


def count_parameters(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(value.numel() for value in network.parameters() if value.requires_grad)
