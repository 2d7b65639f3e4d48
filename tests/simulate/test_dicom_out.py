"""The study on disk: the same bytes again, and the same voxels through other readers."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from iac_cli.errors import IacError, Word
from iac_cli.simulate.dicom_out import Compression
from iac_cli.simulate.head import SimulatedHead, simulate_head
from iac_cli.simulate.identity import seeded_uid
from iac_cli.simulate.study_out import check_folder, write_head


@pytest.fixture(scope="module")
def straight_folder(straight_head: SimulatedHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight") / "head"
    write_head(out, straight_head)
    return out


@pytest.fixture(scope="module")
def tilted_folder(small_head: SimulatedHead, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tilted") / "head"
    write_head(out, small_head, compression=Compression.JPEG_LS)
    return out


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def slices_of(folder: Path) -> list[pydicom.FileDataset]:
    return [pydicom.dcmread(path) for path in sorted((folder / "study").glob("*.dcm"))]


def test_the_same_settings_give_the_same_bytes(
    straight_head: SimulatedHead, straight_folder: Path, tmp_path: Path
) -> None:
    write_head(tmp_path / "again", simulate_head(straight_head.settings))
    assert bytes_of(tmp_path / "again") == bytes_of(straight_folder)


@pytest.mark.parametrize("compression", list(Compression))
def test_pydicom_reads_the_same_voxels(
    compression: Compression, small_head: SimulatedHead, tmp_path: Path
) -> None:
    write_head(tmp_path / "out", small_head, compression=compression)
    read = [
        dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        for dataset in slices_of(tmp_path / "out")
    ]
    assert np.array_equal(np.stack(read), small_head.hu)


@pytest.mark.parametrize("folder", ["straight_folder", "tilted_folder"])
def test_the_product_reads_the_same_voxels_in_the_same_place(
    folder: str, request: pytest.FixtureRequest
) -> None:
    from iac_cli.dicom.read import read_series

    study = request.getfixturevalue(folder) / "study"
    head = request.getfixturevalue(
        "straight_head" if folder.startswith("straight") else "small_head"
    )
    volume = read_series(study).volume
    assert np.array_equal(volume.hu, head.hu)
    corners = [[0, 0, 0], [head.grid.shape[0] - 1, 100, 20]]
    assert np.allclose(volume.grid.to_world(corners), head.grid.to_world(corners), atol=1e-3)
    assert np.allclose(volume.grid.extents_mm, head.grid.extents_mm, atol=1e-3)


def test_simpleitk_reads_the_same_voxels(
    straight_folder: Path, straight_head: SimulatedHead
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(straight_folder / "study")))
    image = reader.Execute()
    assert np.array_equal(sitk.GetArrayFromImage(image), straight_head.hu)
    grid = straight_head.grid
    assert np.allclose(image.GetOrigin(), grid.positions_mm[0])
    assert np.allclose(image.GetSpacing(), (1.7, 1.7, 5.0))


def test_dicom2nifti_reads_the_same_voxels(
    straight_folder: Path, straight_head: SimulatedHead, tmp_path: Path
) -> None:
    dicom2nifti = pytest.importorskip("dicom2nifti")
    target = tmp_path / "head.nii.gz"
    dicom2nifti.dicom_series_to_nifti(straight_folder / "study", target, reorient_nifti=False)
    voxels = np.asarray(nibabel.load(target).dataobj)
    assert np.array_equal(voxels.transpose(2, 1, 0), straight_head.hu)


@pytest.mark.parametrize("folder", ["straight_folder", "tilted_folder"])
def test_dcm2niix_reads_the_same_voxels(
    folder: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    tool = shutil.which("dcm2niix", path=str(Path(sys.executable).parent))
    if tool is None:
        pytest.skip("dcm2niix is not installed")
    study = request.getfixturevalue(folder) / "study"
    command = [tool, "-z", "n", "-b", "n", "-f", "head", "-o", str(tmp_path), str(study)]
    subprocess.run(command, check=True, capture_output=True)
    voxels = np.asarray(nibabel.load(tmp_path / "head.nii").dataobj)
    name = "straight_head" if folder.startswith("straight") else "small_head"
    expected = request.getfixturevalue(name).hu
    assert np.array_equal(voxels.transpose(2, 1, 0)[:, ::-1], expected)


def dciodvfy() -> str:
    """The judge of DICOM files beside this interpreter, or the system's."""
    beside = str(Path(sys.executable).parent)
    tool = shutil.which("dciodvfy", path=beside) or shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    return tool


@pytest.mark.parametrize("folder", ["straight_folder", "tilted_folder"])
def test_dciodvfy_finds_no_error(folder: str, request: pytest.FixtureRequest) -> None:
    tool = dciodvfy()
    for path in sorted((request.getfixturevalue(folder) / "study").glob("*.dcm"))[:3]:
        command = [tool, "-new", str(path)]
        report = subprocess.run(command, capture_output=True, text=True, check=False)
        told = report.stderr + report.stdout
        assert "CTImage" in told
        assert "Error" not in told
        assert "Warning" not in told


def test_dciodvfy_is_heard(straight_folder: Path, tmp_path: Path) -> None:
    """A file without its image type is an error to it, so that the test above can fail."""
    tool = dciodvfy()
    dataset = slices_of(straight_folder)[0]
    del dataset.ImageType
    dataset.save_as(tmp_path / "bad.dcm")
    command = [tool, "-new", str(tmp_path / "bad.dcm")]
    report = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Error" in report.stderr + report.stdout


def test_the_tilted_stack_is_described_exactly(
    tilted_folder: Path, small_head: SimulatedHead
) -> None:
    datasets = slices_of(tilted_folder)
    positions = np.array([dataset.ImagePositionPatient for dataset in datasets], dtype=float)
    assert np.allclose(positions, small_head.grid.positions_mm, atol=1e-6)
    axes = np.array(datasets[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    assert np.allclose(axes, [small_head.grid.row_axis, small_head.grid.column_axis], atol=1e-6)
    assert float(datasets[0].GantryDetectorTilt) == 12.0


def test_files_say_that_they_are_simulated(straight_folder: Path) -> None:
    datasets = slices_of(straight_folder)
    for dataset in datasets:
        assert dataset.Manufacturer == "iac-seg simulator"
        assert dataset.PatientName == "Simulated^Head"
        assert dataset.PatientID == "SIM-6"
    uids = [dataset.SOPInstanceUID for dataset in datasets]
    assert len(set(uids)) == len(uids)
    assert all(uid.is_valid and uid.startswith("2.25.") for uid in uids)
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == 1


def test_one_patient_scanned_twice_is_one_study_with_two_series() -> None:
    assert seeded_uid("study", 3) == seeded_uid("study", 3) != seeded_uid("study", 4)


def test_truth_files_agree_with_each_other(tilted_folder: Path, small_head: SimulatedHead) -> None:
    folder = tilted_folder / "truth"
    image = nibabel.load(folder / "labels.nii.gz")
    labels = np.asarray(image.dataobj).transpose(2, 1, 0)
    truth = json.loads((folder / "truth.json").read_text())
    voxel_mm3 = float(abs(np.linalg.det(image.affine[:3, :3])))
    assert (labels > 0).sum() * voxel_mm3 == pytest.approx(truth["protocol_volume_mm3"], rel=1e-4)
    with (folder / "lesions.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sum(float(row["true_volume_mm3"]) for row in rows) == pytest.approx(
        truth["true_volume_mm3"], abs=0.01
    )
    numbers = np.asarray(nibabel.load(folder / "lesions.nii.gz").dataobj).transpose(2, 1, 0)
    for row in rows:
        voxels = numbers == int(row["number"])
        assert voxels.sum() == int(row["n_voxels"])
        assert set(labels[voxels]) <= {truth["labels"][row["artery"]]}
    world = image.affine @ [3.0, 5.0, 7.0, 1.0]
    expected = small_head.grid.to_world([[7, 5, 3]])[0] * [-1, -1, 1]
    assert np.allclose(world[:3], expected, atol=1e-3)


def test_centre_lines_read_back(tilted_folder: Path, small_head: SimulatedHead) -> None:
    document = json.loads((tilted_folder / "truth" / "arteries.json").read_text())
    assert document["frame"] == "LPS mm"
    for artery, line in small_head.anatomy.lines.items():
        points = np.array([row[:3] for row in document["lines"][artery.value]])
        assert np.allclose(points[[0, -1]], line.points_mm[[0, -1]], atol=0.01)


def test_a_folder_in_use_is_left_alone(straight_head: SimulatedHead, tmp_path: Path) -> None:
    (tmp_path / "kept.txt").write_text("mine")
    with pytest.raises(IacError) as caught:
        write_head(tmp_path, straight_head)
    assert caught.value.word == Word.OUTPUT_EXISTS
    assert [path.name for path in tmp_path.iterdir()] == ["kept.txt"]


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(IacError) as caught:
        check_folder(tmp_path / "out")
    assert caught.value.word == Word.OUTPUT_NOT_WRITABLE


def test_a_folder_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(IacError) as caught:
        check_folder(Path("/proc/nowhere/out"))
    assert caught.value.word == Word.OUTPUT_NOT_WRITABLE


@pytest.mark.parametrize("told_anew", [False, True])
def test_a_write_that_fails_leaves_nothing(
    straight_head: SimulatedHead,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told_anew: bool,
) -> None:
    def full_disk(*_: object) -> None:
        error = OSError(28, "No space left on device")
        if told_anew:  # as pydicom does: without the number
            raise OSError("a data element could not be written") from error
        raise error

    monkeypatch.setattr("iac_cli.simulate.study_out.write_truth", full_disk)
    with pytest.raises(IacError) as caught:
        write_head(tmp_path / "out", straight_head)
    assert caught.value.word == Word.DISK_FULL
    assert list(tmp_path.iterdir()) == []
