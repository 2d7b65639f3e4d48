"""The plan: ids, who belongs together, and parts that add up to the whole."""

from pathlib import Path

import pytest
from make import save

from iac_cli.batch.folder import OWN_NAMES
from iac_cli.batch.plan import Plan, part_of, plan_tree
from iac_cli.dicom.case_id import hashed_id
from iac_cli.errors import IacError, Word
from iac_cli.settings import CaseSettings, IdFrom
from tests.batch import cohort


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort.archive(tmp_path_factory.mktemp("tree") / "in", 15, 3)


def plan(root: Path, id_from: IdFrom = IdFrom.HASH, **more) -> Plan:
    return plan_tree(root, CaseSettings(id_from=id_from), **more)


def ids(made: Plan) -> list[str]:
    return [job.case_id for job in made.jobs]


def test_ids_are_hashes_of_the_study_and_sorted(tree: Path) -> None:
    made = plan(tree)
    assert ids(made) == sorted(set(ids(made)))
    salt = CaseSettings().salt
    assert [job.case_id for job in made.jobs] == [
        hashed_id(job.study_uid or "", salt) for job in made.jobs
    ]


def test_ids_from_folders_are_the_way_to_them(tree: Path) -> None:
    assert f"{cohort.FOLDER}_0_CT_007" in ids(plan(tree, IdFrom.FOLDER))


def test_studies_of_one_name_are_told_apart(tree: Path) -> None:
    names = ids(plan(tree, IdFrom.PATIENT_ID))
    assert len(set(names)) == 15
    assert all(name.startswith(cohort.PATIENT) for name in names)


def test_an_id_that_would_be_a_file_of_the_batch_is_another(tmp_path: Path) -> None:
    for i, name in enumerate(("parts", "Scores.csv", "run.json", "ok")):
        cohort.study(tmp_path / name, i)
    names = ids(plan(tmp_path, IdFrom.FOLDER))
    assert len(set(names)) == 4
    assert "ok" in names
    assert not OWN_NAMES & {name.casefold() for name in names}


def test_folders_that_differ_by_case_alone_get_ids_that_differ_by_more(tmp_path: Path) -> None:
    for i, name in enumerate(("Head", "head", "neck")):
        cohort.study(tmp_path / name, i)
    names = ids(plan(tmp_path, IdFrom.FOLDER))
    assert len({name.casefold() for name in names}) == 3
    assert "neck" in names


def test_one_patients_studies_share_a_key_and_count_days(tmp_path: Path) -> None:
    for number, day in ((1, "20200304"), (2, "20200404"), (3, "")):
        slices = cohort.dataset(number)
        for ds in slices:
            ds.SeriesDate = ds.StudyDate = day
        save(slices, tmp_path / str(number))
    save([_of_somebody(ds) for ds in cohort.dataset(4)], tmp_path / "4")
    made = plan(tmp_path)
    about = {job.study_uid.rpartition(".")[2]: job.about for job in made.jobs if job.study_uid}
    assert made.columns == ("patient_key", "study_day")
    assert about["1"][0] == about["2"][0] == about["3"][0] != about["4"][0]
    assert [about[name][1] for name in "1234"] == ["0", "31", "", "0"]
    assert about["1"][0].startswith("patient-")


def _of_somebody(ds):
    ds.PatientID = "ELSE"
    return ds


@pytest.mark.parametrize("n_parts", [1, 3, 8])
def test_the_parts_are_the_whole_and_stable(tree: Path, n_parts: int) -> None:
    whole = plan(tree)
    parts = [part_of(whole, k, n_parts) for k in range(1, n_parts + 1)]
    assert sorted(sum((ids(part) for part in parts), [])) == ids(whole)
    less = Plan(whole.jobs[::2], whole.columns)
    for k, part in enumerate(parts, start=1):
        assert set(ids(part_of(less, k, n_parts))) <= set(ids(part))


def test_all_series_makes_a_job_for_each_usable_one(tmp_path: Path) -> None:
    save(cohort.dataset(1, study=1), tmp_path, prefix="a")
    save(cohort.dataset(2, study=1), tmp_path, prefix="b")
    scout = cohort.dataset(3, study=1)[:2]
    for ds in scout:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(scout, tmp_path, prefix="c")
    assert len(plan(tmp_path).jobs) == 1
    both = plan(tmp_path, all_series=True)
    assert [job.series and job.series.rpartition(".")[2] for job in both.jobs] in (
        ["1", "2"],
        ["2", "1"],
    )
    assert {job.about for job in both.jobs} == {plan(tmp_path).jobs[0].about}


def test_a_tree_without_studies_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        plan(tmp_path)
    assert caught.value.word is Word.NO_DICOM
