"""Noise in the brain, against noise that was put there."""

from pathlib import Path

import heads
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from iac_cli.dicom.read import read_series
from iac_cli.errors import Word
from iac_cli.locate.noise import judge_noise, noise_hu
from iac_cli.settings import CheckSettings


def test_white_noise_comes_back() -> None:
    hu = heads.head_hu(heads.head_grid(step_mm=8.0))
    noise = np.random.default_rng(1).normal(0, 30, hu.shape)
    assert noise_hu((hu + noise).astype(np.float32)) == pytest.approx(30, rel=0.1)


def test_correlated_noise_comes_back_but_for_what_a_small_block_does_not_see() -> None:
    hu = heads.head_hu(heads.head_grid(step_mm=8.0))
    noise = gaussian_filter(np.random.default_rng(1).normal(0, 1, hu.shape), (0, 0.7, 0.7))
    found = noise_hu((hu + 12 * noise / noise.std()).astype(np.float32))
    assert found is not None
    assert 0.75 * 12 < found < 12


def test_without_a_brain_nothing_is_said() -> None:
    air = np.full((20, 64, 64), -1000, np.float32)
    assert noise_hu(air) is None
    assert judge_noise(air, CheckSettings()) is None


HEADS = ("head_ge_tilted", "head_pet_ct", "head_healthy/head.nii.gz", "head_cadaver/head.nii.gz")


@pytest.mark.parametrize("head", HEADS)
def test_a_real_head_is_told_when_noise_is_added(head: str, data_dir: Path) -> None:
    hu = read_series(data_dir / head).volume.hu
    own = noise_hu(hu)
    assert own is not None and own < 10
    assert judge_noise(hu, CheckSettings()) is None
    added = np.random.default_rng(0).normal(0, 35, hu.shape).astype(np.float32)
    assert noise_hu(hu + added) == pytest.approx(np.hypot(own, 35), rel=0.1)
    finding = judge_noise(hu + added, CheckSettings())
    assert finding is not None and finding.word == Word.IMAGE_NOISY
