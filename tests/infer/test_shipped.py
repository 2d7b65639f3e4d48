"""The shipped networks: they open, fit their cards, and answer the same in both runtimes."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from iac_cli.infer.card import read_locator_card, read_segmenter_card, shipped_models
from iac_cli.infer.runtime import open_engine
from iac_cli.settings import Backend, RunSettings

CPU = RunSettings(device="cpu", threads=2)
TORCH = RunSettings(device="cpu", threads=2, backend=Backend.TORCH)

pytestmark = pytest.mark.skipif(
    not (shipped_models() / "segmenter.json").is_file(), reason="no models in this tree"
)


def windows(seed: int = 0) -> np.ndarray:
    """A soft field with bright spots, in the segmenter's channels."""
    card = read_segmenter_card(shipped_models())
    rng = np.random.default_rng(seed)
    hu = rng.normal(40, 20, (1, *card.window))
    hu[rng.random(hu.shape) < 0.01] = 600
    channels = [np.clip((hu - lo) / (hi - lo), 0, 1) * 2 - 1 for lo, hi in card.hu_windows]
    return np.stack(channels, axis=1).astype(np.float32)


def test_segmenter_is_the_same_in_both_runtimes() -> None:
    pytest.importorskip("torch")
    card = read_segmenter_card(shipped_models())
    (first,), (second,) = (open_engine(card, how).run(windows()) for how in (CPU, TORCH))
    assert_allclose(first, second, atol=2e-3)


def test_locator_is_the_same_in_both_runtimes() -> None:
    pytest.importorskip("torch")
    card = read_locator_card(shipped_models())
    head = np.random.default_rng(0).normal(0, 0.5, (1, 5, 16, 24, 32)).astype(np.float32)
    first, second = (open_engine(card, how).run(head) for how in (CPU, TORCH))
    for a, b in zip(first, second, strict=True):
        assert_allclose(a, b, atol=2e-3, rtol=1e-4)


def test_weights_are_stored_in_half_precision_and_computed_in_single() -> None:
    onnx = pytest.importorskip("onnx")
    card = read_segmenter_card(shipped_models())
    model = onnx.load(str(card.path))
    sizes = [(int(np.prod(entry.dims)), entry.data_type) for entry in model.graph.initializer]
    half = sum(n for n, kind in sizes if kind == onnx.TensorProto.FLOAT16)
    assert half > 0.95 * sum(n for n, _ in sizes)
    assert open_engine(card, CPU).run(windows())[0].dtype == np.float32


def test_two_runs_give_the_same_bits() -> None:
    engine = open_engine(read_segmenter_card(shipped_models()), CPU)
    assert (engine.run(windows())[0] == engine.run(windows())[0]).all()
