"""What the tables go on to say of cases whose studies are not there any more."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from iac_cli.batch.job import Cells
from iac_cli.batch.ledger import Ledger
from iac_cli.batch.plan import PLAN_COLUMNS, Plan
from iac_cli.report.tables import SCORES_COLUMNS

KEY, DAY = PLAN_COLUMNS

UIDS_AND_HASH = tuple(
    [column.name for column in SCORES_COLUMNS].index(name)
    for name in ("study_uid", "series_uid", "input_sha256")
)
"""Places of both UIDs, and of the voxels' hash, in a row of scores.csv."""

Row = dict[str, str]
"""The plan's cells of one case by column."""


@dataclass(frozen=True, slots=True)
class Told:
    """What an earlier plan told of its cases."""

    columns: tuple[str, ...]
    about: Mapping[str, Cells]

    def row(self, case_id: str) -> Row:
        """The cells of a case by column."""
        return dict(zip(self.columns, self.about.get(case_id, ()), strict=False))


def with_gone(
    plan: Plan, before: Told, gone: Sequence[str], *, alone: bool = True
) -> tuple[Plan, dict[str, Cells]]:
    """The plan, and the cells of cases that are in it no more, told as of one cohort.

    What a manifest told of them stays. In a tree a patient's key and first day follow from the
    studies that are there. Where a study of a patient is gone, the others may have got another key
    and count from another day: what is gone then follows them, and the days start at the patient's
    first study again, there or gone. One part of a batch (not `alone`) cannot know that: there a
    gone case has neither key nor day.
    """
    now = {job.case_id: dict(zip(plan.columns, job.about, strict=True)) for job in plan.jobs}
    then = {case_id: before.row(case_id) for case_id in before.about}
    kept = {one: {name: then.get(one, {}).get(name, "") for name in plan.columns} for one in gone}
    if not plan.from_manifest and not alone:
        for row in kept.values():
            row[KEY] = row[DAY] = ""
    keys = () if plan.from_manifest else sorted({row[KEY] for row in kept.values() if row[KEY]})
    for key in keys:
        mates = [one for one, row in then.items() if row.get(KEY) == key and now.get(one)]
        lost = [row for row in kept.values() if row[KEY] == key]
        _follow(lost, [(then[one], now[one]) for one in mates if now[one][KEY]])
        if mates:
            same = [row for row in now.values() if row[KEY] == lost[0][KEY]]
            _from_the_first([*lost, *same])
    jobs = tuple(replace(job, about=_cells(now[job.case_id], plan.columns)) for job in plan.jobs)
    return replace(plan, jobs=jobs), {one: _cells(row, plan.columns) for one, row in kept.items()}


def renamed(ledgers: Sequence[Ledger]) -> tuple[str, ...]:
    """Gone cases whose series a case of the plan has now: it is the same one under another id.

    It is known by its voxels and its UIDs, if any; by the UIDs alone where the voxels of either
    were not read. Other voxels under the same UIDs are another case.
    """
    gone = {case_id for ledger in ledgers for case_id in ledger.gone()}
    known = {row[0]: _known_by(row) for ledger in ledgers for row, _ in ledger.rows()}
    there = [by for case_id, by in known.items() if case_id not in gone]
    seen = {(uids, voxels) for uids, voxels in there if voxels}
    unread = {uids for uids, voxels in there if uids and not voxels}
    listed = {uids for uids, _ in there if uids}

    def is_there(uids: Uids | None, voxels: str) -> bool:
        if voxels:
            return (uids, voxels) in seen or uids in unread
        return uids in listed

    return tuple(sorted(one for one in gone if one in known and is_there(*known[one])))


Uids = tuple[str, str]


def _known_by(row: Cells) -> tuple[Uids | None, str]:
    """Study and series (None where either is not known), and the voxels' hash, of a row."""
    study, series, voxels = (row[place] for place in UIDS_AND_HASH)
    return (study, series) if study and series else None, voxels


def _follow(lost: Iterable[Row], mates: Sequence[tuple[Row, Row]]) -> None:
    """Give rows the key and the days that (then, now) of their patient's other studies have."""
    if not mates:
        return
    shifts = [int(now[DAY]) - int(then[DAY]) for then, now in mates if then[DAY] and now[DAY]]
    for row in lost:
        row[KEY] = mates[0][1][KEY]
        if row[DAY] and shifts:
            row[DAY] = str(int(row[DAY]) + shifts[0])


def _from_the_first(rows: Sequence[Row]) -> None:
    """Count a patient's days from the first of them."""
    days = [int(row[DAY]) for row in rows if row[DAY]]
    for row in rows:
        if row[DAY]:
            row[DAY] = str(int(row[DAY]) - min(days))


def _cells(row: Row, columns: Sequence[str]) -> Cells:
    return tuple(row[name] for name in columns)
