"""An exported file: half-precision weights by name, the same answer in both engines."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from iac_cli.errors import IacError, Word
from iac_cli.infer.card import Role, read_locator_card, read_segmenter_card
from iac_cli.infer.models import load_segmenter
from iac_cli.infer.runtime import open_engine
from iac_cli.infer.segment import Segmenter, segment_calcium
from iac_cli.infer.selftest import tiny_head
from iac_cli.settings import Backend, RunSettings
from iac_cli.train import parity as parity_module
from iac_cli.train.baselines import Baseline, BaselineConfig
from iac_cli.train.decoders import Decoder
from iac_cli.train.export import NOT_CALIBRATED, export_run, facts_of, halve, load_network
from iac_cli.train.heads import raw_segmenter
from iac_cli.train.hybrid import Hybrid, HybridConfig
from iac_cli.train.locator_net import Locator, LocatorConfig
from iac_cli.train.mae import Mae
from iac_cli.train.networks import decoder_config, make_network
from iac_cli.train.runs import save_network
from iac_cli.train.vit import VitConfig
from tests.train.heads import MAE

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


def test_parity_is_told_at_the_thresholds_of_every_thickness(exported, tmp_path):
    run, models = exported
    assert json.loads((models / "segmenter.parity.json").read_text())["thresholds"] == [
        FACTS["threshold"]
    ]
    thicker = {"over_mm": 3.5, "threshold": 0.01, "lesion_threshold": 0.5}
    export_run(run, tmp_path, FACTS | {"thicker_slices": [thicker]})
    parity = json.loads((tmp_path / "segmenter.parity.json").read_text())
    assert parity["thresholds"] == [FACTS["threshold"], 0.01]
    assert parity["differ_away_from_threshold"] == 0
    before = json.loads((models / "segmenter.parity.json").read_text())
    assert parity["voxels_in_either_mask"] > before["voxels_in_either_mask"]


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


def _run_of(folder, config, seed=5):
    """A run whose weights are as after training: no two alike, answers on both sides of 0.5."""
    torch.manual_seed(seed)
    network = make_network(config)
    for value in network.parameters():
        value.data += 0.02 * torch.randn_like(value)
    folder.mkdir()
    save_network(network, config.to_dict(), folder)
    return folder


OTHERS = [
    decoder_config(decoder, VitConfig(dim=64, depth=2))
    for decoder in Decoder
    if decoder != "hybrid"
] + [
    decoder_config(Decoder.HYBRID, VitConfig(dim=64, depth=1, patch=(16, 16, 16), prior=True)),
    BaselineConfig(name=Baseline.UNET, path=(4, 8, 8, 8)),
]


@pytest.mark.parametrize("config", OTHERS, ids=lambda config: str(config.to_dict()["name"]))
def test_every_network_exports_with_the_same_answers_and_opens_in_pytorch(config, tmp_path):
    run = _run_of(tmp_path / "run", config)
    parity = export_run(run, tmp_path / "models", FACTS)
    assert parity.largest_difference < 1e-4
    assert parity.differ_away_from_threshold == 0
    assert parity.n_windows > 0
    card = read_segmenter_card(tmp_path / "models")
    shape = (1, card.n_channels, *card.window)
    windows = np.random.default_rng(2).uniform(-1, 1, shape).astype(np.float32)
    engine = open_engine(card, RunSettings(device="cpu", backend=Backend.TORCH))
    with torch.inference_mode():
        wanted = load_network(run)(torch.from_numpy(windows)).numpy()
    assert np.allclose(engine.run(windows)[0], wanted, atol=1e-5)
    assert np.ptp(wanted) > 0.0


def test_nnunets_own_network_exports_too(tmp_path):
    pytest.importorskip("dynamic_network_architectures")
    run = _run_of(tmp_path / "run", BaselineConfig(name=Baseline.NNUNET))
    assert export_run(run, tmp_path / "models", FACTS).largest_difference < 1e-4


def test_nnunets_residual_network_exports_and_segments(tmp_path):
    pytest.importorskip("dynamic_network_architectures")
    run = _run_of(tmp_path / "run", BaselineConfig(name=Baseline.NNUNET_RESENC))
    models = tmp_path / "models"
    assert export_run(run, models, FACTS).largest_difference < 1e-4
    p = _told_in_a_head(models)
    assert np.ptp(p) > 0.01
    # 62 million weights that nobody trained: rounding weighs more than the export's tolerance
    assert np.abs(p - _told_in_a_head(raw_segmenter(run))).max() < 1e-3


def _told_in_a_head(models, backend=Backend.ONNX):
    """Probability of a model, or of a folder's, at the bright voxels of a small head."""
    if not isinstance(models, Segmenter):
        models = load_segmenter(models, RunSettings(device="cpu", backend=backend))
    head = tiny_head()
    return segment_calcium(head.volume, head, models).p


def test_a_network_with_the_prior_is_given_it_by_both_engines_and_the_run(tmp_path):
    vit = VitConfig(dim=64, depth=1, prior=True)
    run = _run_of(tmp_path / "run", decoder_config(Decoder.LINEAR, vit))
    models = tmp_path / "models"
    assert export_run(run, models, FACTS).n_windows > 0
    card = read_segmenter_card(models)
    assert (card.n_channels, card.prior_reach_mm) == (3, 16.0)
    session = onnxruntime.InferenceSession(str(models / "segmenter.onnx"))
    assert session.get_inputs()[0].shape[1] == 3
    p = _told_in_a_head(models, Backend.ONNX)
    assert np.ptp(p) > 0.0
    assert np.abs(p - _told_in_a_head(models, Backend.TORCH)).max() < 1e-4
    own = raw_segmenter(run)
    assert np.abs(p - _told_in_a_head(own)).max() < 1e-4
    blind = replace(own, card=replace(own.card, prior_reach_mm=None))  # told of no artery
    assert np.abs(p - _told_in_a_head(blind)).max() > 1e-3


def test_the_report_lies_beside_the_model_and_the_shipped_locator_joins_it(exported):
    _, models = exported
    report = json.loads((models / "segmenter.parity.json").read_text())
    assert report["largest_difference"] < report["tolerance"] == 1e-4
    assert report["windows"] == "made"
    assert read_locator_card(models).role == "locator"
    assert not list(models.glob(".*"))


@pytest.mark.parametrize(("cell_mm", "role"), [(4.0, "locator"), (2.0, "locator_near")])
def test_a_locator_is_named_by_the_step_of_its_grid(tmp_path, cell_mm, role):
    torch.manual_seed(4)
    network = Locator(LocatorConfig(keypoints=44, path=(4, 4, 8, 8), cell_mm=cell_mm))
    for value in network.parameters():
        value.data += 0.02 * torch.randn_like(value)
    save_network(network, network.config.to_dict(), tmp_path / "run")
    models = tmp_path / "models"
    assert export_run(tmp_path / "run", models, {"version": "1"}).largest_difference < 1e-4
    assert {path.name for path in models.iterdir()} == {
        f"{role}{end}" for end in (".onnx", ".json", ".parity.json")
    }
    card = read_locator_card(models, Role(role))
    assert card.grid_mm == (cell_mm, cell_mm, cell_mm)
    assert len(card.keypoints) == 44


def test_a_model_that_does_not_agree_is_not_written(exported, tmp_path, monkeypatch):
    run, _ = exported
    monkeypatch.setattr(
        parity_module, "run_onnx", lambda _p, _n, inputs: [np.zeros((len(inputs), 1, 24, 80, 80))]
    )
    with pytest.raises(IacError) as told:
        export_run(run, tmp_path / "models", FACTS)
    assert told.value.word == Word.PARITY_LOST
    assert not list((tmp_path / "models").iterdir())


def test_a_run_that_is_not_calibrated_says_so_or_is_not_exported(exported, tmp_path):
    run, _ = exported
    with pytest.raises(IacError) as told:
        facts_of(run, {})
    assert told.value.word == Word.INPUT_NOT_FOUND
    assert facts_of(run, {}, uncalibrated=True)["limits"] == [NOT_CALIBRATED]
    (run / "calibration.json").write_text(
        json.dumps({k: FACTS[k] for k in FACTS if k != "version"})
    )
    facts = facts_of(run, {"version": "7"})
    (run / "calibration.json").unlink()
    assert facts["version"] == "7" and facts["threshold"] == 0.5 and "limits" not in facts


@pytest.mark.parametrize(("dice", "warns"), [(0.1, True), (0.8, False)])
def test_the_card_of_a_network_that_finds_little_says_so(exported, dice, warns):
    facts = facts_of(exported[0], FACTS | {"figures": {"dice_pooled": dice}})
    assert ("Not fit for use" in str(facts.get("limits"))) == warns


def test_a_pre_trained_run_cannot_be_exported(tmp_path):
    save_network(Mae(MAE), MAE.to_dict(), tmp_path)
    with pytest.raises(IacError) as told:
        load_network(tmp_path)
    assert told.value.word == Word.MODEL_SHAPE_MISMATCH
