"""NIfTI files in and out. RAS exists in this module and nowhere else.

Reading brings any axis order to the canonical one and accepts a sheared affine (each slice shifted
in its plane). Writing needs a regular grid, whose affine is orthonormal.
"""

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.header import FARTHEST_MM
from iac_cli.dicom.stack import plausible_pixels
from iac_cli.errors import Finding, IacError, Word, forbidden
from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.volume import Mask

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
UNITS_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""Millimetres in one unit of xyzt_units; unknown counts as mm."""

PERPENDICULAR = 1e-3
"""Largest cosine between the in-plane axes of a NIfTI file."""

THE_INPUT, THE_MASK = "the NIfTI file", "the mask"
"""What sentences call a file: its name can hold a patient's."""

ITK_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
"""Masks in these formats are read through SimpleITK."""

AFFINE_TOLERANCE_MM = 0.1
"""sform and qform further apart than this at a corner disagree."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """Voxels (slice, row, column) of any number type on their grid, canonical."""

    voxels: NDArray[Any]
    grid: Grid
    findings: tuple[Finding, ...] = ()


def is_nifti(source: Path) -> bool:
    """True for a file that starts, packed or not, as NIfTI-1 or NIfTI-2 does."""
    try:
        if not source.is_file():
            return False
        with source.open("rb") as stream:
            head = stream.read(4096)
    except OSError:
        return False
    if head[:2] == b"\x1f\x8b":
        try:
            head = zlib.decompressobj(wbits=31).decompress(head, 352)
        except zlib.error:
            return source.name.endswith(".nii.gz")
    return head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2")


def named_as_nifti(path: Path) -> bool:
    """Whether a file's name says that it is NIfTI, whatever it holds."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def check_is_nifti(path: Path) -> None:
    """Refuse a file that only its name makes a NIfTI file. Raises: IacError: file_unreadable."""
    if named_as_nifti(path) and path.is_file():
        raise _unreadable(THE_INPUT, Word.FILE_UNREADABLE, ValueError())


def read_image(path: Path, *, max_voxels: int, called: str = THE_INPUT) -> Image:
    """Read a 3-D NIfTI file, canonical, with its scaling applied; sentences use what it is called.

    Raises: IacError: input_forbidden, file_unreadable, geometry_missing, too_few_slices,
    volume_too_large.
    """
    import nibabel as nib
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    _check_permission(path, called)
    if path.name.lower().endswith(ITK_SUFFIXES):
        return _read_itk(path, max_voxels, called)
    try:
        image: Any = nib.load(path)
        shape = tuple(int(n) for n in image.shape)
        _check_shape(called, shape, max_voxels)
        _check_offset(called, image)
        _check_spacing(called, path, type(image.header))
        affine, findings = _affine(called, image)
        voxels = np.asarray(image.dataobj).reshape(shape[:3])
    except (ImageFileError, HeaderDataError) as error:
        raise _unreadable(called, Word.FILE_UNREADABLE, error) from error
    except (EOFError, zlib.error) as error:
        raise _unreadable(called, Word.PIXELS_TRUNCATED, error) from error
    except (OSError, ValueError, TypeError, OverflowError) as error:
        raise _unreadable(called, Word.FILE_UNREADABLE, error) from error
    if voxels.dtype.kind not in "iufb":
        raise _unreadable(called, Word.NOT_HOUNSFIELD, None)
    return _canonical(called, voxels, affine, tuple(findings))


def _check_permission(path: Path, called: str) -> None:
    """The libraries take a file that may not be opened for one of another format."""
    try:
        with path.open("rb"):
            pass
    except PermissionError as error:
        raise forbidden(f"{called} may not be read") from error
    except OSError as error:
        raise _unreadable(called, Word.FILE_UNREADABLE, error) from error


def _read_itk(path: Path, max_voxels: int, called: str) -> Image:
    """A file in another format that Slicer and ITK-SNAP save masks in: NRRD, MetaImage."""
    import SimpleITK as Sitk

    try:
        image = Sitk.ReadImage(str(path))
        shape = tuple(int(n) for n in image.GetSize())
        _check_shape(called, shape, max_voxels)
        if image.GetNumberOfComponentsPerPixel() != 1:
            raise _unreadable(called, Word.NOT_HOUNSFIELD, None)
        stored = Sitk.GetArrayFromImage(image)
    except RuntimeError as error:
        raise _unreadable(called, Word.FILE_UNREADABLE, error) from error
    affine = np.eye(4)
    directions = np.array(image.GetDirection(), dtype=np.float64).reshape(3, 3)
    affine[:3, :3] = directions * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return _canonical(called, stored.transpose(2, 1, 0), affine, ())


def _unreadable(called: str, word: Word, error: Exception | None) -> IacError:
    reason = "its header or data are damaged" if error is not None else "its values are no numbers"
    if word is Word.PIXELS_TRUNCATED:
        reason = "its data end too early or are damaged"
    return IacError(
        word, f"{called} cannot be read: {reason}", way_out="make or copy the file again"
    )


def _check_shape(called: str, shape: tuple[int, ...], max_voxels: int) -> None:
    if len(shape) < 3 or any(n != 1 for n in shape[3:]) or min(shape) < 1:
        raise IacError(
            Word.FILE_UNREADABLE,
            f"{called} has the shape {shape}; one 3-D volume is needed",
            way_out="give one volume in one file",
        )
    if int(np.prod(shape, dtype=object)) > max_voxels:
        raise IacError(
            Word.VOLUME_TOO_LARGE,
            f"{called} has {shape} voxels, more than {max_voxels}",
            way_out="crop the volume to the head",
        )


def _check_offset(called: str, image: Any) -> None:
    """A single file's voxels begin after its header; 0 is meant for a pair of files."""
    offset, first = int(image.dataobj.offset), int(image.header["sizeof_hdr"]) + 4
    if offset < first and bytes(image.header["magic"]).startswith((b"n+1", b"n+2")):
        raise IacError(
            Word.FILE_UNREADABLE,
            f"{called} places its voxels at byte {offset}, inside its header",
            way_out="make the file again",
        )


def _check_spacing(called: str, path: Path, kind: Any) -> None:
    """Refuse voxel sizes of zero or NaN, which nibabel mends in silence."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else path.open("rb") as stream:
        spacing = np.array(kind.from_fileobj(stream, check=False)["pixdim"][1:4], dtype=float)
    if not np.isfinite(spacing).all() or (spacing == 0).any():
        raise _no_geometry(called, f"voxel sizes {tuple(spacing.tolist())}")


def _affine(called: str, image: Any) -> tuple[NDArray[np.float64], list[Finding]]:
    """(4, 4) from (i, j, k) to LPS mm, and what the header contradicts itself about."""
    header = image.header
    sform, s_code = header.get_sform(coded=True)
    qform, q_code = header.get_qform(coded=True)
    if sform is None and qform is None:
        raise _no_geometry(called, "neither an sform nor a qform, so left and right are not known")
    affine = np.array(sform if sform is not None else qform, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise _no_geometry(called, "an affine that is not finite or has no volume")
    findings = []
    if s_code and q_code:
        corner = np.array([*image.shape[:3], 1.0])
        apart = float(np.abs((sform - qform) @ corner).max())
        if apart > AFFINE_TOLERANCE_MM:
            what = f"sform and qform differ by up to {apart:.2f} mm; the sform was used"
            findings.append(Finding(Word.AFFINES_DISAGREE, what))
    scale = UNITS_MM.get(int(header["xyzt_units"]) & 0x07, 1.0)
    affine[:3] *= scale
    if np.abs(affine).max() > FARTHEST_MM:
        raise _no_geometry(called, f"an affine that reaches {np.abs(affine).max():.3g} mm")
    return LPS_FROM_RAS @ affine, findings


def _no_geometry(called: str, what: str) -> IacError:
    return IacError(
        Word.GEOMETRY_MISSING,
        f"{called} has {what}",
        way_out="convert the series again from DICOM",
    )


def _canonical(
    called: str, voxels: NDArray[Any], affine: NDArray[np.float64], findings: tuple[Finding, ...]
) -> Image:
    """Turn (i, j, k) into (slice, row, column) towards superior, posterior, left."""
    world = _nearest_axes(affine[:3, :3])  # world axis of each array axis
    order = [world.index(w) for w in (2, 1, 0)]  # array axis of slice, row, column
    turned = voxels.transpose(order)
    columns = affine[:3, order].copy()
    origin = affine[:3, 3].copy()
    for axis, towards in enumerate((2, 1, 0)):
        if columns[towards, axis] < 0:
            origin += columns[:, axis] * (turned.shape[axis] - 1)
            columns[:, axis] *= -1
            turned = np.flip(turned, axis)
    return Image(turned, _grid(called, turned.shape, columns, origin), findings)


def _nearest_axes(matrix: NDArray[np.float64]) -> list[int]:
    """For each array axis the world axis that it runs along: the best assignment of the three."""
    from itertools import permutations

    share = np.abs(matrix) / np.linalg.norm(matrix, axis=0)
    best = max(permutations(range(3)), key=lambda p: sum(share[p[i], i] for i in range(3)))
    return list(best)


def _grid(
    called: str,
    shape: tuple[int, ...],
    columns: NDArray[np.float64],
    origin: NDArray[np.float64],
) -> Grid:
    """The grid of a canonical affine; the slices of a sheared one are shifted in their plane."""
    row_mm, column_mm = (float(np.linalg.norm(columns[:, i])) for i in (1, 2))
    column_axis, row_axis = columns[:, 1] / row_mm, columns[:, 2] / column_mm
    if abs(float(column_axis @ row_axis)) > PERPENDICULAR:
        raise _no_geometry(called, "in-plane axes that are not perpendicular")
    normal = np.cross(row_axis, column_axis)
    step_mm = float(columns[:, 0] @ normal)
    if step_mm <= 0 or min(shape) < 1:
        raise _no_geometry(called, "slices that do not advance along their normal")
    if not plausible_pixels((row_mm, column_mm)):
        raise _no_geometry(called, f"voxels of {row_mm:.4g} x {column_mm:.4g} mm")
    offsets = np.asarray(step_mm * np.arange(shape[0]), dtype=np.float64)
    extents = slice_extents_mm(offsets) if shape[0] > 1 else np.array([step_mm])
    return Grid(
        shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        positions_mm=origin + np.arange(shape[0])[:, None] * columns[:, 0],
        row_axis=row_axis,
        column_axis=column_axis,
        pixel_mm=(row_mm, column_mm),
        extents_mm=extents,
    )


def read_mask(path: Path, *, max_voxels: int = 1 << 29) -> Mask:
    """Read a mask or label image: every voxel above 0 belongs to it.

    Raises: IacError: as `read_image`; mask_mismatch where its values are no labels.
    """
    if not is_nifti(path):
        raise IacError(
            Word.MASK_MISMATCH,
            "the mask is no NIfTI file",
            way_out="give the mask as .nii or .nii.gz",
        )
    image = read_image(path, max_voxels=max_voxels, called=THE_MASK)
    voxels = image.voxels
    if voxels.dtype.kind == "f" and not np.array_equal(voxels, np.round(voxels)):
        raise _no_labels()
    if voxels.dtype.kind != "b" and voxels.size and voxels.min() < 0:
        raise _no_labels()
    return Mask(voxels > 0, image.grid)


def _no_labels() -> IacError:
    return IacError(
        Word.MASK_MISMATCH,
        "the mask holds values that are no labels",
        way_out="give a mask of whole numbers, 0 for background",
    )


def nifti_bytes(voxels: NDArray[Any], grid: Grid, *, level: int = 6) -> bytes:
    """A packed NIfTI-1 file of voxels (slice, row, column); the same input gives the same bytes.

    The affine is orthonormal for a regular grid. For any other it is the sheared mean affine, to
    be matched by index only: no viewer can show such a stack in its true place.
    """
    stored = _stored(voxels)
    header = _header(stored, grid)
    body = header + b"\0" * 4 + np.ascontiguousarray(stored).tobytes()
    return gzip.compress(body, compresslevel=level, mtime=0)


def write_nifti(path: Path, voxels: NDArray[Any], grid: Grid, *, level: int = 6) -> None:
    """Write `nifti_bytes` to a path. The caller sees to it that the file appears whole."""
    path.write_bytes(nifti_bytes(voxels, grid, level=level))


_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "u2": 512}
"""NIfTI data type codes."""


def _stored(voxels: NDArray[Any]) -> NDArray[Any]:
    """The voxels in the smallest type that holds them without loss: u1, i2, i4 or f4."""
    if voxels.dtype.kind == "f":
        whole = voxels.size > 0 and np.array_equal(voxels, np.round(voxels))
        small = whole and voxels.min() >= -32768 and voxels.max() <= 32767
        return voxels.astype("<i2" if small else "<f4")
    low, high = (int(voxels.min()), int(voxels.max())) if voxels.size else (0, 0)
    if low >= 0 and high <= 255:
        return voxels.astype("u1")
    return voxels.astype("<i2" if low >= -32768 and high <= 32767 else "<i4")


def _header(stored: NDArray[Any], grid: Grid) -> bytes:
    """The 348 bytes of a NIfTI-1 header; axes (column, row, slice), RAS mm."""
    affine = LPS_FROM_RAS @ grid.affine[:, [2, 1, 0, 3]]
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    kind = stored.dtype.str[1:]
    quaternion = _quaternion(affine[:3, :3] / sizes) if grid.is_regular else np.zeros(3)
    header = bytearray(348)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, 3, *stored.shape[::-1], 1, 1, 1, 1)
    struct.pack_into("<2h", header, 70, _CODES[kind], stored.dtype.itemsize * 8)
    struct.pack_into("<8f", header, 76, 1.0, *sizes, 0.0, 0.0, 0.0, 0.0)
    struct.pack_into("<3f", header, 108, 352.0, 1.0, 0.0)  # vox_offset, slope, intercept
    header[123] = 2  # mm
    struct.pack_into("<2h", header, 252, int(grid.is_regular), 1)  # qform and sform codes
    struct.pack_into("<6f", header, 256, *quaternion, *affine[:3, 3])
    struct.pack_into("<12f", header, 280, *affine[:3].ravel())
    header[344:348] = b"n+1\0"
    return bytes(header)


def _quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(b, c, d) of the unit quaternion of a proper rotation, with a >= 0."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [0.0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [0.0, 0.0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [0.0, 0.0, 0.0, r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    _, vectors = np.linalg.eigh((k + np.triu(k, 1).T) / 3, UPLO="U")
    best = vectors[:, -1]
    return np.asarray(best[1:] * (1.0 if best[0] >= 0 else -1.0))
