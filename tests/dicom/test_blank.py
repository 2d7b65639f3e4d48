"""Slices that are no image of their own, against slices that are."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from iac_cli.dicom.read import read_series
from iac_cli.errors import IacError, Word
from tests import make

AMID = 4
"""A slice amid the body; its neighbours hold tissue in the same rows."""

N = 10


def body(n: int = N) -> np.ndarray:
    """Slices (n, 80, 96) of one long elliptical cylinder with a rim of bone and noise, HU."""
    y, x = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 96), indexing="ij")
    radius = np.hypot(x / 0.8, y / 0.8)
    flat = np.where(radius < 0.85, 35, np.where(radius < 1, 900, -1000))
    noise = np.random.default_rng(5).normal(0, 8, (n, *flat.shape))
    return np.maximum(np.rint(flat + noise), -1024).astype(np.int16)


def filled(hu: np.ndarray, k: int, value: int, rows=slice(None), columns=slice(None)):
    changed = hu.copy()
    changed[k, rows, columns] = value
    return changed


def read_dicom(hu: np.ndarray, folder: Path):
    return read_series(make.save(make.slices(hu), folder))


def read_nifti(hu: np.ndarray, folder: Path):
    folder.mkdir()
    path = folder / "head.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu.transpose(2, 1, 0), np.diag([-1.0, -1, 2.5, 1])), path)
    return read_series(path)


BROKEN = {
    "air": (-1000, slice(None), slice(None)),
    "water": (0, slice(None), slice(None)),
    "lower half": (0, slice(40, None), slice(None)),
    "a narrow band": (0, slice(40, 44), slice(None)),
    "a band": (-1000, slice(30, 50), slice(None)),
    "right half of a transposed one": (-1024, slice(None), slice(48, None)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_slice_without_an_image_is_a_gap(name: str, tmp_path: Path) -> None:
    value, rows, columns = BROKEN[name]
    hu = filled(body(), AMID, value, rows, columns)
    reading = read_dicom(hu, tmp_path / "dicom")
    assert reading.volume.grid.shape[0] == N - 1
    assert [round(b - a, 3) for a, b in reading.gaps_mm] == [5.0]
    assert {f.word for f in reading.findings} >= {Word.DAMAGED_SLICES_DROPPED, Word.GAPS_FOUND}
    kept = read_nifti(hu, tmp_path / "nifti")
    assert kept.volume.grid.shape[0] == N
    assert [round(b - a, 3) for a, b in kept.gaps_mm] == [5.0]
    assert f"slice {AMID + 1} " in next(f.what for f in kept.findings if f.word == Word.GAPS_FOUND)


def test_a_slice_of_noisy_air_amid_the_body_is_a_gap(tmp_path: Path) -> None:
    hu = body()
    hu[AMID] = np.random.default_rng(0).normal(-1000, 8, hu[AMID].shape)
    assert len(read_dicom(hu, tmp_path / "in").gaps_mm) == 1


def test_two_blank_slices_in_a_row_are_one_gap(tmp_path: Path) -> None:
    hu = filled(filled(body(), AMID, 0), AMID + 1, 0)
    assert [b - a for a, b in read_dicom(hu, tmp_path / "in").gaps_mm] == [7.5]


def test_pixels_at_two_places_are_at_neither(tmp_path: Path) -> None:
    hu = body()
    hu[AMID + 1] = hu[AMID]
    reading = read_dicom(hu, tmp_path / "in")
    assert reading.volume.grid.shape[0] == N - 2
    assert [b - a for a, b in reading.gaps_mm] == [7.5]


@pytest.mark.parametrize("read", [read_dicom, read_nifti])
def test_air_above_and_below_the_body_is_air(read, tmp_path: Path) -> None:
    hu = body()
    hu[[0, 1, N - 2, N - 1]] = -1000
    reading = read(hu, tmp_path / "in")
    assert reading.gaps_mm == ()
    assert reading.volume.grid.shape[0] == N


def test_one_value_of_tissue_at_the_end_is_no_air(tmp_path: Path) -> None:
    reading = read_dicom(filled(body(), 0, 0), tmp_path / "in")
    assert reading.volume.grid.shape[0] == N - 1
    assert len(reading.gaps_mm) == 1


def test_a_sound_body_and_a_phantom_without_noise_are_left_alone(tmp_path: Path) -> None:
    assert read_dicom(body(), tmp_path / "sound").gaps_mm == ()
    still = np.where(body() > 400, 900, np.where(body() > -300, 40, -1000)).astype(np.int16)
    still[AMID] = 40
    assert read_dicom(still, tmp_path / "still").gaps_mm == ()


def test_slices_repeated_by_resampling_are_refused(tmp_path: Path) -> None:
    for read, folder in ((read_dicom, "dicom"), (read_nifti, "nifti")):
        with pytest.raises(IacError) as caught:
            read(np.repeat(body(5), 2, axis=0), tmp_path / folder)
        assert caught.value.word == Word.BLANK_SLICES
