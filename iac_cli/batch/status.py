"""How far a batch is, seen from outside: while it runs, or after the fact."""

import json
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from iac_cli.batch.folder import PARTS, RunFolder, is_locked, part_folder
from iac_cli.batch.job import State
from iac_cli.batch.ledger import Counts, read_counts
from iac_cli.errors import IacError, Word

RECENT = 200
"""Ends of cases that the rate is taken from."""


@dataclass(frozen=True, slots=True)
class Status:
    """Of a run, or of all its parts together."""

    running: bool
    counts: Counts
    per_hour: float | None
    """Cases a hour, lately; None where too few have ended."""
    eta_s: float | None
    """Seconds that the rest takes at that rate; None when nothing runs."""
    n_parts: int = 0
    parts_seen: int = 0

    @property
    def left(self) -> int:
        """Planned cases that have not ended."""
        return max(0, self.counts.planned - self.counts.ended)

    def to_json_dict(self) -> dict[str, Any]:
        """The status as plain values."""
        return {
            "running": self.running,
            "planned": self.counts.planned,
            **self.counts.by_state,
            "left": self.left,
            "failures": dict(self.counts.failures),
            "not_measurable_by": dict(self.counts.reasons),
            "cases_per_hour": self.per_hour,
            "eta_s": self.eta_s,
            "n_parts": self.n_parts or None,
            "parts_seen": self.parts_seen or None,
        }


def state_folders(out: Path) -> tuple[RunFolder, ...]:
    """The runs that a folder holds: one whole run, or its parts.

    Raises: IacError: input_not_found.
    """
    whole = RunFolder(out)
    parts = sorted(filter(None, map(part_folder, (out / PARTS).glob("*-of-*"))), key=_number)
    found = [one for one in (whole, *parts) if one.ledger.exists()]
    if not found:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "the folder holds no batch",
            way_out="give the output folder of batch-score",
        )
    return tuple(found)


def _number(folder: RunFolder) -> int:
    return folder.part


def read_status(out: Path) -> Status:
    """The status of a batch. Raises: IacError: input_not_found, ledger_damaged."""
    folders = state_folders(out)
    counts = added([read_counts(folder.ledger) for folder in folders])
    running = [folder for folder in folders if is_locked(folder)]
    rates = [rate for folder in (running or folders) if (rate := _per_hour(folder.log))]
    per_hour = sum(rates) or None
    left = max(0, counts.planned - counts.ended)
    eta_s = left / per_hour * 3600 if running and per_hour else None
    parts = [folder for folder in folders if folder.part]
    n_parts = max((folder.n_parts for folder in parts), default=0)
    return Status(bool(running), counts, per_hour, eta_s, n_parts, len(parts))


def added(counts: Sequence[Counts]) -> Counts:
    """The counts of several parts together."""
    return Counts(
        sum(one.planned for one in counts),
        _summed([one.by_state for one in counts]),
        _summed([one.failures for one in counts]),
        _summed([one.reasons for one in counts]),
    )


def _summed(tables: Sequence[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for table in tables:
        for name, n in table.items():
            total[name] += n
    return dict(sorted(total.items()))


def _per_hour(log: Path) -> float | None:
    """From the log's last ends of cases of one run."""
    times: deque[float] = deque(maxlen=RECENT)
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith('{"time"') and '"event": "ended"' in line[:80]:
                    times.append(_moment(line))
                elif '"event": "run"' in line[:80]:
                    times.clear()
                    times.append(_moment(line))
    except OSError:
        return None
    if len(times) < 2 or times[-1] <= times[0]:
        return None
    return (len(times) - 1) / (times[-1] - times[0]) * 3600


def _moment(line: str) -> float:
    """Time of an event without reading the rest of its line."""
    return datetime.fromisoformat(json.loads(line[len('{"time": ') :].split(",", 1)[0])).timestamp()


def lines_of(status: Status) -> list[str]:
    """The status as lines for people."""
    counts = status.counts
    told = f"{counts.ended} of {counts.planned} cases ended"
    lines = [f"{'running' if status.running else 'not running'}: {told}"]
    if status.n_parts:
        lines.append(f"  parts               {status.parts_seen} of {status.n_parts}")
    lines += [f"  {state.value:<18} {counts.by_state.get(state, 0):>7}" for state in State]
    lines.append(f"  {'left':<18} {status.left:>7}")
    if status.parts_seen < status.n_parts:
        lines.append("  parts that have not begun are counted nowhere above")
    if status.per_hour:
        lines.append(f"  {'cases an hour':<18} {status.per_hour:>7.0f}")
    if status.eta_s is not None:
        lines.append(f"  {'time left':<18} {duration(status.eta_s):>7}")
    for title, table in (("failed", counts.failures), ("not measurable", counts.reasons)):
        lines += [f"  {title}: {code} {n}" for code, n in table.items()]
    return lines


def duration(seconds: float) -> str:
    """Such as `3 d 04 h`, `2 h 05 min`, `7 min 30 s` or `12 s`."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours:02d} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"
