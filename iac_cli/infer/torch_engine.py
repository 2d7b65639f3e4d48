"""The same weights in PyTorch: the network by its card, its numbers from the ONNX file."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from iac_cli.errors import IacError, Word
from iac_cli.infer.card import ModelCard
from iac_cli.infer.device import Device, Kind, usable_threads
from iac_cli.infer.engine import (
    Engine,
    Float32,
    InputMisfitError,
    Provider,
    gpu_out_of_memory,
    mismatch,
    probe,
    runtime_missing,
)
from iac_cli.settings import RunSettings

if TYPE_CHECKING:
    import torch


def load_onnx_state(path: Path) -> "dict[str, torch.Tensor]":
    """The weights of an exported network by the names of its PyTorch state, float32."""
    import onnx
    import torch
    from onnx import numpy_helper

    model = onnx.load(str(path))
    return {
        entry.name: torch.from_numpy(np.array(numpy_helper.to_array(entry))).float()
        for entry in model.graph.initializer
    }


def open_torch(card: ModelCard, device: Device, settings: RunSettings) -> Engine:
    """Open on the device; `auto` takes the CPU where PyTorch finds no GPU, and tells why."""
    try:
        import onnx  # noqa: F401
        import torch
    except ImportError as error:
        raise runtime_missing("torch or onnx", "'.[torch]' in the source tree") from error
    chosen, why_cpu = _torch_device(device, torch.cuda.is_available(), torch.cuda.device_count())
    return TorchEngine.open(card, chosen, settings, why_cpu)


def _torch_device(device: Device, available: bool, n_gpus: int) -> tuple[Device, str | None]:
    if device.kind == Kind.CPU:
        return device, None
    if device.kind == Kind.AUTO:
        if available:
            return Device(Kind.CUDA, device.index), None
        return Device(Kind.CPU), "PyTorch finds no usable GPU"
    if not available:
        raise IacError(
            Word.DEVICE_UNAVAILABLE,
            f"{device} was asked for, but PyTorch finds no usable GPU",
            way_out="install a PyTorch with CUDA, or give --device cpu",
        )
    if device.index >= n_gpus:
        raise IacError(
            Word.DEVICE_INDEX_UNKNOWN,
            f"{device} was asked for, {n_gpus} device(s) are there",
            way_out=f"give a number below {n_gpus}",
        )
    return device, None


class TorchEngine:
    """The same weights in PyTorch."""

    def __init__(self, network: Any, provider: Provider, batch: int) -> None:
        self._network = network
        self.provider = provider
        """What really runs it."""
        self.batch = batch
        """Inputs that suit the device at once."""

    @classmethod
    def open(
        cls, card: ModelCard, device: Device, settings: RunSettings, why_cpu: str | None = None
    ) -> "TorchEngine":
        """Rebuild the network from its card and fill it with the exported weights."""
        import torch

        threads = settings.threads or usable_threads()
        torch.set_num_threads(threads)
        network = network_of(card)
        _fill(network, load_onnx_state(card.path), card)
        network.eval().to(str(device))
        name = "torch CUDA" if device.kind == Kind.CUDA else "torch CPU"
        provider = Provider("torch", name, str(device), torch.__version__, threads, why_cpu)
        batch = max(1, settings.gpu_batch) if device.kind == Kind.CUDA else 1
        engine = cls(network, provider, batch)
        probe(engine, card)
        return engine

    def run(self, inputs: Float32) -> tuple[Float32, ...]:
        """Inputs (batch, ...) -> outputs."""
        import torch

        try:
            with torch.inference_mode():
                answer = self._network(torch.from_numpy(inputs).to(self.provider.device))
        except torch.cuda.OutOfMemoryError as error:
            raise gpu_out_of_memory() from error
        except (RuntimeError, ValueError) as error:
            raise InputMisfitError(str(error)) from error
        outputs = answer if isinstance(answer, tuple) else (answer,)
        return tuple(output.float().cpu().numpy() for output in outputs)


def network_of(card: ModelCard) -> Any:
    """An untrained network of the card's architecture. Raises: IacError: model_card_invalid."""
    name = card.architecture.get("name")
    values = dict(card.architecture)
    try:
        if name == "locator":
            from iac_cli.train.locator_net import Locator, LocatorConfig

            return Locator(LocatorConfig.from_dict(values))
        from iac_cli.train.networks import make_network, read_config

        return make_network(read_config(values))
    except (KeyError, TypeError, ValueError) as error:
        raise _bad_architecture(card) from error


def _bad_architecture(card: ModelCard) -> IacError:
    return IacError(
        Word.MODEL_CARD_INVALID,
        f"the card's architecture {card.architecture.get('name')!r} is not known here",
        way_out="give --backend onnx, or export the model again",
    )


def _fill(network: Any, state: "Mapping[str, torch.Tensor]", card: ModelCard) -> None:
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in state or state[name].shape != tensor.shape:
            got = tuple(state[name].shape) if name in state else "nothing"
            raise mismatch(card, f"{name} {tuple(tensor.shape)}", str(got))
    network.load_state_dict({name: state[name] for name in wanted})
