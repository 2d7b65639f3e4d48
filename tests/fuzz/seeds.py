"""The sound inputs that are mutated: a small head-like CT in every container that is read.

Eight slices of 48 x 48: a skull of 900 HU, brain of 35 HU, two dots of 300 HU. Its patient carries
an identity that no output may repeat.
"""

from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from iac_cli.locate.keypoints import keypoints
from tests.tiny_models import place_locator

SHAPE = (8, 48, 48)
PIXEL_MM = 4.0
STEP_MM = 5.0
ORIGIN_MM = (-96.0, -96.0, -40.0)
ROOT_UID = "1.2.826.0.1.3680043.8.498"
IDENTITY = ("ZEBEDEE^QUILL", "MRN-7788991", "19330217")
"""Name, id and birth date of the made-up patient: must never appear in any output."""

ENCODINGS = (
    ExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLosslessSV1,
)


@dataclass(frozen=True, slots=True)
class Seeds:
    """Folders and files of the sound inputs."""

    series: tuple[Path, ...]
    """Folders, one a transfer syntax; the first is uncompressed."""
    other_series: Path
    """The same patient with another matrix and orientation."""
    archive: Path
    nifti: Path
    mask: Path
    models: Path
    """A locator of a few weights, which puts the arteries into the phantom."""


def head_hu() -> NDArray[np.int16]:
    """The phantom (slice, row, column) in HU."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    radius = np.sqrt((x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 1.6) ** 2)
    noise = np.random.default_rng(7).normal(0, 6, SHAPE)
    hu = np.where(radius < 0.9, 35, np.where(radius < 1.0, 900, -1000)) + noise
    hu[3:5, 22:25, 16:19] = hu[3:5, 22:25, 30:33] = 300
    return hu.astype(np.int16)


def calcium() -> NDArray[np.bool_]:
    """Mask of the two dots, (slice, row, column)."""
    mask = np.zeros(SHAPE, bool)
    mask[3:5, 22:25, 16:19] = mask[3:5, 22:25, 30:33] = True
    return mask


def slice_dataset(hu: NDArray[np.int16], k: int, *, series: int) -> Dataset:
    """One uncompressed CT slice of a series."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{ROOT_UID}.{series}.{k + 1}"
    ds = Dataset()
    ds.file_meta = meta
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    ds.StudyDate, ds.StudyTime = "20200304", "101112"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", "PHANTOM", "P1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = IDENTITY
    ds.PatientSex, ds.PatientAge = "F", "071Y"
    ds.SliceThickness, ds.KVP, ds.ConvolutionKernel = STEP_MM, 120, "STD"
    ds.StudyInstanceUID = f"{ROOT_UID}.100"
    ds.SeriesInstanceUID = f"{ROOT_UID}.100.{series}"
    ds.FrameOfReferenceUID = f"{ROOT_UID}.101"
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = series, 1, k + 1
    ds.ImagePositionPatient = [ORIGIN_MM[0], ORIGIN_MM[1], ORIGIN_MM[2] + STEP_MM * k]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = hu.shape
    ds.PixelSpacing = [PIXEL_MM, PIXEL_MM]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = -24, 1, "HU"
    ds.PixelData = (hu + 24).astype("<i2").tobytes()
    return ds


def write_seeds(folder: Path) -> Seeds:
    """Write every sound input under a folder."""
    hu = head_hu()
    series = []
    for number, encoding in enumerate(ENCODINGS):
        series.append(folder / f"series_{number}")
        series[-1].mkdir()
        for k in range(SHAPE[0]):
            ds = slice_dataset(hu[k], k, series=1)
            path = series[-1] / f"{k:02d}.dcm"
            if encoding not in (ExplicitVRLittleEndian, JPEGLosslessSV1):
                ds.compress(encoding, generate_instance_uid=False)
            ds.save_as(path, enforce_file_format=True)
            if encoding == JPEGLosslessSV1:
                _encode_jpeg(path)
    other = folder / "other"
    other.mkdir()
    for k in range(5):
        ds = slice_dataset(np.ascontiguousarray(hu[k, :, :40]), k, series=2)
        ds.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        ds.ImagePositionPatient = [-96, -96 + 5.0 * k, 0]
        ds.save_as(other / f"{k:02d}.dcm", enforce_file_format=True)
    archive = folder / "series.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as package:
        for path in sorted(series[0].iterdir()):
            package.write(path, f"study/{path.name}")
    return Seeds(tuple(series), other, archive, *_write_nifti(folder, hu), _write_locator(folder))


def _write_locator(folder: Path) -> Path:
    """A model folder whose locator answers fixed places, whatever the head."""
    points = [(artery.value, fraction) for artery, fraction in keypoints()]
    side = {"R": -1.0, "L": 1.0, "A": 0.0}
    places = [(10 * f - 5, 20 - 20 * f, side[a[-1]] * (30 - 10 * f)) for a, f in points]
    return place_locator(folder / "models", points, np.array(places))


def _encode_jpeg(path: Path) -> None:
    """Encode a file's pixels as lossless JPEG, which pydicom can read and not write."""
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGLosslessProcess14_1))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetImage(change.GetOutput())
    writer.SetFile(reader.GetFile())
    writer.SetFileName(str(path))
    assert writer.Write()


def _write_nifti(folder: Path, hu: NDArray[np.int16]) -> tuple[Path, Path]:
    affine = np.diag([-PIXEL_MM, -PIXEL_MM, STEP_MM, 1.0])  # RAS, from LPS axes
    affine[:3, 3] = [-ORIGIN_MM[0], -ORIGIN_MM[1], ORIGIN_MM[2]]
    nifti, mask = folder / "ct.nii.gz", folder / "mask.nii.gz"
    nib.save(nib.Nifti1Image(hu.transpose(2, 1, 0), affine), nifti)
    nib.save(nib.Nifti1Image(calcium().transpose(2, 1, 0).astype(np.uint8), affine), mask)
    return nifti, mask
