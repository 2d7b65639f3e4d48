"""Every DICOM image header below an input: a folder, a zip file or a single file.

File names are never trusted: what is DICOM is decided by content, junk is counted and left alone,
and a folder or file that cannot be read is remembered, not fatal.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from iac_cli.dicom.header import SliceHeader, read_coding, read_header
from iac_cli.dicom.parse import FOREIGN, HEAD_BYTES, Parsed, looks_like_dicom, parse
from iac_cli.dicom.tags import visible
from iac_cli.errors import IacError, Word

ZIP_RATIO_LIMIT = 100
"""A zip that expands by more than this factor, and beyond `ZIP_SMALL_BYTES`, is refused."""

ZIP_SMALL_BYTES = 64 << 20
ZIP_TOTAL_BYTES = 16 << 30
"""Largest total size of a zip's contents."""

DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A file that is, or was, DICOM and cannot be used."""

    name: str
    word: Word
    what: str
    series_uid: str | None = None


class Store(Protocol):
    """Where files are found again by the key that a header carries."""

    def open(self, key: object) -> BinaryIO:
        """A binary stream of the file, standing at its start."""


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Files on disk; a key is a path."""

    def open(self, key: object) -> BinaryIO:
        """Open without buffering: readers ask for large pieces."""
        return open(str(key), "rb", buffering=0)  # noqa: PTH123


@dataclass(frozen=True, slots=True)
class ZipStore:
    """Members of a zip file; a key is a member's ZipInfo. Each is unpacked into memory."""

    archive: zipfile.ZipFile

    def open(self, key: object) -> BinaryIO:
        """Unpack one member. Raises: OSError when it is damaged."""
        assert isinstance(key, zipfile.ZipInfo)
        try:
            return BytesIO(self.archive.read(key))
        except ZIP_ERRORS as error:
            raise OSError(f"damaged zip member: {error}") from error


@dataclass(frozen=True, slots=True)
class Scan:
    """What lies below an input. Nothing is judged or chosen yet."""

    store: Store
    headers: tuple[SliceHeader, ...]
    damaged: tuple[Damaged, ...]
    n_files: int
    n_not_dicom: int
    unreadable: tuple[str, ...]
    """Files and folders that the system refuses to read."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    key: object


OnStep = Callable[[str, int, int], None]
"""Called with a stage's name, how many are done, and how many there are (0: unknown)."""


def shown(source: Path) -> str:
    """The input's own name for a message: never the folders above it."""
    return visible(source.name or source.absolute().name)


def scan(source: Path, *, on_step: OnStep | None = None) -> Scan:
    """Read every header below `source`.

    Raises: IacError: input_not_found, input_forbidden, archive_damaged.
    """
    unreadable: list[str] = []
    store, entries = _open_source(source, unreadable)
    headers: list[SliceHeader] = []
    damaged: list[Damaged] = []
    n_files = n_not_dicom = 0
    for entry in entries:
        n_files += 1
        try:
            with store.open(entry.key) as stream:
                found = _read_one(stream, entry)
        except OSError:
            unreadable.append(entry.name)
            continue
        if isinstance(found, SliceHeader):
            headers.append(found)
        elif isinstance(found, Damaged):
            damaged.append(found)
        elif found is None:
            n_not_dicom += 1
        if on_step is not None and n_files % 50 == 0:
            on_step("scan", n_files, 0)
    _check_permitted(source, n_files, unreadable)
    return Scan(store, tuple(headers), tuple(damaged), n_files, n_not_dicom, tuple(unreadable))


def _check_permitted(source: Path, n_files: int, unreadable: list[str]) -> None:
    if unreadable and n_files <= sum(1 for name in unreadable if not name.endswith("/")):
        listed = ", ".join(unreadable[:3])
        raise IacError(
            Word.INPUT_FORBIDDEN,
            f"nothing in {shown(source)!r} may be read: {listed}",
            way_out="give this user read permission on the folder and its files",
        )


def _open_source(source: Path, unreadable: list[str]) -> tuple[Store, Iterator[_Entry]]:
    try:
        mode = source.stat().st_mode
    except FileNotFoundError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            f"{shown(source)!r} does not exist",
            way_out="check the path; in a container, check that the folder is mounted",
        ) from error
    except OSError as error:
        raise _forbidden(source, error) from error
    if stat.S_ISDIR(mode):
        return FolderStore(), _walk(source, unreadable)
    if not stat.S_ISREG(mode):
        raise _forbidden(source, None)
    if _is_zip(source):
        archive = _open_zip(source)
        return ZipStore(archive), _members(archive)
    return FolderStore(), iter([_Entry(shown(source), str(source))])


def _forbidden(source: Path, error: OSError | None) -> IacError:
    reason = f": {error.strerror}" if error is not None else ": not a file or folder"
    return IacError(
        Word.INPUT_FORBIDDEN,
        f"{shown(source)!r} cannot be read{reason}",
        way_out="give this user read permission, or copy the series elsewhere",
    )


def _walk(root: Path, unreadable: list[str]) -> Iterator[_Entry]:
    """Regular files below `root`, links followed, each folder once, in a stable order."""
    seen: set[tuple[int, int]] = set()
    base = len(str(root).rstrip("/")) + 1

    def named(path: str) -> str:
        return visible(path[base:])

    def failed(error: OSError) -> None:
        unreadable.append(named(str(error.filename)) + "/")

    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=failed):
        identity = os.stat(folder)  # noqa: PTH116
        if (identity.st_dev, identity.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((identity.st_dev, identity.st_ino))
        subfolders.sort()
        for name in sorted(names):
            path = f"{folder.rstrip('/')}/{name}"
            try:
                mode = os.stat(path).st_mode  # noqa: PTH116
            except OSError:
                unreadable.append(named(path))
                continue
            if stat.S_ISREG(mode):
                yield _Entry(named(path), path)


def _read_one(stream: BinaryIO, entry: _Entry) -> SliceHeader | Damaged | str | None:
    """A header, a damaged file, "other" for DICOM that holds no image, or None for junk."""
    head = stream.read(HEAD_BYTES)
    if not looks_like_dicom(head):
        return None
    if DIRECTORY_CLASS.encode() in head[132:400]:
        return "other"
    size = stream.seek(0, os.SEEK_END)
    try:
        parsed = parse(stream, size, head)
    except FOREIGN as error:
        what = f"{entry.name} has a header that cannot be read ({type(error).__name__})"
        return Damaged(entry.name, Word.HEADER_TRUNCATED, what)
    if parsed is None:
        what = f"{entry.name} ends before its pixels"
        return Damaged(entry.name, Word.HEADER_TRUNCATED, what)
    return _typed(parsed, entry)


def _typed(parsed: Parsed, entry: _Entry) -> SliceHeader | Damaged | str:
    coding = read_coding(
        parsed.tags,
        parsed.transfer_syntax,
        offset=parsed.pixel_offset,
        length=parsed.pixel_length,
    )
    header = read_header(entry.name, entry.key, parsed.tags, coding)
    if not parsed.has_pixels:
        if header.modality not in (None, "CT") and not coding.rows:
            return "other"
        what = f"{entry.name} ends before its pixels"
        return Damaged(entry.name, Word.HEADER_TRUNCATED, what, header.series_uid)
    return header


def _is_zip(source: Path) -> bool:
    try:
        with source.open("rb") as stream:
            return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError as error:
        raise _forbidden(source, error) from error


def _open_zip(source: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(source)
    except (*ZIP_ERRORS, OSError, ValueError) as error:
        raise _refused_zip(source, f"cannot be opened ({type(error).__name__})") from error
    total = packed = 0
    for member in archive.infolist():
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or member.filename.startswith(("/", "\\")) or ":" in parts[0]:
            raise _refused_zip(source, "holds a name that leaves its folder")
        if member.flag_bits & 0x1:
            raise _refused_zip(source, "is encrypted")
        total += member.file_size
        packed += member.compress_size
    if total > ZIP_TOTAL_BYTES or (total > ZIP_SMALL_BYTES and total > ZIP_RATIO_LIMIT * packed):
        raise _refused_zip(source, f"would expand from {packed} to {total} bytes")
    return archive


def _refused_zip(source: Path, why: str) -> IacError:
    return IacError(
        Word.ARCHIVE_DAMAGED,
        f"zip file {shown(source)!r} {why}",
        way_out="unpack it by hand after checking where it comes from, and give the folder",
    )


def _members(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for member in sorted(archive.infolist(), key=lambda m: m.filename):
        if not member.is_dir():
            yield _Entry(visible(member.filename), member)
