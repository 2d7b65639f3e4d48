"""Which tables are test sets, and what is wrong with the others."""

from pathlib import Path

import pytest
from tiny_cohort import Head, write_cohort, write_table

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.test_set import read_test_set
from iac_cli.train.splits import Split, patient_key, save_splits


@pytest.fixture
def row(tmp_path: Path) -> dict[str, object]:
    for name in ("a.nii.gz", "b.nii.gz", "la.nii.gz", "lb.nii.gz"):
        (tmp_path / name).write_bytes(b"")
    return {"patient_id": "one", "image": "a.nii.gz", "label": "la.nii.gz"}


def word_of(table: Path) -> Word:
    with pytest.raises(IacError) as caught:
        read_test_set(table)
    return caught.value.word


def test_a_cohort_is_a_test_set(tmp_path: Path) -> None:
    found = read_test_set(write_cohort(tmp_path, [[Head(), Head(thickness_mm=8.0)], [Head()]]))
    assert found.by_artery
    assert [one.case for one in found.series] == ["P0001_P0001_4mm", "P0001_P0001_8mm", "P0002"]
    assert [one.reconstruction for one in found.series] == ["4 mm soft", "8 mm soft", "4 mm soft"]


def test_a_table_of_three_columns_is_enough(tmp_path: Path, row: dict) -> None:
    table = write_table(tmp_path / "set.csv", [row])
    (one,) = read_test_set(table).series
    assert (one.case, one.image, one.reconstruction) == ("one", tmp_path / "a.nii.gz", "unknown")
    assert not read_test_set(table).by_artery


def test_a_table_without_rows_is_empty(tmp_path: Path) -> None:
    (tmp_path / "set.csv").write_text("patient_id,image,label\n")
    assert word_of(tmp_path / "set.csv") is Word.EMPTY_SET


def test_only_the_patients_of_a_split_are_taken(tmp_path: Path, row: dict) -> None:
    other = row | {"patient_id": "two", "image": "b.nii.gz", "label": "lb.nii.gz", "split": "test"}
    table = write_table(tmp_path / "set.csv", [row | {"split": "train"}, other])
    (two,) = read_test_set(table, split="test").series
    assert (two.patient, two.line) == ("two", 3)  # the table's own line, the head is line 1
    save_splits(tmp_path, {patient_key("one"): Split.TEST, patient_key("two"): Split.TRAIN})
    assert [one.patient for one in read_test_set(table, tmp_path, "test").series] == ["one"]
    with pytest.raises(IacError) as caught:
        read_test_set(table, tmp_path, "interval")
    assert caught.value.word is Word.EMPTY_SET


@pytest.mark.parametrize("text", ["", "patient_id,image\nP1,a.nii.gz\n", "\xff"])
def test_a_table_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "set.csv").write_bytes(text.encode("latin-1"))
    assert word_of(tmp_path / "set.csv") is Word.BAD_CASE_LIST


def test_a_patient_twice_needs_something_that_tells_the_series_apart(
    tmp_path: Path, row: dict
) -> None:
    other = row | {"image": "b.nii.gz", "label": "lb.nii.gz"}
    table = write_table(tmp_path / "set.csv", [row, other])
    assert word_of(table) is Word.BAD_CASE_LIST
    days = [row | {"study_day": 0}, other | {"study_day": 365}]
    assert len(read_test_set(write_table(table, days)).series) == 2


def test_an_image_twice_is_refused(tmp_path: Path, row: dict) -> None:
    assert word_of(write_table(tmp_path / "set.csv", [row, row | {"patient_id": "two"}])) is (
        Word.BAD_CASE_LIST
    )


@pytest.mark.parametrize("change", [{"thickness_mm": "thin"}, {"noise_hu": "nan"}, {"label": ""}])
def test_a_wrong_cell_is_told_with_its_line(tmp_path: Path, row: dict, change: dict) -> None:
    with pytest.raises(IacError, match="line 2") as caught:
        read_test_set(write_table(tmp_path / "set.csv", [row | change]))
    assert caught.value.word is Word.BAD_CASE_LIST


def test_what_is_not_there_is_told_before_any_work(tmp_path: Path, row: dict) -> None:
    assert word_of(tmp_path / "nowhere") is Word.INPUT_NOT_FOUND
    table = write_table(tmp_path / "set.csv", [row | {"label": "gone.nii.gz"}])
    assert word_of(table) is Word.INPUT_NOT_FOUND
