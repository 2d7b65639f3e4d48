"""Token order, positions and visible tokens of the transformer."""

import pytest
import torch

from iac_cli.train.vit import VitConfig, VitEncoder, patchify, rotary_angles, token_grid, turn


def test_patches_hold_the_voxels_of_their_place_on_a_grid_that_is_not_cubic():
    z, y, x = torch.meshgrid(torch.arange(8), torch.arange(16), torch.arange(24), indexing="ij")
    window = (z * 10000 + y * 100 + x)[None, None].float()

    tokens = patchify(window, (4, 8, 8))

    assert tokens.shape == (1, 2 * 2 * 3, 4 * 8 * 8)
    assert tokens[0, :, 0].tolist() == [
        z0 * 10000 + y0 * 100 + x0 for z0 in (0, 4) for y0 in (0, 8) for x0 in (0, 8, 16)
    ]
    assert tokens[0, 0, :3].tolist() == [0, 1, 2]


@pytest.mark.parametrize("sides", [(2, 3, 5), (5, 2, 3), (3, 3, 3)])
def test_the_token_grid_undoes_the_order_of_the_patches(sides):
    places = torch.arange(sides[0] * sides[1] * sides[2]).reshape(1, 1, *sides).float()
    window = places.repeat_interleave(4, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)

    first_voxel = patchify(window, (4, 8, 8))[..., :1]

    assert torch.equal(token_grid(first_voxel, sides), places)


def test_rotary_attention_depends_on_the_distance_of_two_tokens_alone():
    angles = rotary_angles((4, 4, 4)).reshape(4, 4, 4, 32)
    query, key = torch.randn(1, 64), torch.randn(1, 64)

    def score(a, b):
        turned = [
            turn(v, angles[p].cos()[None], angles[p].sin()[None]) for v, p in ((query, a), (key, b))
        ]
        return float((turned[0] * turned[1]).sum())

    assert score((0, 0, 0), (1, 2, 1)) == pytest.approx(score((2, 1, 2), (3, 3, 3)), abs=1e-4)
    assert score((0, 0, 0), (1, 2, 1)) != pytest.approx(score((0, 0, 0), (2, 1, 1)), abs=1e-2)


def test_keeping_every_token_in_another_order_only_reorders_the_answer():
    encoder = VitEncoder(VitConfig(dim=64, depth=2)).eval()
    window = torch.randn(2, 2, 8, 16, 24)
    order = torch.stack([torch.randperm(12) for _ in range(2)])

    with torch.no_grad():
        whole, kept = encoder(window), encoder(window, order)

    assert torch.allclose(kept, whole.gather(1, order[..., None].expand(-1, -1, 64)), atol=1e-5)


def test_hidden_tokens_do_not_reach_the_visible_ones():
    encoder = VitEncoder(VitConfig(dim=64, depth=2)).eval()
    window = torch.randn(1, 2, 8, 16, 24)
    other = window.clone()
    other[..., 4:, 8:, 16:] += 100.0  # the last token
    visible = torch.arange(11)[None]

    with torch.no_grad():
        assert torch.equal(encoder(window, visible), encoder(other, visible))
        assert not torch.allclose(encoder(window), encoder(other))


def test_a_window_that_does_not_fit_the_patch_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(4, 8, 8\).*\(6, 16, 16\)"):
        patchify(torch.zeros(1, 2, 6, 16, 16), (4, 8, 8))


def test_a_width_without_whole_heads_is_refused():
    with pytest.raises(ValueError, match="multiple of 64"):
        VitEncoder(VitConfig(dim=100))
