"""Pixels that the header describes wrongly, against the HU that were stored."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from scipy import ndimage

from iac_cli.dicom.read import read_series
from iac_cli.errors import Word
from tests import make


def true_hu() -> np.ndarray:
    """A body with bone up to 1700 HU in air, blurred as every scanner blurs, then noise."""
    shape, rng = (8, 96, 112), np.random.default_rng(4)
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[1:]), indexing="ij")
    radius = np.hypot(x / 0.85, y / 0.85)
    flat = np.select([radius < 0.8, radius < 0.95, radius < 1], [35.0, 1700.0, 50.0], -990.0)
    blurred = ndimage.gaussian_filter(flat, 1.0)
    hu = np.rint(blurred + rng.normal(0, 6, shape)).astype(int)
    return np.maximum(hu, -1023)


def unsigned_12(ds: Dataset, hu: np.ndarray) -> None:
    ds.RescaleIntercept, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = -1024, 12, 11, 0
    ds.PixelData = (hu + 1024).astype("<u2").tobytes()


def signed_16(ds: Dataset, hu: np.ndarray) -> None:
    ds.RescaleIntercept, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 0, 16, 15, 1
    ds.PixelData = hu.astype("<i2").tobytes()


def called_signed(ds: Dataset, hu: np.ndarray) -> None:
    unsigned_12(ds, hu)
    ds.PixelRepresentation = 1


def called_narrow(ds: Dataset, hu: np.ndarray) -> None:
    signed_16(ds, hu)
    ds.BitsStored, ds.HighBit = 11, 10


def called_narrow_unsigned(ds: Dataset, hu: np.ndarray) -> None:
    unsigned_12(ds, hu)
    ds.BitsStored, ds.HighBit = 11, 10


def called_unsigned(ds: Dataset, hu: np.ndarray) -> None:
    signed_16(ds, hu)
    ds.PixelRepresentation, ds.BitsStored, ds.HighBit = 0, 12, 11


def sign_not_extended(ds: Dataset, hu: np.ndarray) -> None:
    signed_16(ds, hu)
    ds.BitsStored, ds.HighBit = 12, 11
    ds.PixelData = (hu & 0xFFF).astype("<u2").tobytes()


def foreign_bits(ds: Dataset, hu: np.ndarray) -> None:
    unsigned_12(ds, hu)
    scattered = np.random.default_rng(3).integers(0, 2, hu.shape) << 13
    ds.PixelData = ((hu + 1024) | scattered).astype("<u2").tobytes()


CASES: dict[str, tuple[Callable[[Dataset, np.ndarray], None], Word | None]] = {
    "unsigned, as it says": (unsigned_12, None),
    "unsigned, called signed": (called_signed, Word.PIXEL_SIGN_CORRECTED),
    "signed, called unsigned": (called_unsigned, Word.PIXEL_SIGN_CORRECTED),
    "16 bits called 11": (called_narrow, Word.STORED_BITS_DISAGREE),
    "12 bits called 11": (called_narrow_unsigned, Word.STORED_BITS_DISAGREE),
    "12 bits signed, not extended": (sign_not_extended, None),
    "foreign bits": (foreign_bits, Word.STORED_BITS_DISAGREE),
}


@pytest.mark.parametrize("name", CASES)
def test_the_hu_are_those_that_were_stored(name: str, tmp_path: Path) -> None:
    store, word = CASES[name]
    slices = make.slices(true_hu().astype(np.int16))
    for ds, hu in zip(slices, true_hu(), strict=True):
        store(ds, hu)
    reading = read_series(make.save(slices, tmp_path / "in"))
    assert np.array_equal(reading.volume.hu, true_hu())
    found = {f.word for f in reading.findings}
    told = {Word.PIXEL_SIGN_CORRECTED, Word.STORED_BITS_DISAGREE}
    assert found & told == ({word} if word else set())
