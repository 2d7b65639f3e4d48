import heads
import numpy as np
import pytest

from iac_cli.errors import Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery
from iac_cli.geometry.volume import Volume
from iac_cli.locate.arteries import Arteries
from iac_cli.locate.checks import (
    is_reason,
    judge_case,
    judge_contrast,
    judge_coverage,
    judge_gaps,
    judge_head,
    judge_increment,
    judge_metal,
)
from iac_cli.locate.head import make_coarse_head
from iac_cli.settings import CheckSettings

LIMITS = CheckSettings()


def arteries(**siphons: bool) -> Arteries:
    inside = {Artery.ICA_R: True, Artery.ICA_L: True} | {Artery(k): v for k, v in siphons.items()}
    lines = heads.lines()
    return Arteries(lines, dict.fromkeys(Artery, True), dict.fromkeys(Artery, 1.0), siphons=inside)


def words_for(volume: Volume) -> list[Word]:
    return [
        finding.word for finding in judge_head(volume, make_coarse_head(volume, 4.0, 400.0), LIMITS)
    ]


def ellipse_body(half_axes_mm, hu: float, parts=()) -> Volume:
    """A body of one density, with (half axes, centre, HU) inside."""
    grid = Grid.regular((40, 90, 110), spacing_mm=(4, 4, 4), origin_mm=(-220, -180, -80))
    points = heads.world_of(grid)
    volume = np.full(grid.shape, -1000.0, np.float32)
    volume[heads.inside(points, half_axes_mm)] = hu
    for half_axes, centre, value in parts:
        volume[heads.inside(points, half_axes, centre)] = value
    return Volume(volume, grid)


def test_head_is_a_head() -> None:
    assert words_for(heads.head()) == []
    assert words_for(heads.head(heads.head_grid(tilt_deg=18.5))) == []
    assert words_for(heads.head(heads.head_grid(step_mm=7.0))) == []


def test_head_in_a_small_field_of_view_is_a_head() -> None:
    grid = heads.head_grid()
    whole = heads.head(grid)
    part = whole.hu[:, 20:-20, 25:-25]
    moved = grid.positions_mm + 25 * grid.row_axis + 20 * grid.column_axis
    small = Grid(part.shape, moved, grid.row_axis, grid.column_axis, grid.pixel_mm, grid.extents_mm)
    assert words_for(Volume(part, small)) == []


def test_air_and_water_are_no_head() -> None:
    grid = heads.head_grid()
    for hu, also in ((-1000.0, []), (0.0, [Word.HU_SCALE_WRONG]), (1500.0, [Word.HU_SCALE_WRONG])):
        block = Volume(np.full(grid.shape, hu, np.float32), grid)
        assert words_for(block) == [*also, Word.NOT_A_HEAD]


@pytest.mark.parametrize(
    ("brain_hu", "words"),
    [(10.0, [Word.BRAIN_HU_UNUSUAL]), (25.0, []), (40.0, []), (60.0, [Word.BRAIN_HU_UNUSUAL])],
)
def test_an_unusual_brain_is_told_and_no_reason(brain_hu: float, words: list[Word]) -> None:
    volume = heads.head(brain_hu=brain_hu)
    found = judge_head(volume, make_coarse_head(volume, 4.0, 400.0), LIMITS)
    assert [finding.word for finding in found] == words
    assert not any(map(is_reason, found))


def test_skull_that_holds_air_is_no_head_and_told_so() -> None:
    volume = heads.head(brain_hu=-1000.0)
    (finding,) = judge_head(volume, make_coarse_head(volume, 4.0, 400.0), LIMITS)
    assert finding.word == Word.NOT_A_HEAD
    assert "holds air" in finding.what
    assert is_reason(finding)


def test_chest_is_no_head() -> None:
    spine = ((15, 15, 200), (0, 90, 0), 700.0)
    lungs = [((55, 80, 75), (x, 0, 0), -800.0) for x in (-70, 70)]
    ribs = [
        ((6, 6, 200), (150 * np.cos(a), 105 * np.sin(a), 0), 700.0)
        for a in np.linspace(0, 2 * np.pi, 14)
    ]
    assert words_for(ellipse_body((160, 115, 300), 30.0, [spine, *lungs, *ribs])) == [
        Word.NOT_A_HEAD
    ]


def test_abdomen_inside_a_ring_of_fat_is_no_head() -> None:
    pelvis = ((130, 90, 60), (0, 0, 0), 800.0), ((120, 80, 60), (0, 0, 0), -100.0)
    assert words_for(ellipse_body((170, 120, 300), -100.0, pelvis)) == [Word.NOT_A_HEAD]


def test_knee_is_no_head() -> None:
    bone = ((35, 30, 300), (0, 0, 0), 900.0), ((28, 24, 300), (0, 0, 0), 30.0)
    assert words_for(ellipse_body((60, 60, 300), 40.0, bone)) == [Word.NOT_A_HEAD]


def test_siphon_outside_the_scan_is_a_reason() -> None:
    assert judge_coverage(arteries()) is None
    finding = judge_coverage(arteries(**{"ICA-L": False}))
    assert finding is not None
    assert finding.word == Word.HEAD_NOT_COVERED
    assert "ICA-L" in finding.what


@pytest.mark.parametrize(
    ("gap", "is_missing"),
    [
        ((-20.0, -10.0), True),
        ((30.0, 50.0), False),
        ((-79.0, -70.0), False),
        ((-49.0, -47.5), True),
    ],
)
def test_gap_counts_where_arteries_run(gap, is_missing: bool) -> None:
    finding = judge_gaps(heads.head_grid(), arteries(), [gap], LIMITS)
    assert (finding is not None) == is_missing
    assert finding is None or finding.word == Word.MISSING_SLICES


@pytest.mark.parametrize(("step_mm", "is_thick"), [(7.5, False), (7.6, True), (10.0, True)])
def test_increment_at_the_arteries_has_a_limit(step_mm: float, is_thick: bool) -> None:
    finding = judge_increment(heads.head_grid(step_mm=step_mm), arteries(), LIMITS)
    assert (finding is not None) == is_thick
    assert finding is None or finding.word == Word.TOO_THICK


def test_increment_elsewhere_has_none() -> None:
    offsets = np.concatenate([np.arange(-80, 10, 4.0), [30.0, 50.0, 70.0]])
    positions = np.zeros((len(offsets), 3))
    positions[:, 2] = offsets
    axes = np.eye(3)
    grid = Grid(
        (len(offsets), 4, 4), positions, axes[0], axes[1], (1.0, 1.0), np.ones(len(offsets))
    )
    assert judge_increment(grid, arteries(), LIMITS) is None


@pytest.mark.parametrize("step_mm", [2.5, 5.0])
@pytest.mark.parametrize(
    ("lumen_hu", "is_enhanced"), [(45.0, False), (75.0, False), (180.0, True), (350.0, True)]
)
def test_contrast_is_told_from_blood(lumen_hu: float, is_enhanced: bool, step_mm: float) -> None:
    volume = heads.head(heads.head_grid(step_mm=step_mm, pixel_mm=1.0), lumen_hu=lumen_hu)
    rng = np.random.default_rng(0)
    noisy = Volume((volume.hu + rng.normal(0, 8, volume.hu.shape)).astype(np.float32), volume.grid)
    finding = judge_contrast(noisy, arteries(), LIMITS)
    assert (finding is not None) == is_enhanced
    assert finding is None or finding.word == Word.CONTRAST_SUSPECTED


def test_calcification_of_single_arteries_is_no_contrast() -> None:
    volume = heads.head()
    for centre in ([-20, -17, -2], [20, -17, -2], [0, 8, -20]):
        volume = heads.with_ball(volume, centre, 4.0, 600.0)
    assert judge_contrast(volume, arteries(), LIMITS) is None


def test_metal_near_the_arteries_is_a_reason_and_elsewhere_a_warning() -> None:
    volume = heads.head()
    assert judge_metal(volume, arteries(), LIMITS) is None
    clip = judge_metal(heads.with_ball(volume, [-14, -12, -20], 3.0, 3071.0), arteries(), LIMITS)
    tooth = judge_metal(heads.with_ball(volume, [0, -70, -60], 5.0, 3071.0), arteries(), LIMITS)
    assert clip is not None
    assert clip.word == Word.ARTEFACT_SEVERE
    assert is_reason(clip)
    assert tooth is not None
    assert tooth.word == Word.METAL_SUSPECTED
    assert not is_reason(tooth)


def test_plain_head_has_no_finding() -> None:
    assert judge_case(heads.head(), arteries(), (), LIMITS) == ()
