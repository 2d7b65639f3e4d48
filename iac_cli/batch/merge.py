"""Parts of a batch put together: the tables that one undivided run would have written."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from heapq import merge as merged
from pathlib import Path
from typing import Any

from iac_cli.batch.folder import MERGED, PARTS, RunFolder, is_locked, locked, part_folder
from iac_cli.batch.gone import renamed
from iac_cli.batch.job import Cells, Outcome
from iac_cli.batch.ledger import Counts, Ledger, read_counts
from iac_cli.batch.status import added, state_folders
from iac_cli.batch.tables import write_tables
from iac_cli.errors import IacError, Word
from iac_cli.report.files import write_text
from iac_cli.report.tables import SCORES_COLUMNS

STATUS = [column.name for column in SCORES_COLUMNS].index("status")


@dataclass(frozen=True, slots=True)
class Merged:
    """What was put together."""

    counts: Counts
    n_folders: int
    missing: tuple[str, ...]
    """Parts that were not there, such as `3-of-8`."""
    unlike: bool = False
    """Parts were planned from different archives or manifests: a case may be in none of them."""

    def to_json_dict(self) -> dict[str, Any]:
        """What was put together, as plain values."""
        return {
            "folders": self.n_folders,
            "missing_parts": list(self.missing),
            "left": self.left,
            "planned_unlike": self.unlike,
            **self.counts.by_state,
        }

    @property
    def left(self) -> int:
        """Planned cases that have not ended."""
        return max(0, self.counts.planned - self.counts.ended)


def merge(sources: Sequence[Path], out: Path) -> Merged:
    """Write the tables of all runs and parts in `sources` into `out`.

    The same case in two of them is refused: nobody could say which of them counts. So are parts
    that were made with different settings, models or versions.
    Raises: IacError: input_not_found, output_locked, output_exists, conflicting_options,
        ledger_damaged.
    """
    folders = [folder for source in sources for folder in state_folders(source)]
    _check_at_rest(folders)
    _check_target(out, folders)
    _check_ledgers(folders)
    with ExitStack() as stack:
        ledgers = [stack.enter_context(closing(Ledger(folder.ledger))) for folder in folders]
        _check_apart(ledgers)
        target = RunFolder(out)
        if target not in folders:
            stack.enter_context(locked(target))
        together = _Together(ledgers, frozenset(renamed(ledgers)))
        write_tables(out, together)
        counts = together.counts()
        merged = Merged(counts, len(folders), _missing(folders), _unlike(folders, ledgers))
        write_text(out / MERGED, json.dumps(merged.to_json_dict(), indent=2) + "\n")
    return merged


def _check_ledgers(folders: Sequence[RunFolder]) -> None:
    """An emptied or lost ledger is damage, and no part without cases."""
    for folder in folders:
        read_counts(folder.ledger)
    for place in {folder.out / PARTS for folder in folders if folder.part}:
        for part in map(part_folder, place.glob("*-of-*")):
            if part is not None and part.log.exists() and not part.ledger.exists():
                raise IacError(
                    Word.LEDGER_DAMAGED,
                    f"the ledger of part {part.part} of {part.n_parts} is gone",
                    way_out="run this part with --resume: it is made anew from log.jsonl",
                )


def _check_target(out: Path, folders: Sequence[RunFolder]) -> None:
    """Tables of others are never replaced: a batch's that is no part, nor what is no merge's."""
    target = RunFolder(out)
    if target in folders and len(folders) == 1:
        return
    if target.ledger.exists():
        raise IacError(
            Word.OUTPUT_EXISTS,
            "the folder for the tables holds a batch with tables of its own",
            way_out="choose an empty folder, or a new one",
        )
    if any(folder.out.resolve() == out.resolve() for folder in folders):
        return
    if any(folder.out.resolve() in out.resolve().parents for folder in folders):
        raise IacError(
            Word.OUTPUT_INSIDE_INPUT,
            "the folder for the tables lies inside a batch",
            way_out="choose one outside, or the batch's own folder",
        )
    if not out.is_dir() or _is_merged(out):
        return
    if any(not path.name.startswith(".") for path in out.iterdir()):
        raise IacError(
            Word.OUTPUT_EXISTS,
            "the folder for the tables holds files, but no merged batch",
            way_out="choose an empty folder, or a new one",
        )


def _is_merged(out: Path) -> bool:
    try:
        story = json.loads((out / MERGED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(story, dict) and {"folders", "missing_parts", "left"} <= set(story)


def _check_at_rest(folders: Sequence[RunFolder]) -> None:
    if any(map(is_locked, folders)):
        raise IacError(
            Word.OUTPUT_LOCKED,
            "a part is still at work",
            way_out="wait until it has ended; 'iac-seg status' shows how far it is",
        )


def _check_apart(ledgers: Sequence[Ledger]) -> None:
    seen: set[str] = set()
    made: set[tuple[str, str]] = set()
    if len({ledger.naming() for ledger in ledgers} - {""}) > 1:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "the parts name their cases otherwise: a study may be there twice, or not at all",
            way_out="run them again, each in a folder of its own, with the same options",
        )
    for ledger in ledgers:
        known = ledger.keys()
        twice = seen.intersection(known)
        if twice:
            raise IacError(
                Word.CONFLICTING_OPTIONS,
                f"{len(twice)} cases are in more than one of the folders",
                way_out="leave out the folder whose results do not count",
            )
        seen.update(known)
        made.update((keys.settings, keys.model) for keys, _, _ in known.values())
    if len(made) > 1:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "the parts were made with different settings, models or versions",
            way_out="run them again with --resume and the same ones: what differs is done anew",
        )


@dataclass(frozen=True, slots=True)
class _Together:
    """Several ledgers, read as one."""

    ledgers: Sequence[Ledger]
    left_out: frozenset[str]
    """Cases that have another id now, in whatever part."""

    def counts(self) -> Counts:
        """What the tables hold, and how many cases were planned."""
        counts = added([ledger.counts() for ledger in self.ledgers])
        states = Counter(row[STATUS] for row, _ in self.rows())
        by_state = {state: states[state] for state in counts.by_state}
        return replace(counts, by_state=by_state, planned=counts.planned - len(self.left_out))

    def plan_columns(self) -> tuple[str, ...]:
        names = (name for ledger in self.ledgers for name in ledger.plan_columns())
        return tuple(dict.fromkeys(names))

    def rows(self) -> Iterator[tuple[Cells, Cells]]:
        columns = self.plan_columns()
        each = [_in_columns(ledger, columns) for ledger in self.ledgers]
        for row, about in merged(*each, key=lambda pair: pair[0][0]):
            if row[0] not in self.left_out:
                yield row, about

    def lesions(self) -> Iterator[Cells]:
        rows = merged(*(ledger.lesions() for ledger in self.ledgers), key=lambda row: row[0])
        return (row for row in rows if row[0] not in self.left_out)

    def failures(self) -> Iterator[Outcome]:
        return merged(*(ledger.failures() for ledger in self.ledgers), key=lambda one: one.case_id)


def _in_columns(ledger: Ledger, columns: Sequence[str]) -> Iterator[tuple[Cells, Cells]]:
    own = ledger.plan_columns()
    for row, about in ledger.rows():
        cells = dict(zip(own, about, strict=False))
        yield row, tuple(cells.get(name, "") for name in columns)


def _unlike(folders: Sequence[RunFolder], ledgers: Sequence[Ledger]) -> bool:
    """Whether parts of one batch saw different plans; of two batches each may have its own."""
    plans: dict[int, set[str]] = {}
    for folder, ledger in zip(folders, ledgers, strict=True):
        if folder.part and ledger.whole():
            plans.setdefault(folder.n_parts, set()).add(ledger.whole())
    times = Counter((folder.n_parts, folder.part) for folder in folders if folder.part)
    batches = {n: max(k for (parts, _), k in times.items() if parts == n) for n in plans}
    return any(len(seen) > batches[n] for n, seen in plans.items())


def _missing(folders: Iterable[RunFolder]) -> tuple[str, ...]:
    """Parts that are not there, wherever their folders lie; two batches of as many parts may be
    put together, and then each part is wanted twice."""
    there = Counter((folder.n_parts, folder.part) for folder in folders if folder.part)
    missing = []
    for n_parts in sorted({n for n, _ in there}):
        wanted = max(n for (parts, _), n in there.items() if parts == n_parts)
        missing += [
            f"{part}-of-{n_parts}"
            for part in range(1, n_parts + 1)
            for _ in range(wanted - there[n_parts, part])
        ]
    return tuple(missing)
