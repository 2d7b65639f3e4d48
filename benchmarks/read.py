"""Reading a series, against dcm2niix converting it to an uncompressed .nii, warm cache, same run.

`python benchmarks/read.py [--data FOLDER] [--repeats N]` prints the medians and their ratio for
head_ge_tilted and for a made series of 300 slices of 512 x 512. Imports are left out; dcm2niix is
timed as a whole process, as it is used.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from iac_cli.dicom.read import read_series

TARGET = 1.5
"""Reading may take this many times what dcm2niix takes."""


def make_series(folder: Path, n_slices: int) -> None:
    """A head-like series of uncompressed slices of 512 x 512, 0.6 mm apart."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    radius = np.hypot(x / 0.7, y / 0.85)
    head = np.where(radius < 0.9, 35, np.where(radius < 1, 900, -1000))
    study, series, frame = (generate_uid() for _ in range(3))
    for k in range(n_slices):
        ds = Dataset()
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = CTImageStorage
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame
        ds.Modality, ds.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.Manufacturer, ds.ConvolutionKernel, ds.KVP = "SIMULATED", "STANDARD", 120
        ds.StudyDate, ds.SeriesDescription, ds.PatientID = "20200101", "HEAD", "BENCHMARK"
        ds.SliceThickness, ds.PixelSpacing = 0.6, [0.488, 0.488]
        ds.ImagePositionPatient = [-125, -125, 0.6 * k]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.SeriesNumber, ds.AcquisitionNumber, ds.InstanceNumber = 1, 1, k + 1
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.Rows = ds.Columns = 512
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
        ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
        noise = rng.normal(0, 8, head.shape)
        ds.PixelData = (head + noise + 1024).astype("<i2").tobytes()
        ds.save_as(folder / f"{k:04d}.dcm", enforce_file_format=True)


def dcm2niix() -> str:
    """The program's path: beside this Python, or on the search path."""
    beside = Path(sys.executable).parent / "dcm2niix"
    found = str(beside) if beside.exists() else shutil.which("dcm2niix")
    if found is None:
        sys.exit("dcm2niix is not installed: pip install dcm2niix")
    return found


def time_them(folder: Path, repeats: int) -> tuple[float, float]:
    """Median seconds of (read_series, dcm2niix), taken in turns after one warm-up of each."""
    program = dcm2niix()
    ours, theirs = [], []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        reading = read_series(folder)
        ours.append(time.perf_counter() - began)
        del reading
        with tempfile.TemporaryDirectory() as out:
            began = time.perf_counter()
            command = [program, "-z", "n", "-b", "n", "-o", out, str(folder)]
            subprocess.run(command, capture_output=True, check=True)
            theirs.append(time.perf_counter() - began)
    return median(ours[1:]), median(theirs[1:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("IAC_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print("| series | slices | read_series s | dcm2niix s | ratio |\n|---|---|---|---|---|")
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "series"
        make_series(made, 300)
        cases = [("made, 512 x 512", made)]
        if (options.data / "head_ge_tilted").is_dir():
            cases.insert(0, ("head_ge_tilted", options.data / "head_ge_tilted"))
        for name, folder in cases:
            ours, theirs = time_them(folder, options.repeats)
            worst = max(worst, ours / theirs)
            n = len(list(folder.iterdir()))
            print(f"| {name} | {n} | {ours:.3f} | {theirs:.3f} | {ours / theirs:.2f} |")
    print(f"target: at most {TARGET}")
    return int(worst > TARGET)


if __name__ == "__main__":
    sys.exit(main())
