"""The masked autoencoder's laws, on windows whose sides all differ."""

import pytest
import torch

from iac_cli.train.mae import Mae, MaeConfig, random_masking
from iac_cli.train.vit import Preset, VitConfig, preset_config

CONFIG = MaeConfig(vit=VitConfig(dim=64, depth=1, drop_path=0.0), decoder_dim=64, decoder_depth=1)
SIDES = (8, 16, 24)  # a token grid of (2, 2, 3)


def _masked(ratio=0.6, seed=1):
    return random_masking(2, 12, ratio, torch.Generator().manual_seed(seed))


def _voxels_of(token):
    """The block of a token on the (2, 2, 3) grid, z slowest: written down by hand."""
    z, y, x = token // 6, token // 3 % 2, token % 3
    return slice(4 * z, 4 * z + 4), slice(8 * y, 8 * y + 8), slice(8 * x, 8 * x + 8)


@pytest.mark.parametrize("ratio", [0.9, 0.75])
def test_every_token_is_either_visible_or_hidden(ratio):
    visible, hidden = random_masking(3, 40, ratio, torch.Generator().manual_seed(2))
    assert hidden.shape == (3, round(40 * ratio))
    for row in torch.cat([visible, hidden], dim=1):
        assert row.sort().values.tolist() == list(range(40))
    assert not torch.equal(hidden[0], hidden[1])


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_lives_on_the_dropped_tokens_and_nowhere_else(seed):
    mae = Mae(CONFIG).eval()
    visible, hidden = _masked(seed=seed)
    windows = torch.randn(2, 2, *SIDES, requires_grad=True)
    guess = torch.zeros(2, hidden.shape[1], 2 * 4 * 8 * 8)

    mae.loss(guess, windows, hidden).backward()

    touched = windows.grad.abs().sum(1) > 0.0  # (b, z, y, x)
    for b in range(2):
        for token in range(12):
            block = touched[b][_voxels_of(token)]
            assert bool(block.all()) == (token in hidden[b].tolist())
            assert bool(block.any()) == (token in hidden[b].tolist())


def test_the_guess_does_not_see_what_is_hidden():
    mae = Mae(CONFIG).eval()
    visible, hidden = _masked()
    windows = torch.randn(2, 2, *SIDES)
    other = windows.clone()
    for b in range(2):
        for token in hidden[b].tolist():
            other[b][(slice(None), *_voxels_of(token))] += 10.0
    seen = windows.clone()
    seen[0][(slice(None), *_voxels_of(int(visible[0, 0])))] += 10.0

    with torch.no_grad():
        guess = mae(windows, visible, hidden)
        assert torch.equal(guess, mae(other, visible, hidden))
        assert not torch.allclose(guess[0], mae(seen, visible, hidden)[0])


def test_each_guess_belongs_to_its_own_place():
    """Which hidden token is asked for first only reorders the answers."""
    mae = Mae(CONFIG).eval()
    visible, hidden = _masked()
    order = torch.randperm(hidden.shape[1])
    windows = torch.randn(2, 2, *SIDES)

    with torch.no_grad():
        guess, turned = mae(windows, visible, hidden), mae(windows, visible, hidden[:, order])

    assert torch.allclose(guess[:, order], turned, atol=1e-5)
    assert not torch.allclose(guess, turned, atol=1e-3)


def test_a_window_in_which_each_patch_tells_its_number_has_its_number_as_target():
    mae = Mae(CONFIG)
    windows = torch.zeros(1, 2, *SIDES)
    for token in range(12):
        windows[0][(slice(None), *_voxels_of(token))] = float(token)
    hidden = torch.tensor([[3, 0, 11, 7]])
    assert mae.targets(windows, hidden)[0, :, 0].tolist() == [3.0, 0.0, 11.0, 7.0]


def test_normalised_targets_have_mean_zero_and_variance_one_but_air_stays_air():
    mae = Mae(MaeConfig(vit=CONFIG.vit, normalise_patches=True))
    windows = 0.3 + 0.5 * torch.randn(1, 2, *SIDES)
    windows[..., 16:] = -1.0
    targets = mae.targets(windows, torch.arange(12)[None])[0]
    in_air = torch.arange(12) % 3 == 2
    assert torch.allclose(targets[~in_air].mean(1), torch.zeros(8), atol=1e-5)
    assert torch.allclose(targets[~in_air].var(1, unbiased=False), torch.ones(8), atol=1e-2)
    assert float(targets[in_air].abs().max()) == 0.0


def test_a_few_steps_lower_the_loss_of_a_pattern_that_can_be_guessed():
    torch.manual_seed(1)
    random = torch.Generator().manual_seed(1)
    mae = Mae(CONFIG)
    optimiser = torch.optim.AdamW(mae.parameters(), lr=3e-3)
    level = torch.linspace(-1.0, 1.0, 8).reshape(8, 1, 1, 1, 1)
    windows = level.expand(8, 2, *SIDES)  # a window is even: one patch tells all
    losses = []
    for _ in range(40):
        visible, hidden = random_masking(8, 12, 0.75, random)
        loss = mae.loss(mae(windows, visible, hidden), windows, hidden)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("preset", list(Preset))
def test_presets_run_and_settings_survive_the_run_folder(preset):
    config = MaeConfig(vit=preset_config(preset))
    visible, hidden = random_masking(1, 8, 0.75, torch.Generator().manual_seed(1))
    guess = Mae(config)(torch.randn(1, 2, 8, 16, 16), visible, hidden)
    assert guess.shape == (1, 6, 2 * 4 * 8 * 8)
    assert MaeConfig.from_dict(config.to_dict()) == config
