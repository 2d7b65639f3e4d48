"""Every decoder, patch, preset and baseline: shapes, gradients, folding, a run's settings."""

import pytest
import torch

from iac_cli.errors import IacError, Word
from iac_cli.train.baselines import Baseline, BaselineConfig, count_parameters
from iac_cli.train.decoders import Decoder
from iac_cli.train.networks import decoder_config, fold, make_network, read_config
from iac_cli.train.segmenting import strides_of
from iac_cli.train.vit import NO_PRIOR, Preset, VitConfig, preset_config

PATCHES = ((4, 4, 4), (8, 8, 8), (16, 16, 16), (4, 8, 8), (2, 4, 4), (4, 16, 8))
BASELINES = list(Baseline)


def _vit(patch=(4, 8, 8), **more):
    return VitConfig(dim=64, depth=3, patch=patch, **more)


def _baseline(name):
    if name != Baseline.UNET:
        pytest.importorskip("dynamic_network_architectures")
    return make_network(BaselineConfig(name=name))


@pytest.mark.parametrize(
    ("patch", "wanted"),
    [
        ((4, 8, 8), ((1, 2, 2), (2, 2, 2), (2, 2, 2))),
        ((4, 4, 4), ((2, 2, 2), (2, 2, 2))),
        ((1, 2, 4), ((1, 1, 2), (1, 2, 2))),
    ],
)
def test_steps_lead_from_a_voxel_to_a_patch(patch, wanted):
    assert strides_of(patch) == wanted


def test_a_patch_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match="powers of two"):
        strides_of((4, 6, 8))


@pytest.mark.parametrize("decoder", list(Decoder))
@pytest.mark.parametrize("patch", PATCHES, ids=str)
def test_every_decoder_answers_every_voxel_for_every_patch(decoder, patch):
    network = make_network(decoder_config(decoder, _vit(patch))).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 2, 16, 32, 16)).shape == (1, 1, 16, 32, 16)


@pytest.mark.parametrize("preset", list(Preset))
@pytest.mark.parametrize("decoder", list(Decoder))
def test_every_preset_carries_every_decoder(preset, decoder):
    config = decoder_config(decoder, preset_config(preset))
    with torch.no_grad():
        assert make_network(config).eval()(torch.randn(1, 2, 4, 8, 16)).shape == (1, 1, 4, 8, 16)
    assert read_config(config.to_dict()) == config


@pytest.mark.parametrize("decoder", list(Decoder))
def test_the_answer_depends_on_every_token_and_every_weight(decoder):
    network = make_network(decoder_config(decoder, _vit(drop_path=0.0)))
    windows = torch.randn(2, 2, 8, 16, 24, requires_grad=True)
    (network(windows) * torch.randn(2, 1, 8, 16, 24)).sum().backward()
    without = [name for name, p in network.named_parameters() if p.grad is None]
    assert not without
    assert float((windows.grad == 0.0).float().mean()) < 0.01


@pytest.mark.parametrize("decoder", list(Decoder))
def test_every_decoder_may_have_the_second_task_in_training(decoder):
    config = decoder_config(decoder, _vit((4, 8, 8), arteries=True, drop_path=0.0))
    network = make_network(config)
    windows = torch.randn(2, 2, 8, 16, 16)
    assert network.train()(windows).shape == (2, 2, 8, 16, 16)
    with torch.no_grad():
        assert torch.allclose(fold(network)(windows), network.eval()(windows), atol=1e-5)
    assert read_config(config.to_dict()) == config


def test_a_linear_decoder_puts_each_token_where_its_patch_lies():
    """With a single token's answer raised, only that patch's voxels change."""
    network = make_network(decoder_config(Decoder.LINEAR, _vit()))
    levels = torch.zeros(1, 64, 2, 2, 3)
    raised = levels.clone()
    raised[0, :, 1, 0, 2] = 1.0
    with torch.no_grad():
        moved = network.decode(levels, [raised]) != network.decode(levels, [levels])
    inside = torch.zeros(1, 1, 8, 16, 24, dtype=torch.bool)
    inside[..., 4:8, 0:8, 16:24] = True
    assert torch.equal(moved, inside)


@pytest.mark.parametrize("decoder", list(Decoder))
def test_folding_keeps_every_decoder_the_same_function(decoder):
    torch.manual_seed(1)
    network = make_network(decoder_config(decoder, _vit())).train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(2, 2, 8, 16, 16) + 0.5)
    network.eval()
    windows = torch.randn(2, 2, 8, 16, 24)
    with torch.no_grad():
        assert torch.allclose(network(windows), fold(network)(windows), atol=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_answer_every_voxel_of_both_window_sizes(name):
    network = _baseline(name).eval()
    with torch.no_grad():
        for sides in ((16, 48, 48), (8, 16, 32)):
            assert network(torch.randn(1, 2, *sides)).shape == (1, 1, *sides)
    assert read_config(network.config.to_dict()) == network.config


def test_the_thin_unet_is_of_the_hybrids_size():
    hybrid = make_network(decoder_config(Decoder.HYBRID, preset_config(Preset.TINY)))
    unet = _baseline(Baseline.UNET)
    assert count_parameters(unet) == pytest.approx(count_parameters(hybrid), rel=0.05)


def test_nnunets_network_is_plain_convolutions_with_its_usual_features():
    network = _baseline(Baseline.NNUNET)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.InstanceNorm3d)]
    assert [m.num_features for m in norms][:10:2] == [32, 64, 128, 256, 320]
    assert not [m for m in network.modules() if isinstance(m, torch.nn.MultiheadAttention)]


def test_a_missing_nnunet_is_told(monkeypatch):
    monkeypatch.setitem(
        __import__("sys").modules, "dynamic_network_architectures.architectures.unet", None
    )
    with pytest.raises(IacError) as told:
        make_network(BaselineConfig(name=Baseline.NNUNET))
    assert told.value.word == Word.RUNTIME_MISSING


def test_windows_without_a_prior_are_those_whose_prior_says_nothing():
    network = make_network(decoder_config(Decoder.HYBRID, _vit(prior=True))).eval()
    windows = torch.randn(1, 2, 8, 16, 16)
    unknown = torch.full((1, 1, 8, 16, 16), NO_PRIOR)
    with torch.no_grad():
        bare = network(windows)
        assert torch.equal(bare, network(torch.cat([windows, unknown], dim=1)))
        assert not torch.equal(bare, network(torch.cat([windows, -unknown], dim=1)))


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="other"):
        read_config({"name": "other", "vit": {"patch": [4, 8, 8]}})
