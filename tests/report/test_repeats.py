"""Pairs of scans of one patient: which are taken, how they agree, what changed."""

from pathlib import Path

import numpy as np
import pytest

from iac_cli.measure.agreement import icc_2_1, limits_of_agreement
from iac_cli.report.repeats import Change, Retest, change_of, retest_of
from tests.report.made_cohort import failed, row, scored


def retest(folder: Path, rows: list[dict[str, object]]) -> Retest:
    return retest_of(scored(folder, rows))


def test_two_reconstructions_of_a_study_are_a_pair_the_thinner_first(tmp_path: Path) -> None:
    rows = [
        row(12, study_uid="1.2", thickness_mm=5, input_sha256="a"),
        row(10, study_uid="1.2", thickness_mm=1, input_sha256="b"),
        row(99, study_uid="1.3", thickness_mm=1, input_sha256="c"),
        row(None, study_uid="1.3", thickness_mm=2),
        failed("no_dicom"),
    ]
    assert retest(tmp_path, rows).pairs.tolist() == [[10, 12]]
    assert retest(tmp_path, rows[::-1]).pairs.tolist() == [[10, 12]]


def test_two_studies_of_one_day_are_a_pair(tmp_path: Path) -> None:
    day = {"patient_key": "p", "study_day": 3}
    rows = [row(1, study_uid="1.2", **day), row(2, study_uid="1.3", **day)]
    assert retest(tmp_path, rows).pairs.tolist() == [[1, 2]]
    rows[1]["study_day"] = 4
    assert len(retest(tmp_path, rows).pairs) == 0


def test_the_same_voxels_twice_are_no_repeat(tmp_path: Path) -> None:
    rows = [row(5, study_uid="1.2", input_sha256="a")] * 2
    found = retest(tmp_path, rows)
    assert len(found.pairs) == 0
    assert found.why_none


def test_a_patient_gives_one_pair(tmp_path: Path) -> None:
    rows = [
        row(v, patient_key="p", study_day=day, thickness_mm=v, study_uid=f"1.{day}")
        for day in (9, 0)
        for v in (1, 2, 3)
    ]
    assert retest(tmp_path, rows).pairs.tolist() == [[1, 2]]


def pairs_of(volumes: np.ndarray, kernels: tuple[str, str] = ("A", "A")) -> list[dict]:
    return [
        row(v, study_uid=f"1.{k}", thickness_mm=1, kernel=kernel)
        for k, pair in enumerate(volumes)
        for v, kernel in zip(pair, kernels, strict=True)
    ]


def test_agreement_is_that_of_the_pairs_and_split_by_likeness(tmp_path: Path) -> None:
    volumes = np.random.default_rng(1).gamma(1, 50, (12, 1)) + np.arange(24).reshape(12, 2) % 5
    rows = pairs_of(volumes[:6]) + [
        {**one, "study_uid": f"2{one['study_uid']}"} for one in pairs_of(volumes[6:], ("A", "B"))
    ]
    found = retest(tmp_path, rows)
    whole, alike, other = found.agreements
    assert (whole.n, alike.n, other.n) == (12, 6, 6)
    assert whole.icc == icc_2_1(found.pairs)
    assert whole.limits_log == limits_of_agreement(np.log1p(found.pairs))
    assert alike.limits == limits_of_agreement(found.pairs[found.alike])
    assert found.why_none is None


def test_a_few_pairs_give_no_agreement(tmp_path: Path) -> None:
    found = retest(tmp_path, pairs_of(np.ones((4, 2))))
    assert found.all is None
    assert "only 4 pairs" in (found.why_none or "")


def change(folder: Path, rows: list[dict[str, object]]) -> Change:
    cohort = scored(folder, rows)
    return change_of(cohort, retest_of(cohort))


def test_change_is_from_the_first_to_the_last_day(tmp_path: Path) -> None:
    rows = [
        row(30, patient_key="p", study_day=731),
        row(15, patient_key="p", study_day=100),
        row(10, patient_key="p", study_day=0),
        row(0, patient_key="q", study_day=5),
        row(4, patient_key="q", study_day=370),
        row(2, patient_key="r", study_day=0),
        row(None, patient_key="r", study_day=900),
        row(1, study_uid="no patient", study_day=1),
    ]
    found = change(tmp_path, rows)
    assert found.pairs.tolist() == [[10, 30], [0, 4]]
    assert found.days.tolist() == [731, 365]
    assert found.yearly_mm3 == pytest.approx([20 / 731 * 365.25, 4 / 365 * 365.25])
    assert (found.n_new, found.n_gone, found.n_beyond) == (1, 0, None)


def test_change_takes_scans_that_are_alike_where_there_are_such(tmp_path: Path) -> None:
    rows = [
        row(1, patient_key="p", study_day=0, thickness_mm=1, kernel="A"),
        row(2, patient_key="p", study_day=0, thickness_mm=5, kernel="A"),
        row(9, patient_key="p", study_day=50, thickness_mm=5, kernel="A"),
    ]
    found = change(tmp_path, rows)
    assert found.pairs.tolist() == [[2, 9]]
    assert found.n_alike == 1


def test_change_beyond_noise_is_counted(tmp_path: Path) -> None:
    noise = np.tile([[100.0, 104.0], [50.0, 49.0], [20.0, 20.5]], (3, 1))
    rows = pairs_of(noise)
    for patient, last in (("p", 101.0), ("q", 300.0)):
        rows += [
            row(100, patient_key=patient, study_day=0),
            row(last, patient_key=patient, study_day=700),
        ]
    assert change(tmp_path, rows).n_beyond == 1
