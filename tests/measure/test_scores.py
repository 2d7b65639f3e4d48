"""Scores in all and by artery: totals, coverage, threshold sensitivity, findings."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from iac_cli.errors import Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, IcaSegment
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.measure.lesions import find_lesions
from iac_cli.measure.scores import Scores, left_out_finding, score

SHAPE = (8, 20, 20)
GRID = Grid.regular(SHAPE, spacing_mm=(3.0, 1.0, 1.0))

BLOCKS = {
    # first voxel (slice, row, column): (size, HU, artery, segment); voxels of 3 mm3
    (1, 2, 2): ((1, 2, 2), 150.0, Artery.ICA_R, IcaSegment.PETROUS),
    (1, 8, 2): ((1, 2, 2), 250.0, Artery.ICA_R, IcaSegment.CAVERNOUS),
    (3, 2, 8): ((2, 2, 2), 350.0, Artery.ICA_L, IcaSegment.SUPRACLINOID),
    (5, 8, 8): ((1, 1, 3), 450.0, Artery.V4_L, None),
}


@dataclass(frozen=True)
class Place:
    artery: Artery
    segment: IcaSegment | None
    distance_mm: float = 1.0


@dataclass(frozen=True)
class Cover:
    absent: tuple[Artery, ...] = ()
    covered: dict[Artery, bool] = field(init=False)

    def __post_init__(self) -> None:
        covered = {artery: artery not in self.absent for artery in Artery}
        object.__setattr__(self, "covered", covered)


def volume_of_blocks() -> Volume:
    hu = np.full(SHAPE, 40.0, dtype=np.float32)
    for first, (size, value, _, _) in BLOCKS.items():
        hu[tuple(slice(f, f + n) for f, n in zip(first, size, strict=True))] = value
    return Volume(hu, GRID)


def places(points_mm: np.ndarray) -> list[Place]:
    """The block that holds each point."""
    answers = []
    for s, r, c in np.round(GRID.to_index(points_mm)).astype(int):
        for first, (size, _, artery, segment) in BLOCKS.items():
            inside = [f <= i < f + n for f, i, n in zip(first, (s, r, c), size, strict=True)]
            if all(inside):
                answers.append(Place(artery, segment))
    return answers


def scored(arteries: Cover | None = Cover(), kvp: float | None = 120.0, **options) -> Scores:  # noqa: B008
    volume = volume_of_blocks()
    mask = Mask(volume.hu > 100, volume.grid)
    found = find_lesions(volume, mask, places=places if arteries else None)
    return score(found, volume, arteries, kvp, **options)


def of(scores: Scores, artery: Artery):
    return next(one for one in scores.arteries if one.artery is artery)


def test_totals_by_hand() -> None:
    scores = scored()
    assert scores.n_lesions == 4
    assert scores.volume_mm3 == pytest.approx(3 * (4 + 4 + 8 + 3))
    assert scores.ica_volume_mm3 == pytest.approx(3 * (4 + 4 + 8))
    assert scores.siphon_volume_mm3 == pytest.approx(3 * (4 + 8))
    assert scores.agatston == pytest.approx(4 * 1 + 4 * 2 + 8 * 3 + 3 * 4)
    assert scores.hu_mm3 == pytest.approx(3 * (4 * 150 + 4 * 250 + 8 * 350 + 3 * 450))
    assert scores.log1p_volume == pytest.approx(np.log(1 + 57))
    assert scores.measured
    assert scores.findings == ()


def test_scores_by_artery_by_hand_and_zero_where_nothing_was_found() -> None:
    scores = scored()
    assert [one.artery for one in scores.arteries] == list(Artery)
    right = of(scores, Artery.ICA_R)
    assert (right.volume_mm3, right.agatston, right.n_lesions) == (24.0, 12.0, 2)
    assert of(scores, Artery.V4_L).hu_mm3 == pytest.approx(3 * 3 * 450)
    basilar = of(scores, Artery.BA)
    assert (basilar.covered, basilar.volume_mm3, basilar.n_lesions) == (True, 0.0, 0)
    assert sum(one.volume_mm3 for one in scores.arteries) == pytest.approx(scores.volume_mm3)


def test_an_artery_outside_the_scan_is_null_and_the_total_a_lower_bound() -> None:
    scores = scored(Cover((Artery.V4_L, Artery.V4_R)))
    outside = of(scores, Artery.V4_L)
    assert outside.covered is False
    assert (outside.volume_mm3, outside.agatston, outside.hu_mm3, outside.n_lesions) == (None,) * 4
    assert scores.volume_mm3 == pytest.approx(57.0)
    assert [finding.word for finding in scores.findings] == [Word.ARTERY_NOT_COVERED]
    assert "V4-R, V4-L" in scores.findings[0].what


def test_without_both_siphons_nothing_is_measured() -> None:
    scores = scored(Cover((Artery.ICA_L,)))
    assert not scores.measured
    assert [reason.word for reason in scores.reasons] == [Word.HEAD_NOT_COVERED]
    assert scores.volume_mm3 is None
    assert scores.agatston is None
    assert scores.n_lesions is None
    assert all(one.volume_mm3 is None for one in scores.arteries)
    assert of(scores, Artery.ICA_R).covered is True
    assert scores.lesions == ()


def test_a_whole_siphon_below_which_the_artery_leaves_the_scan_is_measured() -> None:
    siphons = {Artery.ICA_L: True, Artery.ICA_R: True}
    scores = scored(Cover((Artery.ICA_L,)), siphons=siphons)
    assert scores.measured
    assert scores.ica_volume_mm3 is None
    assert scores.siphon_volume_mm3 == pytest.approx(36.0)
    assert of(scores, Artery.ICA_L).volume_mm3 is None
    assert of(scores, Artery.ICA_R).volume_mm3 == pytest.approx(24.0)


def test_without_arteries_only_totals_exist() -> None:
    scores = scored(None)
    assert scores.volume_mm3 == pytest.approx(57.0)
    assert scores.n_lesions == 4
    assert scores.ica_volume_mm3 is None
    assert scores.siphon_volume_mm3 is None
    assert all((one.covered, one.volume_mm3) == (None, None) for one in scores.arteries)
    assert scores.findings == ()


def test_a_healthy_head_scores_zero_not_null() -> None:
    volume = Volume(np.full(SHAPE, 40, dtype=np.float32), GRID)
    empty = Mask(np.zeros(SHAPE, dtype=bool), GRID)
    scores = score(find_lesions(volume, empty), volume, Cover(), 120.0, likely=empty)
    assert (scores.volume_mm3, scores.agatston, scores.n_lesions) == (0.0, 0.0, 0)
    assert scores.log1p_volume == 0.0
    assert [one.volume_mm3 for one in scores.thresholds] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("kvp", "expected"),
    [
        (120.0, 4 * 1 + 4 * 2 + 8 * 3 + 3 * 4),
        (100.0, 4 * 1 + 4 * 2 + 8 * 3 + 3 * 4),
        (80.0, 0 + 4 * 1 + 8 * 2 + 3 * 3),
        (70.0, 0 + 4 * 1 + 8 * 2 + 3 * 2),
        (135.0, 4 * 1 + 4 * 2 + 8 * 3 + 3 * 4),
        (140.0, None),
        (None, None),
    ],
)
def test_kvp_adjusted_score_by_hand(kvp: float | None, expected: float | None) -> None:
    scores = scored(kvp=kvp)
    assert scores.agatston == pytest.approx(48)
    assert scores.agatston_kvp == (None if expected is None else pytest.approx(expected))
    assert of(scores, Artery.BA).agatston_kvp == (None if expected is None else 0.0)


def test_threshold_sensitivity_takes_the_likely_voxels_and_the_same_rules() -> None:
    volume = Volume(
        np.where(np.arange(20) % 20 < 4, 120.0, 140.0).astype(np.float32)
        * np.ones(SHAPE, dtype=np.float32),
        GRID,
    )
    likely = np.zeros(SHAPE, dtype=bool)
    likely[2, 5, 2:6] = True  # two voxels of 120 HU, two of 140 HU
    likely[4, 5, 3:5] = True  # one of each: at 130 HU a single voxel, left out
    likely[6, 5, 9] = True  # a single voxel at every threshold
    found = find_lesions(volume, Mask(likely, GRID))
    scores = score(found, volume, None, 120.0, likely=Mask(likely, GRID))
    told = [(one.threshold_hu, one.volume_mm3, one.n_lesions) for one in scores.thresholds]
    assert told == [(110.0, 18.0, 2), (130.0, 6.0, 1), (160.0, 0.0, 0)]
    assert scores.volume_mm3 == 6.0


def test_a_supplied_mask_has_no_threshold_sensitivity() -> None:
    assert scored().thresholds is None


@pytest.mark.parametrize(("peak_hu", "is_told"), [(1499.0, False), (1500.0, True), (2076.0, True)])
def test_a_lesion_as_bright_as_averaged_metal_is_told(peak_hu: float, is_told: bool) -> None:
    hu = np.full(SHAPE, 40.0, dtype=np.float32)
    hu[3, 5, 5:8] = (400.0, peak_hu, 400.0)
    hu[6, 9, 5:8] = 900.0
    volume = Volume(hu, GRID)
    scores = score(find_lesions(volume, Mask(hu > 130.0, GRID)), volume, None, 120.0)
    words = [finding.word for finding in scores.findings]
    assert words == ([Word.LESION_VERY_DENSE] if is_told else [])
    assert scores.volume_mm3 == pytest.approx(6 * 3)  # told, and still counted
    if is_told:
        what = scores.findings[0].what
        assert f"{peak_hu:.0f} HU" in what
        assert "lesion 1:" in what or "lesion 2:" in what
        assert "1, 2" not in what


def test_lesions_at_the_border_and_far_from_arteries_are_told() -> None:
    volume = volume_of_blocks()
    hu = volume.hu.copy()
    hu[0, 15, 15:17] = 200
    volume = Volume(hu, GRID)

    def far(points_mm: np.ndarray) -> list[Place]:
        return [Place(Artery.BA, None, 40.0) for _ in points_mm]

    found = find_lesions(volume, Mask(volume.hu > 100, GRID), places=far)
    scores = score(found, volume, Cover(), 120.0)
    words = [finding.word for finding in scores.findings]
    assert words == [Word.LESION_AT_EDGE, Word.LESION_FAR_FROM_ARTERIES]
    assert "lesion 1:" in scores.findings[0].what
    assert scores.volume_mm3 == pytest.approx(57 + 6)
    assert of(scores, Artery.BA).volume_mm3 == 0.0


def test_what_a_supplied_mask_lost_is_told_in_numbers() -> None:
    volume = volume_of_blocks()
    voxels = volume.hu > 100
    clean = find_lesions(volume, Mask(voxels, GRID))
    assert left_out_finding(clean) is None
    voxels[0, :2] = True  # 40 voxels of 40 HU
    hu = volume.hu.copy()
    hu[7, 19, 19] = 900
    voxels[7, 19, 19] = True
    volume = Volume(hu, GRID)
    finding = left_out_finding(find_lesions(volume, Mask(voxels, GRID)))
    assert finding.word is Word.MASK_VOXELS_LEFT_OUT
    assert "41 supplied voxels left out: 40 below 130 HU, 1 without" in finding.what


@pytest.mark.parametrize("factor", [2, 3])
def test_a_finer_grid_of_the_same_head_has_the_same_volume(factor: int) -> None:
    coarse = volume_of_blocks()
    hu = coarse.hu.repeat(factor, 0).repeat(factor, 1).repeat(factor, 2)
    spacing_mm = (3.0 / factor, 1.0 / factor, 1.0 / factor)
    fine = Volume(hu, Grid.regular(hu.shape, spacing_mm=spacing_mm))
    for volume in (coarse, fine):
        found = find_lesions(volume, Mask(volume.hu > 100, volume.grid))
        scores = score(found, volume, None, 120.0)
        assert scores.volume_mm3 == pytest.approx(57.0)
        assert scores.hu_mm3 == pytest.approx(scored().hu_mm3)
        assert scores.agatston == pytest.approx(48.0)


def test_a_rolled_grid_has_the_same_scores() -> None:
    straight = scored(None)
    angle = np.radians(17.0)
    row, column = (np.cos(angle), np.sin(angle), 0), (-np.sin(angle), np.cos(angle), 0)
    rolled = Grid.regular(SHAPE, spacing_mm=(3.0, 1.0, 1.0), row_axis=row, column_axis=column)
    volume = Volume(volume_of_blocks().hu, rolled)
    found = find_lesions(volume, Mask(volume.hu > 100, rolled))
    turned = score(found, volume, None, 120.0)
    assert turned.volume_mm3 == pytest.approx(straight.volume_mm3)
    assert turned.agatston == pytest.approx(straight.agatston)
