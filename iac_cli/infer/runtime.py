"""The runtimes behind one protocol: ONNX Runtime, else PyTorch with the same weights.

Only this module knows onnxruntime and torch, and imports either when it is asked for. The provider
that really runs is read from the open session and proved by a first run; nothing falls back unless
the device is `auto`, and then it says so.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import Finding, IacError, Severity, Word
from iac_cli.infer.card import LocatorCard, ModelCard, SegmenterCard, check_file
from iac_cli.infer.device import (
    Device,
    Kind,
    check_one_runtime,
    gpus_present,
    parse_device,
    usable_threads,
)
from iac_cli.settings import Backend, RunSettings

if TYPE_CHECKING:
    import torch

Float32 = NDArray[np.float32]

CUDA_PROVIDER = "CUDAExecutionProvider"
CPU_PROVIDER = "CPUExecutionProvider"

QUIET = 4
"""ONNX Runtime's level for fatal messages only: what fails is told in our own words."""

LOCATOR_PROBE = (8, 8, 8)
"""Voxels of the smallest head that a locator accepts, for its first run."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What really runs a network."""

    backend: str
    """"onnx" or "torch"."""
    name: str
    """For example "CPUExecutionProvider"."""
    device: str
    """"cpu" or "cuda:N"."""
    version: str
    """Version of the runtime."""
    threads: int
    why_cpu: str | None = None
    """Why `auto` chose the CPU although a GPU seems to be there."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """`ran_on_cpu` when `auto` did not find a usable GPU."""
        if self.why_cpu is None:
            return ()
        return (Finding(Word.RAN_ON_CPU, self.why_cpu, Severity.INFO),)


class InputMisfitError(ValueError):
    """An input does not have the shape or type that a network takes."""


class Engine(Protocol):
    """A network, ready to run. Weights are loaded once."""

    @property
    def provider(self) -> Provider:
        """What really runs it."""

    @property
    def batch(self) -> int:
        """Inputs that suit the device at once."""

    def run(self, inputs: Float32) -> tuple[Float32, ...]:
        """Inputs (batch, ...) -> the network's outputs in its order, batch first."""


def open_engine(card: ModelCard, settings: RunSettings) -> Engine:
    """Check the model file against its card, then open it on the device that was asked for.

    Raises:
        IacError: model_not_found, model_checksum_mismatch, model_unreadable, model_too_new,
            model_shape_mismatch, device_unavailable, device_index_unknown, provider_fell_back,
            gpu_libraries_missing, runtime_conflict, runtime_missing, bad_setting.

    """
    check_file(card)
    device = parse_device(settings.device)
    if settings.require_gpu:
        device = _required_gpu(device)
    if settings.backend == Backend.TORCH:
        return _open_torch(card, device, settings)
    check_one_runtime()
    try:
        import onnxruntime  # noqa: F401
    except ImportError as error:
        if settings.backend == Backend.ONNX:
            raise _runtime_missing("onnxruntime", "onnxruntime") from error
        return _open_torch(card, device, settings)
    return _open_onnx(card, device, settings)


def _required_gpu(device: Device) -> Device:
    if device.kind == Kind.CPU:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "--require-gpu and --device cpu exclude each other",
            way_out="drop one of them",
        )
    return Device(Kind.CUDA, device.index)


def _runtime_missing(module: str, package: str) -> IacError:
    return IacError(
        Word.RUNTIME_MISSING,
        f"{module} cannot be loaded",
        way_out=f"pip install {package}; 'iac-seg doctor' tells more",
    )


# ONNX Runtime


def _open_onnx(card: ModelCard, device: Device, settings: RunSettings) -> Engine:
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

    def __init__(self, session: Any, provider: Provider, batch: int) -> None:
        self._session = session
        self._provider = provider
        self._batch = batch
        self._input = session.get_inputs()[0].name

    @classmethod
    def open(
        cls, card: ModelCard, device: Device, settings: RunSettings, why_cpu: str | None = None
    ) -> "OnnxEngine":
        """Open a session on exactly this device, and prove it by a run."""
        import onnxruntime

        threads = settings.threads or usable_threads()
        if device.kind == Kind.CUDA:
            preload_gpu_libraries()
        session = _session(card, device, settings, threads)
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
        batch = settings.gpu_batch if device.kind == Kind.CUDA else settings.cpu_batch
        engine = cls(session, provider, max(1, batch))
        _check_interface(session, card)
        if device.kind == Kind.CUDA:
            _probe(engine, card)
        return engine

    @property
    def provider(self) -> Provider:
        """What really runs it."""
        return self._provider

    @property
    def batch(self) -> int:
        """Inputs that suit the device at once."""
        return self._batch

    def run(self, inputs: Float32) -> tuple[Float32, ...]:
        """Inputs (batch, ...) -> outputs; a GPU that is too small is tried once with half."""
        try:
            return self._run(inputs)
        except IacError as error:
            if error.word != Word.GPU_OUT_OF_MEMORY or len(inputs) < 2:
                raise
        half = (len(inputs) + 1) // 2
        parts = [self._run(inputs[:half]), self._run(inputs[half:])]
        self._batch = half
        return tuple(np.concatenate(both) for both in zip(*parts, strict=True))

    def _run(self, inputs: Float32) -> tuple[Float32, ...]:
        with _translated_run(self._provider.device):
            return tuple(self._session.run(None, {self._input: inputs}))


def preload_gpu_libraries() -> None:
    """Load the CUDA and cuDNN libraries that pip brought, before a session asks for them."""
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
        import onnxruntime
    except ImportError as error:
        raise _runtime_missing("onnxruntime", "onnxruntime") from error
    if device.kind == Kind.CUDA:
        preload_gpu_libraries()
    options, providers = _session_options(device, RunSettings(), threads=1)
    with _no_fallback_warning():
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    name = str(session.get_providers()[0])
    _check_provider(name, device)
    return session, name


def _session(card: ModelCard, device: Device, settings: RunSettings, threads: int) -> Any:
    import onnxruntime

    options, providers = _session_options(device, settings, threads)
    with _translated_open(card), _no_fallback_warning():
        return onnxruntime.InferenceSession(str(card.path), options, providers=providers)


def _session_options(device: Device, settings: RunSettings, threads: int) -> tuple[Any, list[Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
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
        way_out="pip install 'iac-cli[cuda]', or give --device cpu; 'iac-seg doctor' tells more",
    )


@contextmanager
def _translated_open(card: ModelCard) -> Iterator[None]:
    """onnxruntime's exceptions at opening, in our words. All derive straight from Exception."""
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
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    try:
        yield
    except state.InvalidArgument as error:
        raise InputMisfitError(str(error)) from error
    except (state.RuntimeException, state.Fail, state.EPFail) as error:
        if any(sign in str(error) for sign in OUT_OF_GPU_MEMORY):
            raise (MemoryError() if device == "cpu" else _gpu_out_of_memory()) from error
        raise IacError(
            Word.DEVICE_UNAVAILABLE,
            "the runtime could not run the network on this device",
            way_out="'iac-seg doctor' tells more; --device cpu works without a GPU",
        ) from error


def _gpu_out_of_memory() -> IacError:
    return IacError(
        Word.GPU_OUT_OF_MEMORY,
        "the GPU's memory does not suffice, not even for half a batch",
        way_out="close other programs on the GPU, set run.gpu_batch lower, or give --device cpu",
    )


def _check_interface(session: Any, card: ModelCard) -> None:
    """Compare names and fixed sides of inputs and outputs with the card's."""
    names = _interface(card)
    inputs, outputs = _probe_shapes(card)
    wanted = dict(zip((*names[0], *names[1]), (inputs, *outputs), strict=True))
    got = [one.name for one in (*session.get_inputs(), *session.get_outputs())]
    if got != list(wanted):
        raise _mismatch(card, f"inputs and outputs {list(wanted)}", f"{got}")
    for one in (*session.get_inputs(), *session.get_outputs()):
        shape = wanted[one.name]
        sides = zip(one.shape[1:], shape[1:], strict=False)  # the first is the batch
        differs = any(isinstance(side, int) and side != n for side, n in sides)
        if differs or len(one.shape) != len(shape) or one.type != "tensor(float)":
            raise _mismatch(card, f"{one.name} {shape}", f"{tuple(one.shape)} {one.type}")


def _interface(card: ModelCard) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of inputs and outputs that a model of this role has."""
    if isinstance(card, LocatorCard):
        return ("head",), ("logits", "absent")
    return ("windows",), ("logits",)


def _mismatch(card: ModelCard, wanted: str, got: str) -> IacError:
    return IacError(
        Word.MODEL_SHAPE_MISMATCH,
        f"{card.path.name} does not fit its card: the card says {wanted}, the model has {got}",
        way_out="use the card and the file of one export, or reinstall",
    )


def _probe(engine: Engine, card: ModelCard) -> None:
    """A first run: proves device and shapes before the first case."""
    inputs, wanted = _probe_shapes(card)
    try:
        outputs = engine.run(np.full(inputs, -1.0, dtype=np.float32))
    except InputMisfitError as error:
        raise _mismatch(card, f"input {inputs}", "another shape or type") from error
    got = tuple(output.shape for output in outputs)
    if got != wanted:
        raise _mismatch(card, f"outputs {wanted}", f"{got}")


def _probe_shapes(card: ModelCard) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    n = len(card.hu_windows)
    if isinstance(card, SegmenterCard):
        return (1, n, *card.window), ((1, 1, *card.window),)
    if isinstance(card, LocatorCard):
        k = len(card.keypoints)
        return (1, n + 3, *LOCATOR_PROBE), ((1, k, *LOCATOR_PROBE), (1, k))
    raise TypeError(f"no probe for {type(card).__name__}")


# PyTorch


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


def _open_torch(card: ModelCard, device: Device, settings: RunSettings) -> Engine:
    try:
        import onnx  # noqa: F401
        import torch
    except ImportError as error:
        raise _runtime_missing("torch or onnx", "'iac-cli[torch]'") from error
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
        self._provider = provider
        self._batch = batch

    @classmethod
    def open(
        cls, card: ModelCard, device: Device, settings: RunSettings, why_cpu: str | None = None
    ) -> "TorchEngine":
        """Rebuild the network from its card and fill it with the exported weights."""
        import torch

        threads = settings.threads or usable_threads()
        torch.set_num_threads(threads)
        network = _network_of(card)
        _fill(network, load_onnx_state(card.path), card)
        network.eval().to(str(device))
        name = "torch CUDA" if device.kind == Kind.CUDA else "torch CPU"
        provider = Provider("torch", name, str(device), torch.__version__, threads, why_cpu)
        batch = settings.gpu_batch if device.kind == Kind.CUDA else settings.cpu_batch
        engine = cls(network, provider, max(1, batch))
        _probe(engine, card)
        return engine

    @property
    def provider(self) -> Provider:
        """What really runs it."""
        return self._provider

    @property
    def batch(self) -> int:
        """Inputs that suit the device at once."""
        return self._batch

    def run(self, inputs: Float32) -> tuple[Float32, ...]:
        """Inputs (batch, ...) -> outputs."""
        import torch

        try:
            with torch.inference_mode():
                answer = self._network(torch.from_numpy(inputs).to(self._provider.device))
        except torch.cuda.OutOfMemoryError as error:
            raise _gpu_out_of_memory() from error
        except (RuntimeError, ValueError) as error:
            raise InputMisfitError(str(error)) from error
        outputs = answer if isinstance(answer, tuple) else (answer,)
        return tuple(output.float().cpu().numpy() for output in outputs)


def _network_of(card: ModelCard) -> Any:
    """An untrained network of the card's architecture."""
    name = card.architecture.get("name")
    values = dict(card.architecture)
    try:
        if name == "hybrid":
            from iac_cli.train.hybrid import Hybrid, HybridConfig

            return Hybrid(HybridConfig.from_dict(values))
        if name == "locator":
            from iac_cli.train.locator_net import Locator, LocatorConfig

            return Locator(LocatorConfig.from_dict(values))
    except (KeyError, TypeError, ValueError) as error:
        raise _bad_architecture(card) from error
    raise _bad_architecture(card)


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
            raise _mismatch(card, f"{name} {tuple(tensor.shape)}", str(got))
    network.load_state_dict({name: state[name] for name in wanted})
