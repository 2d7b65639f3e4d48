"""Whole or nothing: a case's folder appears complete or not at all."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from iac_cli.geometry.lines import CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.measure.lesions import Found
from iac_cli.report.result import Result


@dataclass(frozen=True, slots=True, eq=False)
class CaseImages:
    """The pictures and masks of a measured case."""

    volume: Volume
    found: Found
    lines: Sequence[CentreLine] = ()
    """Located arteries, to frame the preview; none for a supplied mask."""
    probability: Volume | None = None
    """Calibrated probability at native voxels, when it is to be saved."""


def check_output(out: Path, *, overwrite: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuse an output folder before any work is done, by trying to write beside it.

    Raises: IacError: output_exists, output_inside_input, output_not_writable, disk_full.
    """
    raise NotImplementedError


def write_case(
    out: Path, result: Result, images: CaseImages | None = None, *, overwrite: bool = False
) -> tuple[Path, ...]:
    """Write a case's folder, all of it or nothing; returns its files, sorted by name.

    Raises: IacError: output_exists, output_not_writable, disk_full.
    """
    raise NotImplementedError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Yield a path to write to; `path` then appears complete, or not at all.

    Raises: IacError: output_not_writable, disk_full.
    """
    raise NotImplementedError
