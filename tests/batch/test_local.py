"""Local workers: one that crashes, hangs, grows or cannot start takes no other case along."""

import os
from pathlib import Path

import pytest

from iac_cli.batch.engines.local import LocalEngine
from iac_cli.batch.job import Job, Outcome, Started, State, Work
from iac_cli.errors import Exit, IacError, Word
from iac_cli.settings import RunSettings, Settings
from tests.batch.doers import Counting, Homeless, NeverReady, Obedient, Slothful


def engine(tmp_path: Path, **more) -> LocalEngine:
    work = Work(out=tmp_path, settings=Settings())
    return LocalEngine(**({"work": work, "n_workers": 2, "make_worker": Obedient} | more))


def jobs(*names: str) -> list[Job]:
    return [Job(name, Path("nowhere"), None, "") for name in names]


def run(chosen: LocalEngine, *names: str, should_stop=lambda: False) -> dict[str, Outcome]:
    events = list(chosen.run(iter(jobs(*names)), should_stop))
    ended = [event for event in events if isinstance(event, Outcome)]
    assert len({one.case_id for one in ended}) == len(ended), "a case ended twice"
    return {one.case_id: one for one in ended}


def test_every_case_ends_once(tmp_path: Path) -> None:
    names = [f"ok-{i}" for i in range(9)]
    ended = run(engine(tmp_path), *names)
    assert sorted(ended) == sorted(names)
    assert {one.state for one in ended.values()} == {State.MEASURED}


def test_a_case_that_kills_its_worker_is_tried_three_times_and_takes_no_other_along(
    tmp_path: Path,
) -> None:
    events = list(engine(tmp_path).run(iter(jobs("ok-1", "die-1", "ok-2", "ok-3")), lambda: False))
    begun = [event.case_id for event in events if isinstance(event, Started)]
    ended = {event.case_id: event for event in events if isinstance(event, Outcome)}
    assert begun.count("die-1") == 3
    assert ended["die-1"].code == Word.WORKER_KILLED == "worker_killed"
    assert "signal 9" in ended["die-1"].message
    assert {ended[name].state for name in ("ok-1", "ok-2", "ok-3")} == {State.MEASURED}


def test_a_worker_that_was_killed_from_outside_loses_nothing(tmp_path: Path) -> None:
    ended = run(engine(tmp_path), "once-1", "ok-1", "once-2")
    assert {one.state for one in ended.values()} == {State.MEASURED}


@pytest.mark.parametrize(("own", "taken"), [(None, "3"), ("1", "1")])
def test_a_workers_linear_algebra_keeps_to_its_threads(
    own: str | None, taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if own is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", own)
    work = Work(out=tmp_path, settings=Settings(run=RunSettings(threads=3)))
    ended = run(engine(tmp_path, work=work, make_worker=Counting), "ok-1")
    assert ended["ok-1"].message == taken
    assert os.environ.get("OMP_NUM_THREADS") == own


def test_a_case_that_hangs_is_ended_by_its_time(tmp_path: Path) -> None:
    ended = run(engine(tmp_path, timeout_s=5.0), "hang-1", "ok-1", "ok-2")
    assert ended["hang-1"].code == Word.TIMED_OUT == "timed_out"
    assert ended["ok-1"].state is ended["ok-2"].state is State.MEASURED


def test_a_worker_that_hangs_before_it_is_ready_says_nothing_against_its_case(
    tmp_path: Path,
) -> None:
    made = engine(tmp_path, make_worker=Slothful, loading_s=15, n_workers=1, timeout_s=2)
    assert run(made, "ok-1")["ok-1"].state is State.MEASURED


def test_workers_that_never_get_ready_end_the_batch(tmp_path: Path) -> None:
    made = engine(tmp_path, make_worker=NeverReady, loading_s=0.5, n_workers=1)
    with pytest.raises(IacError, match="no worker was ready"):
        run(made, "ok-1", "ok-2")


def test_a_case_that_grows_is_ended_by_its_memory(tmp_path: Path) -> None:
    ended = run(engine(tmp_path, memory_gb=0.5), "grow-1", "ok-1")
    assert ended["grow-1"].code == Word.OUT_OF_MEMORY
    assert ended["ok-1"].state is State.MEASURED


def test_a_failure_that_all_would_share_is_marked_as_one(tmp_path: Path) -> None:
    assert run(engine(tmp_path), "full-1")["full-1"].stops is Exit.OUTPUT


def test_workers_that_cannot_be_made_end_the_batch(tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        run(engine(tmp_path, make_worker=Homeless), "ok-1")
    assert caught.value.word is Word.MODEL_NOT_FOUND


def test_a_stop_lets_the_running_cases_end_and_begins_no_other(tmp_path: Path) -> None:
    asked = iter([False, False])
    ended = run(
        engine(tmp_path), *(f"slow-{i}" for i in range(8)), should_stop=lambda: next(asked, True)
    )
    assert sorted(ended) == ["slow-0", "slow-1"]


def test_closing_the_events_ends_the_workers(tmp_path: Path) -> None:
    import multiprocessing

    events = engine(tmp_path).run(iter(jobs("hang-1", "hang-2")), lambda: False)
    next(events)
    events.close()
    assert not multiprocessing.active_children()
