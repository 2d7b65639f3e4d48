"""Every study below a folder, by UID and not by folder: where its files lie, and when they change.

Headers alone are read. A study whose images lie in several folders is one study; a folder that
holds several studies yields each of them. A zip file and a NIfTI file are sources of their own.
"""

import errno
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from iac_cli.dicom.header import SliceHeader
from iac_cli.dicom.reading import Scope
from iac_cli.dicom.scan import scan, walk_once
from iac_cli.errors import IacError, Word

OWN_RESULT = "result.json"
"""Marks a folder whose NIfTI files are masks of this tool and no scans."""

SCAN_SUFFIXES = (".nii", ".nii.gz", ".zip")
"""Files that are a source of their own. Reading every DICOM file twice to see would cost much."""

READERS = 8
"""Folders that are read at once: on a network file system the time is spent waiting."""


@dataclass(frozen=True, slots=True)
class Study:
    """One study to be scored, and what is known of it before its pixels are read."""

    source: Path
    """The folder that holds all of it, or its zip or NIfTI file."""
    scope: Scope | None
    """The part of `source` that is meant; None means all of it."""
    study_uid: str | None
    patient: str | None = field(repr=False)
    """PatientID, to know the studies of one patient; never shown."""
    day: str = field(repr=False)
    """Date of its series as digits, to count days between studies; never shown."""
    n_images: int
    fingerprint: str
    """Hash of the names, sizes and times of its files: it changes when they do."""


@dataclass(frozen=True, slots=True)
class Found:
    """All studies below a folder, in a stable order, and what could not be looked at."""

    studies: tuple[Study, ...]
    n_unreadable: int
    """Folders that the system refuses to list."""
    n_without_ct: int
    """Studies of other modalities, and zip files without an image, left out."""
    n_copies: int
    """Zip files (or folders beside a fuller zip) whose study lies elsewhere below the folder."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one folder, zip or file holds of one study."""

    place: Path
    is_folder: bool
    study_uid: str | None
    patient: str | None
    day: str
    n_images: int
    is_ct: bool
    """False where every image says that it is of another modality."""
    files: tuple[tuple[str, int, int], ...]
    """(path, size, time of the last change in ns) of each file."""


OnFolder = Callable[[int, int], None]
"""Told how many folders were looked at, and how many studies were met in them."""


def find_studies(root: Path, *, on_folder: OnFolder | None = None) -> Found:
    """Every study below `root`; folders that hold a result of this tool are left alone.

    Raises: IacError: input_not_found, input_forbidden.
    """
    _check_root(root)
    unreadable: list[OSError] = []
    pieces: list[_Piece] = []
    with ThreadPoolExecutor(READERS) as readers:
        folders = _folders(root, unreadable)
        for n_folders, found in enumerate(readers.map(_pieces_of, folders), start=1):
            pieces += found
            if on_folder is not None:
                on_folder(n_folders, len(pieces))
    kept, n_copies = _without_copies(pieces)
    groups = _by_study(kept)
    studies = [_study(group) for group in groups if any(piece.is_ct for piece in group)]
    studies.sort(key=lambda study: (str(study.source), study.study_uid or ""))
    return Found(tuple(studies), len(unreadable), len(groups) - len(studies), n_copies)


def fingerprint(files: Iterable[tuple[str, int, int]]) -> str:
    """Hash of (path, size, time of change in ns) of files, whatever their order."""
    lines = sorted(f"{name}\0{size}\0{time_ns}" for name, size, time_ns in files)
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _check_root(root: Path) -> None:
    if root.is_dir():
        return
    raise IacError(
        Word.INPUT_NOT_FOUND,
        "there is no folder of studies at the path that was given",
        way_out="check the path; in a container, check that the folder is mounted",
    )


def _folders(root: Path, unreadable: list[OSError]) -> Iterator[tuple[Path, list[str]]]:
    for folder, names in walk_once(root, unreadable.append):
        if OWN_RESULT not in names:
            yield Path(folder), names


def _pieces_of(listed: tuple[Path, list[str]]) -> list[_Piece]:
    """The pieces of one folder: what its own files hold, then its zip and NIfTI files."""
    folder, names = listed
    alone = [folder / name for name in names if _stands_alone(folder / name)]
    inside = len(alone) < len(names)
    pieces = _of_folder(folder, names) if inside else []
    for path in alone:
        pieces += _of_zip(path) if path.suffix.lower() == ".zip" else [_of_file(path)]
    return pieces


def _stands_alone(path: Path) -> bool:
    return path.name.lower().endswith(SCAN_SUFFIXES)


def _of_folder(folder: Path, names: Sequence[str]) -> list[_Piece]:
    try:
        found = scan(folder, Scope((folder,)))
    except IacError:  # nothing in it may be read: a case that will fail with that reason
        looped = all(_is_loop(folder / name) for name in names)
        return [] if looped else [_damaged_piece(folder, is_folder=True)]
    by_study: dict[str, list[SliceHeader]] = defaultdict(list)
    for header in found.headers:
        if not _stands_alone(Path(str(header.key))):
            by_study[header.study_uid or ""].append(header)
    pieces = [_piece(folder, True, uid, headers) for uid, headers in by_study.items()]
    if not pieces and (found.damaged or found.forbidden):
        pieces = [_damaged_piece(folder, is_folder=True)]
    return pieces


def _is_loop(path: Path) -> bool:
    """Whether it is a link that leads back to itself: nothing was ever there."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def _of_zip(path: Path) -> list[_Piece]:
    try:
        found = scan(path)
    except IacError:
        return [_damaged_piece(path, is_folder=False)]
    by_study: dict[str, list[SliceHeader]] = defaultdict(list)
    for header in found.headers:
        by_study[header.study_uid or ""].append(header)
    if not by_study:
        if found.damaged:
            return [_damaged_piece(path, is_folder=False)]
        return [_piece(path, False, "", [])]  # left out, and counted among what holds no CT
    return [_piece(path, False, uid, headers) for uid, headers in by_study.items()]


def _of_file(path: Path) -> _Piece:
    return _Piece(path, False, None, None, "", 1, True, _stats([str(path)]))


def _piece(place: Path, is_folder: bool, uid: str, headers: Sequence[SliceHeader]) -> _Piece:
    patients = {header.patient for header in headers}
    files = [str(header.key) for header in headers] if is_folder else [str(place)]
    return _Piece(
        place,
        is_folder,
        uid or None,
        patients.pop() if len(patients) == 1 else None,
        min((header.when[:8] for header in headers if len(header.when) >= 8), default=""),
        len(headers),
        any(header.modality in (None, "CT") for header in headers),
        _stats(dict.fromkeys(files)),
    )


def _damaged_piece(place: Path, *, is_folder: bool) -> _Piece:
    """A place whose files say of no study: it is a case that fails, not one that is missed."""
    try:
        names = [str(path) for path in place.iterdir()] if is_folder else [str(place)]
    except OSError:
        names = []
    return _Piece(place, is_folder, None, None, "", 0, True, _stats(names))


def _stats(names: Iterable[str]) -> tuple[tuple[str, int, int], ...]:
    found = []
    for name in names:
        try:
            now = os.stat(name)  # noqa: PTH116
        except OSError:  # vanished since it was read: its case will say so
            found.append((name, -1, -1))
        else:
            found.append((name, now.st_size, now.st_mtime_ns))
    return tuple(found)


def _without_copies(pieces: Sequence[_Piece]) -> tuple[list[_Piece], int]:
    """The pieces, each study from one kind of place: its folders, or the zip that holds more of it.

    A study that was half unpacked beside its zip is whole in the zip alone.
    """
    kept = [piece for piece in pieces if piece.study_uid is None]
    of_study: dict[str, list[_Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.study_uid is not None:
            of_study[piece.study_uid].append(piece)
    copies = 0
    for same in of_study.values():
        folders = [piece for piece in same if piece.is_folder]
        zips = [piece for piece in same if not piece.is_folder]
        fullest = max(zips, key=lambda piece: piece.n_images, default=None)
        unpacked = sum(piece.n_images for piece in folders)
        whole = [fullest] if fullest is not None and fullest.n_images > unpacked else folders
        kept += whole
        copies += len(same) - len(whole)
    return kept, copies


def _by_study(pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    groups: dict[tuple[str, str], list[_Piece]] = defaultdict(list)
    for piece in pieces:
        groups[(piece.study_uid or "", "" if piece.study_uid else str(piece.place))].append(piece)
    return list(groups.values())


def _study(pieces: Sequence[_Piece]) -> Study:
    first = pieces[0]
    files = [file for piece in pieces for file in piece.files]
    patients = {piece.patient for piece in pieces}
    if first.is_folder:
        folders = tuple(sorted(piece.place for piece in pieces))
        source = Path(os.path.commonpath(folders))
        scope: Scope | None = Scope(folders, first.study_uid or "")
    else:
        source, scope = first.place, None
        if first.study_uid is not None:
            scope = Scope((), first.study_uid)
    if not first.n_images:
        scope = Scope((first.place,)) if first.is_folder else None
    base = len(str(source))
    return Study(
        source,
        scope,
        first.study_uid,
        patients.pop() if len(patients) == 1 else None,
        min((piece.day for piece in pieces if piece.day), default=""),
        sum(piece.n_images for piece in pieces),
        fingerprint((name[base:], size, time_ns) for name, size, time_ns in files),
    )


def fingerprint_of(source: Path) -> str:
    """Fingerprint of all files below a source, without reading them."""
    if not source.is_dir():
        names = [str(source)]
    else:
        ignored: list[OSError] = []
        names = [
            f"{folder}/{name}"
            for folder, inside in walk_once(source, ignored.append)
            for name in inside
        ]
    base = len(str(source))
    return fingerprint((name[base:], size, time_ns) for name, size, time_ns in _stats(names))
