"""Small archives of studies: heads that are measured in a fraction of a second, and hard cases.

Every study carries an identity that nothing of a batch may repeat.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import heads
import make
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from iac_cli.dicom.nifti import write_nifti
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume

NAME, PATIENT, BIRTH, DAY = "ZEBEDEE^QUILL", "MRN-7788991", "19330217", "20200304"
FOLDER = "Zebedee_Quill_1933"
"""Name of a folder, as a hospital makes them."""

PLANTED = ("ZEBEDEE", "QUILL", "Zebedee", "Quill", PATIENT, BIRTH, DAY, "2020-03-04")
"""What no file of a batch may hold."""


@cache
def _grid(tilt_deg: float) -> Grid:
    return heads.head_grid(step_mm=5.0, pixel_mm=2.0, tilt_deg=tilt_deg)


@cache
def _bare_hu(tilt_deg: float) -> NDArray[np.float32]:
    return heads.head_hu(_grid(tilt_deg))


def head(number: int = 0, *, tilt_deg: float = 0.0) -> Volume:
    """A noisy head; the size of its one lesion depends on the number, and 0 in five has none."""
    grid = _grid(tilt_deg)
    noise = np.random.default_rng(number).normal(0, 6, grid.shape)
    volume = Volume(_bare_hu(tilt_deg), grid)
    if number % 5:
        volume = heads.with_ball(volume, (-12.0, -20.0, -12.0), 2.0 + number % 5, 600.0)
    return Volume(np.maximum(volume.hu + noise, -1024).astype(np.float32), grid)


def dataset(number: int, *, tilt_deg: float = 0.0, study: int | None = None) -> list[Dataset]:
    """Slices of such a head; `number` tells series apart, `study` (by default equal) studies."""
    volume = head(number, tilt_deg=tilt_deg)
    grid = volume.grid
    return make.slices(
        volume.hu.astype(np.int16),
        positions=grid.positions_mm,
        pixel_mm=grid.pixel_mm,
        number=number,
        SliceThickness=5.0,
        StudyInstanceUID=f"{make.ROOT_UID}.100.{number if study is None else study}",
        PatientName=NAME,
        PatientID=PATIENT,
        PatientBirthDate=BIRTH,
        StudyDate=DAY,
        SeriesDate=DAY,
    )


def study(folder: Path, number: int, *, tilt_deg: float = 0.0) -> Path:
    """A folder with one such study."""
    return make.save(dataset(number, tilt_deg=tilt_deg), folder)


def changed(folder: Path, number: int, change: Callable[[Dataset], object]) -> Path:
    """A study whose every slice was changed."""
    slices = dataset(number)
    for ds in slices:
        change(ds)
    return make.save(slices, folder)


def damaged(folder: Path, number: int) -> Path:
    """A study whose every file ends early."""
    for path in study(folder, number).iterdir():
        path.write_bytes(path.read_bytes()[:-3000])
    return folder


def rubble(folder: Path) -> Path:
    """Files that were DICOM and say of no study any more."""
    for path in study(folder, 999).iterdir():
        path.write_bytes(path.read_bytes()[:300])
    return folder


def water(folder: Path, number: int) -> Path:
    """A block of water in air: a CT, and no head."""

    def change(ds: Dataset) -> None:
        hu = np.full((ds.Rows, ds.Columns), -1000)
        hu[20:-20, 20:-20] = np.random.default_rng(ds.InstanceNumber).normal(0, 5, hu.shape)[
            20:-20, 20:-20
        ]
        ds.PixelData = (hu + 1024).astype("<i2").tobytes()

    return changed(folder, number, change)


def scout(folder: Path, number: int) -> Path:
    """Nothing but localizers."""
    slices = dataset(number)[:2]
    for ds in slices:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    return make.save(slices, folder)


def resonance(folder: Path, number: int) -> Path:
    """A study without CT."""

    def change(ds: Dataset) -> None:
        ds.Modality, ds.ImageType = "MR", ["ORIGINAL", "PRIMARY"]
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"

    return changed(folder, number, change)


def two_patients(folder: Path, number: int) -> Path:
    """One study UID, two patients."""
    slices = dataset(number) + dataset(number + 1, study=number)
    for ds in slices[len(slices) // 2 :]:
        ds.PatientID = "SOMEBODY-ELSE"
    return make.save(slices, folder)


def thinned(folder: Path, number: int) -> Path:
    """A study that lacks slices in its middle."""
    slices = dataset(number)
    return make.save(slices[:10] + slices[14:], folder)


def split(folder: Path, number: int) -> Path:
    """A study whose files lie in two folders."""
    slices = dataset(number)
    make.save(slices[::2], folder / "a")
    make.save(slices[1::2], folder / "b")
    return folder


def packed(path: Path, number: int) -> Path:
    """A study in a zip file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = study(path.with_suffix(".d"), number)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for one in sorted(source.iterdir()):
            archive.write(one, f"in/{one.name}")
    shutil.rmtree(source)
    return path


def escaping(path: Path) -> Path:
    """A zip file with a name that leaves its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w") as archive:
        archive.writestr("../../../escaped", b"DICM" * 100)
    return path


def bomb(path: Path) -> Path:
    """A zip file of absurd size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        archive.writestr("im.dcm", bytes(300_000_000))
    return path


def nifti(path: Path, number: int) -> Path:
    """A head as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = head(number)
    write_nifti(path, volume.hu, volume.grid)
    return path


HARD: Sequence[Callable[[Path, int], object]] = (
    lambda place, n: study(place, n, tilt_deg=18.0),
    damaged,
    water,
    scout,
    two_patients,
    thinned,
    split,
    lambda place, n: packed(place / "scan.zip", n),
    lambda place, n: nifti(place / "scan.nii.gz", n),
    lambda place, n: rubble(place),
    lambda place, n: escaping(place / "evil.zip"),
    lambda place, n: study(place, n, tilt_deg=-10.0),
)
"""Cases that are hard to read, to measure or to keep apart."""


def archive(root: Path, n_studies: int, n_hard: int) -> Path:
    """A tree of studies, the hard ones (at most all of `HARD` twice) among them."""
    for i in range(n_studies):
        place = root / f"{FOLDER}_{i % 7}" / f"CT_{i:03d}"
        if i < n_hard:
            HARD[i % len(HARD)](place, 10 * i + 1)
        else:
            study(place, 10 * i + i % 5)
    return root
