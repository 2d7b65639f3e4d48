"""A simulated scan as DICOM files, one a slice.

The files say in several tags that they are simulated. Same settings, same bytes: no clock and no
random number is asked.
"""

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from iac_cli.geometry.grid import Grid
from iac_cli.simulate.head import SimulatedHead
from iac_cli.simulate.identity import PROCEDURAL, SIMULATOR_VERSION, seeded_uid, settings_dict
from iac_cli.simulate.laws import LOWEST_HU
from iac_cli.simulate.scanner import POINT_SPREADS

IMPLEMENTATION_UID = "2.25.222041234093483094611120173464716127541"
STUDY_DATE, STUDY_TIME = "20000101", "120000"
TABLE_HEIGHT_MM = 150.0

Progress = Callable[[str, float], None]


class Compression(StrEnum):
    """How pixels are stored; all of them without loss."""

    NONE = "none"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"


def write_study(
    folder: Path,
    head: SimulatedHead,
    compression: Compression,
    on_step: Progress | None = None,
    *,
    series_number: int = 2,
) -> None:
    """Write one file a slice, in order from below upwards."""
    folder.mkdir()
    n = head.grid.shape[0]
    for k in range(n):
        dataset = slice_dataset(head, k)
        dataset.SeriesNumber = series_number
        if compression == Compression.RLE:
            dataset.compress(RLELossless, generate_instance_uid=False)
        elif compression == Compression.JPEG_LS:
            dataset.compress(JPEGLSLossless, generate_instance_uid=False)
        dataset.save_as(folder / f"CT{k + 1:04d}.dcm", enforce_file_format=True)
        if on_step is not None:
            on_step("writing", (k + 1) / n)


def slice_dataset(head: SimulatedHead, k: int) -> FileDataset:
    """Slice k (from below) as a CT Image Storage data set, uncompressed."""
    names = json.dumps(settings_dict(head), sort_keys=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = seeded_uid("instance", names, k)  # type: ignore[assignment]
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID  # type: ignore[assignment]
    meta.ImplementationVersionName = "IAC-SEG SIM"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    _add_patient(dataset, head)
    _add_study(dataset, head, names)
    _add_equipment(dataset, head)
    _add_plane(dataset, head.grid, k)
    if head.thickness_mm is not None:
        dataset.SliceThickness = _decimal(float(head.thickness_mm[k]))
        dataset.GantryDetectorTilt = _decimal(-head.grid.tilt_deg)
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.InstanceNumber = k + 1
    dataset.ImageComments = "Simulated image, no patient"
    _add_pixels(dataset, head.hu[k])
    return dataset


def _add_patient(dataset: Dataset, head: SimulatedHead) -> None:
    seed = head.settings.seed
    person = np.random.default_rng([seed, 7])
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Simulated^Head"
    dataset.PatientID = "-".join(["SIM", *(str(part).replace(" ", "-") for part in _person(head))])
    dataset.PatientBirthDate = ""
    dataset.PatientSex = str(person.choice(["F", "M"]))
    dataset.PatientAge = f"{int(person.integers(50, 90)):03d}Y"
    dataset.PatientComments = "Simulated by iac-seg; not a person"


def _person(head: SimulatedHead) -> tuple[object, ...]:
    """What makes this patient: the seed, and a real head's name."""
    kind = head.anatomy.kind
    return (head.settings.seed,) if kind == PROCEDURAL else (head.settings.seed, kind)


def _add_study(dataset: Dataset, head: SimulatedHead, names: str) -> None:
    person = _person(head)
    dataset.StudyInstanceUID = seeded_uid("study", *person)
    dataset.SeriesInstanceUID = seeded_uid("series", names)
    dataset.FrameOfReferenceUID = seeded_uid("frame", *person)
    dataset.PositionReferenceIndicator = ""
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = STUDY_DATE
    dataset.ContentDate = STUDY_DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = STUDY_TIME
    dataset.ContentTime = STUDY_TIME
    dataset.StudyDescription = "SIMULATED HEAD"
    dataset.SeriesDescription = (
        f"SIMULATED HEAD {head.settings.thickness_mm:g}mm {head.settings.kernel.value}"
    )
    dataset.SeriesNumber = 2
    dataset.AcquisitionNumber = 1
    dataset.Modality = "CT"
    dataset.SOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.BodyPartExamined = "HEAD"
    dataset.PatientPosition = "HFS"


def _add_equipment(dataset: Dataset, head: SimulatedHead) -> None:
    settings = head.settings
    dataset.Manufacturer = "iac-seg simulator"
    dataset.ManufacturerModelName = head.anatomy.kind
    dataset.DeviceSerialNumber = "SIM"
    dataset.SoftwareVersions = SIMULATOR_VERSION
    dataset.KVP = "120"
    dataset.XRayTubeCurrent = 200
    dataset.ExposureTime = 1000
    dataset.Exposure = 200
    dataset.FilterType = "SIM"
    dataset.ScanOptions = "AXIAL MODE"
    dataset.ConvolutionKernel = POINT_SPREADS[settings.kernel].name
    dataset.SliceThickness = _decimal(settings.thickness_mm)
    dataset.GantryDetectorTilt = _decimal(settings.tilt_deg)
    dataset.TableHeight = _decimal(TABLE_HEIGHT_MM)
    dataset.RotationDirection = "CW"
    fov = settings.pixel * max(settings.rows, settings.columns)
    dataset.DataCollectionDiameter = _decimal(max(fov, 250.0))
    dataset.ReconstructionDiameter = _decimal(fov)


def _add_plane(dataset: Dataset, grid: Grid, k: int) -> None:
    dataset.ImagePositionPatient = [_decimal(v) for v in grid.positions_mm[k]]
    dataset.ImageOrientationPatient = [
        _decimal(v) for v in np.concatenate([grid.row_axis, grid.column_axis])
    ]
    dataset.SliceLocation = _decimal(float(grid.offsets_mm[k]))
    dataset.PixelSpacing = [_decimal(v) for v in grid.pixel_mm]


def _add_pixels(dataset: Dataset, hu: NDArray[np.int16]) -> None:
    stored = (hu.astype(np.int32) - LOWEST_HU).astype("<u2")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = hu.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = str(LOWEST_HU)
    dataset.RescaleSlope = "1"
    dataset.RescaleType = "HU"
    dataset.WindowCenter = "40"
    dataset.WindowWidth = "100"
    dataset.PixelData = stored.tobytes()
    dataset["PixelData"].VR = "OW"


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, without a negative zero."""
    text = f"{float(value):.9f}"[:16].rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
