"""The ledger of a batch: which case was scored from what, how it ended, and its rows.

One SQLite file with one writer. Its journal is the rollback kind, because archives lie on network
file systems, where the write-ahead kind fails. It alone decides what `--resume` may skip.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from iac_cli.batch.job import Cells, Outcome, State
from iac_cli.errors import IacError, Word

LAYOUT = "2"
"""Version of the tables below."""

TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE cases (
  case_id TEXT PRIMARY KEY,
  input TEXT NOT NULL,
  settings TEXT NOT NULL,
  model TEXT NOT NULL,
  begun INTEGER NOT NULL DEFAULT 0,
  state TEXT,
  code TEXT NOT NULL DEFAULT '',
  message TEXT NOT NULL DEFAULT '',
  row TEXT NOT NULL DEFAULT '[]',
  lesions TEXT NOT NULL DEFAULT '[]',
  wall_s REAL NOT NULL DEFAULT 0
);
CREATE TABLE plan (case_id TEXT PRIMARY KEY, about TEXT NOT NULL) WITHOUT ROWID;
"""

BUSY_S = 10.0
"""How long a reader waits for the writer."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a case's numbers depend on, as hashes. A case with other keys is scored again."""

    input: str
    settings: str
    model: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A case that ended, as the ledger keeps it."""

    keys: Keys
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a batch is."""

    planned: int
    """Cases of the plan, and those of earlier plans that stay in the tables."""
    by_state: Mapping[str, int]
    failures: Mapping[str, int]
    """Failed cases by code."""
    reasons: Mapping[str, int]
    """Not measurable cases by (first) reason."""

    @property
    def ended(self) -> int:
        """Cases that ended, in whatever state."""
        return sum(self.by_state.values())


class Ledger:
    """An open ledger. Every change is on the disk when its method returns."""

    def __init__(self, path: Path) -> None:
        """Open or make the ledger. Raises: IacError: ledger_damaged, disk_full."""
        self._path = path
        with _told():
            self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=DELETE")
            self._connection.execute("PRAGMA synchronous=FULL")
            self._prepare()

    def _prepare(self) -> None:
        tables = {row[0] for row in self._connection.execute("SELECT name FROM sqlite_master")}
        if "cases" not in tables:
            with self._change():
                for statement in filter(str.strip, TABLES.split(";")):
                    self._connection.execute(statement)
                self._connection.execute("INSERT INTO about VALUES ('layout', ?)", (LAYOUT,))
        damage = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        layout = self._connection.execute("SELECT value FROM about WHERE name='layout'").fetchone()
        if damage != "ok" or layout != (LAYOUT,):
            raise sqlite3.DatabaseError("damaged, or of another layout")

    @contextmanager
    def _change(self) -> Iterator[None]:
        with _told():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._connection.in_transaction:  # a full disk has ended it already
                    self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file; nothing is pending."""
        self._connection.close()

    def plan(
        self,
        columns: Sequence[str],
        about: Mapping[str, Cells],
        naming: str = "",
        gone: Iterable[str] = (),
        whole: str = "",
    ) -> None:
        """Replace the plan: how it names cases, its columns, the cells that it adds to each row.

        `gone`: cases of earlier plans that are in it no more. `whole`: see `Plan.whole`.
        """
        with self._change():
            self._connection.executemany(
                "INSERT OR REPLACE INTO about VALUES (?, ?)",
                (
                    ("columns", json.dumps(columns)),
                    ("naming", naming),
                    ("gone", json.dumps(sorted(gone))),
                    ("whole", whole),
                ),
            )
            self._connection.execute("DELETE FROM plan")
            self._connection.executemany(
                "INSERT INTO plan VALUES (?, ?)",
                ((case_id, json.dumps(cells)) for case_id, cells in about.items()),
            )

    def begin(self, case_id: str, keys: Keys) -> None:
        """A worker takes up a case. What it was before, it is no more."""
        with self._change():
            self._connection.execute(
                "INSERT INTO cases (case_id, input, settings, model, begun)"
                " VALUES (?, ?, ?, ?, 1) ON CONFLICT (case_id) DO UPDATE SET input=excluded.input,"
                " settings=excluded.settings, model=excluded.model, begun=begun+1, state=NULL,"
                " code='', message='', row='[]', lesions='[]'",
                (case_id, keys.input, keys.settings, keys.model),
            )

    def end(self, entries: Iterable[Entry]) -> None:
        """Cases ended."""
        with self._change():
            self._connection.executemany(
                "INSERT OR REPLACE INTO cases (case_id, input, settings, model, begun, state,"
                " code, message, row, lesions, wall_s) VALUES (?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?)",
                map(_values, entries),
            )

    def forget(self, case_ids: Sequence[str]) -> None:
        """Strike cases out, also of the plan."""
        ids = [(one,) for one in case_ids]
        with self._change():
            self._connection.executemany("DELETE FROM cases WHERE case_id=?", ids)
            self._connection.executemany("DELETE FROM plan WHERE case_id=?", ids)

    def is_empty(self) -> bool:
        """Whether it knows no case."""
        with _told():
            return self._connection.execute("SELECT 1 FROM cases LIMIT 1").fetchone() is None

    def plan_columns(self) -> tuple[str, ...]:
        """Names of the columns that the plan adds to scores.csv."""
        found = self._about("columns")
        return tuple(json.loads(found)) if found else ()

    def naming(self) -> str:
        """How the plan names its cases; empty when there was none yet."""
        return self._about("naming")

    def whole(self) -> str:
        """Hash of the ids of the whole plan that this is a part of; empty where it is none."""
        return self._about("whole")

    def gone(self) -> frozenset[str]:
        """Cases of earlier plans that the plan does not hold any more."""
        return frozenset(json.loads(self._about("gone") or "[]"))

    def _about(self, name: str) -> str:
        query = "SELECT value FROM about WHERE name=?"
        with _told():
            found = self._connection.execute(query, (name,)).fetchone()
        return str(found[0]) if found else ""

    def about(self) -> dict[str, Cells]:
        """The cells that the plan adds to each case's row."""
        with _told():
            found = self._connection.execute("SELECT case_id, about FROM plan")
            return {case_id: tuple(json.loads(cells)) for case_id, cells in found}

    def keys(self) -> dict[str, tuple[Keys, State | None, int]]:
        """Of every case: its keys, its state (None: begun and not ended), how often begun."""
        query = "SELECT case_id, input, settings, model, state, begun FROM cases"
        with _told():
            return {
                row[0]: (Keys(*row[1:4]), State(row[4]) if row[4] else None, row[5])
                for row in self._connection.execute(query)
            }

    def rows(self) -> Iterator[tuple[Cells, Cells]]:
        """Rows of scores.csv of ended cases, sorted by case id, each with its plan's cells."""
        query = (
            "SELECT row, coalesce(about, '[]') FROM cases LEFT JOIN plan USING (case_id)"
            " WHERE state IS NOT NULL ORDER BY case_id"
        )
        with _told():
            for row, about in self._connection.execute(query):
                yield tuple(json.loads(row)), tuple(json.loads(about))

    def lesions(self) -> Iterator[Cells]:
        """Rows of lesions.csv, sorted by case id."""
        query = "SELECT lesions FROM cases WHERE state IS NOT NULL ORDER BY case_id"
        with _told():
            for (lesions,) in self._connection.execute(query):
                yield from map(tuple, json.loads(lesions))

    def failures(self) -> Iterator[Outcome]:
        """Failed cases, sorted by case id."""
        query = "SELECT case_id, code, message, row FROM cases WHERE state=? ORDER BY case_id"
        with _told():
            for case_id, code, message, row in self._connection.execute(query, (State.FAILED,)):
                cells = tuple(json.loads(row))
                yield Outcome(case_id, State.FAILED, cells, code=code, message=message)

    def counts(self) -> Counts:
        """How far the batch is."""
        with _told():
            return _counts(self._connection)


def read_counts(path: Path) -> Counts:
    """Counts of a ledger that another process may be writing. Raises: IacError: ledger_damaged."""
    # Not `ro`: what a killed run left half-written is rolled back by the next one to look at it.
    address = f"{path.absolute().as_uri()}?mode=rw"
    with _told(), closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as one:
        return _counts(one)


def _counts(connection: sqlite3.Connection) -> Counts:
    planned = connection.execute(
        "SELECT count(*) FROM (SELECT case_id FROM plan"
        " UNION SELECT case_id FROM cases WHERE state IS NOT NULL)"
    ).fetchone()[0]
    states = connection.execute(
        "SELECT state, count(*) FROM cases WHERE state IS NOT NULL GROUP BY state"
    )
    by_state = {state.value: 0 for state in State} | dict(states)
    by_code = "SELECT code, count(*) FROM cases WHERE state=? GROUP BY code ORDER BY code"
    failures = connection.execute(by_code, (State.FAILED,))
    reasons = connection.execute(by_code, (State.NOT_MEASURABLE,))
    return Counts(planned, by_state, dict(failures), dict(reasons))


def _values(entry: Entry) -> tuple[str | float, ...]:
    keys, outcome = entry.keys, entry.outcome
    return (
        outcome.case_id,
        keys.input,
        keys.settings,
        keys.model,
        outcome.state.value,
        outcome.code,
        outcome.message,
        json.dumps(outcome.row),
        json.dumps(outcome.lesions),
        outcome.wall_s,
    )


@contextmanager
def _told() -> Iterator[None]:
    """Tell an error of SQLite by its word."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # extended codes carry more above
        if code == sqlite3.SQLITE_FULL:
            raise IacError(
                Word.DISK_FULL,
                "the ledger cannot grow: the disk is full",
                way_out="free some space, then run again with --resume",
            ) from error
        if code in NOT_WRITABLE:
            raise IacError(
                Word.OUTPUT_NOT_WRITABLE,
                f"the ledger cannot be written ({type(error).__name__})",
                way_out="check the output folder and its file system, then pass --resume",
            ) from error
        raise IacError(
            Word.LEDGER_DAMAGED,
            "the ledger of this batch cannot be read",
            way_out="move ledger.sqlite away and pass --resume: it is made anew from log.jsonl",
        ) from error


NOT_WRITABLE = (
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
)
