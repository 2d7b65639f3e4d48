"""`iac-seg locate`: what it writes can be read back, corrected and simulated with."""

import json
from pathlib import Path

import heads
import numpy as np
import pytest
from command import iac_seg
from oracle import oracle_models
from scipy.spatial import cKDTree

from iac_cli.cli.anatomy import read_anatomy, read_traced
from iac_cli.dicom.nifti import write_nifti
from iac_cli.geometry.lines import Artery
from iac_cli.simulate.anatomy.real import make_real_head
from iac_cli.simulate.head import anatomy_stream
from iac_cli.simulate.skull import read_lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("locate")
    oracle_models(made / "models")
    oracle_models(made / "without_ba", absent=("BA",))
    scan = heads.head(heads.head_grid(step_mm=2.0))
    write_nifti(made / "scan.nii.gz", scan.hu, scan.grid)
    bald = heads.head(brain_hu=-1000.0)
    write_nifti(made / "bald.nii.gz", bald.hu, bald.grid)
    return made


def locate(folder: Path, out: Path, *more, models: str = "models", scan: str = "scan.nii.gz"):
    return iac_seg(
        "locate", folder / scan, "-o", out, "--model", folder / models, "-d", "cpu", *more
    )


def test_lines_come_back_and_lie_on_the_arteries(folder: Path, tmp_path: Path) -> None:
    run = locate(folder, tmp_path / "lines.json")
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "lines.png").read_bytes()[:4] == b"\x89PNG"
    read = read_traced(tmp_path / "lines.json")
    assert set(read) == set(Artery)
    for artery, line in heads.lines().items():
        truth = cKDTree(line.resampled(0.25).points_mm)
        assert truth.query(read[artery].points_mm)[0].max() < 3.0
    text = (tmp_path / "lines.json").read_text()
    assert "scan.nii.gz" not in text
    assert json.loads(text)["arteries"]["ICA-R"]["covered"] is True


def test_what_lies_outside_is_not_covered_and_not_sure(folder: Path, tmp_path: Path) -> None:
    run = locate(folder, tmp_path / "lines.json", "--json", models="without_ba")
    assert run.returncode == 0, run.stderr
    document = json.loads(run.stdout)
    assert document == json.loads((tmp_path / "lines.json").read_text())
    assert document["arteries"]["BA"] == {"covered": False, "confidence": 0.0, "length_mm": None}
    assert "BA" not in document["lines"]


def test_corrected_lines_make_a_head_to_simulate(folder: Path, tmp_path: Path) -> None:
    file = folder / "with_image.json"
    run = locate(folder, file, "--with-image")
    assert run.returncode == 0, run.stderr
    assert "can identify" in run.stderr
    document = json.loads(file.read_text())
    for point in document["lines"]["BA"]:
        point[0] += 1.5  # somebody corrects the basilar artery
    file.write_text(json.dumps(document))
    source = read_anatomy(file, seed=1)
    moved = source.lines[Artery.BA].points_mm
    np.testing.assert_allclose(moved, read_lines(file)[Artery.BA].points_mm)
    made = make_real_head(source, anatomy_stream(1))
    assert set(made.lines) == set(Artery)


@pytest.mark.slow
def test_a_located_head_is_simulated(folder: Path, tmp_path: Path) -> None:
    file = folder / "for_simulator.json"
    assert locate(folder, file, "--with-image").returncode == 0
    run = iac_seg(
        *("simulate", "head", "-o", tmp_path / "head", "--anatomy", file, "--seed", "1"),
        *("--size", "96x96", "--thickness-mm", "5", "-q"),
    )
    assert run.returncode == 0, run.stderr
    truth = json.loads((tmp_path / "head" / "truth" / "truth.json").read_text())
    assert truth["true_volume_mm3"] > 0


def test_no_head_has_no_lines_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    run = locate(folder, tmp_path / "lines.json", scan="bald.nii.gz")
    assert run.returncode == 6
    assert "not_a_head" in run.stderr
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.png").write_bytes(b"mine")
    assert locate(folder, tmp_path / "lines.json").returncode == 7
    assert (tmp_path / "lines.png").read_bytes() == b"mine"
    assert locate(folder, tmp_path / "lines.json", "--overwrite").returncode == 0


REAL = {
    "head_healthy": ("head_healthy/head.nii.gz", "anatomy/head_healthy.json"),
    "head_pet_ct": ("head_pet_ct", "anatomy/head_pet_ct.json"),
    "head_cadaver": ("head_cadaver/head.nii.gz", "anatomy/head_cadaver.json"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_arteries_are_near_the_traced_ones(name: str, data_dir: Path, tmp_path: Path) -> None:
    """Bars, not records: the carotids and the basilar within 4 mm on average, nothing missing."""
    image, lines = REAL[name]
    run = iac_seg("locate", data_dir / image, "-o", tmp_path / "lines.json", "-q")
    assert run.returncode == 0, run.stderr
    found, traced = read_traced(tmp_path / "lines.json"), read_lines(data_dir / lines)
    assert set(found) == set(Artery)
    for artery in (Artery.ICA_R, Artery.ICA_L, Artery.BA):
        near = cKDTree(traced[artery].resampled(0.5).points_mm)
        assert near.query(found[artery].resampled(0.5).points_mm)[0].mean() < 4.0
