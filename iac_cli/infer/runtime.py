"""Opens a network on the device that was asked for: ONNX Runtime, else PyTorch; OpenVINO if asked.

The runtimes are imported when they are asked for, each in its own module. Nothing falls back unless
the device is `auto`, and then it says so.
"""

from iac_cli.errors import IacError, Word
from iac_cli.infer.card import ModelCard, check_file
from iac_cli.infer.device import Device, Kind, check_one_runtime, parse_device
from iac_cli.infer.engine import Engine as Engine
from iac_cli.infer.engine import Provider as Provider
from iac_cli.infer.engine import runtime_missing
from iac_cli.infer.onnx_engine import OnnxEngine as OnnxEngine
from iac_cli.infer.onnx_engine import open_onnx
from iac_cli.infer.openvino_engine import open_openvino
from iac_cli.infer.torch_engine import load_onnx_state as load_onnx_state
from iac_cli.infer.torch_engine import open_torch
from iac_cli.settings import Backend, RunSettings, silence_telemetry


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
        return open_torch(card, device, settings)
    if settings.backend == Backend.OPENVINO:
        return open_openvino(card, device, settings)
    check_one_runtime()
    try:
        silence_telemetry()
        import onnxruntime  # noqa: F401
    except ImportError as error:
        if settings.backend == Backend.ONNX:
            raise runtime_missing("onnxruntime", "onnxruntime") from error
        return open_torch(card, device, settings)
    return open_onnx(card, device, settings)


def _required_gpu(device: Device) -> Device:
    if device.kind == Kind.CPU:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "--require-gpu and --device cpu exclude each other",
            way_out="drop one of them",
        )
    return Device(Kind.CUDA, device.index)
