"""An evaluation over many series: workers, and going on where a killed run stopped.

    EVAL/asked.json         what is judged on what; a folder serves one evaluation
    EVAL/cases/CASE.json    the record of each finished series

A record appears whole. Once all are there, `output` makes the tables anew from them.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.case import Judged, evaluate_series
from iac_cli.evaluate.masks import check_labels, find_masks
from iac_cli.evaluate.record import Record
from iac_cli.evaluate.test_set import Series, TestSet
from iac_cli.infer.card import (
    SegmenterCard,
    joint_sha256,
    read_locator_cards,
    read_segmenter_card,
    sha256_of,
    shipped_models,
)
from iac_cli.infer.models import load_locator, load_models
from iac_cli.infer.operating import for_volume, thresholds_of
from iac_cli.measure.uncertainty import BEFORE
from iac_cli.report.files import probe_output, told_as_output, write_text
from iac_cli.settings import Settings, numeric_threads

SCHEMA = 1
NOTE = "asked.json"
CASES = "cases"

SHAPING = ("locate", "windows", "checks")
"""Groups of settings that change numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is judged, and how."""

    model: Path | None = None
    """Folder of models; None: the shipped ones. Of supplied masks only the locator serves."""
    predictions: Path | None = None
    """Folder of masks; None: the model's own."""
    labels: tuple[int, ...] | None = None
    """Of supplied masks, the labels that count; () counts every one. None: all masks together must
    hold no more than one."""
    gate: bool = True
    for_volume: bool = False
    """Draw at the card's threshold for an unbiased volume instead of that for Dice."""
    settings: Settings = field(default_factory=Settings)
    n_workers: int = 1


def evaluate(
    out: Path,
    test_set: TestSet,
    asked: Asked,
    on_series: Callable[[int, int], None] | None = None,
) -> list[Record]:
    """Judge every series of a test set, or what is missing of it; records in the table's order.

    Raises: IacError: input_not_found (a mask is missing), bad_option (which labels of the masks
    count is not known), output_exists (another evaluation lies there), the words of models and of
    writing; those of one series with the table's line.
    """
    masks = {} if asked.predictions is None else find_masks(test_set, asked.predictions)
    check_labels(masks, asked.labels)
    _take_folder(out, _told(test_set, asked, masks))
    todo = [one for one in test_set.series if _finished(out, one) is None]
    done, total = len(test_set.series) - len(todo), len(test_set.series)
    if on_series:
        on_series(done, total)
    for record in _judged_series(todo, test_set, asked, masks):
        write_text(out / CASES / f"{record.case}.json", record.to_json())
        done += 1
        if on_series:
            on_series(done, total)
    kept = (_finished(out, one) for one in test_set.series)
    return [one for one in kept if one is not None]


def _told(test_set: TestSet, asked: Asked, masks: dict[str, Path]) -> dict[str, Any]:
    """What makes an evaluation the same one; no path."""
    folder = asked.model or shipped_models()
    names = [
        (one.case, one.reconstruction, one.patient, sha256_of(one.label)) for one in test_set.series
    ]
    locator, near = read_locator_cards(folder)
    located_by = joint_sha256(locator.sha256, *([] if near is None else [near.sha256]))
    told: dict[str, Any] = {
        "schema": SCHEMA,
        "n_series": len(names),
        "series_sha256": hashlib.sha256(json.dumps(names).encode()).hexdigest(),
        "gate": asked.gate,
        "settings": {name: asdict(getattr(asked.settings, name)) for name in SHAPING},
        "locator": {"version": locator.version, "sha256": located_by},
    }
    if masks:
        digest = hashlib.sha256("".join(sha256_of(masks[case]) for case, *_ in names).encode())
        labels = "all" if asked.labels == () else asked.labels
        return told | {
            "judged": "masks",
            "masks_sha256": digest.hexdigest(),
            "labels": list(labels) if isinstance(labels, tuple) else labels,
        }
    card = at_operating_point(read_segmenter_card(folder), asked)
    return told | {
        "judged": "model",
        "segmenter": {"name": card.name, "version": card.version, "sha256": card.sha256},
        **thresholds_of(card.points),
        "calibration": card.calibration.to_json_dict(),
    }


def at_operating_point(card: SegmenterCard, asked: Asked) -> SegmenterCard:
    """The card with the thresholds of voxels that were asked for; those of lesions stay.

    Raises: IacError: bad_setting.
    """
    if not asked.for_volume:
        return card
    points = for_volume(card.points)
    if points is None:
        raise IacError(
            Word.BAD_SETTING,
            "the model's card has no threshold for an unbiased volume",
            way_out="calibrate the model, or take the operating point dice",
        )
    return replace(card, points=points)


def _take_folder(out: Path, told: dict[str, Any]) -> None:
    text, note = json.dumps(told, indent=1) + "\n", out / NOTE
    with told_as_output(out):
        begun, empty = note.is_file(), not (out.is_dir() and any(out.iterdir()))
        same = begun and read_note(out) == json.loads(text)
    if not begun and not empty:
        raise IacError(
            Word.OUTPUT_EXISTS, "the output folder is not empty", way_out="choose another folder"
        )
    if begun and not same:
        raise IacError(
            Word.OUTPUT_EXISTS,
            "another evaluation lies in the output folder: other data, model, masks or gate",
            way_out="choose another folder, or repeat the command that began it",
        )
    probe_output(out)
    if not begun:
        write_text(note, text)


def read_note(out: Path) -> dict[str, Any]:
    """What the evaluation of a folder judges; an old one may lack what it could not say yet."""
    note: dict[str, Any] = json.loads((out / NOTE).read_text(encoding="utf-8"))
    return {**BEFORE, **note} if note.get("judged") == "model" else note


def _finished(out: Path, series: Series) -> Record | None:
    """The record of a finished series; a damaged one is made anew."""
    try:
        return Record.from_json((out / CASES / f"{series.case}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _judged_series(
    todo: Sequence[Series], test_set: TestSet, asked: Asked, masks: dict[str, Path]
) -> Iterator[Record]:
    work = [_Work(one, masks.get(one.case), asked, test_set.by_artery) for one in todo]
    if asked.n_workers == 1 or len(work) < 2:
        yield from map(_judge, work)
        return
    cores = max(1, (os.cpu_count() or 1) // asked.n_workers)
    shared = replace(asked.settings, run=replace(asked.settings.run, threads=cores))
    alone = replace(asked, settings=shared)
    with (
        numeric_threads(cores),
        ProcessPoolExecutor(asked.n_workers, mp_context=get_context("spawn")) as workers,
    ):
        tasks = [workers.submit(_judge, replace(one, asked=alone)) for one in work]
        try:
            for task in as_completed(tasks):
                yield task.result()
        except BrokenProcessPool as error:
            raise IacError(
                Word.WORKER_KILLED,
                "a worker of the evaluation died, most likely for lack of memory",
                way_out="repeat the command with fewer --jobs: it goes on where it stopped",
            ) from error
        finally:
            workers.shutdown(cancel_futures=True)


@dataclass(frozen=True, slots=True)
class _Work:
    """One series on its way to a worker."""

    series: Series
    mask: Path | None
    asked: Asked
    by_artery: bool


def _judge(work: _Work) -> Record:
    try:
        judged = _opened(work.asked, work.by_artery)
        return evaluate_series(work.series, judged, work.mask, work.asked.settings)
    except IacError as error:
        raise LineError.of(error, work.series.line) from error


@cache
def _opened(asked: Asked, by_artery: bool) -> Judged:
    """The networks, opened once a process."""
    folder, run = asked.model or shipped_models(), asked.settings.run
    if asked.predictions is None:
        models = load_models(folder, run)
        card = at_operating_point(models.segmenter.card, asked)
        chosen = replace(models, segmenter=replace(models.segmenter, card=card))
        return Judged(chosen, None, by_artery, gate=asked.gate)
    locator = load_locator(folder, run)
    return Judged(None, locator, by_artery, gate=asked.gate, labels=asked.labels)


class LineError(IacError):
    """A failure of one series of the table; survives the way back from a worker."""

    @classmethod
    def of(cls, error: IacError, line: int) -> "LineError":
        """The same failure with the table's line."""
        return cls(error.word, f"line {line} of the table: {error.what}", way_out=error.way_out)

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.word, self.what, self.way_out)


def _again(word: Word, what: str, way_out: str) -> LineError:
    return LineError(word, what, way_out=way_out)
