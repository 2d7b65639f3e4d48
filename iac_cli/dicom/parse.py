"""The header of one DICOM file, up to the pixel element.

Plain little-endian headers without sequences of undefined length are parsed here, which is several
times faster than a general reader; everything else goes to pydicom. Both give the same tags.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from iac_cli.dicom.header import EXPLICIT_LITTLE, IMPLICIT_LITTLE, NATIVE_LITTLE
from iac_cli.dicom.tags import Tags, clean_uid, decoded

HEAD_BYTES = 1 << 15
"""How much of a file is read at first; most headers are far shorter."""

IN_MEMORY_BYTES = 1 << 26
"""Files up to this size are handed to pydicom from memory, so that absurd lengths cost nothing."""

PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
UNDEFINED = 0xFFFFFFFF
BIG_ENDIAN = "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"

WANTED = frozenset(
    {
        0x00080008, 0x00080016, 0x00080018, 0x00080021, 0x00080031, 0x00080060, 0x00080070,
        0x0008103E, 0x00081090, 0x00100020, 0x00100040, 0x00101010, 0x00180010, 0x00180050,
        0x00180060, 0x00181030, 0x00181040, 0x00181041, 0x00181044, 0x00181120,
        0x00181210, 0x0020000D, 0x0020000E,
        0x00200011, 0x00200012, 0x00200013, 0x00200032, 0x00200037, 0x00200052, 0x00280002,
        0x00280004, 0x00280008, 0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280101,
        0x00280102, 0x00280103, 0x00280120, 0x00280121, 0x00281052, 0x00281053, 0x00281054,
        0x00280301, 0x00282110, 0x60000102,
    }
)  # fmt: skip
"""Tags that are kept; see `header.read_header` for their meaning."""

_LONG = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR",
                   b"UT", b"UV"})  # fmt: skip
_SHORT = frozenset({b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS",
                    b"LO", b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL",
                    b"US"})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the header of one file says before anything is judged."""

    tags: Tags
    transfer_syntax: str
    pixel_offset: int | None
    """Where native pixel values begin in the file; None when they have to be decoded."""
    pixel_length: int | None
    has_pixels: bool
    """False when the file ends before a pixel element."""


class _NeedsPydicomError(Exception):
    """The header holds something that the plain parser leaves to pydicom."""


def looks_like_dicom(head: bytes) -> bool:
    """True when the first bytes are a DICOM preamble, or a data set without one."""
    if head[128:132] == b"DICM":
        return True
    if len(head) < 8 or head[:4] == b"\0\0\0\0":
        return False
    group, element = struct.unpack_from("<HH", head)
    explicit = head[4:6] in _SHORT or head[4:6] in _LONG
    length = struct.unpack_from("<I", head, 4)[0]
    return group in (0x0002, 0x0008) and element < 0x0070 and (explicit or length < 1024)


def parse(stream: BinaryIO, size: int, head: bytes) -> Parsed | None:
    """Read one header from a file of `size` bytes of which `head` was read; None: not DICOM.

    Raises: the exceptions in `FOREIGN` where pydicom gives up.
    """
    try:
        return _parse_plain(head, size)
    except (_NeedsPydicomError, struct.error):
        stream.seek(0)
        return _parse_with_pydicom(stream, size)


FOREIGN = (
    EOFError,
    ValueError,
    struct.error,
    zlib.error,
    NotImplementedError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    OverflowError,
    RecursionError,
    AssertionError,
    LookupError,
)
"""What pydicom raises on damaged headers; caught where a file is opened, nowhere else."""


def _parse_plain(head: bytes, size: int) -> Parsed:
    offset, syntax = _file_meta(head)
    raw: dict[int, bytes] = {}
    for tag, start, length in _elements(head, offset, explicit=syntax != IMPLICIT_LITTLE):
        if tag in PIXEL_TAGS:
            if syntax not in NATIVE_LITTLE:
                return Parsed(Tags(raw), syntax, None, None, has_pixels=True)
            if length == UNDEFINED or tag != 0x7FE00010:
                raise _NeedsPydicomError
            return Parsed(Tags(raw), syntax, start, length, has_pixels=True)
        end = start + length
        if end > len(head):
            if len(head) < size:
                raise _NeedsPydicomError
            break
        if tag in WANTED:
            raw[tag] = head[start:end]
    else:
        if len(head) < size:
            raise _NeedsPydicomError
    return Parsed(Tags(raw), syntax, None, None, has_pixels=False)


def _file_meta(head: bytes) -> tuple[int, str]:
    """Where the data set begins, and its transfer syntax, one that the plain parser reads."""
    if head[128:132] != b"DICM":
        raise _NeedsPydicomError
    syntax, end = "", 132
    for tag, start, length in _elements(head, 132, explicit=True):
        if tag >> 16 != 0x0002:
            break
        end = start + length
        if tag == 0x00020010:
            syntax = decoded(head[start:end]).strip(" \0")
    if syntax in ("", BIG_ENDIAN, DEFLATED):
        raise _NeedsPydicomError
    return end, syntax


def _elements(head: bytes, offset: int, *, explicit: bool) -> Iterator[tuple[int, int, int]]:
    """(tag, where its value starts, its length) of each element that `head` holds the start of."""
    stop = len(head) - 8
    unpack_short = struct.Struct("<HH2sH").unpack_from
    unpack_implicit = struct.Struct("<HHI").unpack_from
    while offset <= stop:
        if explicit:
            group, element, vr, length = unpack_short(head, offset)
            start = offset + 8
            if vr in _LONG:
                (length,) = struct.unpack_from("<I", head, start)
                start += 4
            elif vr not in _SHORT:
                raise _NeedsPydicomError
        else:
            group, element, length = unpack_implicit(head, offset)
            start = offset + 8
        tag = group << 16 | element
        if length == UNDEFINED and tag not in PIXEL_TAGS:
            raise _NeedsPydicomError
        yield tag, start, length
        offset = start + length


def _parse_with_pydicom(stream: BinaryIO, size: int) -> Parsed | None:
    """The same facts by pydicom, for any transfer syntax."""
    import pydicom

    source: BinaryIO = BytesIO(stream.read()) if size <= IN_MEMORY_BYTES else stream
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(source, stop_before_pixels=True, force=True)
        except pydicom.errors.BytesLengthException as error:
            raise ValueError(str(error)) from error
    raw = {tag: value for tag in WANTED if (value := _raw_value(dataset, tag)) is not None}
    if 0x00080016 not in raw and 0x00280010 not in raw:
        return None
    meta = dataset.file_meta
    syntax = meta.get("TransferSyntaxUID")
    implicit = dataset.original_encoding[0]
    name = clean_uid(str(syntax)) if syntax else None
    name = name or (IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE)
    tags = Tags(raw, little_endian=dataset.original_encoding[1] is not False)
    if name not in NATIVE_LITTLE:
        return Parsed(tags, name, None, None, has_pixels=_more_follows(source, name))
    offset, length = _native_pixels(source, implicit=bool(implicit))
    return Parsed(tags, name, offset, length, has_pixels=length is not None)


def _raw_value(dataset: "object", tag: int) -> bytes | None:
    """The bytes of a top-level element, or None where it is absent or nested."""
    if tag not in dataset:  # type: ignore[operator]
        return None
    element = dataset.get_item(tag)  # type: ignore[attr-defined]
    value = getattr(element, "value", None)
    return value if isinstance(value, bytes) else None


def _more_follows(source: BinaryIO, syntax: str) -> bool:
    """True when something follows the header; a deflated stream was unpacked elsewhere."""
    return syntax == DEFLATED or len(source.read(12)) == 12


def _native_pixels(source: BinaryIO, *, implicit: bool) -> tuple[int | None, int | None]:
    """Where the pixel values begin and their length, with the stream standing at the element."""
    at = source.tell()
    start = source.read(12)
    if len(start) < (8 if implicit else 12):
        return None, None
    group, element = struct.unpack_from("<HH", start)
    if (group << 16 | element) != 0x7FE00010:
        return None, None
    if implicit:
        return at + 8, int(struct.unpack_from("<I", start, 4)[0])
    return at + 12, int(struct.unpack_from("<I", start, 8)[0])
