"""Heads whose values were scaled, stripped or clipped, and heads whose were not."""

import heads
import numpy as np
import pytest

from iac_cli.errors import Severity, Word
from iac_cli.geometry.volume import Volume
from iac_cli.locate.hounsfield import air_mode, judge_ceiling, judge_scale
from iac_cli.settings import CheckSettings

LIMITS = CheckSettings()


@pytest.fixture(scope="module")
def head() -> Volume:
    """A head with noise and bone between 300 and 2300 HU."""
    grid = heads.head_grid(step_mm=8.0)
    hu, rng = heads.head_hu(grid), np.random.default_rng(2)
    bone = hu == heads.SKULL_HU
    hu[bone] = rng.uniform(300, 2300, int(bone.sum()))
    return Volume(np.maximum(hu + rng.normal(0, 8, hu.shape), -1024).astype(np.float32), grid)


def changed(head: Volume, change) -> Volume:
    return Volume(np.maximum(change(np.array(head.hu)), -1024).astype(np.float32), head.grid)


def test_a_head_in_hu_has_nothing_to_tell(head: Volume) -> None:
    assert judge_scale(head, LIMITS) is None
    assert judge_ceiling(head, LIMITS) is None
    assert air_mode(head.hu) == pytest.approx(-1000, abs=3)


def padded(hu: np.ndarray) -> np.ndarray:
    hu[:, :, :20] = hu[:, :, -20:] = -1024
    return hu


def empty_edges(hu: np.ndarray) -> np.ndarray:
    hu[:, -1] = hu[:, :, -1] = 0
    return hu


FINE = {
    "padding": padded,
    "offset of a scanner": lambda hu: hu - 15,
    "last row and column empty": empty_edges,
    "background set to air": lambda hu: np.where(hu < -500, -1000, hu),
    "clipped at -1000": lambda hu: np.maximum(hu, -1000),
}


@pytest.mark.parametrize("name", FINE)
def test_air_may_be_padded_or_clipped(name: str, head: Volume) -> None:
    assert judge_scale(changed(head, FINE[name]), LIMITS) is None


WRONG = {
    "slope 0.5": lambda hu: hu * 0.5,
    "slope 0.8": lambda hu: hu * 0.8,
    "offset 150": lambda hu: hu + 150,
    "background 0": lambda hu: np.where(hu < -500, 0, hu),
    "padding and slope 0.5": lambda hu: padded(hu) * 0.5,
}


@pytest.mark.parametrize("name", WRONG)
def test_air_elsewhere_is_no_hu(name: str, head: Volume) -> None:
    finding = judge_scale(changed(head, WRONG[name]), LIMITS)
    assert finding is not None
    assert finding.word == Word.HU_SCALE_WRONG


@pytest.mark.parametrize(
    ("ceiling_hu", "word", "severity"),
    [
        (200, Word.HU_CLIPPED, Severity.WARNING),
        (999, Word.HU_CLIPPED, Severity.WARNING),
        (1200, Word.HU_CEILING, Severity.WARNING),
        (1600, Word.HU_CEILING, Severity.INFO),
    ],
)
def test_a_ceiling_is_refused_or_told(ceiling_hu, word, severity, head: Volume) -> None:
    finding = judge_ceiling(changed(head, lambda hu: np.minimum(hu, ceiling_hu)), LIMITS)
    assert finding is not None
    assert (finding.word, finding.severity) == (word, severity)


def test_the_ceiling_of_a_12_bit_scanner_is_its_own(head: Volume) -> None:
    bright = changed(head, lambda hu: np.minimum(hu * np.where(hu > 0, 2, 1), 3071))
    assert (bright.hu == 3071).sum() > 1000
    assert judge_ceiling(bright, LIMITS) is None
