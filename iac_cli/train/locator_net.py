"""The locator's network: a residual U-Net on the whole head at 4 mm, one map a key point.

For each key point it answers one distribution: over all voxels of the head, and over one more
place, "absent" (the point lies outside the scan). So a map's scale is comparable between heads,
and the probability of "absent" tells what the scan covers.
"""

import copy
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

CHANNELS = 5
"""Two HU windows and three coordinates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorConfig:
    """Sizes of the locator: channels from 4 mm down, and how many key points it finds."""

    keypoints: int
    path: tuple[int, int, int, int] = (16, 32, 64, 96)
    cell_mm: float = 4.0
    """Step of the grid that it was trained on; no weight depends on it."""
    normalised: bool = True
    """False in an exported network, whose normalisation is folded into the convolutions."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a model card."""
        return {"name": "locator"} | asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LocatorConfig":
        """The inverse of `to_dict`."""
        return cls(
            keypoints=values["keypoints"],
            path=tuple(values["path"]),
            cell_mm=values.get("cell_mm", 4.0),
            normalised=values["normalised"],
        )


class Residual(nn.Module):
    """Two convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, normalised: bool) -> None:
        super().__init__()
        self.first = nn.Conv3d(inputs, outputs, 3, padding=1, bias=not normalised)
        self.second = nn.Conv3d(outputs, outputs, 3, padding=1, bias=not normalised)
        self.norm_1: nn.Module = nn.BatchNorm3d(outputs) if normalised else nn.Identity()
        self.norm_2: nn.Module = nn.BatchNorm3d(outputs) if normalised else nn.Identity()
        self.shortcut = nn.Conv3d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(b, inputs, z, y, x) -> (b, outputs, z, y, x)."""
        hidden = functional.relu(self.norm_1(self.first(features)))
        return functional.relu(self.norm_2(self.second(hidden)) + self.shortcut(features))


class Locator(nn.Module):
    """Heads (b, 5, z, y, x), sides multiples of 8 -> map logits (b, K, z, y, x), absent (b, K)."""

    def __init__(self, config: LocatorConfig) -> None:
        super().__init__()
        self.config = config
        on, path = config.normalised, config.path
        inputs = (CHANNELS, *path[:-1])
        self.down = nn.ModuleList(Residual(a, b, on) for a, b in zip(inputs, path, strict=True))
        self.up = nn.ModuleList(
            Residual(path[i + 1] + path[i], path[i], on) for i in reversed(range(len(path) - 1))
        )
        self.maps = nn.Conv3d(path[0], config.keypoints, 1)
        self.absent = nn.Linear(2 * path[-1], config.keypoints)

    def forward(self, heads: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 5, z, y, x) -> (b, K, z, y, x) and (b, K)."""
        levels = []
        features = heads
        for i, down in enumerate(self.down):
            features = down(functional.max_pool3d(features, 2) if i else features)
            levels.append(features)
        deepest = levels.pop()
        summary = torch.cat([deepest.mean(dim=(2, 3, 4)), deepest.amax(dim=(2, 3, 4))], dim=1)
        features = deepest
        for up in self.up:
            grown = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = up(torch.cat([grown, levels.pop()], dim=1))
        return self.maps(features), self.absent(summary)


def keypoint_loss(maps: Tensor, absent: Tensor, targets: Tensor, present: Tensor) -> Tensor:
    """Cross-entropy of each key point's distribution.

    Args:
        maps: logits (b, K, z, y, x).
        absent: logits (b, K).
        targets: (b, K, z, y, x), each map sums to 1 where the key point is present.
        present: (b, K) 1.0 where the key point lies inside the scan, else 0.0.

    """
    logits = torch.cat([maps.flatten(2), absent[..., None]], dim=2).float()
    wanted = torch.cat([targets.flatten(2) * present[..., None], 1.0 - present[..., None]], dim=2)
    return -(wanted * logits.log_softmax(dim=2)).sum(dim=2).mean()


def folded_locator(network: Locator) -> Locator:
    """The same function with every normalisation merged into its convolution, for export."""
    merged = copy.deepcopy(network).eval()
    for module in merged.modules():
        if not isinstance(module, Residual):
            continue
        if isinstance(module.norm_1, nn.BatchNorm3d) and isinstance(module.norm_2, nn.BatchNorm3d):
            module.first = fuse_conv_bn_eval(module.first, module.norm_1)
            module.second = fuse_conv_bn_eval(module.second, module.norm_2)
            module.norm_1, module.norm_2 = nn.Identity(), nn.Identity()
    plain = Locator(replace(network.config, normalised=False)).eval()
    plain.load_state_dict(merged.state_dict())
    return plain
