"""Whole or nothing: a file, or a case's folder, appears complete or not at all.

A folder is built beside its place under a hidden name, then renamed. An existing result is
exchanged with the new one in a single step where the file system can (Linux can), so that a kill
at any moment leaves the old result or the new one.
"""

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iac_cli.errors import FULL_DISK, IacError, Word, errno_of

CASE_FILES = frozenset(
    {
        "result.json",
        "scores.csv",
        "lesions.csv",
        "mask.nii.gz",
        "mask_native.nii.gz",
        "probability_native.nii.gz",
        "preview.png",
    }
)
"""Every file that a case's folder may hold; `overwrite` replaces a folder of these, no other."""

PROBE_BYTES = 4096
"""What the probe writes; a disk without room for it is full."""


def check_output(out: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output folder before any work is done, by trying to write where it will lie.

    Leaves nothing behind.
    Raises: IacError: output_exists, output_inside_input, output_not_writable, disk_full.
    """
    for source in inputs:
        check_apart(out, source)
    with told_as_output(out):
        _check_free(out, overwrite)
    probe_output(out.resolve().parent)


def probe_output(folder: Path) -> None:
    """Try to write into a folder, or where it will lie. Leaves nothing behind.

    Raises: IacError: output_not_writable, disk_full.
    """
    with told_as_output(folder):
        place = folder.resolve()
        there = next(one for one in (place, *place.parents) if os.path.lexists(one))
        with tempfile.TemporaryFile(dir=there) as probe:  # without a name, where the system can
            probe.write(b"\0" * PROBE_BYTES)
            probe.flush()
            os.fsync(probe.fileno())


def check_apart(out: Path, source: Path) -> None:
    """The result must not lie among the scan's files, nor the scan among the result's."""
    ours, theirs = out.resolve(), source.resolve()
    inside = theirs.is_dir() and (ours == theirs or theirs in ours.parents)
    if inside or ours in theirs.parents:
        raise IacError(
            Word.OUTPUT_INSIDE_INPUT,
            "the output folder and the input lie inside one another",
            way_out="choose an output folder outside the input",
        )


def _check_free(out: Path, overwrite: bool) -> None:
    """Nothing is there, or an empty folder, or (to be overwritten) a result of ours alone."""
    if not os.path.lexists(out):
        return
    if not out.is_dir():
        raise IacError(
            Word.OUTPUT_NOT_WRITABLE,
            f"the output {out.name!r} is a file, not a folder",
            way_out="choose another output folder",
        )
    if os.path.ismount(out):
        raise IacError(
            Word.OUTPUT_NOT_WRITABLE,
            f"the output {out.name!r} is a mount point, which cannot be replaced as a whole",
            way_out="name a folder inside it",
        )
    there = sorted(path.name for path in out.iterdir())
    if not there:
        return
    foreign = [name for name in there if name not in CASE_FILES]
    if foreign:
        raise IacError(
            Word.OUTPUT_EXISTS,
            f"the output folder {out.name!r} holds {len(foreign)} files that are no result",
            way_out="choose another output folder; such files are never deleted",
        )
    if not overwrite:
        raise IacError(
            Word.OUTPUT_EXISTS,
            f"the output folder {out.name!r} holds a result already",
            way_out="pass --overwrite, or choose another output folder",
        )


@contextmanager
def told_as_output(path: Path) -> Iterator[None]:
    """Tell an operating system error on the way to `path` by its word."""
    try:
        yield
    except OSError as error:
        number = errno_of(error)
        if number in FULL_DISK:
            raise IacError(
                Word.DISK_FULL,
                f"the disk is full; nothing of {path.name!r} was kept",
                way_out="free some space, then run again",
            ) from error
        reason = os.strerror(number) if number else type(error).__name__
        raise IacError(
            Word.OUTPUT_NOT_WRITABLE,
            f"{path.name!r} cannot be written: {reason}",
            way_out="choose a folder that this user may write to",
        ) from error


@contextmanager
def folder_written_whole(out: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; it then takes the place of `out`, or vanishes.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    out = out.resolve()
    with told_as_output(out):
        _check_free(out, overwrite)
        out.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(out)
        with _held_folder(out) as building:
            yield building
            for path in building.iterdir():
                _to_disk(path)
            building.chmod(0o777 & ~_umask())
            _check_free(out, overwrite)
            _put_in_place(building, out)


@contextmanager
def _held_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, locked while it lives; whatever is left of it is removed."""
    building = Path(tempfile.mkdtemp(dir=out.parent, prefix=_hidden(out), suffix=".part"))
    lock = os.open(building, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield building
    finally:
        os.close(lock)
        shutil.rmtree(building, ignore_errors=True)


def _hidden(out: Path) -> str:
    return f".{out.name}."


def _clear_abandoned(out: Path) -> None:
    """Remove what a killed run left beside `out`: hidden folders that nobody holds."""
    for left in out.parent.glob(f"{_hidden(out)}*.part"):
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
            finally:
                os.close(lock)


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _put_in_place(building: Path, out: Path) -> None:
    """Rename the finished folder to `out`; an old result ends up under the hidden name."""
    try:
        building.rename(out)  # onto nothing, or onto an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if not _exchange(building, out):
            _replace_in_two_steps(building, out)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    at_cwd, swap = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of renameat2(2)
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(at_cwd, os.fsencode(one), at_cwd, os.fsencode(other), swap) == 0)


def _replace_in_two_steps(building: Path, out: Path) -> None:
    """For file systems that cannot swap: the old result lies beside `out` for an instant."""
    old = building.with_suffix(".old")
    out.rename(old)
    try:
        building.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def remove_case(out: Path) -> None:
    """Remove a case's folder, if there is one and it holds nothing but a result of ours."""
    with told_as_output(out):
        if not out.is_dir():
            return
        _check_free(out, overwrite=True)
        doomed = Path(tempfile.mkdtemp(dir=out.parent, prefix=_hidden(out), suffix=".part"))
        out.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to; `path` then appears complete, or not at all.

    Raises: IacError: output_not_writable, disk_full.
    """
    path = path.absolute()
    with told_as_output(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_hidden(path), suffix=path.suffix)
        try:
            os.close(handle)
            yield Path(name)
            _to_disk(Path(name))
            Path(name).chmod(0o666 & ~_umask())
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, whole or not at all. Raises: IacError as `written_whole`."""
    with written_whole(path) as building:
        building.write_text(text, encoding="utf-8", newline="")
