"""Does an exported model give what PyTorch gives? On the CPU, window by window, to the mask."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iac_cli.errors import IacError, Word
from iac_cli.infer.calibrate import calibrated
from iac_cli.infer.card import read_segmenter_card
from iac_cli.settings import silence_telemetry
from iac_cli.train.cache import INDEX, load_windows, read_index
from iac_cli.train.segmenter import network_input

TOLERANCE = 1e-4
"""Of probabilities; voxels nearer than this to the threshold may fall on either side."""

WINDOWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """How far ONNX Runtime is from PyTorch, both on the CPU in fp32."""

    windows: str
    """What was run: real windows of the training, or made ones."""
    n_windows: int
    largest_difference: float
    """Of calibrated probabilities; for the locator of its outputs, over their scale."""
    thresholds: tuple[float, ...]
    """Of the masks that are compared, one for each thickness of slices; none for the locator."""
    voxels_in_either_mask: int
    voxels_that_differ: int
    """In one mask and not in the other, at all thresholds together."""
    differ_away_from_threshold: int
    """Of these, those whose probability is further than the tolerance from the threshold."""
    tolerance: float = TOLERANCE
    versions: tuple[str, str] = ("", "")
    """ONNX Runtime's and PyTorch's."""


def check_parity(parity: Parity) -> None:
    """Refuse a model that does not agree. Raises: IacError: parity_lost."""
    if parity.largest_difference <= TOLERANCE and not parity.differ_away_from_threshold:
        return
    raise IacError(
        Word.PARITY_LOST,
        f"ONNX Runtime and PyTorch differ by {parity.largest_difference:.2g}, and in "
        f"{parity.differ_away_from_threshold} voxels of the mask",
        way_out="report it with the versions of torch, onnx and onnxruntime",
    )


def segmenter_parity(network: nn.Module, run: Path, models: Path) -> Parity:
    """Compare on windows of the run, or on made ones; `models` holds the file and its card."""
    import onnxruntime

    card = read_segmenter_card(models)
    windows, called = example_windows(run, card.window)
    inputs = network_input(windows, network)
    with torch.inference_mode():
        wanted = network(inputs).numpy()
    got = run_onnx(card.path, "windows", inputs)[0]
    theirs, ours = (
        np.asarray(calibrated(np.ascontiguousarray(logits), card.calibration), dtype=np.float64)
        for logits in (wanted, got)
    )
    thresholds = np.array([point.threshold for point in card.points])
    gaps = theirs[..., None] - thresholds
    masks = (gaps >= 0.0, ours[..., None] >= thresholds)
    differ = masks[0] != masks[1]
    away = differ & (np.abs(gaps) > TOLERANCE)
    return Parity(
        windows=called,
        n_windows=len(inputs),
        largest_difference=float(np.abs(theirs - ours).max()),
        thresholds=tuple(thresholds.tolist()),
        voxels_in_either_mask=int((masks[0] | masks[1]).sum()),
        voxels_that_differ=int(differ.sum()),
        differ_away_from_threshold=int(away.sum()),
        versions=(onnxruntime.__version__, torch.__version__),
    )


def locator_parity(network: nn.Module, path: Path, shape: tuple[int, ...]) -> Parity:
    """Compare a locator's two outputs on one made head."""
    import onnxruntime

    inputs = torch.rand(shape, generator=torch.Generator().manual_seed(1)) * 2.0 - 1.0
    with torch.inference_mode():
        wanted = network(inputs)
    gaps = [
        float(np.abs(ours - theirs.numpy()).max() / max(1.0, float(theirs.abs().max())))
        for ours, theirs in zip(run_onnx(path, "head", inputs), wanted, strict=True)
    ]
    return Parity(
        windows="a made head",
        n_windows=1,
        largest_difference=max(gaps),
        thresholds=(),
        voxels_in_either_mask=0,
        voxels_that_differ=0,
        differ_away_from_threshold=0,
        versions=(onnxruntime.__version__, torch.__version__),
    )


def run_onnx(path: Path, name: str, inputs: Tensor) -> list[NDArray[np.float32]]:
    """The exported model's outputs on the CPU."""
    silence_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return list(session.run(None, {name: inputs.numpy()}))


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """Windows to compare on, each (n, z, y, x)."""

    hu: Tensor
    distance_mm: Tensor
    """To the nearest artery."""


def example_windows(run: Path, window: tuple[int, int, int]) -> tuple[Example, str]:
    """Windows of the run's own scans where it has any, else made ones."""
    if (run / "windows" / INDEX).is_file():
        entries = read_index(run / "windows")
        own = load_windows([entry.file for entry in entries[:WINDOWS]]).part(slice(0, WINDOWS))
        if tuple(own.hu.shape[1:]) == window:
            return Example(own.hu, own.distance_mm), "the run's own"
    random = torch.Generator().manual_seed(1)
    coarse = torch.randn(WINDOWS // 2, 1, 6, 10, 10, generator=random)
    smooth = torch.nn.functional.interpolate(coarse, size=window, mode="trilinear")[:, 0]
    noise = torch.randn(smooth.shape, generator=random)
    hu = 60.0 + 400.0 * smooth.clamp(min=0.0) ** 2 + 10.0 * noise
    return Example(hu, 8.0 * smooth.abs()), "made"
