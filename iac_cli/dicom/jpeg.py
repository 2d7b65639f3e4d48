"""Is a JPEG stream sound enough to be handed to the decoder? Its markers, not its pixels.

The C++ decoder ends the whole process on a broken chain of markers or an impossible precision, so
both are looked at before. What it decodes badly inside the scan it reports as an error.
"""

import struct
from collections.abc import Iterator

SCAN, APPLICATION = 0xDA, 0xE0
FRAMES = frozenset({0xC0, 0xC1, 0xC3})
"""Baseline, extended sequential, lossless: the processes that are decoded here."""

TABLES = 0xC4
UNEXPECTED = frozenset(range(0xC0, 0xDA)) - FRAMES - {TABLES}
"""Other processes, arithmetic coding, restarts and ends: none may stand before the first scan."""


def check_jpeg(stream: bytes, *, rows: int, columns: int) -> None:
    """Walk the markers up to the first scan. Raises: ValueError saying what is wrong."""
    seen = set()
    for marker, segment in _segments(stream):
        seen.add(marker)
        if marker in FRAMES:
            _check_frame(segment, rows, columns)
        elif marker in UNEXPECTED or marker < 0xC0:
            raise ValueError(f"JPEG marker {marker:#x} is not expected")
        elif marker == APPLICATION and segment[:5] == b"JFIF\0" and segment[5:6] != b"\x01":
            raise ValueError("JPEG of an unknown JFIF version")
        elif marker == TABLES:
            _check_tables(segment)
    if not seen & FRAMES or TABLES not in seen:
        raise ValueError("JPEG scan without a frame header or Huffman tables")


def _segments(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) of each segment before the first scan."""
    if stream[:2] != b"\xff\xd8":
        raise ValueError("no JPEG start marker")
    at, marker = 2, 0
    while marker != SCAN:
        if at + 4 > len(stream) or stream[at] != 0xFF:
            raise ValueError(f"no JPEG marker at byte {at}")
        marker = stream[at + 1]
        (length,) = struct.unpack_from(">H", stream, at + 2)
        segment = stream[at + 4 : at + 2 + length]
        if length < 2 or len(segment) != length - 2:
            raise ValueError(f"JPEG segment {marker:#x} has the length {length}")
        if marker != SCAN:
            yield marker, segment
        at += 2 + length


def _check_frame(segment: bytes, rows: int, columns: int) -> None:
    """Precision, size and components of a frame header."""
    if len(segment) < 6:
        raise ValueError("JPEG frame header is too short")
    precision, height, width, components = struct.unpack_from(">BHHB", segment)
    if not 2 <= precision <= 16:
        raise ValueError(f"JPEG precision of {precision} bits")
    if (height, width) != (rows, columns) or components != 1:
        raise ValueError(f"JPEG of {height} x {width} x {components}, not {rows} x {columns} x 1")
    if len(segment) != 6 + 3 * components:
        raise ValueError("JPEG frame header has a wrong length")


def _check_tables(segment: bytes) -> None:
    """Huffman tables: counts that add up to the segment's length and fit 16-bit codes."""
    at = 0
    while at < len(segment):
        counts = segment[at + 1 : at + 17]
        free = 1
        for count in counts:
            free = 2 * free - count
            if free < 0:
                raise ValueError("JPEG Huffman table with too many codes")
        if len(counts) != 16 or segment[at] & 0x0F > 3 or segment[at] >> 4 > 1:
            raise ValueError("JPEG Huffman table is damaged")
        at += 17 + sum(counts)
    if at != len(segment):
        raise ValueError("JPEG Huffman table has a wrong length")
