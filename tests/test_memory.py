"""Too little memory is said as such, never as a bug, and leaves nothing behind."""

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

from iac_cli.errors import Exit, IacError, Word
from iac_cli.infer.card import read_segmenter_card
from iac_cli.infer.runtime import OnnxEngine, Provider, open_engine
from iac_cli.settings import Backend, RunSettings
from tests.command import SAMPLE, iac_seg
from tests.tiny_models import random_segmenter


def limited_to(megabytes: int) -> Callable[[], None]:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))

    return limit


@pytest.mark.parametrize("megabytes", [500, 600])
def test_a_run_without_enough_memory(megabytes: int, tmp_path: Path) -> None:
    """Enough to load the libraries: below that, OpenBLAS ends the process in its own words."""
    (tmp_path / "results").mkdir()
    run = iac_seg(
        *("segment", SAMPLE, "-o", tmp_path / "results" / "out", "--threads", "1"),
        before=limited_to(megabytes),
        OPENBLAS_NUM_THREADS="1",
    )
    assert run.returncode == Exit.RESOURCES, run.stderr
    assert "\nout_of_memory: " in "\n" + run.stderr
    assert "Traceback" not in run.stderr
    assert list((tmp_path / "results").iterdir()) == []


class SmallGpu:
    """A session that can hold a few inputs at once and no more."""

    def __init__(self, holds: int) -> None:
        self.holds = holds

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="windows")]

    def run(self, _: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        if len(feed["windows"]) > self.holds:
            raise RuntimeException("BFCArena: Failed to allocate memory for requested buffer")
        return [feed["windows"] * 2]


def engine_of(holds: int, device: str) -> OnnxEngine:
    provider = Provider("onnx", "CUDAExecutionProvider", device, "1.0", 1)
    return OnnxEngine(SmallGpu(holds), provider, batch=8)


def test_a_gpu_that_is_too_small_is_tried_once_with_half() -> None:
    engine = engine_of(4, "cuda:0")
    inputs = np.arange(8, dtype=np.float32)[:, None]
    np.testing.assert_array_equal(engine.run(inputs)[0], inputs * 2)
    assert engine.batch == 4


def test_a_gpu_that_is_too_small_for_half_a_batch() -> None:
    with pytest.raises(IacError) as caught:
        engine_of(3, "cuda:0").run(np.zeros((8, 1), np.float32))
    assert caught.value.word == Word.GPU_OUT_OF_MEMORY


def test_on_the_cpu_it_is_the_machines_memory() -> None:
    with pytest.raises(MemoryError):
        engine_of(3, "cpu").run(np.zeros((8, 1), np.float32))


def test_without_a_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = read_segmenter_card(random_segmenter(tmp_path))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    for backend in (Backend.ONNX, Backend.AUTO):
        with pytest.raises(IacError) as caught:
            open_engine(card, RunSettings(device="cpu", threads=1, backend=backend))
        assert caught.value.word == Word.RUNTIME_MISSING
