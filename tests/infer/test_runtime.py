import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from tiny_models import hu_segmenter, place_locator, random_segmenter, rewrite_card

from iac_cli.errors import IacError, Word
from iac_cli.infer.card import read_locator_card, read_segmenter_card, sha256_of, shipped_models
from iac_cli.infer.device import (
    Device,
    Kind,
    check_one_runtime,
    gpus_present,
    parse_device,
    usable_threads,
)
from iac_cli.infer.models import load_models
from iac_cli.infer.runtime import OnnxEngine, Provider, load_onnx_state, open_engine
from iac_cli.settings import Backend, RunSettings

CPU = RunSettings(device="cpu", threads=1)


def word_of(call, *arguments) -> Word:
    with pytest.raises(IacError) as caught:
        call(*arguments)
    return caught.value.word


def resign(folder: Path, role: str, model: onnx.ModelProto) -> None:
    """Write a changed model and let its card describe it."""
    path = folder / f"{role}.onnx"
    path.write_bytes(model.SerializeToString())
    rewrite_card(folder, role, sha256=sha256_of(path), bytes=path.stat().st_size)


@pytest.mark.parametrize(
    ("text", "device"),
    [
        ("auto", Device(Kind.AUTO)),
        ("cpu", Device(Kind.CPU)),
        ("cuda", Device(Kind.CUDA)),
        ("cuda:1", Device(Kind.CUDA, 1)),
        ("gpu", Device(Kind.CUDA)),
        ("GPU:2", Device(Kind.CUDA, 2)),
    ],
)
def test_device_spellings(text: str, device: Device) -> None:
    assert parse_device(text) == device


@pytest.mark.parametrize("text", ["", "cuda:", "cuda:-1", "cpu:0", "tpu", "cuda:1x"])
def test_unknown_devices_are_refused(text: str) -> None:
    assert word_of(parse_device, text) == Word.BAD_SETTING


@pytest.mark.parametrize(("content", "threads"), [("50000 100000", 1), ("max 100000", None)])
def test_threads_obey_the_container(tmp_path: Path, content: str, threads: int | None) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(content)
    assert usable_threads((limit,)) == (threads or usable_threads(()))


def test_gpus_are_counted_by_their_nodes(tmp_path: Path) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    assert gpus_present(tmp_path) == 2


def test_two_runtimes_at_once_are_refused() -> None:
    both = {"onnxruntime": "1.22", "onnxruntime-gpu": "1.22"}
    assert word_of(check_one_runtime, both) == Word.RUNTIME_CONFLICT
    check_one_runtime({"onnxruntime-gpu": "1.22"})


def test_answer_is_the_arithmetic_one(tmp_path: Path) -> None:
    engine = open_engine(read_segmenter_card(hu_segmenter(tmp_path)), CPU)
    hu = np.linspace(-200, 1500, 2 * 8 * 24 * 24).reshape(2, 8, 24, 24)
    channel = (hu + 200) / 1700 * 2 - 1
    windows = np.stack([channel, np.zeros_like(channel)], axis=1).astype(np.float32)
    (logits,) = engine.run(windows)
    assert np.allclose(logits[:, 0], (hu - 200) / 50, atol=1e-3)
    assert engine.provider.name == "CPUExecutionProvider"
    assert engine.provider.device == "cpu"
    assert engine.provider.threads == 1


def test_auto_without_gpu_says_that_it_ran_on_the_cpu(tmp_path: Path) -> None:
    if gpus_present():
        pytest.skip("this machine has a GPU")
    engine = open_engine(read_segmenter_card(hu_segmenter(tmp_path)), RunSettings())
    assert [finding.word for finding in engine.provider.findings] == [Word.RAN_ON_CPU]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (RunSettings(device="cuda"), Word.DEVICE_UNAVAILABLE),
        (RunSettings(require_gpu=True), Word.DEVICE_UNAVAILABLE),
        (RunSettings(device="cuda", backend=Backend.TORCH), Word.DEVICE_UNAVAILABLE),
        (RunSettings(device="cpu", require_gpu=True), Word.CONFLICTING_OPTIONS),
    ],
)
def test_gpu_that_is_not_there_is_never_replaced(
    tmp_path: Path, settings: RunSettings, word: Word
) -> None:
    if gpus_present():
        pytest.skip("this machine has a GPU")
    card = read_segmenter_card(hu_segmenter(tmp_path))
    assert word_of(open_engine, card, settings) == word


def test_gpu_index_beyond_the_last_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iac_cli.infer.onnx_engine.gpus_present", lambda: 1)
    card = read_segmenter_card(hu_segmenter(tmp_path))
    word = word_of(open_engine, card, RunSettings(device="cuda:1"))
    assert word == Word.DEVICE_INDEX_UNKNOWN


def test_session_that_fell_back_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if gpus_present():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr("iac_cli.infer.onnx_engine.gpus_present", lambda: 1)
    card = read_segmenter_card(hu_segmenter(tmp_path))
    word = word_of(open_engine, card, RunSettings(device="cuda"))
    assert word in (Word.GPU_LIBRARIES_MISSING, Word.PROVIDER_FELL_BACK)
    auto = open_engine(card, RunSettings())
    assert auto.provider.device == "cpu"
    assert auto.provider.why_cpu is not None


def test_file_that_is_no_model_is_unreadable(tmp_path: Path) -> None:
    folder = hu_segmenter(tmp_path)
    path = folder / "segmenter.onnx"
    for data in (b"", b"no model at all", path.read_bytes()[:100]):
        path.write_bytes(data)
        rewrite_card(folder, "segmenter", sha256=sha256_of(path), bytes=len(data))
        assert word_of(open_engine, read_segmenter_card(folder), CPU) == Word.MODEL_UNREADABLE


@pytest.mark.parametrize("field", ["ir_version", "opset"])
def test_model_of_a_newer_layout_is_too_new(tmp_path: Path, field: str) -> None:
    folder = hu_segmenter(tmp_path)
    model = onnx.load(str(folder / "segmenter.onnx"))
    if field == "opset":
        model.opset_import[0].version = 99
    else:
        model.ir_version = 99
    resign(folder, "segmenter", model)
    assert word_of(open_engine, read_segmenter_card(folder), CPU) == Word.MODEL_TOO_NEW


@pytest.mark.parametrize(
    "change", [{"window": [16, 24, 24]}, {"hu_windows": [[0, 1], [0, 1], [0, 1]]}]
)
def test_card_of_another_model_does_not_fit(tmp_path: Path, change: dict) -> None:
    folder = hu_segmenter(tmp_path)
    rewrite_card(folder, "segmenter", **change)
    assert word_of(open_engine, read_segmenter_card(folder), CPU) == Word.MODEL_SHAPE_MISMATCH


def test_wrong_names_of_inputs_do_not_fit(tmp_path: Path) -> None:
    folder = place_locator(tmp_path, [("BA", 0.0)], [[0, 0, 0]])
    hu_segmenter(tmp_path)
    card = json.loads((folder / "segmenter.json").read_text())
    rewrite_card(folder, "locator", **{name: card[name] for name in ("file", "sha256", "bytes")})
    assert word_of(open_engine, read_locator_card(folder), CPU) == Word.MODEL_SHAPE_MISMATCH


def test_weights_are_found_by_their_names(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    state = load_onnx_state(random_segmenter(tmp_path) / "segmenter.onnx")
    assert set(state) == {"weight", "bias"}
    assert state["weight"].dtype.is_floating_point
    assert tuple(state["weight"].shape) == (1, 2, 3, 3, 3)


def test_unknown_architecture_is_refused_by_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    card = read_segmenter_card(hu_segmenter(tmp_path))
    settings = RunSettings(device="cpu", backend=Backend.TORCH)
    assert word_of(open_engine, card, settings) == Word.MODEL_CARD_INVALID


def test_folder_of_both_models_opens(tmp_path: Path) -> None:
    hu_segmenter(tmp_path)
    place_locator(tmp_path, [("BA", 0.0), ("BA", 1.0)], [[0, 0, 0], [9, 0, 0]])
    models = load_models(tmp_path, CPU)
    assert models.segmenter.card.name == "segmenter"
    assert word_of(load_models, tmp_path / "elsewhere", CPU) == Word.MODEL_NOT_FOUND


class Session:
    """Stands for a session whose GPU holds no more than `most` windows at once."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.asked: list[int] = []

    def get_inputs(self):
        return [SimpleNamespace(name="windows")]

    def run(self, _outputs, feeds):
        from onnxruntime.capi import onnxruntime_pybind11_state as state

        (windows,) = feeds.values()
        self.asked.append(len(windows))
        if len(windows) > self.most:
            raise state.RuntimeException("CUDA: Failed to allocate memory for requested buffer")
        return [windows * 2]


def engine_on(session: Session) -> OnnxEngine:
    provider = Provider("onnx", "CUDAExecutionProvider", "cuda:0", "0", 1)
    return OnnxEngine(session, provider, 4)


def test_batch_is_halved_once_when_the_gpu_is_too_small() -> None:
    session = Session(most=2)
    engine = engine_on(session)
    windows = np.arange(4, dtype=np.float32).reshape(4, 1)
    (answer,) = engine.run(windows)
    assert (answer == windows * 2).all()
    assert session.asked == [4, 2, 2]
    assert engine.batch == 2


def test_gpu_that_is_too_small_for_half_is_told_so() -> None:
    engine = engine_on(Session(most=1))
    word = word_of(engine.run, np.zeros((4, 1), np.float32))
    assert word == Word.GPU_OUT_OF_MEMORY


def test_windows_on_a_cpu_run_side_by_side_and_come_back_in_order() -> None:
    session = Session(most=1)
    provider = Provider("onnx", "CPUExecutionProvider", "cpu", "0", 4)
    engine = OnnxEngine(session, provider, 3, side_by_side=True)
    windows = np.arange(7, dtype=np.float32).reshape(7, 1)
    (answer,) = engine.run(windows)
    assert (answer == windows * 2).all()
    assert session.asked == [1] * 7


@pytest.mark.parametrize(("threads", "side_by_side"), [(1, 1), (2, 2), (3, 3), (8, 4)])
def test_a_segmenter_shares_the_cores_among_windows(threads: int, side_by_side: int) -> None:
    card = read_segmenter_card(shipped_models())
    engine = open_engine(card, RunSettings(device="cpu", threads=threads))
    assert (engine.batch, engine.provider.threads) == (side_by_side, threads)


def test_a_locator_has_all_threads_for_its_one_head() -> None:
    engine = open_engine(read_locator_card(shipped_models()), RunSettings(device="cpu", threads=4))
    assert engine.batch == 1


def test_side_by_side_or_one_by_one_the_answer_is_the_same() -> None:
    card = read_segmenter_card(shipped_models())
    windows = np.random.default_rng(3).normal(0.0, 1.0, (2, 2, *card.window)).astype(np.float32)
    both = open_engine(card, RunSettings(device="cpu", threads=2)).run(windows)[0]
    single = open_engine(card, RunSettings(device="cpu", threads=1))
    one_by_one = np.concatenate([single.run(windows[k : k + 1])[0] for k in range(2)])
    np.testing.assert_array_equal(both, one_by_one)


def test_runtime_that_cannot_be_loaded_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    card = read_segmenter_card(hu_segmenter(tmp_path))
    settings = RunSettings(device="cpu", backend=Backend.ONNX)
    assert word_of(open_engine, card, settings) == Word.RUNTIME_MISSING


def test_torch_takes_over_where_onnxruntime_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    card = read_segmenter_card(hu_segmenter(tmp_path))
    # the tiny network has no architecture that torch knows: it was torch that was asked
    assert word_of(open_engine, card, CPU) == Word.MODEL_CARD_INVALID
