"""Small phantoms, made rather than stored: CT series, enhanced CT and whole studies on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian

ROOT_UID = "1.2.826.0.1.3680043.8.498.77"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

Change = Callable[[Dataset], None]


def phantom_hu(shape: tuple[int, int, int] = (8, 40, 48), seed: int = 0) -> NDArray[np.int16]:
    """A skull-like shell with soft tissue and noise in air, no symmetry, (slice, row, column)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt((x / 0.8) ** 2 + (y / 0.9) ** 2 + (z / 1.5) ** 2)
    hu = np.where(radius < 0.85, 35, np.where(radius < 1, 900, -1000)).astype(float)
    hu += np.random.default_rng(seed).integers(-6, 7, shape) + 20 * x + 10 * y
    hu[shape[0] // 2, 13:16, 14:19] = 300
    return np.maximum(hu, -1024).astype(np.int16)


def positions_along(
    offsets_mm: ArrayLike,
    *,
    origin: ArrayLike = (-12.0, -10.0, 3.0),
    direction: ArrayLike = (0.0, 0.0, 1.0),
) -> NDArray[np.float64]:
    """Slice positions (n, 3) LPS mm at distances along one direction."""
    unit = np.asarray(direction, float)
    return np.asarray(origin, float) + np.asarray(offsets_mm, float)[:, None] * unit


def tilted(angle_deg: float) -> tuple[float, ...]:
    """ImageOrientationPatient of a gantry that is tilted about the x axis."""
    angle = np.radians(angle_deg)
    return (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(-np.sin(angle)))


def slices(
    hu: NDArray[Any] | None = None,
    *,
    positions: NDArray[np.float64] | None = None,
    orientation: Sequence[float] = AXIAL,
    pixel_mm: tuple[float, float] = (1.0, 1.0),
    number: int = 1,
    **tags: Any,
) -> list[Dataset]:
    """Uncompressed slices of one series; `tags` are set by keyword in all of them."""
    hu = phantom_hu() if hu is None else hu
    if positions is None:
        positions = positions_along(2.5 * np.arange(len(hu)))
    made = [
        _slice(hu[k], positions[k], orientation=orientation, pixel_mm=pixel_mm, k=k, number=number)
        for k in range(len(hu))
    ]
    for ds in made:
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
    return made


def _slice(
    hu: NDArray[Any],
    position: NDArray[np.float64],
    *,
    orientation: Sequence[float],
    pixel_mm: tuple[float, float],
    k: int,
    number: int,
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT_UID}.{number}.{k + 1}"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", "MADE", "PHANTOM 1"
    ds.PatientName, ds.PatientID, ds.PatientSex, ds.PatientAge = "SECRET^NAME", "ID77", "F", "071Y"
    ds.StudyDate, ds.SeriesDate, ds.SeriesTime = "20200102", "20200102", "101112"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT_UID}.100", f"{ROOT_UID}.200.{number}"
    ds.FrameOfReferenceUID = f"{ROOT_UID}.300"
    ds.KVP, ds.ConvolutionKernel, ds.SliceThickness = 120, "STANDARD", 2.5
    ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = number, 1, k + 1
    ds.ImagePositionPatient = [round(float(v), 6) for v in position]
    ds.ImageOrientationPatient = [round(float(v), 8) for v in orientation]
    ds.PixelSpacing = list(pixel_mm)
    ds.Rows, ds.Columns = hu.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.PixelData = (hu.astype(np.int32) + 1024).astype("<i2").tobytes()
    return ds


def save(datasets: Sequence[Dataset], folder: Path, *, prefix: str = "im") -> Path:
    """Write data sets under numbered names without an extension."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, ds in enumerate(datasets):
        ds.save_as(folder / f"{prefix}{i:03d}", enforce_file_format=True)
    return folder


def changed(datasets: Sequence[Dataset], change: Change, *, only: int | None = None) -> None:
    """Change all data sets, or one."""
    for i, ds in enumerate(datasets):
        if only in (None, i):
            change(ds)


def flipped(datasets: Sequence[Dataset], *, rows: bool, columns: bool) -> list[Dataset]:
    """The same slices stored the other way round, with the geometry that goes with it."""
    for ds in datasets:
        pixels = ds.pixel_array
        position = np.array(ds.ImagePositionPatient, float)
        orientation = np.array(ds.ImageOrientationPatient, float)
        row_mm, column_mm = (float(v) for v in ds.PixelSpacing)
        if columns:
            position += orientation[:3] * column_mm * (ds.Columns - 1)
            orientation[:3] *= -1
            pixels = pixels[:, ::-1]
        if rows:
            position += orientation[3:] * row_mm * (ds.Rows - 1)
            orientation[3:] *= -1
            pixels = pixels[::-1]
        ds.ImagePositionPatient = [round(float(v), 6) for v in position]
        ds.ImageOrientationPatient = [float(v) + 0.0 for v in orientation]
        ds.PixelData = np.ascontiguousarray(pixels).astype("<i2").tobytes()
    return list(datasets)


def transposed(datasets: Sequence[Dataset]) -> list[Dataset]:
    """The same slices with rows and columns exchanged, with the geometry that goes with it."""
    for ds in datasets:
        pixels = ds.pixel_array
        orientation = list(ds.ImageOrientationPatient)
        ds.ImageOrientationPatient = orientation[3:] + orientation[:3]
        ds.PixelSpacing = list(ds.PixelSpacing)[::-1]
        ds.Rows, ds.Columns = pixels.shape[::-1]
        ds.PixelData = np.ascontiguousarray(pixels.T).astype("<i2").tobytes()
    return list(datasets)


def enhanced(
    hu: NDArray[Any],
    *,
    positions: NDArray[np.float64] | None = None,
    frame_type: Sequence[str] = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE"),
    slopes: Sequence[float] | None = None,
) -> Dataset:
    """One Enhanced CT object: geometry and rescale in functional groups."""
    template = slices(hu, positions=positions)
    ds = template[0]
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    ds.NumberOfFrames = len(hu)
    ds.ImageType = list(frame_type)
    frames, pixels = [], []
    for k, one in enumerate(template):
        slope = 1.0 if slopes is None else slopes[k]
        groups = Dataset()
        groups.PlanePositionSequence = Items([_item(ImagePositionPatient=one.ImagePositionPatient)])
        groups.PixelValueTransformationSequence = Items(
            [_item(RescaleSlope=slope, RescaleIntercept=-1024, RescaleType="HU")]
        )
        frames.append(groups)
        pixels.append(np.round((hu[k] + 1024) / slope).astype("<i2"))
    shared = Dataset()
    shared.PlaneOrientationSequence = Items(
        [_item(ImageOrientationPatient=template[0].ImageOrientationPatient)]
    )
    shared.PixelMeasuresSequence = Items(
        [_item(PixelSpacing=template[0].PixelSpacing, SliceThickness=2.5)]
    )
    shared.CTImageFrameTypeSequence = Items([_item(FrameType=list(frame_type))])
    ds.SharedFunctionalGroupsSequence = Items([shared])
    ds.PerFrameFunctionalGroupsSequence = Items(frames)
    for keyword in (
        "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
        "RescaleSlope", "RescaleIntercept", "RescaleType",
    ):  # fmt: skip
        delattr(ds, keyword)
    ds.PixelData = np.stack(pixels).tobytes()
    return ds


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
