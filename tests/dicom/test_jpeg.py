"""JPEG markers are checked before the decoder, which would end the process on broken ones."""

import struct

import pytest

from iac_cli.dicom.jpeg import check_jpeg

ROWS, COLUMNS = 4, 6


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def frame(
    *, marker: int = 0xC3, precision: int = 16, size: tuple[int, int] = (ROWS, COLUMNS), n: int = 1
) -> bytes:
    parts = bytes([1, 0x11, 0]) * n
    return segment(marker, struct.pack(">BHHB", precision, *size, n) + parts)


JFIF = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
TABLE = segment(0xC4, bytes([0x00, 0, 2, *[0] * 14, 0, 1]))
SCAN = segment(0xDA, bytes([1, 1, 0, 1, 0, 0])) + b"\x12\x34"


def stream(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments) + b"\xff\xd9"


@pytest.mark.parametrize("marker", [0xC0, 0xC1, 0xC3])
def test_a_sound_stream_is_accepted(marker: int) -> None:
    check_jpeg(stream(JFIF, frame(marker=marker), TABLE, SCAN), rows=ROWS, columns=COLUMNS)
    check_jpeg(stream(frame(marker=marker), TABLE, SCAN), rows=ROWS, columns=COLUMNS)


BROKEN = {
    "no start": stream(frame(), TABLE, SCAN)[2:],
    "empty": b"",
    "ends in the header": stream(frame(), TABLE, SCAN)[:12],
    "no marker where one belongs": stream(b"\x77" + frame()[1:], TABLE, SCAN),
    "length runs past the end": stream(frame(), b"\xff\xc4\xff\xff" + TABLE[4:], SCAN),
    "length below two": stream(b"\xff\xe0\x00\x01", frame(), TABLE, SCAN),
    "precision of 208 bits": stream(frame(precision=208), TABLE, SCAN),
    "another size": stream(frame(size=(ROWS, COLUMNS + 1)), TABLE, SCAN),
    "colour": stream(frame(n=3), TABLE, SCAN),
    "progressive": stream(frame(marker=0xC2), TABLE, SCAN),
    "arithmetic coding": stream(frame(marker=0xCB), TABLE, SCAN),
    "a restart before the scan": stream(segment(0xD3, b"12"), frame(), TABLE, SCAN),
    "unknown JFIF": stream(JFIF.replace(b"JFIF\0\x01", b"JFIF\0\x8f"), frame(), TABLE, SCAN),
    "no frame": stream(TABLE, SCAN),
    "no tables": stream(frame(), SCAN),
    "too many codes": stream(frame(), segment(0xC4, bytes([0, 3, *[0] * 15, 0, 1, 2])), SCAN),
    "table cut": stream(frame(), segment(0xC4, bytes([0, 0, 2, *[0] * 14, 0])), SCAN),
    "no scan": stream(frame(), TABLE),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_stream_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="JPEG"):
        check_jpeg(BROKEN[name], rows=ROWS, columns=COLUMNS)
