"""A simulated scan as DICOM files and its truth as plain files, in one folder that appears whole.

`OUT/study/` holds one CT series; `OUT/truth/` what is known about it. The files say in several tags
that they are simulated. Same settings, same bytes: no clock and no random number is asked.
"""

import csv
import gzip
import hashlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.report.files import told_as_output
from iac_cli.simulate.head import HeadSettings, SimulatedHead
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.laws import LOWEST_HU
from iac_cli.simulate.scanner import POINT_SPREADS
from iac_cli.simulate.truth import LABELS, LesionTruth

PROCEDURAL = "procedural head"

SIMULATOR_VERSION = "2"
"""Changes whenever the same settings give other voxels."""

SCHEMA = 1
IMPLEMENTATION_UID = "2.25.222041234093483094611120173464716127541"
STUDY_DATE, STUDY_TIME = "20000101", "120000"
TABLE_HEIGHT_MM = 150.0

Progress = Callable[[str, float], None]


class Compression(StrEnum):
    """How pixels are stored; all of them without loss."""

    NONE = "none"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"


def seeded_uid(*parts: object) -> str:
    """A valid UID under 2.25 that depends on `parts` alone."""
    text = "|".join(["iac-seg simulator", SIMULATOR_VERSION, *map(str, parts)])
    digest = hashlib.sha256(text.encode()).digest()[:16]
    value = bytearray(digest)
    value[6] = (value[6] & 0x0F) | 0x80  # UUID version 8: made from one's own rule
    value[8] = (value[8] & 0x3F) | 0x80
    return f"2.25.{int.from_bytes(value, 'big')}"


def check_folder(out: Path) -> None:
    """Refuse an output that exists or cannot be made.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    with told_as_output(out):
        if out.is_dir():
            if any(out.iterdir()):
                raise IacError(
                    Word.OUTPUT_EXISTS,
                    f"{out.name} exists and is not empty",
                    way_out="choose another folder, or remove that one",
                )
        elif out.exists():
            raise IacError(
                Word.OUTPUT_NOT_WRITABLE,
                f"{out.name} is a file, not a folder",
                way_out="choose another folder",
            )
        with _staged(out):
            pass


def write_head(
    out: Path,
    head: SimulatedHead,
    *,
    compression: Compression = Compression.NONE,
    on_step: Progress | None = None,
) -> None:
    """Write `out/study` and `out/truth`: both whole, or nothing.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    check_folder(out)
    with told_as_output(out), _staged(out) as stage:
        write_study(stage / "study", head, compression, on_step)
        write_truth(stage / "truth", head)
        if out.is_dir():
            out.rmdir()
        stage.replace(out)


def write_patient(
    out: Path, heads: Sequence[SimulatedHead], *, compression: Compression = Compression.NONE
) -> None:
    """Write `out/study/NAME` and `out/truth/NAME` for every reconstruction: one study, whole.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    check_folder(out)
    with told_as_output(out), _staged(out) as stage:
        (stage / "study").mkdir()
        (stage / "truth").mkdir()
        for number, head in enumerate(heads):
            name = series_name(head.settings)
            write_study(stage / "study" / name, head, compression, series_number=2 + number)
            write_truth(stage / "truth" / name, head, image=f"../../study/{name}")
        if out.is_dir():
            out.rmdir()
        stage.replace(out)


def series_name(settings: HeadSettings) -> str:
    """Folder of one reconstruction, such as `5mm-soft`."""
    step = "" if settings.step_mm == settings.thickness_mm else f"-every-{settings.step_mm:g}mm"
    return f"{settings.thickness_mm:g}mm{step}-{settings.kernel.value}"


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` that is gone afterwards unless it was renamed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    stage.chmod(0o755)
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


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


def settings_dict(head: SimulatedHead) -> dict[str, Any]:
    """The settings with every default filled in, as plain values."""
    settings = head.settings
    plain: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if value is None and field.name == "vertebrobasilar_mm3":
            continue
        plain[field.name] = value.value if isinstance(value, StrEnum) else value
    plain["rates"] = settings.rates.facts
    plain |= {
        "increment_mm": settings.step_mm,
        "pixel_mm": settings.pixel,
        "n_slices": head.grid.shape[0],
    }
    if head.anatomy.kind != PROCEDURAL:
        plain["anatomy"] = head.anatomy.kind
    return plain


def write_truth(folder: Path, head: SimulatedHead, image: str = "../study") -> None:
    """Write label maps, lesion table, centre lines, sums and settings."""
    folder.mkdir()
    truth = head.truth
    _write_nifti(folder / "labels.nii.gz", truth.arteries, head.grid)
    _write_nifti(folder / "lesions.nii.gz", truth.numbers.astype(np.int16), head.grid)
    _write_text(folder / "lesions.csv", lesion_table(truth.lesions))
    _write_nifti(folder / "labels_fine.nii.gz", fine_labels(head), fine_grid(head.fine))
    _write_json(folder / "arteries.json", arteries_dict(head, image))
    _write_json(folder / "truth.json", truth_dict(head))


def lesion_table(lesions: tuple[LesionTruth, ...]) -> str:
    """The lesion table as CSV text, one row a lesion."""
    names = [field.name for field in fields(LesionTruth) if field.name != "centre_mm"]
    columns = [*names, "centre_x_mm", "centre_y_mm", "centre_z_mm"]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for lesion in lesions:
        row = [_cell(getattr(lesion, name)) for name in names]
        writer.writerow([*row, *(_cell(value) for value in lesion.centre_mm)])
    return stream.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def fine_grid(lattice: Lattice) -> Grid:
    """A lattice as a grid: its axes are the gantry's."""
    return Grid.regular(
        lattice.shape,
        spacing_mm=lattice.spacing_mm,
        origin_mm=np.array(lattice.start_mm) @ lattice.axes,
        row_axis=lattice.axes[2],
        column_axis=lattice.axes[1],
    )


def fine_labels(head: SimulatedHead) -> NDArray[np.uint8]:
    """The artery's number in every fine cell of which at least half is calcified."""
    labels = np.zeros(head.fine.shape, dtype=np.uint8)
    for lesion in head.lesions:
        labels[lesion.block][lesion.share >= 0.5] = LABELS[lesion.shape.artery]
    return labels


def arteries_dict(head: SimulatedHead, image: str = "../study") -> dict[str, Any]:
    """Centre lines and landmarks in the form that traced heads use: [x, y, z, radius_mm, how]."""
    lines = {}
    for artery, line in head.anatomy.lines.items():
        coarse = line.resampled(1.5)
        points = zip(coarse.points_mm, coarse.radius_mm, strict=True)
        lines[artery.value] = [
            [*(round(float(v), 2) for v in point), round(float(radius), 2), "seen"]
            for point, radius in points
        ]
    landmarks = {
        name: [round(value, 2) for value in place] for name, place in head.anatomy.landmarks.items()
    }
    return {"frame": "LPS mm", "image": image, "lines": lines, "landmarks": landmarks}


def truth_dict(head: SimulatedHead) -> dict[str, Any]:
    """Sums, settings and what they mean."""
    truth = head.truth
    by_artery = {
        artery.value: {"true_volume_mm3": 0.0, "protocol_volume_mm3": 0.0} for artery in LABELS
    }
    for lesion in truth.lesions:
        sums = by_artery[lesion.artery.value]
        sums["true_volume_mm3"] += lesion.true_volume_mm3
        sums["protocol_volume_mm3"] += lesion.protocol_volume_mm3
    for sums in by_artery.values():
        sums |= {name: round(value, 4) for name, value in sums.items()}
    return {
        "schema": SCHEMA,
        "simulator_version": SIMULATOR_VERSION,
        "settings": settings_dict(head),
        "series_uid": seeded_uid("series", json.dumps(settings_dict(head), sort_keys=True)),
        "true_volume_mm3": round(truth.true_volume_mm3, 4),
        "protocol_volume_mm3": round(truth.protocol_volume_mm3, 4),
        "agatston": round(truth.agatston, 6),
        "agatston_definition": "classic 1",
        "n_lesions": len(truth.lesions),
        "n_lesions_with_voxels": sum(lesion.n_voxels > 0 for lesion in truth.lesions),
        "protocol": "HU >= 130, own share above local background >= 0.5, no single voxels",
        "labels": {artery.value: value for artery, value in LABELS.items()},
        "by_artery": by_artery,
        "anatomy": head.anatomy.kind,
        "build": dict(head.anatomy.facts),
        **head.told,
    }


def _write_json(path: Path, document: dict[str, Any]) -> None:
    _write_text(path, json.dumps(document, indent=1, allow_nan=False) + "\n")


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)


def _write_nifti(path: Path, values: NDArray[Any], grid: Grid) -> None:
    """The stack of slices as (column, row, slice); its affine is sheared when the gantry tilts."""
    import nibabel

    affine = grid.affine[:, [2, 1, 0, 3]]
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    image = nibabel.Nifti1Image(values.transpose(2, 1, 0), None)
    image.set_sform(affine, code=1)
    if grid.is_regular:
        image.set_qform(affine, code=1)
    else:
        image.header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), compresslevel=9, mtime=0))
