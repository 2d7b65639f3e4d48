"""What `batch-score` says and asks: the plan, the live view, the last line."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from iac_cli.cli.exits import gentle_stop
from iac_cli.cli.speak import answer, answer_json, on_terminal, tell

if TYPE_CHECKING:
    from iac_cli.batch.engines import Engine
    from iac_cli.batch.folder import RunFolder
    from iac_cli.batch.job import Job, Outcome, Started, Work
    from iac_cli.batch.plan import Plan
    from iac_cli.batch.run import Decision, Ended, Manner
    from iac_cli.settings import CaseSettings

NOTICE = "stopping: the running cases are finished; Ctrl-C again stops at once; --resume goes on"


def check_batch_output(
    folder: "RunFolder", manner: "Manner", studies: Path | None, manifest: Path | None
) -> None:
    """Refuse before anything is read: no input, a folder that may not be written, an old run."""
    from iac_cli.batch.folder import is_locked, taken
    from iac_cli.batch.run import check_state
    from iac_cli.errors import IacError, Word
    from iac_cli.report.files import check_apart, probe_output, told_as_output

    if studies is None and manifest is None:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "neither a tree of studies nor a manifest was given",
            way_out="give STUDIES_DIR or --manifest",
        )
    if studies is not None:
        check_apart(folder.out, studies)
    probe_output(folder.out)
    if is_locked(folder):
        raise taken()
    with told_as_output(folder.out):
        check_state(folder, manner)


def make_plan(
    studies: Path | None,
    manifest: Path | None,
    naming: "CaseSettings",
    rules: Path | None,
    *,
    all_series: bool,
    quiet: bool,
) -> "Plan":
    """The plan of a tree or of a manifest."""
    from iac_cli.batch.manifest import read_manifest
    from iac_cli.batch.plan import plan_tree
    from iac_cli.errors import IacError, Word

    if manifest is not None:
        if all_series:
            raise IacError(
                Word.CONFLICTING_OPTIONS,
                "a manifest names each case; --all-series would make more of them",
                way_out="leave one out, or add a column 'series' to the manifest",
            )
        return read_manifest(manifest, studies)
    assert studies is not None
    with _folders_told(quiet=quiet) as on_folder:
        return plan_tree(studies, naming, rules=rules, all_series=all_series, on_folder=on_folder)


@contextmanager
def _folders_told(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A line that counts folders on a terminal, and is gone at the end; nothing elsewhere."""
    if quiet or not on_terminal():
        yield None
        return

    def on_folder(n_folders: int, n_met: int) -> None:
        if n_folders % 20 == 0:
            sys.stderr.write(f"\rlooking for studies: {n_folders} folders, {n_met} with images")
            sys.stderr.flush()

    try:
        yield on_folder
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


def show_plan(plan: "Plan", *, as_json: bool) -> None:
    """Every case and where it lies."""
    if as_json:
        answer_json({"cases": [_planned(job) for job in plan.jobs], "remarks": list(plan.remarks)})
        return
    width = max((len(job.case_id) for job in plan.jobs), default=0)
    for job in plan.jobs:
        answer(f"{job.case_id:<{width}}  {job.source}")
    answer(f"{len(plan.jobs)} cases")
    for remark in plan.remarks:
        tell(f"note: {remark}")


def _planned(job: "Job") -> dict[str, Any]:
    from iac_cli.report.tables import harmless

    return {
        "case_id": job.case_id,
        "given_id": harmless(job.given_id),
        # a name on an old file server may be no UTF-8
        "path": os.fsencode(job.source).decode(errors="backslashreplace"),
        "study_uid": job.study_uid,
        "series_uid": job.series,
    }


def _check_key_apart(path: Path, out: Path) -> None:
    """The key names paths, and the results' folder may be given away."""
    from iac_cli.errors import IacError, Word

    if path.resolve().is_relative_to(out.resolve()):
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "the key would lie in the folder of the results",
            way_out="keep it elsewhere: it says which case is which study",
        )


def write_key(path: Path, plan: "Plan", out: Path, *, overwrite: bool) -> None:
    """The one file that says which case is which study; it names paths, so it is asked for."""
    import csv
    import io

    from iac_cli.cli.results import check_no_folder
    from iac_cli.errors import IacError, Word
    from iac_cli.report.files import write_text

    _check_key_apart(path, out)
    if check_no_folder(path) and not overwrite:
        raise IacError(
            Word.OUTPUT_EXISTS, f"{path.name!r} exists", way_out="choose another name for --key"
        )
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(
        stream, ["case_id", "given_id", "path", "study_uid", "series_uid"], lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(map(_planned, plan.jobs))
    write_text(path, stream.getvalue())


def do_batch(
    plan: "Plan",
    folder: "RunFolder",
    runner: "tuple[Work, Engine]",
    manner: "Manner",
    *,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a batch under a view, tell how it ended and answer the exit code."""
    from iac_cli.batch.run import run_batch

    for remark in plan.remarks:
        tell(f"note: {remark}")
    with gentle_stop(NOTICE) as asked:
        view = _view(quiet, asked)
        with view:
            ended = run_batch(plan, folder, *runner, manner, view)
        code = asked() if ended.stopped and asked() else int(ended.exit_code)
    if as_json:
        answer_json(_ended_json(ended, code))
    else:
        answer(last_line(ended, code, folder))
    return code


def _ended_json(ended: "Ended", code: int) -> dict[str, Any]:
    return {
        "stopped": ended.stopped,
        "planned": ended.counts.planned,
        **ended.counts.by_state,
        "failures": dict(ended.counts.failures),
        "not_measurable_by": dict(ended.counts.reasons),
        "exit_code": code,
    }


def last_line(ended: "Ended", code: int, folder: "RunFolder") -> str:
    """Such as `93 measured, 2 not measurable (contrast_suspected 2), 1 failed (...) - exit 8`."""
    counts, states = ended.counts, ended.counts.by_state
    parts = [
        f"{states['measured']} measured",
        f"{states['not_measurable']} not measurable{_listed(counts.reasons)}",
        f"{states['failed']} failed{_listed(counts.failures)}",
    ]
    left = counts.planned - counts.ended
    if left > 0:
        parts.append(f"{left} left")
    return f"{', '.join(parts)}; exit {code}; {folder.state / 'scores.csv'}"


def _listed(table: "Any") -> str:
    return f" ({', '.join(f'{code} {n}' for code, n in table.items())})" if table else ""


class _Plain:
    """A line when the work is known and a line for every case that ended."""

    def __init__(self, quiet: bool, asked: Callable[[], int]) -> None:
        self._quiet, self._asked = quiet, asked
        self._n_done = self._n_todo = 0
        self._began = monotonic()

    def __enter__(self) -> "_Plain":
        return self

    def __exit__(self, *_error: object) -> None:
        return None

    def decided(self, decision: "Decision") -> None:
        self._n_todo, self._began = len(decision.todo), monotonic()
        if not self._quiet:
            tell(decided_line(decision))

    def saw(self, event: "Started | Outcome") -> None:
        from iac_cli.batch.job import Started

        if isinstance(event, Started):
            return
        self._n_done += 1
        if self._quiet and event.state.value == "failed":
            tell(f"failed: {event.case_id}: {event.code}: {event.message}")
        if not self._quiet:
            code = f" ({event.code})" if event.code else ""
            told = f"{event.case_id} {event.state.value}{code} {event.wall_s:.1f} s"
            tell(f"[{self._n_done}/{self._n_todo}] {told}, {self.rate()}")

    def should_stop(self) -> bool:
        return bool(self._asked())

    def rate(self) -> str:
        """Cases an hour, and the time that the rest takes."""
        from iac_cli.batch.status import duration

        passed_s = monotonic() - self._began
        if not self._n_done or passed_s <= 0:
            return "no rate yet"
        left_s = passed_s / self._n_done * (self._n_todo - self._n_done)
        return f"{3600 * self._n_done / passed_s:.0f} an hour, {duration(left_s)} left"


def decided_line(decision: "Decision") -> str:
    """What is to be done and why."""
    why = ", ".join(f"{n} {reason}" for reason, n in decision.why.items())
    line = f"{len(decision.todo)} cases to score" + (f" ({why})" if why else "")
    if decision.n_kept:
        line += f", {decision.n_kept} done before"
    if decision.n_gone:
        line += f"; {decision.n_gone} earlier cases are not there any more and stay in the tables"
    if decision.forgotten:
        line += f"; {len(decision.forgotten)} failed cases are not there any more and are forgotten"
    return line


def _view(quiet: bool, asked: Callable[[], int]) -> "_Plain":
    return _Live(quiet, asked) if on_terminal() and not quiet else _Plain(quiet, asked)


class _Live(_Plain):
    """A bar, the counts, and the cases at work, drawn anew twice a second."""

    def __init__(self, quiet: bool, asked: Callable[[], int]) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(quiet, asked)
        self._tally = {"measured": 0, "not_measurable": 0, "failed": 0}
        self._at_work: dict[str, float] = {}
        self._live = Live(
            console=Console(stderr=True), refresh_per_second=2, get_renderable=self._drawn
        )

    def __enter__(self) -> "_Live":
        return self

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def decided(self, decision: "Decision") -> None:
        self._n_todo, self._began = len(decision.todo), monotonic()
        self._live.console.print(decided_line(decision), highlight=False)
        self._live.start()

    def saw(self, event: "Started | Outcome") -> None:
        from iac_cli.batch.job import Started

        if isinstance(event, Started):
            self._at_work[event.case_id] = monotonic()
            return
        self._n_done += 1
        self._at_work.pop(event.case_id, None)
        self._tally[event.state.value] += 1
        if event.state.value == "failed":
            self._live.console.print(f"failed: {event.case_id}: {event.code}", highlight=False)

    def _drawn(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        tally = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in self._tally.items())
        now = monotonic()
        at_work = tuple(self._at_work.items())  # in one step: the view is drawn by another thread
        running = [f"  {case_id}  {now - since:.0f} s" for case_id, since in at_work]
        lines = Table.grid()  # a row each: a bar by itself ends no line
        lines.add_row(ProgressBar(total=max(1, self._n_todo), completed=self._n_done, width=60))
        for line in (f"{self._n_done} of {self._n_todo}: {tally}", self.rate(), *running):
            lines.add_row(Text(line))
        return lines
