"""The window stream on a made skull: seeds, labels, weights, and truth that moves along."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.skull import Skull, densify, fill_lumina
from iac_cli.simulate.stream import StreamConfig, WindowStream

CONFIG = StreamConfig(window=(8, 24, 24), fine_mm=1.0)
CPU = torch.device("cpu")


def _skull(hu=None, labels=None, name="made"):
    """Soft tissue around one straight artery along z, in the middle of 80 x 60 x 60 mm."""
    shape = (40, 60, 60)
    volume = np.full(shape, 40.0) if hu is None else hu
    z = np.linspace(15.0, 65.0, 6)
    line = np.column_stack([z, np.full(6, 30.0), np.full(6, 30.0), np.full(6, 2.5)])
    spacing = np.array([2.0, 1.0, 1.0])
    return Skull(name, volume.astype(np.float16), spacing, {Artery.ICA_R: line}, labels)


def _stream(config=CONFIG, seed=1, skull=None):
    return WindowStream({"made": skull or _skull()}, {"made": 1.0}, config, device=CPU, seed=seed)


def test_the_same_seed_gives_the_same_windows_and_another_seed_others():
    first, again, other = (_stream(seed=s).batch(4) for s in (5, 5, 6))
    assert torch.equal(first.hu, again.hu) and torch.equal(first.label, again.label)
    assert not torch.equal(first.hu, other.hu)


def test_labels_lie_on_slices_at_130_hu_and_above():
    made = _stream().batch(24)
    labelled = (made.label * made.weight) > 0.5
    assert labelled.sum() > 100
    assert float(made.hu[labelled].min()) >= 130.0
    assert float(made.hu[made.weight > 0.5].min()) >= 115.0


def test_nothing_is_labelled_without_implants_though_bone_and_folds_are_bright():
    hu = np.full((40, 60, 60), 40.0)
    hu[:, 20:26] = 900.0
    config = replace(CONFIG, empty_share=1.0, lesions=1, dura_share=1.0)
    made = _stream(config, skull=_skull(hu)).batch(16)
    assert float((made.hu >= 130.0).sum()) > 1000
    assert float(made.label.sum()) == 0.0


def test_implants_lie_in_the_wall_of_the_artery():
    quiet = replace(CONFIG, warp_mm=0.0, line_jitter_mm=0.0, noise_hu=(0.1, 0.2), dura_share=0.0)
    made = _stream(quiet).batch(32)
    labelled = (made.label * made.weight) > 0.5
    far = made.distance_mm[labelled]
    # radius 2.5 mm varied to 1.25 times, half a shell of 2.2 mm, ragged; then blur and slices
    assert float(far.quantile(0.95)) < 2.5 * 1.25 + 2.2 + 1.5
    assert 1.0 < float(far.median()) < 4.5


def test_the_readers_labels_of_a_head_move_with_its_anatomy():
    hu = np.full((40, 60, 60), 40.0)
    labels = np.zeros(hu.shape, np.uint8)
    hu[15:25, 28:32, 32:35], labels[15:25, 28:32, 32:35] = 700.0, 1
    still = {"dura_share": 0.0, "away_share": 0.0, "bone_edge_hu": 0.0, "bone_gain": (0.99, 1.01)}
    config = replace(CONFIG, empty_share=1.0, lesions=1, noise_hu=(1.0, 2.0), sharpen=0.0, **still)
    made = _stream(config, skull=_skull(hu, labels)).batch(24)
    labelled = (made.label * made.weight) > 0.5
    bright = (made.weight > 0.5) & (made.hu > 480.0)  # two thirds calcium or more
    assert labelled.sum() > 200
    assert float(labelled[bright].float().mean()) > 0.9


def test_voxels_on_which_readers_disagree_count_neither_way():
    hu = np.full((40, 60, 60), 40.0)
    labels = np.zeros(hu.shape, np.uint8)
    hu[10:30, 24:36, 32:44], labels[10:30, 24:36, 32:44] = 700.0, 2
    config = replace(CONFIG, empty_share=1.0, lesions=1, dura_share=0.0, bone_gain=(0.99, 1.01))
    made = _stream(config, skull=_skull(hu, labels)).batch(8)
    assert float(made.weight[made.hu > 500.0].mean()) < 0.1


def test_windows_come_in_the_size_that_is_asked_for():
    made = _stream().batch(2, (16, 48, 32))
    for volume in (made.hu, made.label, made.weight, made.distance_mm):
        assert volume.shape == (2, 16, 48, 32)


def test_gas_in_the_lumen_becomes_blood_and_air_elsewhere_stays():
    hu = np.full((40, 60, 60), 40.0, np.float32)
    hu[:, 28:33, 28:33] = -900.0
    hu[:, 50:55, 50:55] = -900.0
    skull = _skull()
    filled = fill_lumina(hu, skull.spacing_mm, skull.lines)
    assert filled[20, 30, 30] == pytest.approx(42.0)
    assert (filled[20, 51:54, 51:54] == -900.0).all()


def test_a_dense_line_passes_through_the_points_it_was_given():
    line = np.array([[0.0, 0, 0, 2], [3, 4, 0, 2], [3, 4, 12, 4]])
    dense = densify(line, 0.25)
    assert len(dense) == 17 / 0.25 + 1
    for point in line:
        assert np.abs(dense - point).sum(axis=1).min() < 1e-6


def test_a_cached_skull_reads_back_as_it_was(tmp_path):
    skull = _skull(labels=np.ones((40, 60, 60), np.uint8))
    skull.save(tmp_path / "made.npz")
    again = Skull.load(tmp_path / "made.npz")
    assert again.name == "made" and np.array_equal(again.hu, skull.hu)
    assert np.array_equal(again.lines[Artery.ICA_R], skull.lines[Artery.ICA_R])
    assert np.array_equal(again.labels, skull.labels)
