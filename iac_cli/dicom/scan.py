"""Every DICOM image header below an input: a folder, a zip file or a single file.

File names are never trusted: what is DICOM is decided by content, junk is counted and left alone,
and a folder or file that cannot be read is remembered, not fatal. File names can hold a patient's
name: a sentence calls a file by its number.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from iac_cli.dicom.header import SliceHeader, read_coding, read_header
from iac_cli.dicom.parse import FOREIGN, HEAD_BYTES, Parsed, looks_like_dicom, parse
from iac_cli.dicom.reading import Scope
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


@dataclass(frozen=True, slots=True)
class Unread:
    """A file or folder that the system did not open."""

    name: str
    """Path inside the input; a folder's ends in a slash."""
    forbidden: bool
    """True where this user lacks the permission; else it is gone, a loop of links or damaged."""


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
    names: tuple[str, ...]
    """Path inside the input of every file that was met; the first one is file 1."""
    n_not_dicom: int
    unreadable: tuple[Unread, ...]

    @property
    def n_files(self) -> int:
        """How many files were met."""
        return len(self.names)

    @property
    def forbidden(self) -> str:
        """How much this user may not read, as "2 files and 1 folder"; empty for nothing."""
        return counted([one for one in self.unreadable if one.forbidden])


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    key: object
    number: int = 0

    @property
    def label(self) -> str:
        return f"file {self.number}"


OnStep = Callable[[str, int, int], None]
"""Called with a stage's name, how many are done, and how many there are (0: unknown)."""


def counted(unread: Sequence[Unread]) -> str:
    """How many files and folders these are, in words; empty for none."""
    n_folders = sum(one.name.endswith("/") for one in unread)
    kinds = ((len(unread) - n_folders, "file"), (n_folders, "folder"))
    return " and ".join(f"{n} {kind}{'s' * (n > 1)}" for n, kind in kinds if n)


def scan(source: Path, scope: Scope | None = None, *, on_step: OnStep | None = None) -> Scan:
    """Read every header below `source`, or those of a part of it.

    Of a damaged file the study is unknown: it is told of with each study of its folder.
    Raises: IacError: input_not_found, input_forbidden, file_unreadable, archive_damaged.
    """
    unreadable: list[Unread] = []
    store, entries = _open_source(source, scope or Scope(()), unreadable)
    wanted = scope.study_uid if scope else None
    headers: list[SliceHeader] = []
    damaged: list[Damaged] = []
    names: list[str] = []
    n_opened = n_not_dicom = 0
    for number, entry in enumerate(entries, start=1):
        names.append(entry.name)
        try:
            with store.open(entry.key) as stream:
                found = _read_one(stream, replace(entry, number=number))
        except OSError as error:
            unreadable.append(_unread(entry.name, error))
            continue
        n_opened += 1
        if isinstance(found, SliceHeader):
            if wanted in (None, found.study_uid or ""):
                headers.append(found)
        elif isinstance(found, Damaged):
            damaged.append(found)
        elif found is None:
            n_not_dicom += 1
        if on_step is not None and number % 50 == 0:
            on_step("scan", number, 0)
    if unreadable and not n_opened:
        raise _nothing_opened(unreadable)
    return Scan(store, tuple(headers), tuple(damaged), tuple(names), n_not_dicom, tuple(unreadable))


def _unread(name: str, error: OSError) -> Unread:
    return Unread(name, isinstance(error, PermissionError))


def _nothing_opened(unreadable: Sequence[Unread]) -> IacError:
    forbidden = counted([one for one in unreadable if one.forbidden])
    if forbidden:
        return no_permission(f"nothing in the input may be read by this user: {forbidden}")
    return IacError(
        Word.FILE_UNREADABLE,
        f"nothing in the input can be read: {counted(unreadable)}",
        way_out="check the disk or network share, then run again",
    )


def no_permission(what: str) -> IacError:
    """The failure of an input that this user may not read."""
    return IacError(
        Word.INPUT_FORBIDDEN,
        what,
        way_out="give this user read permission on the folder and its files",
    )


def _open_source(
    source: Path, scope: Scope, unreadable: list[Unread]
) -> tuple[Store, Iterator[_Entry]]:
    try:
        mode = source.stat().st_mode
    except FileNotFoundError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "the input does not exist",
            way_out="check the path; in a container, check that the folder is mounted",
        ) from error
    except OSError as error:
        raise _forbidden(error) from error
    if stat.S_ISDIR(mode):
        return FolderStore(), _walk(source, scope.folders, unreadable)
    if not stat.S_ISREG(mode):
        raise _forbidden(None)
    if _is_zip(source):
        archive = _open_zip(source)
        return ZipStore(archive), _members(archive)
    return FolderStore(), iter([_Entry(visible(source.name), str(source))])


def _forbidden(error: OSError | None) -> IacError:
    reason = error.strerror if error is not None else "it is no file and no folder"
    return IacError(
        Word.INPUT_FORBIDDEN,
        f"the input cannot be read: {reason}",
        way_out="give this user read permission, or copy the series elsewhere",
    )


def _walk(root: Path, folders: Sequence[Path], unreadable: list[Unread]) -> Iterator[_Entry]:
    """Regular files below `root`, or of these folders alone, in a stable order."""
    base = len(str(root).rstrip("/")) + 1

    def named(path: str) -> str:
        return visible(path[base:])

    def failed(error: OSError) -> None:
        unreadable.append(_unread(named(str(error.filename)) + "/", error))

    for folder, names in _listed(folders, failed) if folders else walk_once(root, failed):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            try:
                mode = os.stat(path).st_mode  # noqa: PTH116
            except OSError as error:
                unreadable.append(_unread(named(path), error))
                continue
            if stat.S_ISREG(mode):
                yield _Entry(named(path), path)


OnError = Callable[[OSError], None]
"""Told of a folder that cannot be listed."""


def _listed(folders: Sequence[Path], failed: OnError) -> Iterator[tuple[str, list[str]]]:
    for folder in folders:
        try:
            yield str(folder), sorted(os.listdir(folder))  # noqa: PTH208
        except OSError as error:
            failed(error)


def walk_once(root: Path, failed: OnError) -> Iterator[tuple[str, list[str]]]:
    """Each folder below `root` with the sorted names in it that are no folders.

    Links are followed; a folder that is reached twice (a loop of links) is walked once.
    """
    seen: set[tuple[int, int]] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=failed):
        try:
            identity = os.stat(folder)  # noqa: PTH116
        except OSError as error:
            failed(error)
            subfolders.clear()
            continue
        if (identity.st_dev, identity.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((identity.st_dev, identity.st_ino))
        subfolders.sort()
        yield folder, sorted(names)


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
        what = f"{entry.label} has a header that cannot be read ({type(error).__name__})"
        return Damaged(entry.name, Word.HEADER_TRUNCATED, what)
    if parsed is None:
        what = f"{entry.label} ends before its pixels"
        return Damaged(entry.name, Word.HEADER_TRUNCATED, what)
    return _typed(parsed, entry)


def _typed(parsed: Parsed, entry: _Entry) -> SliceHeader | Damaged | str:
    coding = read_coding(
        parsed.tags,
        parsed.transfer_syntax,
        offset=parsed.pixel_offset,
        length=parsed.pixel_length,
    )
    header = replace(read_header(entry.name, entry.key, parsed.tags, coding), number=entry.number)
    if not parsed.has_pixels:
        if header.modality not in (None, "CT") and not coding.rows:
            return "other"
        what = f"{entry.label} ends before its pixels"
        return Damaged(entry.name, Word.HEADER_TRUNCATED, what, header.series_uid)
    return header


def _is_zip(source: Path) -> bool:
    try:
        with source.open("rb") as stream:
            return stream.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    except OSError as error:
        raise _forbidden(error) from error


def _open_zip(source: Path) -> zipfile.ZipFile:
    try:
        archive = zipfile.ZipFile(source)
    except (*ZIP_ERRORS, OSError, ValueError) as error:
        raise _refused_zip(f"cannot be opened ({type(error).__name__})") from error
    total = packed = 0
    for member in archive.infolist():
        parts = member.filename.replace("\\", "/").split("/")
        if ".." in parts or member.filename.startswith(("/", "\\")) or ":" in parts[0]:
            raise _refused_zip("holds a name that leaves its folder")
        if member.flag_bits & 0x1:
            raise _refused_zip("is encrypted")
        total += member.file_size
        packed += member.compress_size
    if total > ZIP_TOTAL_BYTES or (total > ZIP_SMALL_BYTES and total > ZIP_RATIO_LIMIT * packed):
        raise _refused_zip(f"would expand from {packed} to {total} bytes")
    return archive


def _refused_zip(why: str) -> IacError:
    return IacError(
        Word.ARCHIVE_DAMAGED,
        f"the zip file {why}",
        way_out="unpack it by hand after checking where it comes from, and give the folder",
    )


def _members(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for member in sorted(archive.infolist(), key=lambda m: m.filename):
        if not member.is_dir():
            yield _Entry(visible(member.filename), member)
