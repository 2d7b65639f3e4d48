"""A second, independent opinion on a series: dicom2nifti, wrapped here once.

Its settings are globals of its module, so it runs in a process of its own, with every setting
given; what it answers is compared voxel by voxel and position by position.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iac_cli.dicom.header import SliceHeader
from iac_cli.dicom.inspection import grid_facts
from iac_cli.dicom.nifti import read_image
from iac_cli.dicom.pixels import AIR_HU, JPEG_EXTENDED
from iac_cli.dicom.reading import Reading
from iac_cli.dicom.scan import FolderStore, Store, scan
from iac_cli.errors import Finding, IacError, Word

TIME_LIMIT_S = 300.0

POSITION_TOLERANCE_MM = 0.05
"""How far apart two readers may place the same voxel."""

HU_TOLERANCE = 0.51
"""How far apart two readers' HU may be: rounding to whole numbers."""

SETTINGS = {
    "validate_slicecount": True,
    "validate_orientation": True,
    "validate_orthogonal": False,  # a tilt is kept in its affine, where it can be compared
    "validate_slice_increment": True,
    "validate_instance_number": False,
    "validate_multiframe_implicit": True,
    "pydicom_read_force": False,
    "resample": False,
}
"""Every setting of dicom2nifti that changes what it accepts or makes."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the second reader says."""

    accepted: bool
    """False when it does not read such a series; `why` then holds its reason."""
    why: str
    finding: Finding | None = None
    """Set when the two readers disagree."""


def second_opinion(source: Path, reading: Reading) -> Opinion:
    """Read the same files with dicom2nifti and compare. Raises: IacError as `scan`."""
    if reading.series.kind != "dicom":
        return Opinion(False, "not a DICOM series")
    found = scan(source)
    wanted = set(reading.series.sop_instance_uids)
    headers = {
        h.sop_uid or h.name: h
        for h in reversed(found.headers)
        if (h.sop_uid or "") in wanted and h.series_uid == reading.series.series_uid
    }
    if any(map(_is_12_bit_jpeg, headers.values())):
        return Opinion(False, "not asked: it does not read 12-bit JPEG")
    with tempfile.TemporaryDirectory(prefix="iac-seg-") as folder:
        files = _files(list(headers.values()), found.store, Path(folder))
        out = Path(folder) / "second.nii"
        reason = _run(files, out)
        if reason:
            return Opinion(False, reason)
        return _compare(reading, out)


def _is_12_bit_jpeg(header: SliceHeader) -> bool:
    return header.coding.transfer_syntax == JPEG_EXTENDED and header.coding.bits_stored > 8


def _files(headers: Sequence[SliceHeader], store: Store, folder: Path) -> list[str]:
    """Paths of the slices' files; members of a zip are unpacked under numbers."""
    if isinstance(store, FolderStore):
        return [str(h.key) for h in headers]
    paths = []
    for i, header in enumerate(headers):
        path = folder / f"{i}.dcm"
        with store.open(header.key) as stream:
            path.write_bytes(stream.read())
        paths.append(str(path))
    return paths


def _run(files: list[str], out: Path) -> str:
    """Convert in a process of its own; an empty answer is success, else dicom2nifti's reason."""
    job = json.dumps({"files": files, "out": str(out), "settings": SETTINGS})
    command = [sys.executable, "-m", "iac_cli.dicom.second"]
    try:
        done = subprocess.run(
            command, input=job, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {TIME_LIMIT_S:.0f} s"
    if done.returncode != 0:
        return f"ended with code {done.returncode}"
    return str(json.loads(done.stdout.splitlines()[-1])["reason"])


def _compare(reading: Reading, out: Path) -> Opinion:
    ours = reading.volume
    try:
        theirs = read_image(out, max_voxels=max(1, ours.hu.size) * 2)
    except IacError as error:
        return Opinion(False, f"its output cannot be compared: {error.what}")
    differences = []
    if theirs.grid.shape != ours.grid.shape:
        differences.append(f"shape {theirs.grid.shape}, ours {ours.grid.shape}")
    else:
        corners = np.array([[s, r, c] for s in (0, 1) for r in (0, 1) for c in (0, 1)])
        index = corners * (np.array(ours.grid.shape) - 1)
        apart = np.linalg.norm(theirs.grid.to_world(index) - ours.grid.to_world(index), axis=1)
        if apart.max() > POSITION_TOLERANCE_MM:
            differences.append(f"corners up to {apart.max():.2f} mm apart")
        n_off = sum(
            int((np.abs(np.maximum(a, AIR_HU) - b) > HU_TOLERANCE).sum())
            for a, b in zip(theirs.voxels, ours.hu, strict=True)
        )
        if n_off:
            differences.append(f"{n_off} voxels differ by more than {HU_TOLERANCE} HU")
    if not differences:
        return Opinion(True, "agrees in voxels and geometry")
    what = (
        f"dicom2nifti disagrees: {'; '.join(differences)}; "
        f"its geometry {grid_facts(theirs.grid)}, ours {grid_facts(ours.grid)}"
    )
    return Opinion(True, "disagrees", Finding(Word.SECOND_READER_DISAGREES, what))


def _convert(job: dict[str, Any]) -> str:
    """Run dicom2nifti on a list of files; its reason for a refusal, or an empty string."""
    import dicom2nifti.convert_dicom as second
    import pydicom
    from dicom2nifti import settings
    from dicom2nifti.exceptions import ConversionError, ConversionValidationError

    for name, value in job["settings"].items():
        setattr(settings, name, value)
    try:
        slices = [pydicom.dcmread(path) for path in job["files"]]
        second.dicom_array_to_nifti(slices, job["out"], reorient_nifti=False)
    except (ConversionError, ConversionValidationError) as error:
        return str(error) or type(error).__name__
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OSError) as error:
        return f"it could not read the series ({type(error).__name__})"
    return ""


def _answer() -> None:
    """The body of the process: a job on stdin, a reason on stdout."""
    reason = _convert(json.loads(sys.stdin.read()))
    sys.stdout.write("\n" + json.dumps({"reason": reason}) + "\n")


if __name__ == "__main__":
    _answer()
