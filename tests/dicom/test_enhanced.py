"""Enhanced CT: frames of one object become slices."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, RLELossless

from iac_cli.dicom.read import read_series
from iac_cli.errors import IacError, Word
from tests import make


def test_frames_equal_the_classic_series(tmp_path: Path) -> None:
    hu = make.phantom_hu()
    classic = read_series(make.save(make.slices(hu), tmp_path / "classic"))
    enhanced = read_series(make.save([make.enhanced(hu)], tmp_path / "enhanced"))
    assert np.array_equal(enhanced.volume.hu, classic.volume.hu)
    assert np.allclose(enhanced.volume.grid.positions_mm, classic.volume.grid.positions_mm)
    assert enhanced.pixel_sha256 == classic.pixel_sha256


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_frames(syntax: str, tmp_path: Path) -> None:
    ds = make.enhanced(make.phantom_hu())
    ds.compress(syntax, generate_instance_uid=False)
    reading = read_series(make.save([ds], tmp_path))
    assert np.array_equal(reading.volume.hu, make.phantom_hu())


def test_frames_in_another_order_and_with_their_own_slopes(tmp_path: Path) -> None:
    hu = make.phantom_hu()
    order = np.random.default_rng(1).permutation(len(hu))
    positions = make.positions_along(2.5 * order)
    ds = make.enhanced(hu[order], positions=positions, slopes=[1, 0.5, 1, 0.5, 1, 0.5, 1, 0.5])
    reading = read_series(make.save([ds], tmp_path))
    assert np.array_equal(reading.volume.hu, hu)
    assert Word.RESCALE_VARIES in {f.word for f in reading.findings}


def test_a_perfusion_map_is_refused(tmp_path: Path) -> None:
    ds = make.enhanced(make.phantom_hu(), frame_type=("DERIVED", "PRIMARY", "PERFUSION", "RCBF"))
    with pytest.raises(IacError) as caught:
        read_series(make.save([ds], tmp_path))
    assert caught.value.word == Word.NOT_HOUNSFIELD


def test_frames_that_cannot_be_told_apart_are_refused(tmp_path: Path) -> None:
    ds = make.enhanced(make.phantom_hu())
    ds.NumberOfFrames = 7
    with pytest.raises(IacError) as caught:
        read_series(make.save([ds], tmp_path))
    assert caught.value.word == Word.MULTIFRAME_UNSUPPORTED


def test_two_frames_at_one_position_are_refused(tmp_path: Path) -> None:
    positions = make.positions_along([0, 2.5, 2.5, 5, 7.5, 10, 12.5, 15])
    ds = make.enhanced(make.phantom_hu(), positions=positions)
    with pytest.raises(IacError) as caught:
        read_series(make.save([ds], tmp_path))
    assert caught.value.word == Word.CONFLICTING_SLICES
