"""Real heads as anatomy: the scan comes back unchanged when nothing is changed, and what moves
moves together with its arteries."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import iac_seg
from heads import head, head_grid, inside, lines, world_of
from scipy.ndimage import center_of_mass

from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.anatomy.real import AS_IT_IS, Manner, RealSource, make_real_head
from iac_cli.simulate.head import anatomy_stream, simulate_head
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.lattice import Lattice

AXES = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
MOVED = Manner(sharpen=(0.0, 0.0), bone_gain=(1.0, 1.0), cells_share=0.0, spurs_hu=0.0)


def source(volume: Volume | None = None, **more) -> RealSource:
    return RealSource("made", volume or head(head_grid(step_mm=2.0)), lines(), **more)


def around(point, reach_mm: float = 6.0, step_mm: float = 0.5) -> Lattice:
    low = np.asarray(point) @ AXES.T - reach_mm
    return Lattice.spanning(
        tuple((a, a + 2 * reach_mm) for a in low), (step_mm, step_mm, step_mm), AXES
    )


def test_an_unchanged_head_is_its_source_moved_to_the_middle() -> None:
    made = make_real_head(source(), np.random.default_rng(0), AS_IT_IS)
    ends = [made.lines[a].points_mm[-1] for a in (Artery.ICA_R, Artery.ICA_L)]
    assert np.mean(ends, axis=0)[[0, 2]] == pytest.approx([0.0, -8.0], abs=1e-6)
    lattice = Lattice.spanning(((-60, 60), (-90, 90), (-70, 70)), (4.0, 3.0, 3.0), AXES)
    points = lattice.points_mm((slice(None),) * 3) + made.centre_mm
    painted = made.painted(lattice)
    brain, outside = inside(points, (50, 76, 60)), ~inside(points, (70, 96, 80))
    assert painted[brain].mean() == pytest.approx(35.0, abs=1.0)
    assert painted[outside].max() < -900.0


@pytest.mark.parametrize("seed", range(6))
def test_what_lies_at_an_artery_moves_with_its_line_and_side(seed: int) -> None:
    grid = head_grid(step_mm=2.0)
    marked = lines()[Artery.M1_L].at_fractions([0.5])[0]
    gap = np.linalg.norm(world_of(grid) - marked, axis=-1)
    hu = head(grid).hu + 400.0 * np.exp(-0.5 * (gap / 2.5) ** 2).astype(np.float32)
    made = make_real_head(source(Volume(hu, grid)), np.random.default_rng(seed), MOVED)
    side = Artery.M1_R if made.facts["mirrored"] else Artery.M1_L
    expected = made.lines[side].at_fractions([0.5])[0]
    lattice = around(expected)
    found = lattice.points_mm((slice(None),) * 3)
    bright = np.clip(made.painted(lattice) - 150.0, 0.0, None)
    index = center_of_mass(bright)
    place = found[0, 0, 0] + (np.array(index) @ np.diag([0.5] * 3)) @ AXES
    assert np.linalg.norm(place - expected) < 0.8


def test_places_go_back_to_where_they_came_from() -> None:
    made = make_real_head(source(), np.random.default_rng(4), MOVED)
    for artery, line in made.lines.items():
        own = artery.mirrored if made.facts["mirrored"] else artery
        original = lines()[own].resampled(0.5).points_mm
        assert np.abs(made.to_source(line.points_mm) - original).max() < 0.02


def test_heads_differ_by_seed_and_return_with_it() -> None:
    one, same, other = (make_real_head(source(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.hu, same.hu)
    assert np.array_equal(one.lines[Artery.BA].points_mm, same.lines[Artery.BA].points_mm)
    assert not np.array_equal(one.hu, other.hu)


def test_real_calcification_is_taken_out_first() -> None:
    volume = head(head_grid(step_mm=2.0))
    hu = np.array(volume.hu)
    spot = tuple(volume.grid.to_index(lines()[Artery.BA].points_mm[:1])[0].round().astype(int))
    hu[spot] = 900.0
    calcified = hu == 900.0
    made = make_real_head(
        source(Volume(hu, volume.grid), calcified=calcified), np.random.default_rng(0), AS_IT_IS
    )
    assert made.hu[spot] < 60.0


def test_a_replica_in_air_gets_a_brain() -> None:
    volume = head(head_grid(step_mm=2.0))
    hu = np.where(np.array(volume.hu) > 200.0, volume.hu, np.float32(-1000.0))
    made = make_real_head(source(Volume(hu, volume.grid)), np.random.default_rng(0), AS_IT_IS)
    middle = tuple(n // 2 for n in made.hu.shape)
    assert made.hu[middle] == pytest.approx(36.0)


def test_no_lesion_and_no_label_without_burden_and_the_burden_comes_back() -> None:
    carotids = {a: line for a, line in lines().items() if a.value.startswith("ICA")}
    few = RealSource("made", head(head_grid(step_mm=2.0)), carotids)
    made = make_real_head(few, anatomy_stream(3), AS_IT_IS)
    settings = {"thickness_mm": 4.0, "rows": 128, "columns": 128}
    none = simulate_head(HeadSettings(burden_mm3=0.0, **settings), anatomy=made)
    assert not none.truth.arteries.any()
    some = simulate_head(HeadSettings(burden_mm3=120.0, **settings), anatomy=made)
    assert some.truth.true_volume_mm3 == pytest.approx(120.0, rel=0.05)
    difference = some.hu.astype(float) - none.hu
    assert (difference[some.truth.arteries > 0] > 0).all()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (
            {
                "volume": Volume(
                    np.full((5, 20, 20), 30.0, np.float32),
                    head_grid().regular((5, 20, 20), spacing_mm=(4, 1, 1)),
                )
            },
            Word.NOT_A_HEAD,
        ),
        ({"volume": head(head_grid(tilt_deg=15.0))}, Word.MIXED_GEOMETRY),
    ],
)
def test_what_is_no_head_is_refused(change: dict, word: Word) -> None:
    with pytest.raises(IacError) as caught:
        make_real_head(source(**change), np.random.default_rng(0))
    assert caught.value.word is word


def test_a_head_without_carotids_is_refused() -> None:
    only = {Artery.BA: lines()[Artery.BA]}
    with pytest.raises(IacError) as caught:
        make_real_head(RealSource("made", head(), only), np.random.default_rng(0))
    assert caught.value.word is Word.HEAD_NOT_COVERED


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, 3),
        ({"a.json": {"lines": {"BA": [[0, 0, 0, 1], [0, 0, 5, 1]]}, "image": "gone.nii.gz"}}, 3),
        ({"a.json": {"lines": {}}}, 4),
        ({"a.json": {"lines": {"BA": [[0, 0]]}, "image": "a.json"}}, 4),
        ({"a.json": "no anatomy"}, 4),
    ],
)
def test_a_bad_anatomy_folder_is_refused_before_anything_is_made(
    tmp_path: Path, files: dict, code: int
) -> None:
    folder = tmp_path / "anatomy"
    folder.mkdir()
    for name, document in files.items():
        (folder / name).write_text(json.dumps(document), encoding="utf-8")
    run = iac_seg("simulate", "head", "-o", tmp_path / "out", "--anatomy", folder)
    assert run.returncode == code, run.stderr
    assert "way out" in run.stderr
    assert not (tmp_path / "out").exists()


def test_a_real_head_given_by_path_becomes_a_study(tmp_path: Path, data_dir: Path) -> None:
    run = iac_seg(
        "simulate", "head", "-o", tmp_path / "out", "--size", "256x256", "--thickness-mm", "5",
        "--anatomy", data_dir / "anatomy" / "head_pet_ct.json",
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    truth = json.loads((tmp_path / "out" / "truth" / "truth.json").read_text())
    assert truth["anatomy"] == "real head head_pet_ct"
    assert truth["true_volume_mm3"] == pytest.approx(44.0, rel=0.05)
