"""The pool of windows, and a training of seconds from heads to an exported model."""

import numpy as np
import pytest
import torch

from iac_cli.geometry.lines import Artery
from iac_cli.infer.card import read_segmenter_card
from iac_cli.simulate.skull import Skull
from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train import segmenter
from iac_cli.train.export import export_run
from iac_cli.train.hybrid import HybridConfig
from iac_cli.train.loop import Budget
from iac_cli.train.segmenter import (
    SegmenterRun,
    WindowPool,
    load_skulls,
    save_network,
    train_segmenter,
)
from iac_cli.train.vit import VitConfig

STREAM = StreamConfig(window=(8, 16, 16), fine_mm=1.0, margin_mm=4.0, margin_pixels=4, lesions=2)
NETWORK = HybridConfig(vit=VitConfig(dim=64, depth=1), path=(4, 4, 8, 8))


@pytest.fixture
def skulls(tmp_path):
    z = np.linspace(15.0, 65.0, 6)
    line = np.column_stack([z, np.full(6, 30.0), np.full(6, 30.0), np.full(6, 2.5)])
    for name in ("first", "second"):
        hu = np.full((40, 60, 60), 40.0, np.float16)
        Skull(name, hu, np.array([2.0, 1.0, 1.0]), {Artery.ICA_R: line}).save(
            tmp_path / f"{name}.npz"
        )
    return tmp_path


def test_a_head_that_is_left_out_is_not_loaded(skulls):
    assert list(load_skulls(skulls)) == ["first", "second"]
    assert list(load_skulls(skulls, left_out="second")) == ["first"]


def test_the_pool_replaces_its_oldest_windows(skulls):
    stream = WindowStream(
        load_skulls(skulls), {"first": 1, "second": 1}, STREAM, device=torch.device("cpu"), seed=1
    )
    pool = WindowPool(stream, STREAM.window, 6)
    pool.fill(4)
    before = pool.hu.clone()
    oldest = pool.oldest
    pool.refresh(2)
    changed = [not torch.equal(before[i], pool.hu[i]) for i in range(6)]
    assert [i for i in range(6) if changed[i]] == sorted((oldest + k) % 6 for k in range(2))


def test_a_drawn_label_lies_where_its_bright_voxels_lie(skulls):
    stream = WindowStream(
        load_skulls(skulls), {"first": 1, "second": 1}, STREAM, device=torch.device("cpu"), seed=2
    )
    pool = WindowPool(stream, STREAM.window, 16)
    pool.fill(16)
    drawn = pool.draw(32)  # mirrored or not
    labelled = (drawn.label * drawn.weight) > 0.5
    assert labelled.any()
    assert float(drawn.hu[labelled].min()) > 110.0  # 130 less gain and grain of a few HU


def test_a_training_of_seconds_ends_in_a_model_that_the_product_reads(
    skulls, tmp_path, monkeypatch
):
    monkeypatch.setattr(segmenter, "LARGE_WINDOW", (8, 24, 24))
    run = tmp_path / "run"
    settings = SegmenterRun(
        skulls=skulls,
        run=run,
        budget=Budget(minutes=0.02),
        network=NETWORK,
        stream=STREAM,
        batch=4,
    )
    network = train_segmenter(settings, torch.device("cpu"))
    assert all(bool(torch.isfinite(value).all()) for value in network.state_dict().values())
    assert (run / "checkpoint.pt").exists() and (run / "progress.csv").exists()

    save_network(network, NETWORK.to_dict(), run)
    facts = {
        "version": "test",
        "threshold": 0.5,
        "calibration": {"method": "platt", "a": 1.0, "b": 0.0},
        "reach_mm": 8.0,
    }
    export_run(run, tmp_path / "models", facts)
    assert read_segmenter_card(tmp_path / "models").threshold == 0.5
