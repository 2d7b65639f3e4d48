"""What an engine is, whatever runtime is behind it, and what a model of each role looks like."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import Finding, IacError, Severity, Word
from iac_cli.infer.card import LocatorCard, ModelCard, SegmenterCard
from iac_cli.settings import RunSettings

Float32 = NDArray[np.float32]

LOCATOR_PROBE = (8, 8, 8)
"""Voxels of the smallest head that a locator accepts, for its first run."""


@dataclass(frozen=True, slots=True)
class Provider:
    """What really runs a network."""

    backend: str
    """"onnx", "torch" or "openvino"."""
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


def runtime_missing(module: str, package: str) -> IacError:
    """The failure of a runtime that cannot be imported."""
    return IacError(
        Word.RUNTIME_MISSING,
        f"{module} cannot be loaded",
        way_out=f"pip install {package}; 'iac-seg doctor' tells more",
    )


def gpu_out_of_memory() -> IacError:
    """The failure of a GPU that is too small."""
    return IacError(
        Word.GPU_OUT_OF_MEMORY,
        "the GPU's memory does not suffice, not even for half a batch",
        way_out="close other programs on the GPU, set run.gpu_batch lower, or give --device cpu",
    )


def interface(card: ModelCard) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of inputs and outputs that a model of this role has."""
    if isinstance(card, LocatorCard):
        return ("head",), ("logits", "absent")
    return ("windows",), ("logits",)


def mismatch(card: ModelCard, wanted: str, got: str) -> IacError:
    """The failure of a model that is not the one its card describes."""
    return IacError(
        Word.MODEL_SHAPE_MISMATCH,
        f"{card.path.name} does not fit its card: the card says {wanted}, the model has {got}",
        way_out="use the card and the file of one export, or reinstall",
    )


def side_by_side(card: ModelCard, settings: RunSettings, threads: int) -> int:
    """How many windows run at once on a CPU, each on its share of the threads.

    Two windows on a core each take four fifths of the time of two cores on one after the other.
    A locator sees one head and has all threads for it.
    """
    return max(1, min(threads, settings.cpu_batch)) if isinstance(card, SegmenterCard) else 1


def probe(engine: Engine, card: ModelCard) -> None:
    """A first run: proves device and shapes before the first case."""
    inputs, wanted = probe_shapes(card)
    try:
        outputs = engine.run(np.full(inputs, -1.0, dtype=np.float32))
    except InputMisfitError as error:
        raise mismatch(card, f"input {inputs}", "another shape or type") from error
    got = tuple(output.shape for output in outputs)
    if got != wanted:
        raise mismatch(card, f"outputs {wanted}", f"{got}")


def probe_shapes(card: ModelCard) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
    """Shape of the smallest input that a model takes, and of its outputs."""
    if isinstance(card, SegmenterCard):
        return (1, card.n_channels, *card.window), ((1, 1, *card.window),)
    if isinstance(card, LocatorCard):
        n, k = len(card.hu_windows), len(card.keypoints)
        return (1, n + 3, *LOCATOR_PROBE), ((1, k, *LOCATOR_PROBE), (1, k))
    raise TypeError(f"no probe for {type(card).__name__}")
