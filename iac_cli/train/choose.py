"""From what a user names to the network and the sizes of a training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from iac_cli.errors import IacError, Word
from iac_cli.train.baselines import Baseline, BaselineConfig
from iac_cli.train.decoders import Decoder
from iac_cli.train.networks import decoder_config
from iac_cli.train.runs import read_network
from iac_cli.train.vit import Preset, Sides, VitConfig, preset_config

SMALL_WINDOW = (16, 48, 48)
"""Windows of three training steps in four."""


def parse_patch(text: str) -> Sides:
    """ "8" or "4,8,8" as (z, y, x) voxels. Raises: IacError: bad_setting."""
    parts = text.split(",")
    sides = [int(part) for part in parts if part.strip().isdigit()]
    whole = len(sides) == len(parts) and len(parts) in (1, 3)
    if not whole or any(side < 1 or side & (side - 1) or side > 16 for side in sides):
        raise IacError(
            Word.BAD_SETTING,
            f"a patch is one side or three (z,y,x) out of 1, 2, 4, 8 and 16, got {text!r}",
            way_out="--patch 4,8,8",
        )
    z, y, x = sides * 3 if len(sides) == 1 else sides
    return z, y, x


def encoder_config(preset: Preset | None, patch: Sides | None, init: Path | None) -> VitConfig:
    """The encoder that is asked for; what is not said is as in the run to start from."""
    if init is None:
        return preset_config(preset or Preset.TINY, patch or (4, 8, 8))
    stored = read_network(init).get("vit")
    if stored is None:
        raise IacError(
            Word.MODEL_SHAPE_MISMATCH,
            "the run to start from has no encoder",
            way_out="give a pre-trained run, or one fine-tuned with a decoder",
        )
    begun = VitConfig.from_dict(stored)
    asked = preset_config(preset, patch or begun.patch) if preset else begun
    return VitConfig(
        channels=asked.channels,
        patch=patch or begun.patch,
        dim=asked.dim,
        depth=asked.depth,
        mlp_ratio=asked.mlp_ratio,
        drop_path=asked.drop_path,
        prior=begun.prior,
        arteries=begun.arteries,
    )


def network_values(
    vit: VitConfig,
    decoder: Decoder,
    baseline: Baseline | None,
    *,
    prior: bool,
    arteries: bool | None,
) -> dict[str, Any]:
    """The network's own settings, as a card keeps them; `arteries` None: as in `vit`.

    Raises: IacError: conflicting_options.
    """
    if baseline is not None:
        if prior or arteries:
            raise IacError(
                Word.CONFLICTING_OPTIONS,
                "a baseline takes no prior and has no second task",
                way_out="drop --prior, --arteries or --baseline",
            )
        return BaselineConfig(name=baseline).to_dict()
    vit = replace(
        vit,
        prior=vit.prior or prior,
        arteries=vit.arteries if arteries is None else arteries,
    )
    if vit.prior and vit.arteries:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "the prior tells where the arteries run, so there is nothing to learn of that",
            way_out="drop --prior or --arteries",
        )
    values: dict[str, Any] = decoder_config(decoder, vit).to_dict()
    return values


def default_batch(device: torch.device, on_cuda: int, on_cpu: int) -> int:
    """Windows a step where none are named."""
    return on_cuda if device.type == "cuda" else on_cpu
