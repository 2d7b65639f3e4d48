"""From an exported model back to a run: it answers as before, and learns as one never exported."""

import numpy as np
import pytest
import torch
from torch import nn

from iac_cli.errors import IacError, Word
from iac_cli.infer.card import Role, shipped_models
from iac_cli.infer.models import load_locator, load_segmenter
from iac_cli.train.baselines import Baseline, BaselineConfig
from iac_cli.train.decoders import Decoder
from iac_cli.train.export import load_network
from iac_cli.train.hybrid import Hybrid, HybridConfig, folded
from iac_cli.train.networks import decoder_config, fold, make_network
from iac_cli.train.reopen import reopen, unfold
from iac_cli.train.runs import read_network
from tests.train.heads import VIT

SMALL = HybridConfig(vit=VIT, path=(4, 4, 8, 8))


def _engine(role):
    if role == Role.SEGMENTER:
        return load_segmenter(shipped_models()).engine
    locator = load_locator(shipped_models())
    return (locator if role == Role.LOCATOR else locator.near).engine


@pytest.mark.parametrize("role", list(Role))
def test_a_shipped_model_answers_as_before(role, tmp_path):
    reopen(shipped_models(), role, tmp_path / "run")
    network = load_network(tmp_path / "run")
    assert read_network(tmp_path / "run")["normalised"]
    shape = (1, 2, 24, 80, 80) if role == Role.SEGMENTER else (1, 5, 48, 56, 56)
    images = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)
    engine = _engine(role)
    (expected, *_) = engine.run(images)
    with torch.no_grad():
        answer = network(torch.from_numpy(images))
    logits = answer[0] if isinstance(answer, tuple) else answer
    spread = float(expected.std())
    assert np.abs(logits.numpy() - expected).max() < 0.1 * spread  # rounded to half twice
    assert np.abs(logits.numpy() - expected).mean() < 0.01 * spread


def test_normalisation_comes_back_with_the_numbers_of_the_images():
    torch.manual_seed(1)
    trained = Hybrid(SMALL).train()
    for _ in range(3):
        trained(3.0 * torch.randn(4, 2, 8, 16, 16) + 1.0)  # moves the running numbers
    merged = folded(trained)
    images = torch.randn(8, 2, 8, 16, 16)
    opened = Hybrid(SMALL)
    unfold(opened, merged.state_dict(), images)

    opened.eval()
    torch.testing.assert_close(opened(images), merged(images), atol=1e-4, rtol=1e-4)
    # in training a normalisation uses the batch's own numbers: on these images the same ones
    opened.train()
    torch.testing.assert_close(opened(images), merged(images), atol=2e-2, rtol=2e-2)
    assert any(isinstance(module, nn.BatchNorm3d) for module in opened.modules())


@pytest.mark.parametrize("name", [*Decoder, Baseline.UNET])
def test_every_network_of_ours_comes_back(name):
    torch.manual_seed(1)
    config = BaselineConfig(name=name) if name in set(Baseline) else decoder_config(name, VIT)
    merged, opened = fold(make_network(config)), make_network(config)
    images = torch.randn(2, 2, 8, 16, 16)
    unfold(opened, merged.state_dict(), images)
    with torch.no_grad():
        torch.testing.assert_close(opened.eval()(images), merged(images), atol=1e-4, rtol=1e-4)


def test_a_model_without_all_weights_is_refused():
    merged = folded(Hybrid(SMALL)).state_dict()
    del merged["head.weight"]
    with pytest.raises(IacError) as refused:
        unfold(Hybrid(SMALL), merged, torch.randn(2, 2, 8, 16, 16))
    assert refused.value.word == Word.MODEL_SHAPE_MISMATCH


def test_a_folder_that_holds_something_is_not_filled(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(IacError) as refused:
        reopen(shipped_models(), Role.LOCATOR, tmp_path)
    assert refused.value.word == Word.OUTPUT_EXISTS
