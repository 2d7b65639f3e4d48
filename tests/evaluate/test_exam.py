"""The frozen exam stays as it is, and the classical rule does on it what it must."""

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command import iac_seg

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.exam import dice, main, near_lines, read_exam, score_rule
from iac_cli.geometry.grid import Grid
from iac_cli.simulate.cohort import CohortSettings, patient_settings, simulate_cohort
from iac_cli.simulate.findings.rates import NONE
from iac_cli.simulate.identity import SIMULATOR_VERSION
from tests.simulate.quick_head import quick_head

EXAMS = Path(__file__).parents[2] / "iac_cli" / "evaluate" / "exams"
FROZEN = {
    "exam-1.toml": "35e729c64acb925dd8cf6a020b447221b342c7afecde0448304b067a84f05348",
    "exam-2.toml": "b478ea83b3684529533145c7b802aee9dbc15c06cffcc4c57deb534f3a3b1e81",
}


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_an_exam_is_not_edited(name: str) -> None:
    text = EXAMS.joinpath(name).read_bytes()
    assert hashlib.sha256(text).hexdigest() == FROZEN[name], "never edited: add a version"


def test_the_exam_is_made_by_this_simulator() -> None:
    """Other voxels are another exam: a new simulator version needs a new exam version."""
    assert f'simulator = "{SIMULATOR_VERSION}"' in EXAMS.joinpath("exam-2.toml").read_text()


def test_an_older_exam_can_still_be_read() -> None:
    assert read_exam(EXAMS / "exam-1.toml").version == 1


def test_the_exam_has_its_patients_and_heads() -> None:
    exam = read_exam()
    assert (exam.name, exam.version, exam.cohort.patients) == ("exam", 2, 200)
    counts = Counter(exam.anatomies)
    assert counts["procedural"] == 80
    assert sum(counts.values()) == 200
    assert set(exam.anatomies[:12]) == set(counts)
    assert exam.cohort.rates.spur == 0.4
    seed = patient_settings(exam.cohort, 17)[0].seed
    assert exam.anatomy_of_seed(seed) == exam.anatomy_of(17)


def test_a_broken_exam_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exam.toml"
    path.write_text("name = 'exam'\n")
    for given, word in ((path, Word.BAD_SETTING), (tmp_path / "gone", Word.INPUT_NOT_FOUND)):
        with pytest.raises(IacError) as caught:
            read_exam(given)
        assert caught.value.word is word


def test_the_rule_marks_what_is_bright_and_near() -> None:
    grid = Grid.regular((5, 21, 41), spacing_mm=(2.0, 1.0, 1.0))
    hu = np.full(grid.shape, 40.0)
    hu[2, 10, 10] = hu[2, 10, 18] = hu[2, 10, 20] = 130.0
    hu[2, 10, 12] = 129.0
    marked = near_lines(hu, grid, np.array([[10.0, 10.0, 4.0]]))
    assert np.argwhere(marked).tolist() == [[2, 10, 10], [2, 10, 18]]


def test_dice_by_hand() -> None:
    one = np.array([True, True, False, False])
    other = np.array([True, False, True, True])
    assert dice(one, other) == pytest.approx(2 / 5)
    assert dice(one & False, other & False) is None


def test_the_rule_is_perfect_where_nothing_but_calcium_is_bright(tmp_path: Path) -> None:
    settings = CohortSettings(
        patients=2,
        seed=3,
        reconstructions_mm=(2.0,),
        rows=80,
        columns=80,
        noise_hu=(0.0, 0.1),
        rates=NONE,
    )
    simulate_cohort(tmp_path / "out", settings, quick_head)
    scores = [one for one in score_rule(tmp_path / "out") if one.true_voxels]
    assert scores
    assert all(one.dice is not None and one.dice > 0.8 for one in scores)
    assert "all," in main([str(tmp_path / "out")])


def test_an_exam_without_its_heads_is_refused(tmp_path: Path) -> None:
    run = iac_seg("simulate", "cohort", "--exam", "-o", tmp_path / "out", "--anatomy", tmp_path)
    assert run.returncode == 3
    assert "way out" in run.stderr
    assert not (tmp_path / "out").exists()
