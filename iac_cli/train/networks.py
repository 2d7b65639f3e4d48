"""Every segmentation network by the plain values that a card or a run keeps of it."""

import copy
from typing import Any

from torch import nn

from iac_cli.train.baselines import BASELINES, Baseline, BaselineConfig, NnUnet
from iac_cli.train.decoders import DECODERS, Decoder, DecoderConfig
from iac_cli.train.hybrid import Hybrid, HybridConfig, default_path, folded
from iac_cli.train.vit import VitConfig

NetworkConfig = HybridConfig | DecoderConfig | BaselineConfig


def decoder_config(decoder: Decoder, vit: VitConfig) -> HybridConfig | DecoderConfig:
    """A decoder of the usual size on an encoder."""
    if decoder == Decoder.HYBRID:
        return HybridConfig(vit=vit, path=default_path(vit.patch))
    return DecoderConfig(name=decoder, vit=vit)


def read_config(values: dict[str, Any]) -> NetworkConfig:
    """From a card's `architecture`. Raises: KeyError, TypeError, ValueError for an unknown one."""
    name = values["name"]
    if name == Decoder.HYBRID:
        return HybridConfig.from_dict(values)
    if name in set(Baseline):
        return BaselineConfig.from_dict(values)
    return DecoderConfig.from_dict(values)


def make_network(config: NetworkConfig) -> nn.Module:
    """An untrained network. Raises: IacError: runtime_missing for nnU-Net's."""
    if isinstance(config, HybridConfig):
        return Hybrid(config)
    if isinstance(config, BaselineConfig):
        return BASELINES[config.name](config)
    return DECODERS[config.name](config)


def fold(network: nn.Module) -> nn.Module:
    """The same function for export, without batch normalisation."""
    if isinstance(network, NnUnet):
        return copy.deepcopy(network).eval()
    plain: nn.Module = folded(network)
    return plain
