"""The story of a batch: plan, decide what is left to do, do it, keep it, tell it.

A case is ended in this order: its folder appears, the log has its line, the ledger has its row,
scores.csv has its line. A kill between any two of these is repaired by the next run.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from iac_cli import __version__
from iac_cli.batch.engines import Engine
from iac_cli.batch.folder import (
    PARTS,
    Log,
    RunFolder,
    clear_leftovers,
    is_locked,
    locked,
    naming_of,
    open_ledger,
    part_folder,
    parts_beside,
)
from iac_cli.batch.gone import Told, renamed, with_gone
from iac_cli.batch.job import Job, Outcome, Started, State, Work
from iac_cli.batch.ledger import Counts, Entry, Keys, Ledger
from iac_cli.batch.plan import Plan
from iac_cli.batch.tables import TABLES, append_score, start_scores, write_tables
from iac_cli.errors import Exit, IacError, Word
from iac_cli.infer.card import (
    ModelCard,
    Role,
    read_locator_cards,
    read_segmenter_card,
    sha256_of,
    shipped_models,
)
from iac_cli.measure.uncertainty import FILE as UNCERTAINTY_FILE
from iac_cli.report.files import write_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """What to do with what is there already."""

    resume: bool = False
    retry_failed: bool = False
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What is left to do, and why."""

    todo: tuple[Job, ...]
    n_kept: int
    """Cases that ended before and need nothing."""
    why: Mapping[str, int]
    """Number of cases to do, by reason."""
    n_gone: int
    """Cases that are in the plan no more and stay in the tables."""
    forgotten: tuple[str, ...] = ()
    """Cases that are struck out, for they had no answer. A folder that could not be read, say,
    has another id once its study is known."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a batch ended."""

    counts: Counts
    stopped: bool
    """True when it was asked to stop before its end."""

    @property
    def exit_code(self) -> Exit:
        """Partial when a case failed. Not measurable is an answer and no failure."""
        if self.stopped:
            return Exit.INTERRUPTED
        return Exit.BATCH_PARTIAL if self.counts.by_state[State.FAILED] else Exit.OK


class Watch(Protocol):
    """Whoever looks on: a live view, plain lines, a test."""

    def decided(self, decision: Decision) -> None:
        """The work is known; nothing is done yet."""

    def saw(self, event: Started | Outcome) -> None:
        """A case was begun, or ended and was kept."""

    def should_stop(self) -> bool:
        """True: let the running cases end and begin no other."""


def run_batch(
    plan: Plan, folder: RunFolder, work: Work, engine: Engine, manner: Manner, watch: Watch
) -> Ended:
    """Do what is left of a plan.

    Raises: IacError: the words of output, device and model; what ended until then is kept.
    """
    keys = shared_keys(work)  # first: without models no batch is begun
    with locked(folder):
        check_state(folder, manner)
        _check_parts_names(plan, folder)
        ledger, log = _opened(folder, manner)
        books = _Books(folder, ledger, log)
        case_ids = {job.case_id for job in plan.jobs} | set(ledger.keys())
        try:
            clear_leftovers(folder, case_ids)
            _check_names(plan, ledger)
            before = Told(ledger.plan_columns(), ledger.about())
            gone = _gone(plan, ledger.keys())[0]
            plan, kept = with_gone(plan, before, gone, alone=not folder.part)
            decision = decide(plan, ledger.keys(), keys, manner)
            watch.decided(decision)
            ledger.forget(decision.forgotten)
            about = kept | {job.case_id: job.about for job in plan.jobs}
            ledger.plan(plan.columns, about, plan.naming, kept, plan.whole)
            story = _begin(books, work, plan, decision)
            with closing(_events(engine, decision, watch)) as events:
                n_done = _follow(events, decision, keys, books, watch)
            return _finish(books, story, stopped=n_done < len(decision.todo))
        finally:
            clear_leftovers(folder, case_ids)
            log.close()
            ledger.close()


# before


def check_state(folder: RunFolder, manner: Manner) -> None:
    """Refuse a folder with an earlier run unless told what to do with it."""
    if manner.resume and manner.overwrite:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "--resume keeps what is there, --overwrite throws it away",
            way_out="pass one of them",
        )
    _check_own(folder)
    if folder.is_begun and not (manner.resume or manner.retry_failed or manner.overwrite):
        raise IacError(
            Word.OUTPUT_EXISTS,
            "the output folder holds a batch already",
            way_out="pass --resume to go on with it, or --overwrite to begin anew",
        )


def _check_own(folder: RunFolder) -> None:
    """A folder holds one batch, whole or in parts, and nothing of others."""
    whole = RunFolder(folder.out)
    parts = [one for one in map(part_folder, (folder.out / PARTS).glob("*-of-*")) if one]
    others = (one for one in (whole, *parts) if one.n_parts != folder.n_parts)
    if any(one.is_begun or is_locked(one) for one in others):
        raise _divided_otherwise()
    if parts or whole.is_begun or not folder.out.is_dir():
        return
    if any(not path.name.startswith(".") for path in folder.out.iterdir()):
        raise IacError(
            Word.OUTPUT_EXISTS,
            "the output folder holds files, but no batch",
            way_out="choose an empty folder, or a new one",
        )


def _divided_otherwise() -> IacError:
    return IacError(
        Word.CONFLICTING_OPTIONS,
        "the output folder holds a batch that was divided otherwise",
        way_out="pass --num-parts and --part-id as before, or choose another folder",
    )


def _check_parts_names(plan: Plan, folder: RunFolder) -> None:
    """Parts with ids of another kind would be merged with a study twice, or not at all."""
    if set(map(naming_of, parts_beside(folder))) <= {"", plan.naming}:
        return
    raise IacError(
        Word.CONFLICTING_OPTIONS,
        "another part of the batch names its cases otherwise: --id-from, the salt, --all-series "
        "or the manifest are not the same",
        way_out="pass the same ones to every part, or choose another folder for all of them",
    )


def _check_names(plan: Plan, ledger: Ledger) -> None:
    """Under other ids every study would be there twice."""
    if ledger.naming() in ("", plan.naming):
        return
    raise IacError(
        Word.CONFLICTING_OPTIONS,
        "the batch names its cases otherwise: --id-from, the salt, --all-series or the manifest "
        "are not what they were",
        way_out="pass them as before, or choose another folder; --overwrite begins anew",
    )


def _opened(folder: RunFolder, manner: Manner) -> tuple[Ledger, Log]:
    if manner.overwrite:
        for path in (folder.ledger, folder.log, *(folder.state / name for name in TABLES)):
            path.unlink(missing_ok=True)
    ledger = open_ledger(folder)
    return ledger, Log(folder.log)


def shared_keys(work: Work) -> Keys:
    """What all cases of a run have in common, as hashes; the input is each case's own."""
    shaping = asdict(work.settings)
    facts = {
        "version": __version__,
        "settings": {name: shaping[name] for name in ("locate", "windows", "checks")},
        "rules": _content(work.rules),
        "scheme": _scheme(work.scheme),
        "save_probability": work.save_probability,
    }
    settings = _hash(json.dumps(facts, sort_keys=True, default=str))
    return Keys("", settings, _model(work.model or shipped_models()))


def _model(place: Path) -> str:
    """Hash of the cards, which hold the networks' hashes, and of what is known of their errors.

    Thresholds and calibrations shape the numbers as the weights do.
    """
    _cards(place)  # what is no card has its own words
    said = [place / f"{role}.json" for role in Role] + [place / UNCERTAINTY_FILE]
    return _hash("".join(sha256_of(file) for file in said if file.is_file()))


def _cards(place: Path) -> dict[str, ModelCard]:
    """By role, those that a folder of models has."""
    locator, near = read_locator_cards(place)
    cards: dict[str, ModelCard] = {"segmenter": read_segmenter_card(place), "locator": locator}
    return cards if near is None else cards | {"locator_near": near}


def _scheme(scheme: str | None) -> str | None:
    """A scheme's name, or the content of its file."""
    if scheme is None or not Path(scheme).is_file():
        return scheme
    return _content(Path(scheme))


def _content(path: Path | None) -> str | None:
    return None if path is None else _hash(path.read_text(encoding="utf-8", errors="replace"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def keys_of(job: Job, shared: Keys) -> Keys:
    """A case's keys: its files, what was said of it, and what it shares with all."""
    said = json.dumps([job.fingerprint, job.series, job.sex, job.age_years])
    return Keys(_hash(said), shared.settings, shared.model)


def decide(
    plan: Plan,
    known: Mapping[str, tuple[Keys, State | None, int]],
    shared: Keys,
    manner: Manner,
) -> Decision:
    """What is left to do. A case that was begun and never ended comes last: it may have killed."""
    why: Counter[str] = Counter()
    todo: list[tuple[int, Job]] = []
    for job in plan.jobs:
        reason = _reason(keys_of(job, shared), known.get(job.case_id), manner)
        if reason:
            why[reason] += 1
            todo.append((known[job.case_id][2] if job.case_id in known else 0, job))
    todo.sort(key=lambda one: one[0])
    gone, forgotten = _gone(plan, known)
    return Decision(
        tuple(job for _, job in todo),
        len(plan.jobs) - len(todo),
        dict(why),
        len(gone),
        forgotten,
    )


def _gone(
    plan: Plan, known: Mapping[str, tuple[Keys, State | None, int]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cases that are in the plan no more: those with an answer, and those without one."""
    planned = {job.case_id for job in plan.jobs}
    gone = {case_id: state for case_id, (_, state, _) in known.items() if case_id not in planned}
    without = tuple(one for one, state in gone.items() if state in (None, State.FAILED))
    return tuple(one for one in gone if one not in without), without


def _reason(
    keys: Keys, before: tuple[Keys, State | None, int] | None, manner: Manner
) -> str | None:
    """Why a case is to be done; None when it is done."""
    if before is None:
        return "new"
    then, state, _ = before
    if state is None:
        return "begun and not ended"
    if then.input != keys.input:
        return "changed input"
    if then.settings != keys.settings:
        return "changed settings or version"
    if then.model != keys.model:
        return "changed model"
    if state is State.FAILED and manner.retry_failed:
        return "failed before"
    return None


# meanwhile


@dataclass(frozen=True, slots=True)
class _Books:
    """Everything that learns of a case's end, in this order."""

    folder: RunFolder
    ledger: Ledger
    log: Log


def _begin(books: _Books, work: Work, plan: Plan, decision: Decision) -> dict[str, Any]:
    """Open the log, run.json and scores.csv; answer what run.json says."""
    folder = books.folder
    books.log.write(
        "run",
        naming=plan.naming,
        todo=len(decision.todo),
        kept=decision.n_kept,
        why=dict(decision.why),
    )
    story = _story(folder, work, plan, decision)
    _write_story(folder, story)
    start_scores(folder.state / "scores.csv", books.ledger)
    return story


def _write_story(folder: RunFolder, story: Mapping[str, Any]) -> None:
    write_text(folder.state / "run.json", json.dumps(story, indent=2, default=str) + "\n")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _story(folder: RunFolder, work: Work, plan: Plan, decision: Decision) -> dict[str, Any]:
    """What run.json says of a run that has begun."""
    place = work.model or shipped_models()
    keys = shared_keys(work)
    cards = _cards(place)
    return {
        "iac_cli_version": __version__,
        "part": folder.part or None,
        "n_parts": folder.n_parts or None,
        "models": {
            name: {"name": card.name, "version": card.version, "sha256": card.sha256}
            for name, card in cards.items()
        },
        "settings": _without_salt(asdict(work.settings)),
        "scheme": None if work.scheme is None else Path(work.scheme).name,
        "keys": {"settings": keys.settings, "model": keys.model},
        "todo": len(decision.todo),
        "kept": decision.n_kept,
        "why": dict(decision.why),
        "gone": decision.n_gone,
        "forgotten": len(decision.forgotten),
        "remarks": plan.remarks,
        "began": _now(),
        "ended": None,
    }


def _events(
    engine: Engine, decision: Decision, watch: Watch
) -> Generator[Started | Outcome, None, None]:
    """The engine's events. Closing them ends its workers, whatever has happened."""
    yield from engine.run(iter(decision.todo), watch.should_stop)


def _without_salt(settings: dict[str, Any]) -> dict[str, Any]:
    """The salt keeps others from guessing who a case is; it is a site's secret."""
    case = {name: value for name, value in settings["case"].items() if name != "salt"}
    return settings | {"case": case}


def _follow(
    events: Iterator[Started | Outcome],
    decision: Decision,
    shared: Keys,
    books: _Books,
    watch: Watch,
) -> int:
    """Keep every case as it ends; answer how many did."""
    jobs = {job.case_id: job for job in decision.todo}
    about = {job.case_id: job.about for job in decision.todo}
    scores = books.folder.state / "scores.csv"
    n_done = 0
    for event in events:
        keys = keys_of(jobs[event.case_id], shared)
        if isinstance(event, Started):
            books.ledger.begin(event.case_id, keys)
        else:
            _check_goes_on(event)
            entry = Entry(keys, event)
            books.log.ended(entry)
            books.ledger.end([entry])
            append_score(scores, event.row + about[event.case_id])
            n_done += 1
        watch.saw(event)
    return n_done


def _check_goes_on(outcome: Outcome) -> None:
    """A failure that every other case would share ends the batch, and is no case's own."""
    if outcome.stops is not None:
        raise IacError(Word(outcome.code), outcome.message, way_out=outcome.way_out)


# after


def _finish(books: _Books, story: dict[str, Any], *, stopped: bool) -> Ended:
    books.ledger.forget(renamed([books.ledger]))
    write_tables(books.folder.state, books.ledger)
    counts = books.ledger.counts()
    how = {
        **counts.by_state,
        "failures": dict(counts.failures),
        "not_measurable_by": dict(counts.reasons),
    }
    _write_story(books.folder, story | {"ended": _now(), "stopped": stopped, **how})
    books.log.write("stopped" if stopped else "finished", **how)
    return Ended(counts, stopped)
