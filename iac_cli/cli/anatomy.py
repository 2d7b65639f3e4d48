"""Anatomy that a user gives to `simulate`: CT heads with traced arteries, one JSON file each."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iac_cli.errors import IacError, Word, forbidden

if TYPE_CHECKING:
    from iac_cli.geometry.lines import Artery, CentreLine
    from iac_cli.simulate.anatomy.real import RealSource

FORM = "see docs/simulator.md for the form of an anatomy file"


def read_anatomy(path: Path, seed: int, labels: str | None = None) -> "RealSource":
    """The head of an anatomy file, or one of a folder's, chosen by the seed.

    `labels` names a mask of its own calcification where the file names none. Every file of a
    folder must be whole, whichever is chosen.
    Raises: IacError: input_not_found, file_unreadable, and the words of reading a CT.
    """
    from iac_cli.dicom.read import read_series
    from iac_cli.simulate.anatomy.real import RealSource
    from iac_cli.simulate.skull import read_lines

    documents = check_anatomy(path, labels)
    file = sorted(documents)[seed % len(documents)]
    document = documents[file]
    volume = read_series(_image(file, document)).volume
    calcified = None
    mask = document.get("labels") or labels
    if mask:
        from iac_cli.dicom.labels import read_labels

        calcified = read_labels(_beside(file, mask), volume.grid) > 0
    landmarks = {name: tuple(place) for name, place in document.get("landmarks", {}).items()}
    return RealSource(file.stem, volume, read_lines(file), landmarks, calcified)


def read_traced(file: Path) -> "Mapping[Artery, CentreLine]":
    """The arteries of an anatomy file, whatever image it names.

    Raises: IacError: input_not_found, file_unreadable.
    """
    from iac_cli.simulate.skull import read_lines

    if not file.is_file():
        raise IacError(Word.INPUT_NOT_FOUND, "there is no file of traced arteries", way_out=FORM)
    _lines_of(file)
    return read_lines(file)


def check_anatomy(path: Path, labels: str | None = None) -> Mapping[Path, Mapping[str, Any]]:
    """The anatomy files at a path. Raises: IacError: input_not_found, file_unreadable."""
    return {file: _document(file, labels) for file in _files(path)}


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(one for one in path.iterdir() if one.suffix == ".json") if path.is_dir() else []
    if not files:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "there is no anatomy file (JSON) at the path that was given",
            way_out=FORM,
        )
    return files


def _document(file: Path, labels: str | None) -> Mapping[str, Any]:
    document = _lines_of(file)
    _image(file, document)
    mask = document.get("labels") or labels
    if mask:
        _beside(file, mask)
    return document


def _lines_of(file: Path) -> Mapping[str, Any]:
    """A file whose lines can be used; what else it names is not looked at."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        lines = document["lines"]
        rows = [point for points in lines.values() for point in points]
        usable = bool(rows) and all(float(value) is not None for row in rows for value in row[:4])
        short = any(len(row) < 4 for row in rows)
    except PermissionError as error:
        raise forbidden(f"{file.name!r} may not be read") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(file) from error
    if not usable or short:
        raise _unreadable(file)
    return document  # type: ignore[no-any-return]


def _image(file: Path, document: Mapping[str, Any]) -> Path:
    return _beside(file, document.get("image") or "")


def _beside(file: Path, name: str) -> Path:
    place = (file.parent / name).resolve()
    if not name or not place.exists():
        raise IacError(
            Word.INPUT_NOT_FOUND,
            f"a file that the anatomy {file.name!r} names is not there",
            way_out="paths in an anatomy file start from its own folder",
        )
    return place


def _unreadable(file: Path) -> IacError:
    return IacError(Word.FILE_UNREADABLE, f"{file.name!r} is no anatomy file", way_out=FORM)
