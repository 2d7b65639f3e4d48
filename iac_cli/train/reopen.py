"""From an exported model back to a run, so that a training can go on from it.

An export merges each normalisation into its convolution. Here it comes back, with the means and
variances of one batch of simulated images: the network answers as before, and learns as one that
was never exported. What only the training had is gone: optimiser, second task.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iac_cli.infer.card import ModelCard, Role, check_file, read_locator_card, read_segmenter_card
from iac_cli.infer.torch_engine import load_onnx_state, network_of
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.head import anatomy_stream
from iac_cli.simulate.heads import NEAR, WHOLE, HeadStream, paint_head
from iac_cli.simulate.painted_skull import painted_skull
from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.locator_net import Locator
from iac_cli.train.runs import check_free, fill, held, save_network
from iac_cli.train.segmenter import network_input

SEED = 60_001
"""Of the head that the batch is made from."""

N_HEADS, N_WINDOWS = 4, 24

NORMS = {"first": "norm_1", "second": "norm_2", "conv": "norm"}
"""By the name of a convolution, that of the normalisation behind it."""


def reopen(models: Path, role: Role, run: Path) -> None:
    """Write the run that a model of a folder could have come from; `--init` takes it.

    Raises: IacError: model_not_found, model_card_invalid, model_checksum_mismatch,
    model_shape_mismatch, output_exists, output_locked, output_not_writable.
    """
    is_segmenter = role == Role.SEGMENTER
    card: ModelCard = (
        read_segmenter_card(models) if is_segmenter else read_locator_card(models, role)
    )
    check_file(card)
    values = trainable(card.architecture)
    network = network_of(replace(card, architecture=values))
    is_locator = isinstance(network, Locator)
    with held(run):
        check_free(run)
        images = _heads(network.config.cell_mm) if is_locator else _windows(network)
        unfold(network, load_onnx_state(card.path), images)
        save_network(network, values, run)


def trainable(architecture: Mapping[str, Any]) -> dict[str, Any]:
    """A card's architecture with its normalisation back."""
    values = dict(architecture)
    if "normalised" in values:
        values["normalised"] = True
    return values


@torch.no_grad()
def unfold(network: nn.Module, merged: Mapping[str, Tensor], images: Tensor) -> None:
    """Fill a network with weights into which its normalisation was merged.

    Each normalisation gets the mean and variance of what it is given for `images`, and the scale
    and offset that undo both but for the merged bias.

    Raises: IacError: model_shape_mismatch.
    """
    pairs = _normalised(network)
    fresh = {
        k: v for k, v in network.state_dict().items() if k.rpartition(".")[0] in pairs.values()
    }
    fill(network, fresh | dict(merged))
    handles = [
        network.get_submodule(norm).register_forward_pre_hook(_restoring(merged[f"{conv}.bias"]))
        for conv, norm in pairs.items()
    ]
    network.eval()(images)
    for handle in handles:
        handle.remove()


def _normalised(network: nn.Module) -> dict[str, str]:
    """Names of normalisations by the name of the convolution before each."""
    found = {}
    for name, module in network.named_modules():
        parent, _, last = name.rpartition(".")
        if isinstance(module, nn.Conv3d) and last in NORMS:
            norm = f"{parent}.{NORMS[last]}"
            if isinstance(network.get_submodule(norm), nn.BatchNorm3d):
                found[name] = norm
    return found


def _restoring(bias: Tensor) -> Any:
    """A hook by which a normalisation takes what it is given as it is, and adds a bias (c,)."""

    def restore(norm: Any, given: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(given[0], dim=(0, 2, 3, 4))
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.copy_(mean + bias)

    return restore


def _heads(cell_mm: float) -> Tensor:
    """What a locator sees of a procedural head: (N_HEADS, 5, z, y, x)."""
    scale = NEAR if cell_mm == NEAR.cell_mm else WHOLE
    head = paint_head("procedural", draw_head(anatomy_stream(SEED)), scale)
    stream = HeadStream([head], device=torch.device("cpu"), seed=SEED, scale=scale)
    return stream.batch(N_HEADS).inputs


def _windows(network: nn.Module) -> Tensor:
    """What a segmenter sees of a procedural head: (N_WINDOWS, channels, z, y, x)."""
    skull = painted_skull("procedural", draw_head(anatomy_stream(SEED)))
    stream = WindowStream(
        {skull.name: skull},
        {skull.name: 1.0},
        StreamConfig(),
        device=torch.device("cpu"),
        seed=SEED,
    )
    random = torch.Generator().manual_seed(SEED)
    return network_input(stream.batch(N_WINDOWS), network, random)
