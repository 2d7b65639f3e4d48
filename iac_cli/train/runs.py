"""A run's folder: its settings, its lock, and the weights that it leaves.

settings.json        what was asked for; the same command goes on from the last checkpoint
checkpoint.pt        everything that going on exactly needs
progress.csv         losses by step
pictures/            what the network answers, as it learns
splits.json          which patients are in which part (by a hash), for labelled data
network.json, network.safetensors    the network and its averaged weights, in half precision
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from iac_cli.errors import IacError, Word
from iac_cli.report.files import told_as_output, write_text, written_whole
from iac_cli.train.documents import read_document
from iac_cli.train.mae import Mae, MaeConfig
from iac_cli.train.segmenting import ARTERY_HEAD
from iac_cli.train.vit import VitEncoder
from iac_cli.train.world import World

SETTINGS = "settings.json"
NETWORK = "network.json"
WEIGHTS = "network.safetensors"

MAY_CHANGE = ("minutes", "steps")
"""What of a run's budget may be raised when it goes on."""


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Hold a run's folder while the block runs; the system lets go of it when the process dies.

    Raises: IacError: output_locked, output_not_writable, disk_full.
    """
    with told_as_output(run):
        run.mkdir(parents=True, exist_ok=True)
        lock = os.open(run / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise IacError(
            Word.OUTPUT_LOCKED,
            "another training is at work on this run's folder",
            way_out="wait until it has ended, or choose another folder",
        ) from error
    finally:
        os.close(lock)


def held_by_first(run: Path, world: World) -> AbstractContextManager[None]:
    """The run's folder, held by the first of several processes."""
    return held(run) if world.is_first else nullcontext()


def check_free(run: Path) -> None:
    """Refuse a folder that holds something else than a run. Raises: IacError: output_exists."""
    with told_as_output(run):
        there = {path.name for path in run.iterdir()} if run.exists() else set()
    if SETTINGS not in there and there - {".lock", "windows"}:
        raise IacError(
            Word.OUTPUT_EXISTS,
            "the folder is not empty and holds no run",
            way_out="choose another folder",
        )


def begin(run: Path, settings: Any) -> None:
    """Save the settings (a dataclass) with a new run, or check that they are those of one begun.

    Raises: IacError: output_exists where another run, or something else, lies there;
    model_unreadable.
    """
    asked = json.loads(json.dumps(asdict(settings), default=str))
    note = run / SETTINGS
    if note.is_file():
        before = read_document(note)
        changed = _changed(before, asked)
        if changed:
            raise IacError(
                Word.OUTPUT_EXISTS,
                f"the folder holds a run with other settings: {', '.join(changed)}",
                way_out="choose another folder, or give the same options to go on with that run",
            )
    check_free(run)
    write_text(note, json.dumps(asked, indent=1) + "\n")


def _changed(before: Any, asked: Any, name: str = "") -> list[str]:
    """Names of the settings that differ, but for those that may change. One that was not there yet
    when the run was begun was off."""
    if isinstance(before, dict) and isinstance(asked, dict):
        found = []
        for key in sorted(before.keys() | asked.keys()):
            if key not in MAY_CHANGE:
                found += _changed(before.get(key), asked.get(key), f"{name}.{key}".strip("."))
        return found
    return [] if before == asked or (before is None and asked is False) else [name]


def save_network(network: nn.Module, config: Mapping[str, Any], run: Path) -> None:
    """Weights in half precision, with the network's own settings beside them."""
    from safetensors.torch import save

    weights = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    halved = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    with written_whole(run / WEIGHTS) as building:
        building.write_bytes(save({k: v.contiguous() for k, v in halved.items()}))
    write_text(run / NETWORK, json.dumps(config, indent=1) + "\n")


def read_network(run: Path) -> dict[str, Any]:
    """What network a finished run holds. Raises: IacError: model_not_found, model_unreadable."""
    if not (run / NETWORK).is_file() or not (run / WEIGHTS).is_file():
        raise IacError(
            Word.MODEL_NOT_FOUND,
            "the folder holds no finished run",
            way_out="give the folder of a run that has ended, with network.safetensors in it",
        )
    return read_document(run / NETWORK)


def read_weights(run: Path) -> dict[str, torch.Tensor]:
    """A finished run's weights as float32, by name. Raises: IacError: model_unreadable."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(run / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise _unreadable() from error
    return {k: v.float() if v.is_floating_point() else v for k, v in stored.items()}


def weights_sha256(run: Path) -> str:
    """Of a finished run's file of weights. Raises: IacError: model_not_found, model_unreadable."""
    read_network(run)  # refuses what is no finished run
    try:
        return hashlib.sha256((run / WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        raise _unreadable() from error


def _unreadable() -> IacError:
    return IacError(
        Word.MODEL_UNREADABLE,
        "the run's weights cannot be read",
        way_out="train it again, or go on with its checkpoint by giving its command again",
    )


def fill(network: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Put weights into a network of the same shape. Raises: IacError: model_shape_mismatch."""
    wanted = network.state_dict()
    for name, value in wanted.items():
        got = tuple(weights[name].shape) if name in weights else "nothing"
        if got != tuple(value.shape):
            raise IacError(
                Word.MODEL_SHAPE_MISMATCH,
                f"the run's weights do not fit: {name} is {tuple(value.shape)} here, {got} there",
                way_out="give the preset, patch and decoder that the run was made with",
            )
    network.load_state_dict({name: weights[name] for name in wanted})


def load_mae(run: Path) -> Mae:
    """The autoencoder of a finished pre-training. Raises: IacError as `read_network`."""
    mae = Mae(MaeConfig.from_dict(read_network(run)))
    fill(mae, read_weights(run))
    return mae


def start_from(network: nn.Module, run: Path) -> None:
    """Fill a network from a pre-training (its encoder) or from a fine-tuned run (all of it).

    Raises: IacError: model_not_found, model_unreadable, model_shape_mismatch.
    """
    values, weights = read_network(run), read_weights(run)
    if values["name"] != "mae":
        fresh = {k: v for k, v in network.state_dict().items() if k.startswith(ARTERY_HEAD)}
        # a task that the run did not have begins anew
        fill(network, fresh | _widened(weights, network, values))
        return
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, VitEncoder):
        raise IacError(
            Word.MODEL_SHAPE_MISMATCH,
            "a pre-trained encoder is given, and the network has none",
            way_out="drop --init for a baseline",
        )
    prefix = "encoder."
    own = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
    fill(encoder, _widened(own, encoder, values))


def _widened(
    weights: Mapping[str, torch.Tensor], network: nn.Module, begun: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Weights of a run without the prior's channel, for a network that takes it: whatever reads
    the windows pays no heed to it at first."""
    wide = dict(weights)
    config = begun.get("vit")
    if config is None or config.get("prior"):
        return wide
    for name, wanted in network.state_dict().items():
        old = weights.get(name)
        if old is None or old.dim() < 2 or old.dim() != wanted.dim():
            continue
        missing = wanted.shape[1] - old.shape[1]
        if missing * config["channels"] == old.shape[1]:
            zeros = old.new_zeros(len(old), missing, *old.shape[2:])
            wide[name] = torch.cat([old, zeros], dim=1)
    return wide
