"""Windows to draw from: the ring of made ones, crops of cached ones, the prior's channel."""

import pytest
import torch

from iac_cli.errors import IacError, Word
from iac_cli.simulate.stream import WindowStream
from iac_cli.train.cache import load_windows
from iac_cli.train.pool import CachedWindows, Drawn, WindowPool, volumes_of
from iac_cli.train.segmenter import (
    PRIOR_ABSENT,
    fitting,
    jittered_prior,
    load_skulls,
    prior_channel,
)
from iac_cli.train.vit import NO_PRIOR
from iac_cli.train.world import World
from tests.train.heads import STREAM, make_skulls, make_windows

CPU = torch.device("cpu")


@pytest.fixture
def skulls(tmp_path):
    return make_skulls(tmp_path)


def _pool(skulls, seed=1, size=6, made=2):
    stream = WindowStream(
        load_skulls(skulls), {"first": 1, "second": 1}, STREAM, device=CPU, seed=seed
    )
    return WindowPool(stream, STREAM.window, size, made)


def test_a_head_that_is_left_out_is_not_loaded(skulls):
    assert list(load_skulls(skulls)) == ["first", "second"]
    assert list(load_skulls(skulls, left_out="second")) == ["first"]


def test_a_folder_without_heads_is_an_empty_set(tmp_path):
    with pytest.raises(IacError) as told:
        load_skulls(tmp_path)
    assert told.value.word == Word.EMPTY_SET


def test_the_pool_replaces_its_oldest_windows(skulls):
    pool = _pool(skulls)
    pool.fill()
    for first in (0, 2, 4, 0):
        before = pool.hu.clone()
        pool.refresh()
        changed = [i for i in range(6) if not torch.equal(before[i], pool.hu[i])]
        assert changed == [first, first + 1]


def test_a_drawn_label_lies_where_its_bright_voxels_lie(skulls):
    pool = _pool(skulls, seed=2, size=16, made=16)
    pool.fill()
    drawn = pool.draw(32)  # mirrored or not
    labelled = (drawn.label * drawn.weight) > 0.5
    assert labelled.any()
    assert float(drawn.hu[labelled].min()) > 105.0  # 130 less gain and grain of a few HU


def test_a_pool_from_a_checkpoint_draws_what_the_whole_one_draws(skulls):
    whole = _pool(skulls)
    whole.fill()
    for _ in range(5):
        whole.draw(2)
    state = whole.state_dict()
    again = _pool(skulls, seed=99)
    again.load_state_dict(state)
    for _ in range(7):
        for mine, theirs in zip(volumes_of(whole.draw(3)), volumes_of(again.draw(3)), strict=True):
            assert torch.equal(mine, theirs)


def test_crops_of_cached_windows_keep_hu_label_and_weight_together(tmp_path):
    make_windows(tmp_path)
    source = CachedWindows(load_windows([tmp_path / "0.npz"]), (4, 16, 8), 1, World())
    drawn = source.draw(64)
    assert drawn.hu.shape == (64, 4, 16, 8)
    assert torch.equal(drawn.hu > 250.0, drawn.label > 0.5)
    assert 0.0 < float(drawn.label.mean()) < 0.2
    assert float(drawn.distance_mm.mean()) == 2.0  # 16 eighths


def test_windows_that_are_smaller_than_the_networks_are_refused(tmp_path):
    make_windows(tmp_path)
    with pytest.raises(IacError, match=r"\(8, 24, 24\)") as told:
        CachedWindows(load_windows([tmp_path / "0.npz"]), (8, 32, 24), 1, World())
    assert told.value.word == Word.BAD_SETTING


def test_two_processes_share_the_batch_that_one_alone_draws(tmp_path):
    make_windows(tmp_path)
    windows = load_windows([tmp_path / "0.npz", tmp_path / "1.npz"])
    alone = CachedWindows(windows, (8, 16, 16), 5, World()).draw(6)
    shares = [CachedWindows(windows, (8, 16, 16), 5, World(rank, 2)).draw(3) for rank in (0, 1)]
    assert torch.equal(alone.hu, torch.cat([share.hu for share in shares]))


def test_a_split_without_scans_is_an_empty_set():
    with pytest.raises(IacError) as told:
        load_windows([])
    assert told.value.word == Word.EMPTY_SET


def test_the_prior_falls_from_the_artery_to_its_reach():
    mm = torch.tensor([0.0, 8.0, 16.0, 25.0]).reshape(1, 1, 1, 4)
    assert prior_channel(mm)[0, 0, 0, 0].tolist() == [-1.0, 0.0, 1.0, 1.0]
    assert NO_PRIOR == 1.0


def test_a_jittered_prior_is_the_same_picture_moved_by_three_millimetres_at_most_or_absent():
    z, y, x = torch.meshgrid(*(torch.arange(20) - 10 for _ in range(3)), indexing="ij")
    mm = (z**2 + y**2 + x**2).float().sqrt()[None].expand(400, -1, -1, -1)
    prior = jittered_prior(mm, torch.Generator().manual_seed(1))[:, 0]
    absent = (prior == NO_PRIOR).flatten(1).all(1)
    assert float(absent.float().mean()) == pytest.approx(PRIOR_ABSENT, abs=0.07)
    found = (prior[~absent] == -1.0).nonzero()  # where each moved picture has its distance 0
    offset = found[:, 1:] - 10
    assert len(found) == int((~absent).sum())
    assert offset.abs().max(0).values.tolist() == [3, 7, 7]
    assert len(offset.unique(dim=0)) > 50


def test_windows_grow_until_whole_patches_fill_them():
    assert fitting((24, 80, 80), (4, 8, 8)) == (24, 80, 80)
    assert fitting((24, 80, 80), (16, 16, 16)) == (32, 80, 80)


def test_drawn_has_four_volumes():
    volume = torch.zeros(1, 2, 2, 2)
    assert len(volumes_of(Drawn(volume, volume, volume, volume))) == 4
