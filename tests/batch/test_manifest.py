"""Manifests: what is carried through, and what is refused with its line."""

from pathlib import Path

import pytest

from iac_cli.batch.manifest import read_manifest
from iac_cli.errors import IacError, Word


def manifest(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "studies.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_are_known_or_carried(tmp_path: Path) -> None:
    plan = read_manifest(
        manifest(
            tmp_path, "\ufeffcase_id,path,sex,age,site,arm\nb,x/y,f,71.5,Bern,=1+1\na,z,,,Ulm,0\n"
        )
    )
    assert plan.columns == ("patient_key", "study_day", "site", "arm")
    first, second = plan.jobs
    assert (first.case_id, first.sex, first.age_years, first.about[2:]) == (
        "a",
        None,
        None,
        ("Ulm", "0"),
    )
    assert (second.sex, second.age_years, second.about[2:]) == ("F", 71.5, ("Bern", "'=1+1"))
    assert second.source == tmp_path.resolve() / "x" / "y"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("case_id\na\n", "no column 'path'"),
        ("path\na\n", "no column 'case_id'"),
        ("case_id,path\n", "no case"),
        ("case_id,path\na,x\na,y\n", "lines 2 and 3"),
        ("case_id,path\na,x\nA,y\n", "lines 2 and 3"),
        ("case_id,path\na,../x\n", "line 2 that leaves"),
        ("case_id,path\na,x/../../y\n", "line 2 that leaves"),
        ("case_id,path\na,\n", "empty path in line 2"),
        ("case_id,path\n ,x\n", "empty case_id in line 2"),
        ("case_id,path,sex\na,x,male\n", "sex in line 2"),
        ("case_id,path,age\na,x,old\n", "age in line 2"),
        ("case_id,path,age\na,x,nan\n", "age"),
        ("case_id,path,volume_mm3\na,x,1\n", "'volume_mm3'"),
        ("case_id,path,path\na,x,y\n", "twice"),
        ("case_id,path\na,x,y\n", "cells in line 2"),
        ('case_id,path\na,"x\n', "comma-separated"),
        ("case_id,path,=cmd\na,x,1\n", "formula"),
        ("case_id,path,study_day\na,x,1.5\n", "study_day in line 2"),
        ("case_id,path,study_day\na,x,2020-01-02\n", "study_day in line 2"),
    ],
)
def test_a_bad_manifest_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(IacError) as caught:
        read_manifest(manifest(tmp_path, text))
    assert caught.value.word is Word.BAD_CASE_LIST == "bad_case_list"
    assert told in caught.value.what


def test_ids_that_are_no_file_names_are_made_plain_and_said(tmp_path: Path) -> None:
    plan = read_manifest(manifest(tmp_path, "case_id,path\na/b,x\na_b,y\n=cmd|calc,z\n..,w\n"))
    names = [job.case_id for job in plan.jobs]
    assert len(set(names)) == 4
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.") for name in names)
    assert not any(name.startswith((".", "=", "-")) for name in names)
    assert plan.remarks == (
        "case ids that are no plain names and were changed (--key says which): 3",
    )


def test_with_a_tree_absolute_paths_must_lie_in_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "s").mkdir(parents=True)
    plan = read_manifest(manifest(tmp_path, f"case_id,path\na,s\nb,{tree}/s\n"), tree)
    assert {job.source for job in plan.jobs} == {tree.resolve() / "s"}
    with pytest.raises(IacError, match="leaves"):
        read_manifest(manifest(tmp_path, "case_id,path\na,/etc\n"), tree)
    (tree / "out").symlink_to("/etc")
    with pytest.raises(IacError, match="leaves"):
        read_manifest(manifest(tmp_path, "case_id,path\na,out\n"), tree)


def test_a_manifest_tells_patients_and_days_and_keeps_the_ids_it_gave(tmp_path: Path) -> None:
    text = "case_id,path,study_day,patient_key,site\na/b,x,-3,P7,N\nc,y,,=1+1,S\n"
    plan = read_manifest(manifest(tmp_path, text))
    about = {job.given_id: dict(zip(plan.columns, job.about, strict=True)) for job in plan.jobs}
    assert about["a/b"] == {"patient_key": "P7", "study_day": "-3", "site": "N"}
    assert about["c"] == {"patient_key": "'=1+1", "study_day": "", "site": "S"}
