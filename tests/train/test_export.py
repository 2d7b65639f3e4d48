"""An exported file: half-precision weights by name, the same answer in both engines."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from iac_cli.infer.card import read_segmenter_card
from iac_cli.infer.runtime import open_engine
from iac_cli.settings import Backend, RunSettings
from iac_cli.train.export import export_run, halve, load_network
from iac_cli.train.hybrid import Hybrid, HybridConfig
from iac_cli.train.segmenter import save_network
from iac_cli.train.vit import VitConfig

CONFIG = HybridConfig(vit=VitConfig(dim=64, depth=1), path=(4, 4, 8, 8))
FACTS = {
    "version": "test",
    "threshold": 0.5,
    "threshold_unbiased_volume": None,
    "calibration": {"method": "platt", "a": 1.0, "b": 0.0},
    "reach_mm": 8.0,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(5)
    run = tmp_path_factory.mktemp("run")
    network = Hybrid(CONFIG)
    for value in network.parameters():  # as after training: no two weights alike
        value.data += 0.02 * torch.randn_like(value)
    save_network(network, CONFIG.to_dict(), run)
    models = run / "models"
    export_run(run, models, FACTS)
    return run, models


def test_weights_are_stored_in_half_precision_under_their_own_names(exported):
    run, models = exported
    stored = {t.name: t for t in onnx.load(models / "segmenter.onnx").graph.initializer}
    for name, weight in load_network(run).state_dict().items():
        assert stored[name].data_type == onnx.TensorProto.FLOAT16
        assert np.array_equal(onnx.numpy_helper.to_array(stored[name]), weight.numpy())


def test_the_card_passes_the_reader_and_names_what_rebuilds_the_network(exported):
    _, models = exported
    card = read_segmenter_card(models)
    assert HybridConfig.from_dict(dict(card.architecture)).path == CONFIG.path
    assert json.loads((models / "segmenter.json").read_text())["opset"] == 20


def test_onnx_runtime_and_pytorch_agree_on_probabilities(exported):
    _, models = exported
    card = read_segmenter_card(models)
    windows = np.random.default_rng(2).uniform(-1, 1, (3, 2, *card.window)).astype(np.float32)
    answers = [
        open_engine(card, RunSettings(device="cpu", backend=backend)).run(windows)[0]
        for backend in (Backend.ONNX, Backend.TORCH)
    ]
    p = [1.0 / (1.0 + np.exp(-answer)) for answer in answers]
    assert np.abs(p[0] - p[1]).max() < 1e-4
    assert np.ptp(p[0]) > 0.0


def test_the_batch_is_free_and_the_window_is_not(exported):
    _, models = exported
    session = onnxruntime.InferenceSession(str(models / "segmenter.onnx"))
    batch, channels, *window = session.get_inputs()[0].shape
    assert isinstance(batch, str) and (channels, window) == (2, [24, 80, 80])


def test_a_weight_that_the_exporter_lost_is_an_error(exported):
    run, models = exported
    weights = load_network(run).state_dict() | {"head.other": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"head\.other"):
        halve(onnx.load(models / "segmenter.onnx"), weights)
