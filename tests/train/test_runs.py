"""Run folders: who holds them, what they are begun with, what a run may start from."""

import csv
import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from iac_cli.errors import IacError, Word
from iac_cli.train import world
from iac_cli.train.baselines import Baseline, BaselineConfig
from iac_cli.train.choose import encoder_config, network_values, parse_patch
from iac_cli.train.decoders import Decoder
from iac_cli.train.export import load_network
from iac_cli.train.finetune import FinetuneSettings, finetune
from iac_cli.train.hybrid import Hybrid, HybridConfig
from iac_cli.train.loop import Budget, Trainer
from iac_cli.train.mae import Mae, MaeConfig
from iac_cli.train.memory import told_memory
from iac_cli.train.networks import decoder_config, make_network, read_config
from iac_cli.train.pool import Drawn
from iac_cli.train.pretrain import PretrainSettings, pretrain
from iac_cli.train.runs import begin, held, read_network, save_network, start_from
from iac_cli.train.segmenter import network_input
from iac_cli.train.splits import Split, load_splits
from iac_cli.train.vit import Preset, VitConfig
from iac_cli.train.world import choose_device
from tests.train.heads import CPU, MAE, NETWORK, VIT, make_windows, steps


def _settings(**more):
    values = {"network": NETWORK, "batch": 2, "window": (8, 16, 16), "large_window": (8, 24, 24)}
    return FinetuneSettings(**({"budget": steps(2)} | values | more))


def _word(block):
    with pytest.raises(IacError) as told:
        block()
    return told.value.word


def test_a_run_at_work_is_not_joined(tmp_path):
    def again():
        with held(tmp_path):
            pass

    with held(tmp_path):
        assert _word(again) == Word.OUTPUT_LOCKED
    again()


def test_a_run_goes_on_with_its_own_settings_and_a_longer_budget_alone(tmp_path):
    begin(tmp_path, _settings())
    begin(tmp_path, _settings(budget=steps(50)))
    with pytest.raises(IacError, match="batch") as told:
        begin(tmp_path, _settings(batch=3))
    assert told.value.word == Word.OUTPUT_EXISTS
    with pytest.raises(IacError, match=r"budget\.seed"):
        begin(tmp_path, _settings(budget=steps(2, seed=2)))


def test_a_run_goes_on_from_the_weights_that_it_began_with_alone(tmp_path):
    entries = make_windows(tmp_path / "windows")
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_network(make_network(read_config(NETWORK)), NETWORK, tmp_path / f"init_{seed}")
    once, other = (tmp_path / f"init_{seed}" for seed in (1, 2))
    finetune(_settings(), tmp_path / "run", CPU, entries, once)
    finetune(_settings(budget=steps(3)), tmp_path / "run", CPU, entries, once)
    with pytest.raises(IacError, match="init_sha256") as told:
        finetune(_settings(budget=steps(3)), tmp_path / "run", CPU, entries, other)
    assert told.value.word == Word.OUTPUT_EXISTS


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "letter.txt").touch()
    assert _word(lambda: begin(tmp_path, _settings())) == Word.OUTPUT_EXISTS


def test_windows_without_labels_are_no_training_set(tmp_path):
    entries = make_windows(tmp_path / "windows", labelled=False)
    assert (
        _word(lambda: finetune(_settings(), tmp_path / "run", CPU, entries)) == Word.LABELS_MISSING
    )


def test_a_set_without_patients_to_train_on_is_empty(tmp_path):
    entries = make_windows(tmp_path / "windows", split=Split.DEVELOPMENT)
    assert _word(lambda: finetune(_settings(), tmp_path / "run", CPU, entries)) == Word.EMPTY_SET


def test_a_training_lowers_its_loss_watches_development_and_draws(tmp_path):
    entries = make_windows(tmp_path / "windows") + make_windows(
        tmp_path / "watched", split=Split.DEVELOPMENT
    )
    budget = Budget(steps=60, learning_rate=3e-3, averaging=0.9)
    finetune(_settings(budget=budget, batch=8), tmp_path / "run", CPU, entries)
    rows = (tmp_path / "run" / "progress.csv").read_text().splitlines()
    columns = rows[0].split(",")
    dice = [row.split(",")[columns.index("development_dice")] for row in rows[1:]]
    dice = [float(value) for value in dice if value]
    assert dice[-1] > 0.9  # bright is calcified there
    assert set(load_splits(tmp_path / "run").values()) == {Split.DEVELOPMENT}  # same three patients
    assert list((tmp_path / "run" / "pictures").glob("*.png"))


def test_pre_training_learns_and_hands_its_encoder_on(tmp_path):
    entries = make_windows(tmp_path / "windows")
    settings = PretrainSettings(budget=steps(3), network=MAE, batch=4, window=(8, 16, 16))
    mae = pretrain(settings, tmp_path / "mae", CPU, entries)
    network = make_network(decoder_config(Decoder.LINEAR, VIT))
    start_from(network, tmp_path / "mae")
    for name, value in mae.encoder.state_dict().items():
        assert torch.equal(network.encoder.state_dict()[name], value.half().float())


def test_normalised_patches_can_be_drawn_too(tmp_path):
    config = MaeConfig(vit=VIT, decoder_dim=64, decoder_depth=1, normalise_patches=True)
    settings = PretrainSettings(budget=steps(1), network=config, batch=2, window=(8, 16, 16))
    pretrain(settings, tmp_path / "mae", CPU, make_windows(tmp_path / "windows"))
    assert len(list((tmp_path / "mae" / "pictures").glob("*.png"))) == 1


def _mae_run(folder, vit=VIT):
    folder.mkdir(exist_ok=True)
    config = MaeConfig(vit=vit, decoder_dim=64, decoder_depth=1)
    save_network(Mae(config), config.to_dict(), folder)
    return folder


def test_an_encoder_of_another_shape_is_refused(tmp_path):
    run = _mae_run(tmp_path / "mae")
    deeper = make_network(decoder_config(Decoder.LINEAR, VitConfig(dim=64, depth=2)))
    assert _word(lambda: start_from(deeper, run)) == Word.MODEL_SHAPE_MISMATCH
    other = make_network(
        decoder_config(Decoder.LINEAR, VitConfig(dim=64, depth=1, patch=(4, 4, 4)))
    )
    assert _word(lambda: start_from(other, run)) == Word.MODEL_SHAPE_MISMATCH
    unet = make_network(BaselineConfig(name=Baseline.UNET))
    assert _word(lambda: start_from(unet, run)) == Word.MODEL_SHAPE_MISMATCH
    assert _word(lambda: start_from(unet, tmp_path)) == Word.MODEL_NOT_FOUND
    (run / "network.safetensors").write_bytes(b"none")
    assert _word(lambda: start_from(other, run)) == Word.MODEL_UNREADABLE


@pytest.mark.parametrize("name", ["settings.json", "network.json"])
def test_a_damaged_file_of_a_run_is_told(tmp_path, name):
    run = tmp_path / "mae"
    begin(run, steps(2))
    _mae_run(run)
    (run / name).write_text('{"budget": {"st')
    assert _word(lambda: (begin(run, steps(2)), read_network(run))) == Word.MODEL_UNREADABLE


def test_a_damaged_checkpoint_is_told(tmp_path):
    network = nn.Linear(2, 2)
    for content in (b"", b"no checkpoint at all"):
        (tmp_path / "checkpoint.pt").write_bytes(content)
        assert _word(lambda: Trainer(network, steps(2), tmp_path, CPU)) == Word.MODEL_UNREADABLE


def test_an_encoder_without_a_prior_pays_no_heed_to_one_at_first(tmp_path):
    run = _mae_run(tmp_path / "mae")
    plain = make_network(decoder_config(Decoder.LINEAR, VIT)).eval()
    wide = make_network(decoder_config(Decoder.LINEAR, VitConfig(dim=64, depth=1, prior=True)))
    for network in (plain, wide.eval()):
        start_from(network, run)
    wide.head.load_state_dict(plain.head.state_dict())
    hu = 100.0 * torch.randn(2, 8, 16, 16)
    batch = Drawn(hu, hu, hu, hu.abs())
    windows = network_input(batch, wide)
    assert windows.shape[1] == 3
    with torch.no_grad():
        assert torch.allclose(wide(windows), plain(windows[:, :2]), atol=1e-5)


@pytest.mark.parametrize("decoder", [Decoder.HYBRID, Decoder.UNETR])
def test_a_run_without_a_prior_goes_on_with_one_that_it_pays_no_heed_to(tmp_path, decoder):
    begun = decoder_config(decoder, VIT)
    plain = make_network(begun).eval()
    save_network(plain, begun.to_dict(), tmp_path)
    wide = make_network(decoder_config(decoder, VitConfig(dim=64, depth=1, prior=True))).eval()
    for network in (plain, wide):  # a run's weights are kept in half precision
        start_from(network, tmp_path)
    windows = torch.randn(2, 3, 8, 16, 16)
    with torch.no_grad():
        assert torch.allclose(wide(windows), plain(windows[:, :2]), atol=1e-5)


def test_a_run_of_another_width_is_still_refused(tmp_path):
    begun = decoder_config(Decoder.HYBRID, VIT)
    save_network(make_network(begun), begun.to_dict(), tmp_path)
    other = VitConfig(dim=64, depth=1, patch=(4, 4, 8), prior=True)
    wide = make_network(decoder_config(Decoder.HYBRID, other))
    assert _word(lambda: start_from(wide, tmp_path)) == Word.MODEL_SHAPE_MISMATCH


def test_what_is_not_said_is_as_in_the_run_to_start_from(tmp_path):
    run = _mae_run(tmp_path / "mae", VitConfig(dim=128, depth=2, patch=(4, 4, 4)))
    vit = encoder_config(None, None, run)
    assert (vit.dim, vit.depth, vit.patch) == (128, 2, (4, 4, 4))
    assert encoder_config(Preset.SMALL, None, run).dim == 256
    assert encoder_config(None, None, None) == VitConfig()


def test_a_network_is_named_by_plain_values():
    def values(baseline=None, *, prior=False, arteries=None, begun=False):
        vit = VitConfig(dim=128, arteries=begun)
        return network_values(vit, Decoder.UNETR, baseline, prior=prior, arteries=arteries)

    assert values()["name"] == "unetr" and values()["vit"]["dim"] == 128
    assert values(prior=True)["vit"]["prior"] and not values(prior=True)["vit"]["arteries"]
    assert values(arteries=True)["vit"]["arteries"] and not values(arteries=True)["vit"]["prior"]
    assert values(begun=True)["vit"]["arteries"]
    assert not values(begun=True, arteries=False)["vit"]["arteries"]
    assert values(Baseline.UNET)["name"] == "unet"
    assert _word(lambda: values(prior=True, arteries=True)) == Word.CONFLICTING_OPTIONS
    for asked in ({"prior": True}, {"arteries": True}):
        assert _word(lambda asked=asked: values(Baseline.UNET, **asked)) == (
            Word.CONFLICTING_OPTIONS
        )


def test_the_second_task_is_learned_told_and_left_out_of_what_is_exported(tmp_path):
    network = NETWORK | {"vit": NETWORK["vit"] | {"arteries": True}}
    data = make_windows(tmp_path / "windows")

    finetune(_settings(network=network, budget=steps(3)), tmp_path / "run", CPU, data)

    with (tmp_path / "run" / "progress.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert all(0.0 < float(row["artery_loss"]) < 5.0 for row in rows) and rows
    assert read_network(tmp_path / "run")["vit"]["arteries"]
    exported = load_network(tmp_path / "run")
    assert exported(torch.zeros(1, 2, 8, 16, 16)).shape == (1, 1, 8, 16, 16)


def test_a_run_from_before_an_option_was_there_goes_on(tmp_path):
    settings = _settings()
    begin(tmp_path, settings)
    note = json.loads((tmp_path / "settings.json").read_text())
    del note["network"]["vit"]["arteries"]
    (tmp_path / "settings.json").write_text(json.dumps(note))
    begin(tmp_path, settings)
    del note["network"]["vit"]["dim"]
    (tmp_path / "settings.json").write_text(json.dumps(note))
    assert _word(lambda: begin(tmp_path, settings)) == Word.OUTPUT_EXISTS


def test_a_task_that_a_run_did_not_have_begins_anew(tmp_path):
    config = HybridConfig(vit=VitConfig(dim=64, depth=1), path=(4, 4, 8, 8))
    without = Hybrid(config)
    save_network(without, config.to_dict(), tmp_path)
    with_task = Hybrid(replace(config, vit=replace(config.vit, arteries=True)))
    before = with_task.arteries.weight.clone()

    start_from(with_task, tmp_path)

    assert torch.equal(with_task.arteries.weight, before)
    assert torch.equal(with_task.encoder.embed.weight, without.encoder.embed.weight.half().float())


@pytest.mark.parametrize(("text", "sides"), [("8", (8, 8, 8)), ("4,8,16", (4, 8, 16))])
def test_patches_are_read_as_z_y_x(text, sides):
    assert parse_patch(text) == sides


@pytest.mark.parametrize("text", ["", "3", "4,8", "4,8,x", "32", "0"])
def test_patches_that_are_none_are_refused(text):
    assert _word(lambda: parse_patch(text)) == Word.BAD_SETTING


def test_devices_that_are_not_there_are_told():
    assert choose_device("cpu").type == "cpu"
    assert _word(lambda: choose_device("tpu")) == Word.BAD_SETTING
    assert _word(lambda: choose_device("cuda:99")) == Word.DEVICE_UNAVAILABLE


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), Word.GPU_OUT_OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), Word.OUT_OF_MEMORY),
        (MemoryError(), Word.OUT_OF_MEMORY),
    ],
    ids=["gpu", "cpu", "numpy"],
)
def test_a_lack_of_memory_is_told(error, word):
    def short():
        with told_memory():
            raise error

    assert _word(short) == word


def test_a_bug_is_not_told_as_a_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"), told_memory():
        raise RuntimeError("shapes do not fit")


def test_settings_name_no_folder(tmp_path):
    entries = make_windows(tmp_path / "windows_of_jane")
    finetune(_settings(), tmp_path / "run", CPU, entries)
    kept = (tmp_path / "run" / "settings.json").read_text()
    assert "jane" not in kept
    assert json.loads(kept)["budget"]["steps"] == 2
    assert world.World().is_first
