"""The hybrid and the locator as functions: folding, window sizes, losses."""

import math
from dataclasses import replace

import pytest
import torch

from iac_cli.train.hybrid import Hybrid, HybridConfig, folded
from iac_cli.train.locator_net import Locator, LocatorConfig, folded_locator, keypoint_loss
from iac_cli.train.segmenter import artery_loss, hu_channels, segmentation_loss
from iac_cli.train.segmenting import ARTERY_HEAD
from iac_cli.train.vit import VitConfig, patchify, unpatchify

SMALL = HybridConfig(vit=VitConfig(dim=64, depth=1), path=(4, 4, 8, 8))


def _stirred(network):
    """Normalisation statistics that are not the initial ones."""
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            module.running_mean.normal_(0.0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def test_folding_keeps_the_hybrid_the_same_function():
    network = _stirred(Hybrid(SMALL))
    window = torch.randn(2, 2, 8, 16, 16)

    with torch.no_grad():
        assert torch.allclose(network(window), folded(network)(window), atol=1e-5)


def test_folding_keeps_the_locator_the_same_function():
    network = _stirred(Locator(LocatorConfig(keypoints=3, path=(4, 4, 8, 8))))
    head = torch.randn(1, 5, 16, 8, 24)

    with torch.no_grad():
        for whole, merged in zip(network(head), folded_locator(network)(head), strict=True):
            assert torch.allclose(whole, merged, atol=1e-5)


@pytest.mark.parametrize("sides", [(8, 16, 16), (16, 48, 48), (24, 16, 32)])
def test_the_hybrid_answers_each_voxel_of_windows_of_any_fitting_size(sides):
    assert Hybrid(SMALL).eval()(torch.randn(1, 2, *sides)).shape == (1, 1, *sides)


def test_both_paths_reach_the_answer():
    network = Hybrid(SMALL)
    network(torch.randn(2, 2, 8, 16, 16)).sum().backward()

    for part in (network.encoder.embed, network.stem[0].conv, network.down[2].shrink):
        assert float(part.weight.grad.abs().sum()) > 0.0


def test_the_second_task_answers_in_training_alone_and_is_not_exported():
    config = replace(SMALL, vit=replace(SMALL.vit, arteries=True))
    network = _stirred(Hybrid(config))
    windows = torch.randn(2, 2, 8, 16, 16)

    assert network.train()(windows).shape == (2, 2, 8, 16, 16)
    with torch.no_grad():
        alone = _stirred(network)(windows)
        assert alone.shape == (2, 1, 8, 16, 16)
        assert torch.allclose(folded(network)(windows), alone, atol=1e-5)
    assert any(name.startswith(ARTERY_HEAD) for name in network.state_dict())
    assert not any(name.startswith(ARTERY_HEAD) for name in folded(network).state_dict())


def test_the_second_task_teaches_the_encoder():
    network = Hybrid(replace(SMALL, vit=replace(SMALL.vit, arteries=True)))
    answer = network.train()(torch.randn(2, 2, 8, 16, 16))

    artery_loss(answer[:, 1], torch.rand(2, 8, 16, 16) * 12.0).backward()

    assert float(network.encoder.embed.weight.grad.abs().sum()) > 0.0
    assert float(network.head.weight.grad.abs().sum()) == 0.0


def test_the_artery_loss_is_least_where_the_answer_is_how_near_a_voxel_lies():
    distance_mm = torch.tensor([0.0, 1.5, 3.0, 4.5, 6.0, 50.0]).reshape(1, 1, 1, 6)
    near = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0, 0.0]).reshape(1, 1, 1, 6)
    logits = torch.zeros(1, 1, 1, 6, requires_grad=True)

    loss = artery_loss(logits, distance_mm)
    loss.backward()

    assert loss.item() == pytest.approx(math.log(2))
    assert torch.allclose(logits.grad, (0.5 - near) / 6)  # of a cross-entropy: p minus target


def test_patches_of_one_channel_are_put_back_where_they_were_cut():
    window = torch.randn(2, 1, 8, 16, 24)
    patches = patchify(window, (4, 8, 8)).reshape(2, 2, 2, 3, 256)

    assert torch.equal(unpatchify(patches, (4, 8, 8)), window)


def test_settings_survive_the_card():
    assert HybridConfig.from_dict(SMALL.to_dict()) == SMALL
    locator = LocatorConfig(keypoints=3)
    assert LocatorConfig.from_dict(locator.to_dict()) == locator


def test_a_patch_that_the_path_does_not_reach_is_refused():
    with pytest.raises(ValueError, match="path of 3 levels"):
        Hybrid(HybridConfig(vit=VitConfig(patch=(4, 4, 4))))


def test_hu_windows_map_their_ends_to_minus_one_and_one():
    hu = torch.tensor([-1000.0, -200.0, 650.0, 1500.0, 0.0, 150.0, 300.0]).reshape(1, 1, 1, 7)

    wide, narrow = hu_channels(hu)[0, :, 0, 0]

    assert wide[:4].tolist() == [-1.0, -1.0, 0.0, 1.0]
    assert narrow[4:].tolist() == [-1.0, 0.0, 1.0]


def test_the_segmentation_loss_sees_weighted_voxels_only():
    logits = torch.randn(1, 4, 4, 4, requires_grad=True)
    label = (torch.rand(1, 4, 4, 4) > 0.5).float()
    weight = torch.zeros(1, 4, 4, 4)
    weight[0, 1] = 1.0

    segmentation_loss(logits, label, weight).backward()

    assert torch.equal(logits.grad[0, 1] != 0.0, torch.ones(4, 4, dtype=torch.bool))
    assert float(logits.grad[0, [0, 2, 3]].abs().sum()) == 0.0


def test_the_segmentation_loss_of_one_undecided_voxel_is_known():
    one = torch.ones(1, 1, 1, 1)
    loss = segmentation_loss(torch.zeros(1, 1, 1, 1), one, one)
    # log 2 + half of (1 - 2 * 0.5 / (0.5 + 1))
    assert float(loss) == pytest.approx(math.log(2) + 0.5 * (1 - 1 / 1.5))


def test_the_keypoint_loss_is_the_entropy_of_one_among_all_voxels_and_absence():
    maps, absent = torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 2)
    targets = torch.zeros(1, 2, 2, 2, 2)
    targets[0, 0, 1, 1, 1] = 1.0
    present = torch.tensor([[1.0, 0.0]])

    assert float(keypoint_loss(maps, absent, targets, present)) == pytest.approx(math.log(9))

    maps[0, 0, 1, 1, 1] = absent[0, 1] = 40.0
    assert float(keypoint_loss(maps, absent, targets, present)) == pytest.approx(0.0, abs=1e-6)
