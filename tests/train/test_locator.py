"""Training the locator: shares of heads, starting from a run, going on with one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iac_cli.errors import IacError, Word
from iac_cli.locate.keypoints import keypoints
from iac_cli.simulate.heads import NEAR, WHOLE, StoredHead
from iac_cli.train import locator as module
from iac_cli.train.locator import LocatorSettings, shares_of, train_locator
from iac_cli.train.loop import Budget, Place, Precision
from iac_cli.train.mae import Mae
from iac_cli.train.runs import read_network, read_weights, save_network
from tests.train.heads import MAE

PLACE = Place(device=torch.device("cpu"), precision=Precision.FP32)


@pytest.fixture
def heads(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POOL", 3)
    folder = tmp_path / "heads"
    folder.mkdir()
    for name in ("one", "procedural_0"):
        hu = np.full((60, 70, 70), 40.0, dtype=np.float16)
        points = np.tile(np.array([60.0, 70.0, 70.0]), (len(keypoints()), 1))
        StoredHead(name, hu, points, WHOLE.stored_mm).save(folder / f"{name}.npz")
    return folder


def _settings(steps, rate=1e-3, seed=1, **more):
    budget = Budget(steps=steps, learning_rate=rate, seed=seed)
    return LocatorSettings(budget=budget, batch=1, **more)


def test_procedural_heads_are_one_kind_for_two_of_real_ones():
    names = ["a", "b", "c", *(f"procedural_{i}" for i in range(6))]
    shares = shares_of(names)
    assert [shares[name] for name in "abc"] == [1.0, 1.0, 1.0]
    drawn = sum(shares[f"procedural_{i}"] for i in range(6))
    assert drawn / sum(shares.values()) == pytest.approx(1 / 3)
    assert shares_of(["procedural_0", "procedural_1"])["procedural_0"] > 0.0


def test_a_training_starts_from_the_weights_of_a_run(heads, tmp_path):
    train_locator(_settings(2), heads, tmp_path / "first", PLACE)
    still = _settings(1, rate=1e-9, seed=2)  # it ends with what it starts from
    train_locator(still, heads, tmp_path / "second", PLACE, tmp_path / "first")

    first, second = read_weights(tmp_path / "first"), read_weights(tmp_path / "second")
    weights = [name for name in first if name.endswith("weight")]
    assert weights
    assert all(torch.allclose(first[name], second[name], atol=1e-3) for name in weights)
    fresh = train_locator(still, heads, tmp_path / "third", PLACE).state_dict()
    assert not all(torch.allclose(first[name], fresh[name], atol=1e-3) for name in weights)


def test_another_start_is_another_run(heads, tmp_path):
    train_locator(_settings(1), heads, tmp_path / "first", PLACE)
    train_locator(_settings(1), heads, tmp_path / "second", PLACE)
    with pytest.raises(IacError) as refused:
        train_locator(_settings(1), heads, tmp_path / "second", PLACE, tmp_path / "first")
    assert refused.value.word == Word.OUTPUT_EXISTS
    assert "init_sha256" in str(refused.value)


def test_a_head_that_is_left_out_must_leave_another(heads, tmp_path):
    (heads / "one.npz").unlink()
    with pytest.raises(IacError) as refused:
        train_locator(_settings(1, left_out="procedural_0"), heads, tmp_path / "run", PLACE)
    assert refused.value.word == Word.EMPTY_SET


def test_heads_of_another_step_are_refused(heads, tmp_path):
    with pytest.raises(IacError) as refused:
        train_locator(_settings(1, near=True), heads, tmp_path / "run", PLACE)
    assert refused.value.word == Word.BAD_SETTING
    assert "1 mm" in refused.value.what
    for path in heads.iterdir():
        replace(StoredHead.load(path), step_mm=NEAR.stored_mm).save(path)
    train_locator(_settings(1, near=True), heads, tmp_path / "near", PLACE)
    assert read_network(tmp_path / "near")["cell_mm"] == NEAR.cell_mm


def test_what_is_no_locator_is_no_start(heads, tmp_path):
    save_network(Mae(MAE), MAE.to_dict(), tmp_path / "mae")
    with pytest.raises(IacError) as refused:
        train_locator(_settings(1), heads, tmp_path / "run", PLACE, tmp_path / "mae")
    assert refused.value.word == Word.MODEL_SHAPE_MISMATCH
    assert "no locator" in refused.value.what
