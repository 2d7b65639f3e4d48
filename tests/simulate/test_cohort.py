"""Cohorts: published burdens, the same bytes whatever the workers, and going on after a kill."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command import iac_seg

from iac_cli.dicom.read import read_series
from iac_cli.errors import IacError, Word
from iac_cli.simulate.cohort import (
    CohortSettings,
    burdens,
    make_patient,
    patient_settings,
    simulate_cohort,
)
from iac_cli.simulate.head import simulate_patient
from tests.simulate.quick_head import quick_head

SMALL = CohortSettings(patients=3, reconstructions_mm=(2.0, 5.0), rows=80, columns=80)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_burdens_follow_the_published_figures() -> None:
    """Bos 2012: 82.2 %, median 44; van der Toorn 2019: 21 %, median 7.3, IQR 2.0-25.6."""
    drawn = np.array([burdens(np.random.default_rng([7, k])) for k in range(20_000)])
    carotid, posterior = drawn.T
    assert (carotid > 0).mean() == pytest.approx(0.822, abs=0.01)
    assert np.median(carotid[carotid > 0]) == pytest.approx(44.0, rel=0.05)
    some = posterior[posterior > 0]
    assert len(some) / len(posterior) == pytest.approx(0.21, abs=0.01)
    low, middle, high = np.quantile(some, (0.25, 0.5, 0.75))
    assert middle == pytest.approx(7.3, rel=0.08)
    assert (low, high) == (pytest.approx(2.0, rel=0.12), pytest.approx(25.6, rel=0.12))
    both = (carotid > 0) & (posterior > 0)
    together = np.corrcoef(np.log(carotid[both]), np.log(posterior[both]))[0, 1]
    assert together == pytest.approx(0.36, abs=0.06)


def test_a_patient_depends_on_no_other() -> None:
    few, many = CohortSettings(patients=3), CohortSettings(patients=300)
    assert patient_settings(few, 2) == patient_settings(many, 2)
    assert patient_settings(few, 2) != patient_settings(few, 3)


def test_bytes_are_the_same_whatever_the_workers_and_the_interruptions(tmp_path: Path) -> None:
    simulate_cohort(tmp_path / "one", SMALL, quick_head)
    simulate_cohort(tmp_path / "two", SMALL, quick_head, n_workers=2)
    make_patient(tmp_path / "three", SMALL, quick_head, 2)
    (tmp_path / "three" / ".P0001.torn").mkdir()
    (tmp_path / "three" / "cohort.json").write_bytes((tmp_path / "one/cohort.json").read_bytes())
    told: list[tuple[int, int]] = []
    simulate_cohort(
        tmp_path / "three", SMALL, quick_head, on_patient=lambda n, of: told.append((n, of))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    whole = bytes_of(tmp_path / "one")
    assert bytes_of(tmp_path / "two") == whole
    assert bytes_of(tmp_path / "three") == whole


def test_one_study_a_patient_one_series_a_reconstruction(tmp_path: Path) -> None:
    simulate_cohort(tmp_path / "out", SMALL, quick_head)
    text = (tmp_path / "out" / "cohort.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["patient_id"] for row in rows] == ["P0001"] * 2 + ["P0002"] * 2 + ["P0003"] * 2
    read = [read_series(tmp_path / "out" / row["image"]) for row in rows]
    assert len({one.series.study_uid for one in read}) == 3
    assert len({one.series.series_uid for one in read}) == 6
    assert [one.series.thickness_mm for one in read] == [2.0, 5.0] * 3
    assert all((tmp_path / "out" / row["label"]).is_file() for row in rows)
    for thin, thick in zip(rows[::2], rows[1::2], strict=True):
        assert thin["true_volume_mm3"] == thick["true_volume_mm3"]


def test_reconstructions_share_their_lesions_and_thick_slices_lose_their_peaks() -> None:
    settings = patient_settings(
        CohortSettings(patients=1, reconstructions_mm=(1.0, 3.0, 7.0), rows=80, columns=80), 1
    )
    made = simulate_patient([*settings], anatomy=quick_head(1))
    volumes = [[lesion.volume_mm3 for lesion in one.lesions] for one in made]
    assert volumes[0] == volumes[1] == volumes[2]
    assert volumes[0]
    peaks = [int(one.hu.max()) for one in made]
    assert peaks == sorted(peaks, reverse=True)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"patients": 0}, Word.BAD_SETTING),
        ({"reconstructions_mm": (0.0,)}, Word.BAD_SETTING),
        ({"reconstructions_mm": (3.0, 3.0)}, Word.BAD_SETTING),
        ({"rows": 20}, Word.BAD_SETTING),
    ],
)
def test_what_cannot_be_made_is_refused(tmp_path: Path, change: dict, word: Word) -> None:
    settings = CohortSettings(**({"patients": 1, "rows": 80, "columns": 80} | change))
    with pytest.raises(IacError) as caught:
        simulate_cohort(tmp_path / "out", settings, quick_head)
    assert caught.value.word is word
    assert not (tmp_path / "out").exists()


def test_another_cohort_or_a_strangers_folder_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(IacError) as caught:
        simulate_cohort(out, SMALL, quick_head)
    assert caught.value.word is Word.OUTPUT_EXISTS
    shutil.rmtree(out)
    out.mkdir()
    (out / "cohort.json").write_text(json.dumps({"schema": 1}))
    with pytest.raises(IacError) as caught:
        simulate_cohort(out, SMALL, quick_head)
    assert caught.value.word is Word.OUTPUT_EXISTS


@pytest.mark.parametrize(
    "options",
    [
        ("--reconstructions", "thin"),
        ("--kernels", "loud"),
        ("--size", "64x64x9"),
        ("--reconstructions", "0"),
        ("--anatomy", "nowhere"),
    ],
)
def test_bad_options_end_in_one_line(tmp_path: Path, options: tuple[str, str]) -> None:
    run = iac_seg("simulate", "cohort", "-o", tmp_path / "out", "--patients", "1", *options)
    assert run.returncode in (2, 3)
    assert "way out" in run.stderr
    assert not (tmp_path / "out").exists()
