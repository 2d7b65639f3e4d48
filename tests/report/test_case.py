"""A case's folder: which files, the same bytes twice, and the same numbers from its masks."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from iac_cli.dicom.nifti import read_mask
from iac_cli.errors import Finding, IacError, Word
from iac_cli.geometry.lines import Artery
from iac_cli.measure.lesions import find_lesions
from iac_cli.measure.scores import score
from iac_cli.report.case import CaseImages, write_case
from iac_cli.report.masks import on_stack
from iac_cli.report.result import Case, Result
from tests.report.made_case import arteries_on, case_of, made, stack

PLAIN = {"result.json", "scores.csv", "lesions.csv", "mask.nii.gz", "preview.png"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_regular_series_has_one_mask(tmp_path: Path) -> None:
    result, images = case_of(stack())
    written = write_case(tmp_path / "out", result, images)
    assert names(tmp_path / "out") == PLAIN
    assert [path.name for path in written] == sorted(PLAIN)
    assert all(path.parent == tmp_path / "out" for path in written)


def test_a_tilted_series_has_its_native_mask_too(tmp_path: Path) -> None:
    result, images = case_of(stack(tilt=True))
    write_case(tmp_path / "out", result, images)
    assert names(tmp_path / "out") == PLAIN | {"mask_native.nii.gz"}
    native = read_mask(tmp_path / "out" / "mask_native.nii.gz")
    assert np.array_equal(native.voxels, images.found.mask)


def test_the_probability_is_saved_when_it_is_given(tmp_path: Path) -> None:
    import nibabel

    result, images = case_of(stack())
    probability = np.random.default_rng(2).random(images.volume.hu.shape, dtype=np.float32)
    more = CaseImages(images.volume, images.found, images.lines, probability)
    write_case(tmp_path / "out", result, more)
    assert names(tmp_path / "out") == PLAIN | {"probability_native.nii.gz"}
    image = nibabel.load(tmp_path / "out" / "probability_native.nii.gz")
    read = nibabel.as_closest_canonical(image).get_fdata()[::-1, ::-1].transpose(2, 1, 0)
    assert np.array_equal(read.astype(np.float32), probability)


def test_a_case_that_was_not_measurable_has_no_picture_and_no_lesions(tmp_path: Path) -> None:
    result, images = case_of(stack(), absent=(Artery.ICA_R,))
    write_case(tmp_path / "out", result, images)
    refused = Result.refused(Case("r", made=made()), [Finding(Word.NOT_A_HEAD, "no skull")])
    write_case(tmp_path / "refused", refused)
    assert names(tmp_path / "out") == names(tmp_path / "refused") == {"result.json", "scores.csv"}
    (row,) = csv.DictReader((tmp_path / "refused" / "scores.csv").read_text().splitlines())
    assert (row["status"], row["reasons"], row["volume_mm3"]) == (
        "not_measurable",
        "not_a_head",
        "",
    )


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        result, images = case_of(stack(tilt=True, uneven=True))
        write_case(tmp_path / name, result, images)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_nothing_written_tells_who_the_patient_is_or_where_the_files_were(tmp_path: Path) -> None:
    result, images = case_of(stack(tilt=True))
    for path in write_case(tmp_path / "out", result, images):
        content = path.read_bytes()
        assert b"SECRET" not in content
        assert str(tmp_path).encode() not in content


@pytest.mark.parametrize("file", ["mask.nii.gz", "mask_native.nii.gz"])
@pytest.mark.parametrize(
    "shape", [{"tilt": True}, {"uneven": True}, {"tilt": True, "uneven": True}]
)
def test_either_mask_unedited_gives_identical_numbers(
    tmp_path: Path, file: str, shape: dict[str, bool]
) -> None:
    grid = stack(**shape)
    result, images = case_of(grid)
    write_case(tmp_path / "out", result, images)
    told = json.loads((tmp_path / "out" / "result.json").read_text())
    mask = on_stack(read_mask(tmp_path / "out" / file), grid)
    arteries = arteries_on(grid)
    found = find_lesions(images.volume, mask, places=arteries.places)
    again = score(found, images.volume, arteries, 120.0)
    assert found.left_out.total == 0
    for name in ("volume_mm3", "agatston", "hu_mm3", "ica_volume_mm3", "n_lesions"):
        assert getattr(again, name) == told[name], name
    assert [one.agatston for one in again.lesions] == [one["agatston"] for one in told["lesions"]]


def test_an_existing_result_stays_when_it_may_not_be_replaced(tmp_path: Path) -> None:
    result, images = case_of(stack())
    write_case(tmp_path / "out", result, images)
    before = (tmp_path / "out" / "result.json").read_bytes()
    other, _ = case_of(stack(), case_id="other")
    with pytest.raises(IacError, match="already"):
        write_case(tmp_path / "out", other, images)
    assert (tmp_path / "out" / "result.json").read_bytes() == before
    write_case(tmp_path / "out", other, images, overwrite=True)
    assert json.loads((tmp_path / "out" / "result.json").read_text())["case_id"] == "other"
