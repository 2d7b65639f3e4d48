"""Mimics and artefacts: never labelled, told in the truth, off the arteries, by their physics."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import center_of_mass, uniform_filter1d
from scipy.spatial.transform import Rotation

from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.shapes import Ellipsoid
from iac_cli.simulate.arteries import course
from iac_cli.simulate.calcium import WALL_MM
from iac_cli.simulate.findings.artefacts import (
    N_ANGLES,
    SIDE,
    Artefacts,
    _views,
    added_hu,
    draw_artefacts,
    moved,
)
from iac_cli.simulate.findings.frame import FRACTIONS, Frame, frame_of
from iac_cli.simulate.findings.holder import FORMS, Holder
from iac_cli.simulate.findings.mark import KEPT_OFF_MM, Mark, Walls, lay, solid
from iac_cli.simulate.findings.person import afflicted
from iac_cli.simulate.findings.rates import NONE, Rates, read_rates
from iac_cli.simulate.findings.vault import CENTRE, LOWEST_MM, VaultRule, lay_vault
from iac_cli.simulate.head import simulate_head
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.truth_out import truth_dict
from tests.simulate.quick_head import quick_head

ALL = Rates(**{field.name: 1.0 for field in fields(Rates)})
AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
STANDARD = Frame(np.eye(3), 1.0, np.zeros(3))
SMALL = HeadSettings(thickness_mm=3.0, rows=96, columns=96, pixel_mm=2.0, rates=ALL)

IMAGE_LEVEL = {"motion", "slice_jump", "slice_drift"}
"""Rates whose findings are told among the artefacts."""

VARIANTS = {
    "hypoplastic_v4",
    "hypoplastic_a1",
    "fetal_pca",
    "ectatic_basilar",
    "ectatic_ica",
    "tortuous",
}


def test_no_mimic_is_labelled_and_all_are_told() -> None:
    head = simulate_head(replace(SMALL, burden_mm3=0.0), None, quick_head(0))
    assert head.hu.max() == 3071  # metal
    assert not head.truth.arteries.any()
    assert head.truth.protocol_volume_mm3 == head.truth.agatston == 0.0
    told = truth_dict(head)
    kinds = {row["kind"] for row in told["findings"]}
    expected = {field.name for field in fields(Rates)} - VARIANTS - IMAGE_LEVEL
    assert kinds == expected
    assert told["artefacts"]["motion_mm"] != [0.0, 0.0]
    assert told["artefacts"]["between_slices"]["drift_mm"] > 0.0


def test_labels_among_mimics_lie_on_arteries() -> None:
    rates = replace(ALL, motion=0.0)
    head = simulate_head(replace(SMALL, burden_mm3=120.0, rates=rates), None, quick_head(0))
    where = np.argwhere(head.truth.arteries > 0)
    assert len(where) > 20
    lines = np.concatenate([line.points_mm for line in head.anatomy.lines.values()])
    gap = np.linalg.norm(head.grid.to_world(where)[:, None] - lines[None], axis=2).min(axis=1)
    half_voxel_mm = np.linalg.norm([1.5, 1.0, 1.0])
    assert gap.max() <= 2.0 + WALL_MM + half_voxel_mm + 2 * 0.42 + 1.5


def test_the_seed_gives_the_findings_back() -> None:
    first, again, other = (
        afflicted(quick_head(0), ALL, np.random.default_rng(n)).told for n in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_without_rates_there_is_nothing() -> None:
    person = afflicted(quick_head(0), NONE, np.random.default_rng(0))
    assert person.told["findings"] == []
    assert person.artefacts.motion_mm == (0.0, 0.0)


def test_findings_come_as_often_as_their_rates_say() -> None:
    rates = Rates(**{field.name: 0.3 for field in fields(Rates)} | {"spur": 0.0})
    kinds: dict[str, int] = {}
    n = 400
    head = quick_head(0)
    for seed in range(n):
        for finding in afflicted(head, rates, np.random.default_rng(seed)).findings:
            kinds[finding.kind] = kinds.get(finding.kind, 0) + 1
    for kind in ("pineal", "falx", "coil", "intracerebral", "subdural", "hyperdense_vessel"):
        assert kinds[kind] / n == pytest.approx(0.3, abs=0.09), kind  # four standard errors
    for kind in ("choroid_plexus", "petroclinoid", "dense_clinoid"):
        assert kinds[kind] / n == pytest.approx(0.6, abs=0.14), kind


def test_marks_keep_off_lumen_and_wall() -> None:
    line = CentreLine(Artery.ICA_L, np.array([[0.0, 0, -20], [0, 0, 20]]), np.array([2.0, 2.0]))
    lattice = Lattice.spanning(((-2, 2), (-6, 6), (-6, 6)), (0.5, 0.25, 0.25), AXES)
    field = np.full(lattice.shape, 40.0, dtype=np.float32)
    mark = Mark(Ellipsoid((0.0, 0.0, 0.0), (5.0, 5.0, 5.0)), solid(1000.0))
    lay(field, lattice, [mark], STANDARD, Walls({Artery.ICA_L: line}))
    away = np.linalg.norm(lattice.points_mm((slice(None),) * 3)[..., :2], axis=-1)
    assert (field[away <= 2.0 + KEPT_OFF_MM] == 40.0).all()
    inside = (away > 2.0 + KEPT_OFF_MM + 0.6) & (away < 4.0)
    assert (field[inside] == 1000.0).all()


def test_a_moved_turned_and_scaled_head_is_recognised() -> None:
    rotation = Rotation.from_euler("xyz", [0.2, -0.1, 0.3]).as_matrix()
    shift = np.array([5.0, -30.0, 12.0])
    lines = {
        artery: CentreLine(
            artery, course(artery, FRACTIONS) @ rotation.T * 1.1 + shift, np.full(len(FRACTIONS), 2)
        )
        for artery in Artery
    }
    frame = frame_of(lines)
    place = np.array([[14.4, -2.2, 7.6]])
    assert frame.scale == pytest.approx(1.1, rel=0.01)
    assert np.allclose(frame.to_world(place), place @ rotation.T * 1.1 + shift, atol=0.3)
    assert np.allclose(frame.to_head(frame.to_world(place)), place)


def test_projections_of_a_disc_are_its_chords() -> None:
    y, x = np.mgrid[0:SIDE, 0:SIDE] - (SIDE - 1) / 2.0
    radius = 40.0
    disc = np.clip(radius - np.hypot(x, y) + 0.5, 0.0, 1.0)
    views = (_views() @ disc.ravel()).reshape(N_ANGLES, -1)
    at = np.arange(views.shape[1]) - views.shape[1] / 2
    chords = 2 * np.sqrt(np.clip(radius**2 - at**2, 0.0, None))
    seen, right = (uniform_filter1d(one, 5, axis=-1) for one in (views, chords))
    inner = np.abs(at) < 35
    assert np.abs(seen[:, inner] / right[inner] - 1).max() < 0.03
    assert np.allclose(views.sum(axis=1), np.pi * radius**2, rtol=0.01)


def test_streaks_come_with_metal_and_grow_with_it() -> None:
    y, x = np.mgrid[0:256, 0:256] - 127.5
    head = np.where(np.hypot(x, y) < 100, 40.0, -1000.0).astype(np.float32)
    settings = Artefacts(streak_hu=100.0)
    assert not added_hu(head, settings, 0.9, 0).any()
    sizes = []
    for radius in (1.5, 5.0):
        metal = head.copy()
        metal[np.hypot(x - 20, y) < radius] = 9000.0
        added = added_hu(metal, settings, 0.9, 0)
        assert np.abs(added[np.hypot(x - 20, y) < radius]).max() < 1.0
        sizes.append(np.abs(added[(np.hypot(x - 20, y) < 30) & (metal == 40.0)]).mean())
    assert 1.0 < sizes[0] < sizes[1] < 300.0


def test_the_cup_is_as_deep_as_set() -> None:
    y, x = np.mgrid[0:201, 0:201] - 100.0
    head = np.where(np.hypot(x, y) <= 90, 40.0, -1000.0).astype(np.float32)
    added = added_hu(head, Artefacts(cupping_hu=5.0), 1.0, 0)
    assert added[100, 190] - added[100, 100] == pytest.approx(5.0, abs=0.01)
    assert not added[head < 0].any()


def test_motion_keeps_the_sum_and_shifts_what_it_blurs() -> None:
    """Three tenths of the time a step ahead, two tenths a step back: a tenth of the step."""
    image = np.zeros((4, 64, 64), dtype=np.float32)
    image[:, 30:33, 30:33] = 100.0
    before = image.copy()
    artefacts = Artefacts(motion_mm=(4.0, -2.0), motion_at=(0.5, 0.75))
    moved(image, artefacts, 0.5)
    assert np.array_equal(image[:2], before[:2])
    assert image[2].sum() == pytest.approx(before[2].sum(), rel=1e-5)
    shift = np.array(center_of_mass(image[2])) - np.array(center_of_mass(before[2]))
    assert np.allclose(shift, np.array([8.0, -4.0]) * 0.1, atol=1e-3)


def test_motion_is_as_frequent_as_its_rate() -> None:
    rates = replace(NONE, motion=0.5)
    drawn = [draw_artefacts(rates, np.random.default_rng(n)).motion_mm for n in range(400)]
    assert np.mean([one != (0.0, 0.0) for one in drawn]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("form", FORMS)
def test_a_holder_is_behind_the_head_and_nowhere_in_it(form: str) -> None:
    lattice = Lattice.spanning(((0, 2), (-110, 130), (-110, 110)), (1.0, 1.0, 1.0), AXES)
    field = np.full(lattice.shape, -1000.0, dtype=np.float32)
    field[:, :200] = 40.0
    Holder(form, 100.0, 8.0).lay(field, lattice)
    assert (field[:, :200] == 40.0).all()
    touched = field[:, 200:] > -1000.0
    assert touched.any()
    assert lattice.ticks(1)[200:][touched.any(axis=(0, 2))].max() < 112.0


def ball_skull() -> tuple[np.ndarray, Lattice, np.ndarray]:
    """A hollow ball of bone around the vault's middle: field, lattice, distance from the middle."""
    lattice = Lattice.spanning(((10, 95), (-60, 110), (-85, 85)), (2.0, 1.0, 1.0), AXES)
    away = np.linalg.norm(lattice.points_mm((slice(None),) * 3) - CENTRE, axis=-1)
    field = np.where(away < 70, 35.0, np.where(away < 77, 1200.0, -1000.0)).astype(np.float32)
    return field, lattice, away


@pytest.mark.parametrize("kind", ["subdural", "epidural", "hyperostosis"])
def test_a_crescent_lies_under_the_bone(kind: str) -> None:
    field, lattice, away = ball_skull()
    before = field.copy()
    lay_vault(field, lattice, [VaultRule(kind, (0.8, 0.0, 0.6), 40.0, 10.0, 70.0)], STANDARD)
    changed = field != before
    height = lattice.ticks(0)[np.flatnonzero(changed.any(axis=(1, 2)))]
    assert height.min() >= LOWEST_MM
    assert away[changed].max() < 71.0
    assert away[changed].min() > 50.0
    assert field[changed].max() == pytest.approx(70.0, abs=0.5)


def test_a_craniotomy_cuts_bone_alone() -> None:
    field, lattice, _ = ball_skull()
    before = field.copy()
    lay_vault(field, lattice, [VaultRule("craniotomy", (0.8, 0, 0.6), 25.0, 1.0, 40.0)], STANDARD)
    changed = field != before
    assert changed.any()
    assert (before[changed] == 1200.0).all()
    gone = before.copy()
    lay_vault(gone, lattice, [VaultRule("craniectomy", (0.8, 0, 0.6), 25.0, 1.0, 40.0)], STANDARD)
    assert (gone != before).sum() > 3 * changed.sum()


def test_rates_are_read_and_checked(tmp_path: Path) -> None:
    assert read_rates("none") == NONE
    file = tmp_path / "rates.toml"
    file.write_text("coil = 0.5\n")
    assert read_rates(str(file)) == Rates(coil=0.5)
    for text, word in (
        ("coil = 2", Word.BAD_SETTING),
        ("coil = true", Word.BAD_SETTING),
        ("coils = 0.1", Word.BAD_SETTING),
        ("coil", Word.BAD_SETTING),
    ):
        file.write_text(text)
        with pytest.raises(IacError) as caught:
            read_rates(str(file))
        assert caught.value.word is word
        assert "coil" in caught.value.what or "TOML" in caught.value.what
    with pytest.raises(IacError) as caught:
        read_rates(str(tmp_path / "gone"))
    assert caught.value.word is Word.INPUT_NOT_FOUND
