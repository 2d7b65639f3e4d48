"""Networks in ONNX Runtime, on the CPU or on CUDA.

The provider that really runs is read from the open session and, on a GPU, proved by a first run.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    gpu_out_of_memory,
    interface,
    mismatch,
    probe,
    probe_shapes,
    runtime_missing,
    side_by_side,
)
from iac_cli.settings import RunSettings, silence_telemetry

CUDA_PROVIDER = "CUDAExecutionProvider"

CPU_PROVIDER = "CPUExecutionProvider"

QUIET = 4
"""ONNX Runtime's level for fatal messages only: what fails is told in our own words."""


def open_onnx(card: ModelCard, device: Device, settings: RunSettings) -> Engine:
    """Open on the device; `auto` takes the CPU where no GPU can be used, and tells why."""
    if device.kind == Kind.CPU:
        return OnnxEngine.open(card, device, settings)
    if device.kind == Kind.CUDA:
        _check_gpu_there(device)
        return OnnxEngine.open(card, device, settings)
    if not gpus_present():
        return OnnxEngine.open(card, Device(Kind.CPU), settings, "no NVIDIA device was found")
    try:
        return OnnxEngine.open(card, Device(Kind.CUDA, device.index), settings)
    except IacError as error:
        if error.word not in GPU_WORDS:
            raise
        return OnnxEngine.open(card, Device(Kind.CPU), settings, error.what)


GPU_WORDS = (
    Word.DEVICE_UNAVAILABLE,
    Word.DEVICE_INDEX_UNKNOWN,
    Word.PROVIDER_FELL_BACK,
    Word.GPU_LIBRARIES_MISSING,
    Word.GPU_OUT_OF_MEMORY,
)
"""Failures after which `auto` takes the CPU, and says so."""


def _check_gpu_there(device: Device) -> None:
    n_gpus = gpus_present()
    if n_gpus == 0:
        raise IacError(
            Word.DEVICE_UNAVAILABLE,
            "no NVIDIA device was found on this machine",
            way_out="give --device cpu or auto; in a container, pass the GPU through",
        )
    if device.index >= n_gpus:
        raise IacError(
            Word.DEVICE_INDEX_UNKNOWN,
            f"{device} was asked for, {n_gpus} device(s) are there",
            way_out=f"give a number below {n_gpus}",
        )


class OnnxEngine:
    """A network in ONNX Runtime."""

    def __init__(
        self, session: Any, provider: Provider, batch: int, *, side_by_side: bool = False
    ) -> None:
        self._session = session
        self.provider = provider
        """What really runs it."""
        self.batch = batch
        """Inputs that suit the device at once."""
        self._side_by_side = side_by_side
        self._input = session.get_inputs()[0].name

    @classmethod
    def open(
        cls, card: ModelCard, device: Device, settings: RunSettings, why_cpu: str | None = None
    ) -> "OnnxEngine":
        """Open a session on exactly this device, and prove it by a run."""
        silence_telemetry()
        import onnxruntime

        threads = settings.threads or usable_threads()
        if device.kind == Kind.CUDA:
            preload_gpu_libraries()
        beside = side_by_side(card, settings, threads) if device.kind != Kind.CUDA else 1
        session = _session(card, device, settings, threads // beside)
        name = session.get_providers()[0]
        _check_provider(name, device)
        provider = Provider(
            backend="onnx",
            name=name,
            device=str(device),
            version=onnxruntime.__version__,
            threads=threads,
            why_cpu=why_cpu,
        )
        batch = max(1, settings.gpu_batch) if device.kind == Kind.CUDA else beside
        engine = cls(session, provider, batch, side_by_side=device.kind != Kind.CUDA)
        _check_interface(session, card)
        if device.kind == Kind.CUDA:
            probe(engine, card)
        return engine

    def run(self, inputs: Float32) -> tuple[Float32, ...]:
        """Inputs (batch, ...) -> outputs; a GPU that is too small is tried once with half."""
        if self._side_by_side and len(inputs) > 1:
            return self._run_side_by_side(inputs)
        try:
            return self._run(inputs)
        except IacError as error:
            if error.word != Word.GPU_OUT_OF_MEMORY or len(inputs) < 2:
                raise
        half = (len(inputs) + 1) // 2
        parts = [self._run(inputs[:half]), self._run(inputs[half:])]
        self.batch = half
        return tuple(np.concatenate(both) for both in zip(*parts, strict=True))

    def _run_side_by_side(self, inputs: Float32) -> tuple[Float32, ...]:
        with ThreadPoolExecutor(self.batch) as pool:
            parts = list(pool.map(self._run, np.split(inputs, len(inputs))))
        return tuple(np.concatenate(some) for some in zip(*parts, strict=True))

    def _run(self, inputs: Float32) -> tuple[Float32, ...]:
        with _translated_run(self.provider.device):
            return tuple(self._session.run(None, {self._input: inputs}))


def preload_gpu_libraries() -> None:
    """Load the CUDA and cuDNN libraries that pip brought, before a session asks for them."""
    silence_telemetry()
    import onnxruntime

    if hasattr(onnxruntime, "preload_dlls"):
        import contextlib
        import io

        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find
            onnxruntime.preload_dlls()


def open_bytes(model: bytes, device: Device) -> tuple[Any, str]:
    """A session of a model in memory on exactly this device, and its provider's name.

    Raises:
        IacError: runtime_missing, provider_fell_back, gpu_libraries_missing.

    """
    try:
        silence_telemetry()
        import onnxruntime
    except ImportError as error:
        raise runtime_missing("onnxruntime", "onnxruntime") from error
    if device.kind == Kind.CUDA:
        preload_gpu_libraries()
    options, providers = _session_options(device, RunSettings(), threads=1)
    with _no_fallback_warning():
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    name = str(session.get_providers()[0])
    _check_provider(name, device)
    return session, name


def _session(card: ModelCard, device: Device, settings: RunSettings, threads: int) -> Any:
    silence_telemetry()
    import onnxruntime

    options, providers = _session_options(device, settings, threads)
    with _translated_open(card), _no_fallback_warning():
        return onnxruntime.InferenceSession(str(card.path), options, providers=providers)


def _session_options(device: Device, settings: RunSettings, threads: int) -> tuple[Any, list[Any]]:
    silence_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # leave idle cores be
    options.log_severity_level = QUIET
    onnxruntime.set_default_logger_severity(QUIET)
    providers: list[Any] = [CPU_PROVIDER]
    if device.kind == Kind.CUDA:
        providers.insert(0, (CUDA_PROVIDER, _cuda_options(device, settings)))
    return options, providers


def _cuda_options(device: Device, settings: RunSettings) -> dict[str, str]:
    options = {
        "device_id": str(device.index),
        "arena_extend_strategy": "kSameAsRequested",
        "use_tf32": "0",  # the GPU then differs from the CPU by rounding alone
    }
    if settings.gpu_memory_gb > 0.0:
        options["gpu_mem_limit"] = str(int(settings.gpu_memory_gb * 2**30))
    return options


@contextmanager
def _no_fallback_warning() -> Iterator[None]:
    """The runtime warns when it falls back; we check the session and refuse instead."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _check_provider(name: str, device: Device) -> None:
    wanted = CUDA_PROVIDER if device.kind == Kind.CUDA else CPU_PROVIDER
    if name == wanted:
        return
    silence_telemetry()
    import onnxruntime

    if CUDA_PROVIDER not in onnxruntime.get_available_providers():
        raise IacError(
            Word.PROVIDER_FELL_BACK,
            f"{device} was asked for, but this onnxruntime is built without CUDA",
            way_out="pip install onnxruntime-gpu in its place, or give --device cpu",
        )
    raise IacError(
        Word.GPU_LIBRARIES_MISSING,
        f"{device} was asked for, but the CUDA or cuDNN libraries of the right version "
        "could not be loaded",
        way_out="pip install '.[cuda]', or give --device cpu; 'iac-seg doctor' tells more",
    )


@contextmanager
def _translated_open(card: ModelCard) -> Iterator[None]:
    """onnxruntime's exceptions at opening, in our words. All derive straight from Exception."""
    silence_telemetry()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    unreadable = (
        state.InvalidProtobuf,
        state.InvalidArgument,
        state.InvalidGraph,
        state.NoSuchFile,
    )
    try:
        yield
    except unreadable as error:
        raise _unreadable(card) from error
    except (state.Fail, state.RuntimeException, state.NotImplemented) as error:
        if "ir_version" in str(error).lower() or "ir version" in str(error).lower():
            raise _too_new(card) from error
        if "opset" in str(error).lower():
            raise _too_new(card) from error
        raise _unreadable(card) from error


def _unreadable(card: ModelCard) -> IacError:
    return IacError(
        Word.MODEL_UNREADABLE,
        f"the runtime cannot read {card.path.name}",
        way_out="reinstall, or export the model again",
    )


def _too_new(card: ModelCard) -> IacError:
    silence_telemetry()
    import onnxruntime

    return IacError(
        Word.MODEL_TOO_NEW,
        f"{card.path.name} (opset {card.opset}, IR {card.ir_version}) is newer than "
        f"onnxruntime {onnxruntime.__version__} can run",
        way_out="install a newer onnxruntime",
    )


OUT_OF_GPU_MEMORY = (
    "Failed to allocate memory",
    "CUDA out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
"""The runtimes have no exception of their own for it; recognised here alone."""


@contextmanager
def _translated_run(device: str) -> Iterator[None]:
    silence_telemetry()
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        yield
    except state.InvalidArgument as error:
        raise InputMisfitError(str(error)) from error
    except (state.RuntimeException, state.Fail, state.EPFail) as error:
        if any(sign in str(error) for sign in OUT_OF_GPU_MEMORY):
            raise (MemoryError() if device == "cpu" else gpu_out_of_memory()) from error
        raise IacError(
            Word.DEVICE_UNAVAILABLE,
            "the runtime could not run the network on this device",
            way_out="'iac-seg doctor' tells more; --device cpu works without a GPU",
        ) from error


def _check_interface(session: Any, card: ModelCard) -> None:
    """Compare names and fixed sides of inputs and outputs with the card's."""
    names = interface(card)
    inputs, outputs = probe_shapes(card)
    wanted = dict(zip((*names[0], *names[1]), (inputs, *outputs), strict=True))
    got = [one.name for one in (*session.get_inputs(), *session.get_outputs())]
    if got != list(wanted):
        raise mismatch(card, f"inputs and outputs {list(wanted)}", f"{got}")
    for one in (*session.get_inputs(), *session.get_outputs()):
        shape = wanted[one.name]
        sides = zip(one.shape[1:], shape[1:], strict=False)  # the first is the batch
        differs = any(isinstance(side, int) and side != n for side, n in sides)
        if differs or len(one.shape) != len(shape) or one.type != "tensor(float)":
            raise mismatch(card, f"{one.name} {shape}", f"{tuple(one.shape)} {one.type}")
