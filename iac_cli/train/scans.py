"""From the scans that `--data` names to windows on file: read, locate, cut, once.

Needs the whole product; what it leaves can be trained on where there is none of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.labels import read_labels
from iac_cli.dicom.read import read_series
from iac_cli.dicom.reading import ReadSettings
from iac_cli.dicom.studies import fingerprint_of
from iac_cli.errors import IacError, Word
from iac_cli.geometry.volume import Volume
from iac_cli.infer.models import load_locator
from iac_cli.infer.windows import LINE_STEP_MM
from iac_cli.locate.locator import Locator, locate_arteries
from iac_cli.report.files import written_whole
from iac_cli.train.cache import (
    INDEX,
    CacheSettings,
    Entry,
    cache_name,
    cut_windows,
    read_index,
    write_index,
)
from iac_cli.train.cases import Case, find_cases, labelled
from iac_cli.train.splits import Split, SplitShares, assign
from iac_cli.train.world import World

OnCase = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Refused:
    """A scan that cannot be trained on, and why; called by its number, never by its name."""

    number: int
    word: Word
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a training asks of its scans."""

    labels: bool
    cut: CacheSettings
    shares: SplitShares
    models: Path
    """The folder of the locator."""


def windows_of(
    data: Sequence[Path],
    folder: Path,
    wanted: Wanted,
    world: World,
    on_case: OnCase | None = None,
) -> tuple[list[Entry], list[Refused]]:
    """Windows of every scan of the data, cut by the first process where they are not yet there.

    A folder of windows that was cut before is taken as it is.
    Raises: IacError: as `find_cases`, `labelled`, `assign` and `cut_all`.
    """
    if len(data) == 1 and (data[0] / INDEX).is_file():
        return read_index(data[0]), []
    refused: list[Refused] = []
    if world.is_first:
        cases = find_cases(data)
        if wanted.labels:
            cases = labelled(cases)
        splits = assign(((case.patient, case.split) for case in cases), wanted.shares)
        _, refused = cut_all(
            cases, splits, folder, wanted.cut, models=wanted.models, on_case=on_case
        )
    world.wait()
    return read_index(folder), refused


def cut_all(
    cases: Sequence[Case],
    splits: dict[str, Split],
    folder: Path,
    settings: CacheSettings,
    *,
    models: Path,
    on_case: OnCase | None = None,
) -> tuple[list[Entry], list[Refused]]:
    """Windows of every scan, and the scans that were refused.

    A scan without labels that the reader refuses is left out and told; one with labels stops the
    work, since somebody took the trouble to draw them.

    Raises: IacError: the words of reading for a labelled scan; mask_mismatch; empty_set.
    """
    locator = load_locator(models)
    entries, refused = [], []
    for number, case in enumerate(cases, start=1):
        name = cache_name(_fingerprints(case), settings)
        try:
            if not (folder / name).is_file():
                _cut(case, folder / name, settings, locator)
        except IacError as error:
            if case.label is not None:
                raise IacError(
                    error.word, f"scan {number} of the data: {error.what}", way_out=error.way_out
                ) from error
            refused.append(Refused(number, error.word, error.what))
        else:
            split = splits.get(case.patient, Split.TRAIN)
            entries.append(Entry(folder / name, case.patient, split, case.label is not None))
        if on_case:
            on_case(number, len(cases))
    if not entries:
        raise IacError(
            Word.EMPTY_SET,
            f"none of the {len(cases)} scans can be trained on ({refused[0].word})",
            way_out="'iac-seg inspect' tells why a scan is refused",
        )
    write_index(folder, entries)
    return entries, refused


def _fingerprints(case: Case) -> list[str]:
    paths = [case.image] if case.label is None else [case.image, case.label]
    scope = "" if case.scope is None else repr(case.scope)
    return [*(fingerprint_of(path) for path in paths), scope]


def _cut(case: Case, path: Path, settings: CacheSettings, locator: Locator) -> None:
    volume = read_series(case.image, ReadSettings(scope=case.scope)).volume
    labels = None if case.label is None else read_labels(case.label, volume.grid)

    def locate(volume: Volume) -> list[NDArray[np.float64]]:
        lines = locate_arteries(volume, locator).lines.values()
        return [line.resampled(LINE_STEP_MM).points_mm for line in lines]

    windows = cut_windows(volume, labels, locate, settings)
    with written_whole(path) as building:
        np.savez_compressed(building, allow_pickle=False, **windows)
