"""OpenVINO gives the answers of ONNX Runtime, on the CPU alone, and says what is wrong."""

import json
import sys

import numpy as np
import pytest
from tiny_models import hu_segmenter, place_locator, rewrite_card

from iac_cli.errors import IacError, Word
from iac_cli.infer.calibrate import calibrated
from iac_cli.infer.card import (
    read_locator_cards,
    read_segmenter_card,
    sha256_of,
    shipped_models,
)
from iac_cli.infer.runtime import open_engine
from iac_cli.settings import Backend, RunSettings
from tests.command import SAMPLE, iac_seg

pytest.importorskip("openvino")

ONNX = RunSettings(device="cpu", threads=2, backend=Backend.ONNX)
OPENVINO = RunSettings(device="cpu", threads=2, backend=Backend.OPENVINO)


def word_of(card, settings) -> Word:
    with pytest.raises(IacError) as caught:
        open_engine(card, settings)
    return caught.value.word


def windows(n: int) -> np.ndarray:
    """Soft fields with bright spots, in the segmenter's channels."""
    card = read_segmenter_card(shipped_models())
    random = np.random.default_rng(5)
    hu = random.normal(40, 20, (n, *card.window))
    hu[random.random(hu.shape) < 0.01] = 600
    channels = [np.clip((hu - lo) / (hi - lo), 0, 1) * 2 - 1 for lo, hi in card.hu_windows]
    return np.stack(channels, axis=1).astype(np.float32)


def test_the_segmenter_answers_as_in_onnx_runtime_window_by_window() -> None:
    card = read_segmenter_card(shipped_models())
    given = windows(3)
    (theirs,), (ours,) = (open_engine(card, how).run(given) for how in (ONNX, OPENVINO))
    p, q = (calibrated(logits, card.calibration) for logits in (theirs, ours))
    threshold = card.point_for(thickness_mm=1.0).threshold
    assert p.shape == (3, 1, *card.window)
    assert np.ptp(p, axis=(1, 2, 3, 4)).min() > 0.01
    assert np.abs(p - q).max() < 1e-4
    differ = (p >= threshold) != (q >= threshold)
    assert (np.abs(p[differ] - threshold) < 1e-4).all()


def test_both_locators_answer_as_in_onnx_runtime() -> None:
    head = np.random.default_rng(0).normal(0, 0.5, (1, 5, 16, 24, 32)).astype(np.float32)
    for card in filter(None, read_locator_cards(shipped_models())):
        theirs, ours = (open_engine(card, how).run(head) for how in (ONNX, OPENVINO))
        for a, b in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(a, b, atol=2e-3, rtol=1e-4)


def test_threads_are_shared_among_windows_and_change_no_answer() -> None:
    card = read_segmenter_card(shipped_models())
    one, four = (
        open_engine(card, RunSettings(device="cpu", threads=n, backend=Backend.OPENVINO))
        for n in (1, 4)
    )
    assert (one.batch, four.batch) == (1, 4)
    assert one.provider.threads == 1
    np.testing.assert_allclose(one.run(windows(2))[0], four.run(windows(2))[0], atol=1e-4)


def test_a_whole_case_scores_the_same_and_says_what_ran(tmp_path) -> None:
    found = {}
    for backend in ("onnx", "openvino"):
        out = tmp_path / backend
        run = iac_seg("segment", SAMPLE, "-o", out, "--backend", backend, "--device", "cpu", "-q")
        assert run.returncode == 0, run.stderr
        found[backend] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    theirs, ours = (found[name]["volume_mm3"] for name in ("onnx", "openvino"))
    assert theirs > 50.0
    assert abs(ours - theirs) < 0.01 * theirs
    provider = found["openvino"]["provider"]
    assert (provider["backend"], provider["name"]) == ("openvino", "OpenVINO CPU")
    assert "openvino" in found["openvino"]["versions"]


@pytest.mark.parametrize("asked", [{"device": "cuda"}, {"require_gpu": True}])
def test_a_gpu_is_refused(asked) -> None:
    card = read_segmenter_card(shipped_models())
    settings = RunSettings(backend=Backend.OPENVINO, **asked)
    assert word_of(card, settings) == Word.DEVICE_UNAVAILABLE


def test_a_file_that_is_no_model_is_unreadable(tmp_path) -> None:
    folder = hu_segmenter(tmp_path)
    path = folder / "segmenter.onnx"
    for data in (b"", b"no model at all", path.read_bytes()[:100]):
        path.write_bytes(data)
        rewrite_card(folder, "segmenter", sha256=sha256_of(path), bytes=len(data))
        assert word_of(read_segmenter_card(folder), OPENVINO) == Word.MODEL_UNREADABLE


def test_a_card_of_another_model_does_not_fit(tmp_path) -> None:
    folder = hu_segmenter(tmp_path / "channels")
    rewrite_card(folder, "segmenter", hu_windows=[[0, 1], [0, 1], [0, 1]])
    assert word_of(read_segmenter_card(folder), OPENVINO) == Word.MODEL_SHAPE_MISMATCH
    folder = place_locator(tmp_path / "names", [("BA", 0.0)], [[0, 0, 0]])
    hu_segmenter(folder)
    card = json.loads((folder / "segmenter.json").read_text())
    rewrite_card(folder, "locator", **{name: card[name] for name in ("file", "sha256", "bytes")})
    locator, _ = read_locator_cards(folder)
    assert word_of(locator, OPENVINO) == Word.MODEL_SHAPE_MISMATCH


def test_without_the_package_it_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert word_of(read_segmenter_card(shipped_models()), OPENVINO) == Word.RUNTIME_MISSING
