"""Networks in OpenVINO, on the CPU alone: the same ONNX files, computed in fp32.

OpenVINO reads the file, merges what it can and keeps nothing on disk.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from iac_cli.errors import IacError, Word
from iac_cli.infer.card import ModelCard
from iac_cli.infer.device import Device, Kind, gpus_present, usable_threads
from iac_cli.infer.engine import (
    Engine,
    Float32,
    InputMisfitError,
    Provider,
    interface,
    mismatch,
    probe,
    runtime_missing,
    side_by_side,
)
from iac_cli.settings import RunSettings, silence_telemetry


def open_openvino(card: ModelCard, device: Device, settings: RunSettings) -> Engine:
    """Open on the CPU; a GPU that is asked for is refused.

    Raises: IacError: device_unavailable, runtime_missing, model_unreadable, model_shape_mismatch.
    """
    if device.kind == Kind.CUDA:
        raise IacError(
            Word.DEVICE_UNAVAILABLE,
            f"{device} was asked for, and --backend openvino runs on the CPU alone",
            way_out="give --device cpu, or --backend onnx",
        )
    try:
        silence_telemetry()
        import openvino
    except ImportError as error:
        raise runtime_missing("openvino", "'.[openvino]' in the source tree") from error
    threads = settings.threads or usable_threads()
    beside = side_by_side(card, settings, threads)
    with _translated_open(card):
        core = openvino.Core()
        model = core.read_model(str(card.path))
        _check_names(model, card)
        compiled = core.compile_model(model, "CPU", _options(threads, beside))
    provider = Provider(
        backend="openvino",
        name="OpenVINO CPU",
        device="cpu",
        version=openvino.__version__.partition("-")[0],
        threads=threads,
        why_cpu="OpenVINO runs on the CPU alone" if _gpu_passed_over(device) else None,
    )
    engine = OpenVinoEngine(openvino.AsyncInferQueue(compiled, beside), provider, beside)
    probe(engine, card)
    return engine


def _gpu_passed_over(device: Device) -> bool:
    return device.kind == Kind.AUTO and gpus_present() > 0


def _options(threads: int, beside: int) -> dict[str, object]:
    return {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": beside,
        # else bfloat16 on processors that have it, whose answers differ
        "INFERENCE_PRECISION_HINT": "f32",
        # else several processes of a batch are bound to the same cores
        "ENABLE_CPU_PINNING": False,
    }


class OpenVinoEngine:
    """A network in OpenVINO; inputs of a batch run side by side."""

    def __init__(self, queue: Any, provider: Provider, batch: int) -> None:
        self._queue = queue
        self.provider = provider
        """What really runs it."""
        self.batch = batch
        """Inputs that suit the device at once."""

    def run(self, inputs: Float32) -> tuple[Float32, ...]:
        """Inputs (batch, ...) -> outputs, batch first."""
        found: dict[int, tuple[Float32, ...]] = {}

        def keep(request: Any, place: int) -> None:
            found[place] = tuple(np.array(one.data) for one in request.output_tensors)

        self._queue.set_callback(keep)
        try:
            for place in range(len(inputs)):
                self._queue.start_async([inputs[place : place + 1]], place)
            self._queue.wait_all()
        except (RuntimeError, ValueError) as error:
            raise InputMisfitError(str(error)) from error
        parts = [found[place] for place in range(len(inputs))]
        return tuple(np.concatenate(some) for some in zip(*parts, strict=True))


@contextmanager
def _translated_open(card: ModelCard) -> Iterator[None]:
    """OpenVINO raises RuntimeError whatever is wrong with a file, a newer opset included."""
    try:
        yield
    except RuntimeError as error:
        raise IacError(
            Word.MODEL_UNREADABLE,
            f"OpenVINO cannot read {card.path.name}",
            way_out="give --backend onnx, or export the model again",
        ) from error


def _check_names(model: Any, card: ModelCard) -> None:
    inputs, outputs = interface(card)
    got = [port.any_name for port in (*model.inputs, *model.outputs)]
    if got != [*inputs, *outputs]:
        raise mismatch(card, f"inputs and outputs {[*inputs, *outputs]}", f"{got}")
