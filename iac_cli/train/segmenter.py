"""What a segmenter sees and is judged by in training: channels, window sizes, loss, heads."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from iac_cli.errors import IacError, Word
from iac_cli.simulate.painted_skull import PROCEDURAL
from iac_cli.simulate.skull import Skull
from iac_cli.train.vit import NO_PRIOR, Sides

HU_WINDOWS = ((-200.0, 1500.0), (0.0, 300.0))
"""The segmenter's input channels, HU."""

SKULL_SHARES = {
    "visible_human": 0.38,
    "head_cadaver": 0.30,
    "head_pet_ct": 0.17,
    "phantom_philips": 0.15,
}
"""How often each head is drawn; a head of one's own, not named here, counts 0.3."""

PROCEDURAL_SHARE = 0.5
"""Of all procedural heads together: a third beside the four real ones."""

LARGE_WINDOW = (24, 80, 80)
"""What inference looks at, and every fourth step of a training (`LARGE_EVERY`)."""
LARGE_EVERY = 4


def shares_of(names: Iterable[str]) -> dict[str, float]:
    """How often each of these heads is drawn."""
    names = list(names)
    n = sum(name.startswith(PROCEDURAL) for name in names)
    return {
        name: PROCEDURAL_SHARE / n if name.startswith(PROCEDURAL) else SKULL_SHARES.get(name, 0.3)
        for name in names
    }


def fitting(window: Sides, patch: Sides) -> Sides:
    """A window grown until whole patches fill it: (24, 80, 80) is (32, 80, 80) for 16s."""
    z, y, x = (-(-side // step) * step for side, step in zip(window, patch, strict=True))
    return z, y, x


LOSS_FROM_HU = 115.0
"""Voxels below count for no loss: the scores' threshold decides them."""

PRIOR_REACH_MM = 16.0
"""Distance to an artery at which the prior's channel says as little as where it is absent."""
PRIOR_ABSENT = 0.3
"""Share of training windows whose prior is absent."""
PRIOR_SHIFT = (3, 7, 7)
"""Most voxels by which a prior may be off, (z, y, x): about 3 mm each way, so 3 mm on average, as
located lines are in heads that no locator learned."""


def hu_channels(hu: Tensor, windows: tuple[tuple[float, float], ...] = HU_WINDOWS) -> Tensor:
    """HU (b, z, y, x) -> the network's input (b, channels, z, y, x) in [-1, 1]."""
    scaled = [((hu - low) / (high - low)).clamp(0.0, 1.0) * 2.0 - 1.0 for low, high in windows]
    return torch.stack(scaled, dim=1)


def prior_channel(distance_mm: Tensor) -> Tensor:
    """Distance to the nearest artery (b, z, y, x) -> a channel (b, 1, z, y, x) in [-1, 1]."""
    near = (distance_mm / PRIOR_REACH_MM).clamp(0.0, 1.0) * 2.0 - 1.0
    return near[:, None]


def jittered_prior(
    distance_mm: Tensor, random: torch.Generator, absent_share: float = PRIOR_ABSENT
) -> Tensor:
    """The prior's channel as a locator may give it: moved by up to 3 mm each way, or absent."""
    b, device = len(distance_mm), distance_mm.device
    moved = distance_mm
    for axis, (most, size) in enumerate(zip(PRIOR_SHIFT, distance_mm.shape[1:], strict=True), 1):
        shift = torch.randint(-most, most + 1, (b, 1), generator=random, device=device)
        index = (torch.arange(size, device=device) + shift).clamp(0, size - 1)
        shape = [b, 1, 1, 1]
        shape[axis] = size
        moved = moved.gather(axis, index.reshape(shape).expand_as(moved))
    absent = torch.rand(b, 1, 1, 1, 1, generator=random, device=device) < absent_share
    return torch.where(absent, NO_PRIOR, prior_channel(moved))


class Seen(Protocol):
    """Windows of a head whose arteries are known, each (b, z, y, x)."""

    @property
    def hu(self) -> Tensor:
        """HU."""

    @property
    def distance_mm(self) -> Tensor:
        """To the nearest artery."""


def takes_prior(network: nn.Module) -> bool:
    """Whether a network takes the artery-distance prior as its last channel."""
    encoder: Any = getattr(network, "encoder", None)
    return encoder is not None and bool(encoder.config.prior)


def network_input(
    seen: Seen,
    network: nn.Module,
    random: torch.Generator | None = None,
    absent_share: float = PRIOR_ABSENT,
) -> Tensor:
    """The channels of windows, with the prior where the network takes one.

    With `random` the prior is as a locator may give it, else it is exact.
    """
    channels = hu_channels(seen.hu)
    if not takes_prior(network):
        return channels
    prior = (
        prior_channel(seen.distance_mm)
        if random is None
        else jittered_prior(seen.distance_mm, random, absent_share)
    )
    return torch.cat([channels, prior], dim=1)


def segmentation_loss(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy plus half a soft Dice, on voxels of weight 1 only; all (b, z, y, x)."""
    logits = logits.float()
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    entropy = (each * weight).sum() / weight.sum().clamp(min=1.0)
    p = logits.sigmoid() * weight
    overlap = 2.0 * (p * label).sum() / (p.sum() + (label * weight).sum()).clamp(min=1.0)
    return entropy + 0.5 * (1.0 - overlap)


ARTERY_REACH_MM = 6.0
"""Distance from a centre line at which the second task's target has fallen from 1 to 0."""
ARTERY_WEIGHT = 0.25
"""Of the second task's loss, beside that of calcification."""


def artery_loss(logits: Tensor, distance_mm: Tensor) -> Tensor:
    """Cross-entropy of how near each voxel lies to an artery's centre line; both (b, z, y, x)."""
    near = (1.0 - distance_mm.float() / ARTERY_REACH_MM).clamp(0.0, 1.0)
    loss: Tensor = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), near)
    return loss


def load_skulls(folder: Path, left_out: str = "") -> dict[str, Skull]:
    """All cached heads of a folder but one. Raises: IacError: empty_set when none is left."""
    found = {path.stem: Skull.load(path) for path in sorted(folder.glob("[!.]*.npz"))}
    kept = {name: skull for name, skull in found.items() if name != left_out}
    if not kept:
        raise IacError(
            Word.EMPTY_SET,
            "the folder holds no cached head to train on",
            way_out="make them with 'iac-seg train prepare', and give its folder 'skulls'",
        )
    return kept
