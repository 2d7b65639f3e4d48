"""The second reader: it agrees on sound series, and its disagreement is told."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iac_cli.dicom.read import read_series
from iac_cli.dicom.second import second_opinion
from iac_cli.errors import Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume
from tests import make


@pytest.mark.parametrize("source", ["head_pet_ct", "agatston_phantom/even_3mm"])
def test_dicom2nifti_agrees_on_real_and_arithmetic_series(source: str, data_dir: Path) -> None:
    opinion = second_opinion(data_dir / source, read_series(data_dir / source))
    assert opinion.accepted
    assert opinion.finding is None


def test_it_agrees_on_a_tilted_series(tmp_path: Path) -> None:
    positions = make.positions_along(4.0 * np.arange(8))
    folder = make.save(
        make.slices(positions=positions, orientation=make.tilted(18.5)), tmp_path / "in"
    )
    opinion = second_opinion(folder, read_series(folder))
    assert opinion.accepted
    assert opinion.finding is None


def test_it_agrees_on_a_zip_and_on_flipped_storage(tmp_path: Path) -> None:
    import shutil

    make.save(make.flipped(make.slices(), rows=True, columns=False), tmp_path / "in")
    packed = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "in"))
    opinion = second_opinion(packed, read_series(packed))
    assert opinion.accepted
    assert opinion.finding is None


def test_a_series_that_it_refuses_is_no_disagreement(data_dir: Path) -> None:
    source = data_dir / "agatston_phantom" / "uneven_2p5_5mm"
    opinion = second_opinion(source, read_series(source))
    assert not opinion.accepted
    assert opinion.why == "SLICE_INCREMENT_INCONSISTENT"


def test_a_disagreement_names_both_geometries(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    reading = read_series(folder)
    grid = reading.volume.grid
    moved = Grid.regular(grid.shape, spacing_mm=(2.5, 1, 1), origin_mm=grid.positions_mm[0] + 1)
    hu = reading.volume.hu.copy()
    hu[0, 0, :3] += 50
    opinion = second_opinion(folder, replace(reading, volume=Volume(hu, moved)))
    assert opinion.finding is not None
    assert opinion.finding.word == Word.SECOND_READER_DISAGREES
    assert "3 voxels differ" in opinion.finding.what
    assert "1.73 mm apart" in opinion.finding.what
    assert opinion.finding.what.count("first_voxel_lps_mm") == 2
