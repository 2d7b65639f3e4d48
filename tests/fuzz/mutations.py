"""Ways to spoil an input, each drawn from a seeded generator and named by what it did.

A mutation takes a copy of the sound inputs and answers the path to give to the command line. What
it did is a short sentence, so that a failure can be understood and repeated from its seed alone.
"""

import gzip
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np
import pydicom

from tests.fuzz.seeds import Seeds

Rng = np.random.Generator

LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT"}
ALL_VRS = (b"DS", b"IS", b"LO", b"UI", b"US", b"SS", b"FD", b"PN", b"SQ", b"OB", b"UN", b"XX")

KEYWORDS = (
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "SliceThickness",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "ImageType",
    "Modality",
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "PatientSex",
    "PatientAge",
    "KVP",
    "ConvolutionKernel",
    "InstanceNumber",
    "AcquisitionNumber",
    "Manufacturer",
    "SpecificCharacterSet",
    "PixelData",
    "NumberOfFrames",
    "PixelPaddingValue",
    "GantryDetectorTilt",
    "ContrastBolusAgent",
)
"""Tags that a reader of CT looks at."""

ABSURD = (
    "",
    "0",
    "-1",
    "nan",
    "inf",
    "-inf",
    "1e308",
    "-1e308",
    "1e-320",
    "65535",
    "99999999999999999999",
    "1\\2",
    "1\\nan\\3",
    "0\\0\\0",
    "0\\0\\0\\0\\0\\0",
    "1e9\\1e9\\1e9",
    "abc",
    "../../../../etc/passwd",
    "/etc/passwd",
    '=HYPERLINK("http://x","y")',
    "@SUM(1+1)",
    "\x1b[2J\x1b[31mred",
    "<script>alert(1)</script>",
    "\x00\x00",
    "a" * 9000,
    "1." * 40,
    "000Y",
    "д́漢字",
)


@dataclass(frozen=True, slots=True)
class Mutated:
    """A spoiled input: the CT's path, the mask for `score`, and what was done."""

    source: Path
    mask: Path
    what: str
    models: Path | None = None
    """Model folder for `score`."""
    second_reader: bool = False
    """Whether `convert` asks its second reader too, which takes twenty times longer."""


def flip_bytes(raw: bytes, rng: Rng, *, low: int = 0, high: int | None = None) -> bytes:
    """Change one to 32 bytes between two places."""
    data = bytearray(raw)
    high = len(data) if high is None else min(high, len(data))
    if high <= low:
        return raw
    for place in rng.integers(low, high, size=int(rng.integers(1, 33))):
        data[place] = int(rng.integers(0, 256))
    return bytes(data)


def damage(raw: bytes, rng: Rng) -> tuple[bytes, str]:
    """Flip, cut, lengthen, empty, blank or replace the bytes of a file."""
    kind = int(rng.integers(0, 8))
    if kind == 0:
        return flip_bytes(raw, rng), "flipped bytes anywhere"
    if kind in (1, 2):
        return flip_bytes(raw, rng, high=1600), "flipped bytes in the header"
    if kind == 3:
        return raw[: int(rng.integers(0, len(raw) + 1))], "cut"
    if kind == 4:
        return raw + rng.bytes(int(rng.integers(1, 4000))), "junk at the end"
    if kind == 5:
        return b"", "emptied"
    if kind == 6:
        start = int(rng.integers(0, len(raw)))
        end = min(len(raw), start + int(rng.integers(1, 2000)))
        return raw[:start] + bytes(end - start) + raw[end:], "a run of zeros"
    start, end = sorted(int(n) for n in rng.integers(0, len(raw), size=2))
    return raw[:start] + raw[end:], "a piece cut out"


def elements(raw: bytes) -> list[tuple[int, int]]:
    """(start, end) of the top-level elements of an explicit little-endian file, pixels excluded."""
    at, found = 132, []
    while at + 8 <= len(raw):
        vr = raw[at + 4 : at + 6]
        if vr in LONG_VRS:
            length, head = struct.unpack("<I", raw[at + 8 : at + 12])[0], 12
        else:
            length, head = struct.unpack("<H", raw[at + 6 : at + 8])[0], 8
        if raw[at : at + 4] == b"\xe0\x7f\x10\x00" or length == 0xFFFFFFFF:
            break
        found.append((at, at + head + length))
        at += head + length
    return found


def _some_files(folder: Path, rng: Rng) -> list[Path]:
    """One file, a few or all of a folder."""
    files = sorted(folder.iterdir())
    n_files = (1, 1, 2, len(files))[int(rng.integers(0, 4))]
    return [files[i] for i in rng.permutation(len(files))[:n_files]]


def _copy_series(seeds: Seeds, rng: Rng, into: Path, *, plain: bool = False) -> Path:
    number = 0 if plain else int(rng.integers(0, len(seeds.series)))
    return Path(shutil.copytree(seeds.series[number], into / "in"))


def damaged_files(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """Bytes of DICOM files are flipped, cut or replaced."""
    folder = _copy_series(seeds, rng, into)
    done = []
    for path in _some_files(folder, rng):
        raw, what = damage(path.read_bytes(), rng)
        path.write_bytes(raw)
        done.append(f"{path.name} {what}")
    return Mutated(folder, seeds.mask, "; ".join(done))


def removed_tags(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """One to four tags are removed from one, some or all files."""
    folder = _copy_series(seeds, rng, into)
    gone = [KEYWORDS[i] for i in rng.permutation(len(KEYWORDS))[: int(rng.integers(1, 5))]]
    files = _some_files(folder, rng)
    for path in files:
        ds = pydicom.dcmread(path)
        for keyword in gone:
            if keyword in ds:
                delattr(ds, keyword)
        ds.save_as(path)
    return Mutated(folder, seeds.mask, f"removed {', '.join(gone)} from {len(files)} files")


def duplicated_tags(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """Raw elements are written twice, moved, or out of order."""
    folder = _copy_series(seeds, rng, into, plain=True)
    files = _some_files(folder, rng)
    for path in files:
        raw = path.read_bytes()
        spans = elements(raw)
        start, end = spans[int(rng.integers(0, len(spans)))]
        place = spans[int(rng.integers(0, len(spans)))][0]
        raw = raw[:place] + raw[start:end] * int(rng.integers(1, 4)) + raw[place:]
        path.write_bytes(raw)
    return Mutated(folder, seeds.mask, f"an element repeated in {len(files)} files")


def retyped_tags(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """The VR of raw elements is changed, or their length."""
    folder = _copy_series(seeds, rng, into, plain=True)
    files = _some_files(folder, rng)
    for path in files:
        data = bytearray(path.read_bytes())
        spans = elements(bytes(data))
        for i in rng.integers(0, len(spans), size=int(rng.integers(1, 5))):
            start = spans[i][0]
            if rng.random() < 0.7:
                data[start + 4 : start + 6] = ALL_VRS[int(rng.integers(0, len(ALL_VRS)))]
            else:
                data[start + 6 : start + 8] = rng.bytes(2)
        path.write_bytes(bytes(data))
    return Mutated(folder, seeds.mask, f"type or length changed in {len(files)} files")


def absurd_values(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """A tag gets an absurd value, written raw so that no library can object."""
    folder = _copy_series(seeds, rng, into, plain=True)
    keyword = KEYWORDS[int(rng.integers(0, len(KEYWORDS)))]
    value = ABSURD[int(rng.integers(0, len(ABSURD)))]
    files = _some_files(folder, rng)
    for path in files:
        path.write_bytes(_with_raw_value(path.read_bytes(), keyword, value, rng))
    return Mutated(folder, seeds.mask, f"{keyword}={value[:30]!r} in {len(files)} files")


def _with_raw_value(raw: bytes, keyword: str, value: str, rng: Rng) -> bytes:
    """Replace an element's value, or add the element, as a file's bytes."""
    tag = pydicom.datadict.tag_for_keyword(keyword)
    assert tag is not None
    vr = pydicom.datadict.dictionary_VR(tag).split(" ")[0].encode()
    body = value.encode("utf-8")
    if vr in (b"US", b"SS"):
        body = struct.pack("<H", int(rng.choice([0, 1, 7, 255, 4096, 65535])))
    body += b" " * (len(body) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr in LONG_VRS:
        new = head + vr + b"\0\0" + struct.pack("<I", len(body)) + body
    else:
        new = head + vr + struct.pack("<H", len(body)) + body
    for start, end in elements(raw):
        if raw[start : start + 4] == head:
            return raw[:start] + new + raw[end:]
        group, element = struct.unpack("<HH", raw[start : start + 4])
        if (group << 16 | element) > tag:
            return raw[:start] + new + raw[start:]
    return raw


def swapped_slices(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """Slices of two series are mixed, exchanged, repeated or dropped."""
    folder = _copy_series(seeds, rng, into)
    files, others = sorted(folder.iterdir()), sorted(seeds.other_series.iterdir())
    kind = int(rng.integers(0, 5))
    n_changed = int(rng.integers(1, 5))
    for i in rng.permutation(len(files))[:n_changed]:
        other = others[int(rng.integers(0, len(others)))]
        if kind == 0:
            shutil.copy(other, files[i])
        elif kind == 1:
            shutil.copy(other, folder / f"other_{i}")
        elif kind == 2:
            files[i].unlink(missing_ok=True)
        elif kind == 3:
            shutil.copy(files[i], folder / f"copy_{i}")
        else:
            _exchange_geometry(files[i], files[int(rng.integers(0, len(files)))])
    names = ("replaced by", "joined by", "dropped", "repeated", "with exchanged positions")
    return Mutated(folder, seeds.mask, f"{n_changed} slices {names[kind]} (other series)")


def _exchange_geometry(one: Path, two: Path) -> None:
    first, second = pydicom.dcmread(one), pydicom.dcmread(two)
    first.ImagePositionPatient, second.ImagePositionPatient = (
        second.ImagePositionPatient,
        first.ImagePositionPatient,
    )
    first.save_as(one)
    if one != two:
        second.save_as(two)


def damaged_archive(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """A zip is damaged, or holds hostile names, links, repeats or a bomb."""
    archive = into / "in.zip"
    kind = int(rng.integers(0, 7))
    if kind <= 1:
        raw, what = damage(seeds.archive.read_bytes(), rng)
        archive.write_bytes(raw)
        return Mutated(archive, seeds.mask, f"zip: {what}")
    files = sorted(seeds.series[0].iterdir())
    if kind == 2:
        raw = seeds.archive.read_bytes()
        archive.write_bytes(flip_bytes(raw, rng, low=raw.rindex(b"PK\x01\x02") - 600))
        return Mutated(archive, seeds.mask, "zip: directory flipped")
    with ZipFile(archive, "w", ZIP_DEFLATED) as package:
        for path in files:
            package.write(path, path.name)
        what = _add_hostile_member(package, files, rng)
    return Mutated(archive, seeds.mask, f"zip: {what}")


def _add_hostile_member(package: ZipFile, files: list[Path], rng: Rng) -> str:
    kind = int(rng.integers(0, 6))
    raw = files[int(rng.integers(0, len(files)))].read_bytes()
    if kind == 0:
        package.writestr("../../escaped.dcm", raw)
    elif kind == 1:
        package.writestr("/tmp/absolute.dcm", raw)
    elif kind == 2:
        link = ZipInfo("link.dcm")
        link.external_attr = 0o120777 << 16
        package.writestr(link, "/etc/passwd")
    elif kind == 3:
        package.writestr("bomb.dcm", bytes(200_000_000))
    elif kind == 4:
        package.writestr("inner.zip", raw[:500])
    else:
        package.writestr("a/" * 200 + "deep\x1b[31m.dcm", raw)
    return ("a name with ..", "absolute", "a link", "a bomb", "a zip inside", "a deep name")[kind]


NIFTI_FIELDS = {  # name: (offset, struct format), NIfTI-1
    "sizeof_hdr": (0, "<i"),
    "dim0": (40, "<h"),
    "dim1": (42, "<h"),
    "dim2": (44, "<h"),
    "dim3": (46, "<h"),
    "dim4": (48, "<h"),
    "datatype": (70, "<h"),
    "bitpix": (72, "<h"),
    "pixdim0": (76, "<f"),
    "pixdim1": (80, "<f"),
    "pixdim3": (88, "<f"),
    "vox_offset": (108, "<f"),
    "scl_slope": (112, "<f"),
    "scl_inter": (116, "<f"),
    "xyzt_units": (123, "<b"),
    "qform_code": (252, "<h"),
    "sform_code": (254, "<h"),
    "quatern_b": (256, "<f"),
    "qoffset_x": (268, "<f"),
    "srow_x0": (280, "<f"),
    "srow_y1": (300, "<f"),
    "srow_z2": (320, "<f"),
    "srow_z3": (324, "<f"),
    "magic": (344, "<i"),
}
NIFTI_VALUES = (0, 1, -1, 2, 4, 7, 16, 64, 127, 255, 512, 1024, 32767, -32768)
NIFTI_REALS = (0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"), 0.001, 4096.0)


def mutated_nifti(raw: bytes, rng: Rng) -> tuple[bytes, str]:
    """Change header fields of an unpacked NIfTI, or its bytes."""
    if rng.random() < 0.3:
        return damage(raw, rng)
    data, done = bytearray(raw), []
    for i in rng.permutation(len(NIFTI_FIELDS))[: int(rng.integers(1, 4))]:
        name, (offset, form) = list(NIFTI_FIELDS.items())[i]
        values = NIFTI_REALS if form == "<f" else NIFTI_VALUES
        value = values[int(rng.integers(0, len(values)))]
        value = max(-128, min(127, int(value))) if form == "<b" else value
        struct.pack_into(form, data, offset, value)
        done.append(f"{name}={value}")
    return bytes(data), ", ".join(done)


def _write_nifti(raw: bytes, path: Path, rng: Rng) -> str:
    """Write with gzip, seldom with the packed bytes damaged too."""
    packed = gzip.compress(raw, compresslevel=1, mtime=0)
    if rng.random() < 0.1:
        packed, what = damage(packed, rng)
        path.write_bytes(packed)
        return f", gzip {what}"
    path.write_bytes(packed)
    return ""


def damaged_nifti(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """The CT as NIfTI with a spoiled header or spoiled bytes."""
    raw, what = mutated_nifti(gzip.decompress(seeds.nifti.read_bytes()), rng)
    what += _write_nifti(raw, into / "in.nii.gz", rng)
    return Mutated(into / "in.nii.gz", seeds.mask, f"nifti: {what}")


def damaged_mask(seeds: Seeds, rng: Rng, into: Path) -> Mutated:
    """A sound CT and a spoiled mask."""
    raw, what = mutated_nifti(gzip.decompress(seeds.mask.read_bytes()), rng)
    what += _write_nifti(raw, into / "mask.nii.gz", rng)
    return Mutated(seeds.series[0], into / "mask.nii.gz", f"mask: {what}")


MUTATIONS: tuple[Callable[[Seeds, Rng, Path], Mutated], ...] = (
    damaged_files,
    removed_tags,
    duplicated_tags,
    retyped_tags,
    absurd_values,
    swapped_slices,
    damaged_archive,
    damaged_nifti,
    damaged_mask,
)


def mutate(seeds: Seeds, seed: int, into: Path) -> Mutated:
    """The mutated input of a seed, written into an empty folder. The same seed, the same bytes."""
    rng = np.random.default_rng(seed)
    mutation = MUTATIONS[int(rng.integers(0, len(MUTATIONS)))]
    mutated = mutation(seeds, rng, into)
    what = f"{mutation.__name__}: {mutated.what}"
    return replace(mutated, what=what, models=seeds.models, second_reader=seed % 20 == 0)
