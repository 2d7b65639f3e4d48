"""The output folder of a batch: its lock, its log, and where everything lies.

OUT/                    a whole run; OUT/parts/3-of-8/ keeps the same files of one part
  ledger.sqlite         what resume relies on
  log.jsonl             every event, a JSON document a line; the ledger can be made anew from it
  run.json              settings, versions, models, counts, times
  scores.csv ...        the tables
OUT/CASE_ID/            what `segment` writes, one folder a case, shared by all parts
"""

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from iac_cli.batch.append import append_whole
from iac_cli.batch.job import Outcome, State
from iac_cli.batch.ledger import Entry, Keys, Ledger
from iac_cli.batch.tables import TABLES
from iac_cli.errors import IacError, Word
from iac_cli.report.files import told_as_output

PARTS = "parts"

MERGED = "merged.json"
"""Written beside merged tables: they may be replaced by those of another merge."""

OWN_NAMES = frozenset(
    {PARTS, "ledger.sqlite", "ledger.sqlite-journal", "log.jsonl", "run.json", MERGED, *TABLES}
)
"""Names that no case's folder may have."""

LOCK_TRIES = 5
"""`status` holds the lock for an instant to see whether it is held."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run, or one part of it, keeps its state."""

    out: Path
    part: int = 0
    """Number of the part, from 1; 0 for a run that is not divided."""
    n_parts: int = 0

    @property
    def state(self) -> Path:
        """Folder of the ledger, the log and the tables."""
        return self.out / PARTS / f"{self.part}-of-{self.n_parts}" if self.part else self.out

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.state / "ledger.sqlite"

    @property
    def log(self) -> Path:
        """The event log's file."""
        return self.state / "log.jsonl"

    @property
    def is_begun(self) -> bool:
        """Whether a run has kept anything here."""
        return self.ledger.exists() or self.log.exists()


def part_folder(state: Path) -> RunFolder | None:
    """The part that keeps its state in this folder; None where the name is no part's."""
    part, _, n_parts = state.name.partition("-of-")
    if not (part.isdigit() and n_parts.isdigit()):
        return None
    return RunFolder(state.parent.parent, int(part), int(n_parts))


@contextmanager
def locked(folder: RunFolder) -> Iterator[None]:
    """Hold the folder while the block runs; the system lets go of it when the process dies.

    Raises: IacError: output_locked, output_not_writable, disk_full.
    """
    with told_as_output(folder.out):
        folder.state.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder.state / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _take(lock, folder)
        yield
    finally:
        os.close(lock)


def _take(lock: int, folder: RunFolder) -> None:
    for left in reversed(range(LOCK_TRIES)):
        try:
            with told_as_output(folder.state):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except IacError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                raise
            if not left:
                raise taken() from error
            time.sleep(0.1)
        else:
            return


def taken() -> IacError:
    """The refusal of a folder that another run holds."""
    return IacError(
        Word.OUTPUT_LOCKED,
        "another batch is at work on this output folder",
        way_out="wait until it has ended ('iac-seg status' shows it), or choose another folder",
    )


def is_locked(folder: RunFolder) -> bool:
    """Whether a run is at work there now."""
    try:
        lock = os.open(folder.state / ".lock", os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


LEFTOVER = re.compile(r"\.(?P<of>.+)\.[a-z0-9_]{8}(?P<end>\.[a-z]+)")
"""Hidden names under which files and folders are built; see report/files.py."""


def clear_leftovers(folder: RunFolder, case_ids: Collection[str]) -> None:
    """Remove what a killed run or worker was building. For the holder of the lock alone."""
    with told_as_output(folder.out):
        for path in [*folder.out.glob(".*"), *folder.state.glob(".*")]:
            made = LEFTOVER.fullmatch(path.name)
            if made is None:
                continue
            if made["end"] in (".part", ".old") and made["of"] in case_ids:
                shutil.rmtree(path, ignore_errors=True)
            elif path.parent == folder.state and made["of"] in OWN_NAMES:
                path.unlink(missing_ok=True)


class Log:
    """The event log: each line is on the disk before the ledger learns of it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with told_as_output(path):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            _end_line(self._file)

    def write(self, event: str, **facts: Any) -> None:
        """Append one event."""
        when = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": when, "event": event, **facts}, ensure_ascii=False) + "\n"
        with told_as_output(self._path):
            append_whole(self._file, line.encode())
            if event == ENDED:
                os.fsync(self._file)

    def ended(self, entry: Entry) -> None:
        """A case ended: all that the ledger keeps of it."""
        outcome, keys = entry.outcome, entry.keys
        self.write(
            ENDED,
            case_id=outcome.case_id,
            state=outcome.state.value,
            code=outcome.code,
            message=outcome.message,
            wall_s=round(outcome.wall_s, 3),
            keys=[keys.input, keys.settings, keys.model],
            row=outcome.row,
            lesions=outcome.lesions,
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


RUN = "run"
"""The event that begins a run."""

ENDED = "ended"
"""The event that the ledger is made of."""


def _end_line(file: int) -> None:
    """A run that was killed can leave a torn line, which must not swallow the next one."""
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")


def open_ledger(folder: RunFolder) -> Ledger:
    """The ledger; one that is missing, or holds no case, is made anew from the log beside it.

    Raises: IacError: ledger_damaged, output_not_writable, disk_full.
    """
    ledger = Ledger(folder.ledger)
    if folder.log.exists() and ledger.is_empty():
        ledger.end(_logged(folder.log))
        ledger.plan((), {}, naming_of(folder))
    return ledger


def parts_beside(folder: RunFolder) -> list[RunFolder]:
    """The other parts of the same batch that were begun."""
    if not folder.part:
        return []
    parts = map(part_folder, (folder.out / PARTS).glob(f"*-of-{folder.n_parts}"))
    return [one for one in parts if one is not None and one != folder and one.is_begun]


def naming_of(folder: RunFolder) -> str:
    """How the runs of a folder name their cases, says its log; empty where it does not."""
    if not folder.log.exists():
        return ""
    runs = _events(folder.log, RUN)
    return str(next(runs, {}).get("naming", ""))


def _logged(log: Path) -> Iterator[Entry]:
    """The last end of every case in a log; a torn or damaged line is none."""
    entries: dict[str, Entry] = {}
    for event in _events(log, ENDED):
        with suppress(ValueError, KeyError, TypeError):
            entry = _entry(event)
            entries[entry.outcome.case_id] = entry
    yield from entries.values()


def _events(log: Path, kind: str) -> Iterator[dict[str, Any]]:
    """The events of one kind in a log; a torn or damaged line is none."""
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and event.get("event") == kind:
                    yield event


def _entry(event: Mapping[str, Any]) -> Entry:
    outcome = Outcome(
        event["case_id"],
        State(event["state"]),
        tuple(event["row"]),
        tuple(map(tuple, event["lesions"])),
        code=event["code"],
        message=event["message"],
        wall_s=event["wall_s"],
    )
    return Entry(Keys(*event["keys"]), outcome)
