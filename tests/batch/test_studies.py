"""Discovery: studies are found by UID wherever their files lie, and nothing stops it."""

from pathlib import Path
from zipfile import ZipFile

import pytest
from make import save

from iac_cli.dicom.studies import Found, find_studies
from iac_cli.errors import IacError, Word
from tests.batch import cohort
from tests.command import as_ordinary_user, iac_seg


def found(root: Path) -> Found:
    return find_studies(root)


def test_a_study_in_two_folders_is_one(tmp_path: Path) -> None:
    cohort.split(tmp_path / "far" / "x", 1)
    (one,) = found(tmp_path).studies
    assert one.n_images == len(cohort.dataset(1))
    assert one.source == tmp_path / "far" / "x"
    assert one.scope is not None
    assert [folder.name for folder in one.scope.folders] == ["a", "b"]


def test_two_studies_in_one_folder_are_two(tmp_path: Path) -> None:
    save(cohort.dataset(1), tmp_path / "all", prefix="a")
    save(cohort.dataset(2), tmp_path / "all", prefix="b")
    first, second = found(tmp_path).studies
    assert first.study_uid != second.study_uid
    assert first.fingerprint != second.fingerprint


def test_zip_and_nifti_are_sources_of_their_own(tmp_path: Path) -> None:
    cohort.packed(tmp_path / "a.zip", 1)
    cohort.nifti(tmp_path / "b.nii.gz", 2)
    assert [one.source.name for one in found(tmp_path).studies] == ["a.zip", "b.nii.gz"]


def test_a_zip_of_a_study_that_lies_beside_it_is_left_out(tmp_path: Path) -> None:
    cohort.study(tmp_path / "a", 1)
    cohort.packed(tmp_path / "b.zip", 1)
    all_of_it = found(tmp_path)
    assert [one.source.name for one in all_of_it.studies] == ["a"]
    assert all_of_it.n_copies == 1


def test_a_study_half_unpacked_is_read_from_its_zip(tmp_path: Path) -> None:
    cohort.study(tmp_path / "a", 1)
    cohort.packed(tmp_path / "b.zip", 1)
    for path in sorted((tmp_path / "a").iterdir())[::2]:
        path.unlink()
    all_of_it = found(tmp_path)
    assert [one.source.name for one in all_of_it.studies] == ["b.zip"]
    assert all_of_it.n_copies == 1


def test_a_loop_of_links_is_walked_once(tmp_path: Path) -> None:
    cohort.study(tmp_path / "a", 1)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "again").symlink_to(tmp_path / "a")
    (one,) = found(tmp_path).studies
    assert one.n_images == len(cohort.dataset(1))


def test_an_unreadable_folder_is_counted_and_the_rest_found(tmp_path: Path) -> None:
    cohort.study(tmp_path / "tree" / "a", 1)
    closed = cohort.study(tmp_path / "tree" / "b", 2)
    closed.chmod(0)
    try:
        run = iac_seg(
            *("batch-score", tmp_path / "tree", "-o", tmp_path / "out", "--dry-run"),
            before=as_ordinary_user,
        )
    finally:
        closed.chmod(0o755)
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("\n1 cases\n")
    assert "note: folders that may not be listed: 1" in run.stderr


def test_a_folder_with_only_damaged_files_is_a_case(tmp_path: Path) -> None:
    cohort.study(tmp_path / "a", 1)
    cohort.rubble(tmp_path / "b")
    first, second = found(tmp_path).studies
    assert (second.source.name, second.study_uid, second.n_images) == ("b", None, 0)


@pytest.mark.parametrize("spoil", [cohort.escaping, cohort.bomb])
def test_an_evil_zip_is_a_case_that_will_fail(spoil, tmp_path: Path) -> None:
    spoil(tmp_path / "evil.zip")
    (one,) = found(tmp_path).studies
    assert one.n_images == 0


def test_studies_without_ct_are_left_out_and_counted(tmp_path: Path) -> None:
    cohort.resonance(tmp_path / "mr", 1)
    cohort.study(tmp_path / "ct", 2)
    all_of_it = found(tmp_path)
    assert [one.source.name for one in all_of_it.studies] == ["ct"]
    assert all_of_it.n_without_ct == 1


def test_a_zip_that_holds_no_image_is_counted(tmp_path: Path) -> None:
    cohort.study(tmp_path / "sound", 1)
    with ZipFile(tmp_path / "nested.zip", "w") as archive:
        archive.writestr("inner.zip", b"PK\x05\x06" + bytes(18))
    found = find_studies(tmp_path)
    assert (len(found.studies), found.n_without_ct) == (1, 1)


def test_own_results_are_no_studies(tmp_path: Path) -> None:
    cohort.study(tmp_path / "a", 1)
    cohort.nifti(tmp_path / "result" / "mask.nii.gz", 2)
    (tmp_path / "result" / "result.json").write_text("{}")
    assert len(found(tmp_path).studies) == 1


def test_nothing_but_rubbish_holds_no_study(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no scan")
    with ZipFile(tmp_path / "letters.zip", "w") as archive:
        archive.writestr("letter.txt", "no scan")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert found(tmp_path).studies == ()


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        found(tmp_path / "absent")
    assert caught.value.word is Word.INPUT_NOT_FOUND


def test_a_fingerprint_changes_with_its_files_and_not_with_their_place(tmp_path: Path) -> None:
    study = cohort.study(tmp_path / "a", 1)
    before = found(tmp_path).studies[0].fingerprint
    study.rename(tmp_path / "b")
    assert found(tmp_path).studies[0].fingerprint == before
    (tmp_path / "b" / "im003").touch()
    assert found(tmp_path).studies[0].fingerprint != before
