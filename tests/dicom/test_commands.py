"""`inspect` and `convert` as a user runs them."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from iac_cli.errors import Exit
from tests import make
from tests.command import iac_seg


def test_inspect_tells_every_verdict_and_no_identity(tmp_path: Path) -> None:
    make.save(make.slices(number=1), tmp_path / "a")
    make.save(make.slices(number=2, ConvolutionKernel="BONE"), tmp_path / "b")
    run = iac_seg("inspect", tmp_path)
    assert run.returncode == Exit.OK, run.stderr
    assert run.stdout.count("USED") == 1
    assert "soft kernel before sharp" in run.stdout
    assert "pass  is CT" in run.stdout
    assert "ID77" not in run.stdout + run.stderr
    document = json.loads(iac_seg("inspect", tmp_path, "--json").stdout)
    assert [entry["used"] for entry in document["series"]] == [True, False]
    assert len(document["series"][0]["verdicts"]) > 8


def test_inspect_ends_with_the_code_of_the_reason(tmp_path: Path) -> None:
    make.save(make.slices(Modality="MR"), tmp_path)
    run = iac_seg("inspect", tmp_path)
    assert run.returncode == Exit.NO_USABLE_INPUT
    assert "FAIL  is CT" in run.stdout
    assert "no_ct_series" in run.stderr


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii"])
def test_convert_writes_the_native_grid_of_a_regular_series(name: str, tmp_path: Path) -> None:
    make.save(make.slices(), tmp_path / "in")
    run = iac_seg("convert", tmp_path / "in", "-o", tmp_path / name)
    assert run.returncode == Exit.OK, run.stderr
    assert "agrees in voxels and geometry" in run.stdout
    assert np.array_equal(np.asarray(nibabel.load(tmp_path / name).dataobj).T, make.phantom_hu())


def test_convert_resamples_a_tilted_series(tmp_path: Path) -> None:
    import SimpleITK

    slices = make.slices(orientation=make.tilted(15.0))
    make.save(slices, tmp_path / "in")
    run = iac_seg("convert", tmp_path / "in", "-o", tmp_path / "ct.nii.gz", "--json")
    document = json.loads(run.stdout)
    assert document["resampled"]
    assert document["written_grid"]["tilt_deg"] == 0
    image = SimpleITK.ReadImage(str(tmp_path / "ct.nii.gz"))
    # the bright block lies where the headers say
    block = np.array(slices[4].ImagePositionPatient, float)
    orientation = np.array(slices[4].ImageOrientationPatient, float)
    block += orientation[:3] * 16 + orientation[3:] * 14
    index = image.TransformPhysicalPointToIndex(block.tolist())
    assert abs(image.GetPixel(index) - 300) < 40


def test_convert_never_replaces_a_file_unasked(tmp_path: Path) -> None:
    make.save(make.slices(), tmp_path / "in")
    (tmp_path / "ct.nii.gz").write_text("mine")
    run = iac_seg("convert", tmp_path / "in", "-o", tmp_path / "ct.nii.gz")
    assert run.returncode == Exit.OUTPUT
    assert (tmp_path / "ct.nii.gz").read_text() == "mine"
    command = ("convert", tmp_path / "in", "-o", tmp_path / "ct.nii.gz", "--overwrite")
    assert iac_seg(*command, "--no-second").returncode == Exit.OK


def test_convert_does_not_write_among_the_scans(tmp_path: Path) -> None:
    make.save(make.slices(), tmp_path / "in")
    run = iac_seg("convert", tmp_path / "in", "-o", tmp_path / "in" / "ct.nii.gz")
    assert run.returncode == Exit.OUTPUT
    assert len(list((tmp_path / "in").iterdir())) == 8
