from dataclasses import replace
from pathlib import Path

import heads
import numpy as np
import pytest
from numpy.testing import assert_allclose
from tiny_models import place_locator

from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery, CentreLine, IcaSegment
from iac_cli.geometry.volume import Volume
from iac_cli.infer.models import load_locator
from iac_cli.locate.arteries import Arteries
from iac_cli.locate.decode import KeypointsFound, decode
from iac_cli.locate.head import TISSUE_HU, imaged_mm, make_coarse_head, make_near_head
from iac_cli.locate.keypoints import NEAR_LOWERED_MM, keypoints
from iac_cli.locate.locator import (
    NEAR_CELLS,
    catmull_rom,
    join_keypoints,
    locate_arteries,
    locate_in_head,
)
from iac_cli.settings import LocateSettings, RunSettings


def found(points, p) -> KeypointsFound:
    return KeypointsFound(np.array(points, float), np.array(p, float))


def test_softmax_over_all_cells_and_absent() -> None:
    logits = np.log(np.array([1.0, 2.0, 3.0, 2.0]).reshape(1, 1, 1, 4)).astype(np.float32)
    answer = decode(logits, np.log(np.array([2.0])).astype(np.float32))
    assert_allclose(answer.p_present, [8 / 10], rtol=1e-6)
    assert_allclose(answer.cells[0], [0, 0, (1 * 0 + 2 * 1 + 3 * 2 + 2 * 3) / 8], rtol=1e-6)


def test_position_is_the_mean_near_the_maximum_alone() -> None:
    logits = np.full((1, 9, 9, 9), -50.0, np.float32)
    logits[0, 4, 4, 4], logits[0, 4, 4, 6], logits[0, 0, 0, 0] = 3.0, 3.0, 2.9
    answer = decode(logits, np.array([-50.0], np.float32))
    assert_allclose(answer.cells[0], [4, 4, 5], atol=1e-6)


def test_huge_logits_do_not_overflow() -> None:
    logits = np.full((2, 2, 2, 2), -3e4, np.float32)
    logits[0, 1, 1, 1] = 3e4
    answer = decode(logits, np.array([-3e4, 3e4], np.float32))
    assert_allclose(answer.p_present, [1, 0])
    assert np.isfinite(answer.cells).all()


def test_curve_passes_through_its_points_and_keeps_straight_lines() -> None:
    knots = np.array([0.0, 1.0, 3.0, 4.0])
    points = np.random.default_rng(0).normal(size=(4, 3))
    assert_allclose(catmull_rom(points, knots, knots), points, atol=1e-12)
    straight = knots[:, None] * np.array([[1.0, 2.0, -1.0]])
    wanted = np.linspace(0, 4, 17)
    assert_allclose(
        catmull_rom(straight, knots, wanted), wanted[:, None] * [[1.0, 2.0, -1.0]], atol=1e-12
    )


def test_artery_with_an_absent_point_is_not_covered_but_has_a_line() -> None:
    points = [("BA", 0.0), ("BA", 1 / 3), ("BA", 2 / 3), ("BA", 1.0), ("M1-R", 0.0), ("M1-R", 1.0)]
    names = [(Artery(name), fraction) for name, fraction in points]
    places = [[0, 0, 0], [0, 0, 10], [0, 0, 20], [0, 0, 30], [5, 0, 0], [9, 0, 0]]
    answer = join_keypoints(found(places, [0.1, 0.9, 0.9, 0.9, 0.9, 0.2]), names, LocateSettings())
    assert not answer.covered[Artery.BA]
    assert not answer.covered[Artery.M1_R]
    assert set(answer.lines) == {Artery.BA}
    assert_allclose(answer.lines[Artery.BA].points_mm[[0, -1]], [[0, 0, 10], [0, 0, 30]])
    assert_allclose(answer.confidence[Artery.BA], 0.7)
    assert answer.confidence[Artery.P1_L] == 0.0


def test_part_of_an_ica_knows_which_part_it_is() -> None:
    """The lower half lies outside: a place at the line's start is cavernous, not petrous."""
    names = [(Artery.ICA_R, i / 8) for i in range(9)]
    places = [[0, 0, 10.0 * i] for i in range(9)]
    p = [0, 0, 0, 0, 1, 1, 1, 1, 1]
    answer = join_keypoints(found(places, p), names, LocateSettings())
    assert not answer.siphons[Artery.ICA_R]  # its lower end may have been drawn inwards
    from_petrous = join_keypoints(found(places, [0, 0, *[1] * 7]), names, LocateSettings())
    assert from_petrous.siphons[Artery.ICA_R]
    assert not from_petrous.covered[Artery.ICA_R]
    assert not answer.siphons[Artery.ICA_L]
    assert not answer.covered[Artery.ICA_R]
    segments = [
        place.segment for place in answer.places(np.array([[1.0, 0, 41], [0, 0, 68], [0, 0, 80]]))
    ]
    assert segments == [
        IcaSegment.CAVERNOUS,
        IcaSegment.CLINOID_OPHTHALMIC,
        IcaSegment.SUPRACLINOID,
    ]


def test_place_is_the_nearest_line() -> None:
    courses = {
        Artery.M1_R: CentreLine(Artery.M1_R, np.array([[-5.0, 0, 0], [-25, 0, 0]]), np.ones(2)),
        Artery.M1_L: CentreLine(Artery.M1_L, np.array([[5.0, 0, 0], [25, 0, 0]]), np.ones(2)),
    }
    arteries = Arteries(courses, {}, {})
    places = arteries.places(np.array([[-10.0, 3, 0], [30, 0, 0], [0.1, 0, 0]]))
    assert [place.artery for place in places] == [Artery.M1_R, Artery.M1_L, Artery.M1_L]
    assert_allclose([place.distance_mm for place in places], [3, 5, 4.9], atol=0.3)
    assert Arteries({}, {}, {}).places(np.zeros((2, 3))) == []


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A locator that knows where the phantom's arteries run (its middle is the origin)."""
    lines = heads.lines()
    places = [lines[artery].at_fractions([fraction])[0][::-1] for artery, fraction in keypoints()]
    names = [(artery.value, fraction) for artery, fraction in keypoints()]
    return place_locator(tmp_path_factory.mktemp("oracle"), names, np.array(places))


@pytest.mark.parametrize(
    "grid",
    [
        heads.head_grid(),
        heads.head_grid(step_mm=1.5, pixel_mm=2.0),
        heads.head_grid(tilt_deg=18.5),
        heads.head_grid(tilt_deg=-12.0),
    ],
    ids=["straight", "thin", "tilted", "tilted_back"],
)
def test_arteries_are_found_whatever_the_slices(oracle: Path, grid) -> None:
    locator = load_locator(oracle, RunSettings(device="cpu", threads=1))
    arteries = locate_arteries(heads.head(grid), locator)
    assert all(arteries.covered.values())
    truth = heads.lines()
    for artery, line in arteries.lines.items():
        wanted = truth[artery].resampled(0.25).points_mm
        gaps = np.linalg.norm(line.points_mm[:, None] - wanted[None], axis=2)
        assert gaps.min(axis=1).max() < 3.0
        assert gaps.min(axis=0).max() < 3.0


def test_what_lies_below_the_scan_is_not_covered(oracle: Path) -> None:
    locator = load_locator(oracle, RunSettings(device="cpu", threads=1))
    whole = locate_arteries(heads.head(), locator)
    assert whole.siphons == {Artery.ICA_R: True, Artery.ICA_L: True}
    cut = make_coarse_head(heads.head(), 4.0, 400.0)
    grid = heads.head_grid(low_mm=-16.0)  # the locator still sees the whole head
    hidden = locate_in_head(cut, grid, locator, LocateSettings()).arteries
    assert hidden.siphons == {Artery.ICA_R: False, Artery.ICA_L: False}
    assert not hidden.covered[Artery.V4_R]
    assert Artery.V4_R not in hidden.lines
    assert hidden.covered[Artery.M1_L]


@pytest.mark.parametrize("step_mm", [1.5, 4.0])
def test_an_artery_cut_by_the_border_is_not_covered(oracle: Path, step_mm: float) -> None:
    """The V4's lower ends lie at -45 mm: 5 mm above the lowest slice is too near to be sure."""
    locator = load_locator(oracle, RunSettings(device="cpu", threads=1))
    head = make_coarse_head(heads.head(), 4.0, 400.0)
    for low_mm, covered in ((-60.0, True), (-50.0, False), (-45.0, False)):
        grid = heads.head_grid(low_mm=low_mm, step_mm=step_mm)
        cut = locate_in_head(head, grid, locator, LocateSettings()).arteries
        assert cut.covered[Artery.V4_R] is covered
        assert cut.covered[Artery.V4_L] is covered
        assert cut.covered[Artery.BA]


def test_slices_of_air_below_the_head_hold_no_artery() -> None:
    volume = heads.head()
    padded = np.concatenate([np.full((5, *volume.hu.shape[1:]), -1000, np.float32), volume.hu])
    grid = heads.head_grid(low_mm=-100.0)
    tissue = (heads.inside(heads.world_of(grid), heads.SCALP_MM)).any(axis=(1, 2))
    held = grid.offsets_mm[tissue]
    assert imaged_mm(Volume(padded, grid)) == (held[0], held[-1])


OFF_MM = np.array([4.0, -5.0, 3.0])


def _both(folder: Path, moved_mm: np.ndarray) -> Path:
    """A locator whose points are all off alike, and a second one that is right but for a move."""
    lines = heads.lines()
    places = np.array([lines[a].at_fractions([f])[0][::-1] for a, f in keypoints()])
    names = [(artery.value, fraction) for artery, fraction in keypoints()]
    place_locator(folder, names, places + OFF_MM)
    middle = (places + OFF_MM - [NEAR_LOWERED_MM, 0.0, 0.0]).mean(axis=0)[::-1]
    near = make_near_head(heads.head(), middle, 2.0, NEAR_CELLS)
    tissue = near.to_world(np.argwhere(near.hu > TISSUE_HU)).mean(axis=0)  # what places are from
    around = places - tissue[::-1] + moved_mm
    return place_locator(folder, names, around, role="locator_near", cell_mm=2.0)


def _farthest_mm(arteries: Arteries, artery: Artery) -> float:
    wanted = heads.lines()[artery].resampled(0.25).points_mm
    gaps = np.linalg.norm(arteries.lines[artery].points_mm[:, None] - wanted[None], axis=2)
    return float(gaps.min(axis=1).max())


def test_a_second_locator_places_finely_what_the_first_found(tmp_path: Path) -> None:
    locator = load_locator(_both(tmp_path, np.zeros(3)), RunSettings(device="cpu", threads=1))
    assert locator.near is not None
    whole = replace(locator, near=None)
    for grid in (heads.head_grid(), heads.head_grid(step_mm=1.5, tilt_deg=15.0)):
        head = heads.head(grid)
        off, fine = locate_arteries(head, whole), locate_arteries(head, locator)
        assert _farthest_mm(off, Artery.BA) > 3.5
        for artery in (Artery.ICA_L, Artery.BA, Artery.V4_R):
            assert _farthest_mm(fine, artery) < 1.5
        assert fine.covered == off.covered
        assert fine.confidence == off.confidence


def test_a_point_that_would_move_too_far_stays(tmp_path: Path) -> None:
    moved = np.zeros((len(keypoints()), 3))
    moved[[artery == Artery.BA for artery, _ in keypoints()]] = [0.0, 30.0, 0.0]
    locator = load_locator(_both(tmp_path, moved), RunSettings(device="cpu", threads=1))
    off = locate_arteries(heads.head(), replace(locator, near=None))
    fine = locate_arteries(heads.head(), locator)
    assert_allclose(fine.lines[Artery.BA].points_mm, off.lines[Artery.BA].points_mm)
    assert _farthest_mm(fine, Artery.V4_R) < 1.5


def test_a_second_locator_of_other_key_points_is_refused(tmp_path: Path) -> None:
    _both(tmp_path, np.zeros(3))
    place_locator(tmp_path, [("BA", 0.0), ("BA", 1.0)], np.zeros((2, 3)), role="locator_near")
    with pytest.raises(IacError) as refused:
        load_locator(tmp_path, RunSettings(device="cpu", threads=1))
    assert refused.value.word == Word.MODEL_CARD_INVALID
