"""Local processes, one case each at a time: a worker may crash, hang or be killed without harm.

Workers are spawned, never forked, and hold the models for all their cases. Only jobs and outcomes
pass through the pipes. A worker's own words (a library that prints, a warning) go nowhere: they
could name a person.
"""

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from iac_cli.batch.engines import TRIES, Broken, Ready, ShouldStop, be_silent
from iac_cli.batch.job import Job, Outcome, Started, Work
from iac_cli.batch.work import Worker, lost
from iac_cli.errors import IacError, Word
from iac_cli.infer.device import usable_threads
from iac_cli.settings import numeric_threads

LOADING_S = 300.0
"""A worker that has not loaded its models by then never will."""

POLL_S = 0.25
"""How often time limits, memory limits and Ctrl-C are looked at."""


class Doer(Protocol):
    """What a process holds: it does one job after the other."""

    def do(self, job: Job) -> Outcome:
        """Do a job, whatever happens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalEngine:
    """Runs `n_workers` processes on this machine."""

    work: Work
    n_workers: int
    timeout_s: float = 600.0
    """A case that takes longer is killed."""
    memory_gb: float = 0.0
    """A worker that grows beyond is killed; 0 sets no limit."""
    loading_s: float = LOADING_S
    """A worker that is not ready by then is killed, and its case is given to another."""
    make_worker: Callable[[Work], Doer] = Worker
    """Made once in every process, where its module is imported anew."""

    def run(self, jobs: Iterator[Job], should_stop: ShouldStop) -> Iterator[Started | Outcome]:
        """Do the jobs. Closing the iterator ends the workers at once."""
        crew = _Crew(self, jobs, should_stop)
        try:
            yield from crew.events()
        finally:
            crew.end()


@dataclass(slots=True)
class _Task:
    job: Job
    tries: int = 0


class _Crew:
    """The workers of one run."""

    def __init__(self, engine: LocalEngine, jobs: Iterator[Job], should_stop: ShouldStop) -> None:
        self._engine = engine
        self._jobs = jobs
        self._should_stop = should_stop
        self._again: deque[_Task] = deque()
        self._ever_ready = False
        self._workers = [_Process(engine, number) for number in range(engine.n_workers)]

    def events(self) -> Iterator[Started | Outcome]:
        while True:
            yield from self._hand_out()
            if not any(worker.task for worker in self._workers):
                return
            waited_for = [thing for worker in self._workers for thing in worker.signs()]
            wait(waited_for, timeout=POLL_S)
            for worker in self._workers:
                if worker.task is not None:
                    yield from self._look_at(worker, worker.task)

    def end(self) -> None:
        for worker in self._workers:
            worker.kill()

    def _hand_out(self) -> Iterator[Started]:
        for worker in self._workers:
            if worker.task is not None:
                continue
            task = self._next_task()
            if task is None:
                return
            task.tries += 1
            worker.take(task)
            yield Started(task.job.case_id, worker.number)

    def _next_task(self) -> _Task | None:
        if self._should_stop():
            return None
        if self._again:
            return self._again.popleft()
        job = next(self._jobs, None)
        return None if job is None else _Task(job)

    def _look_at(self, worker: "_Process", task: _Task) -> Iterator[Outcome]:
        """What became of a worker's case, if anything did."""
        alive = worker.alive()  # asked first: what it sent before it died is still taken
        outcome = worker.outcome()
        self._ever_ready |= worker.ready
        if outcome is not None:
            worker.task = None
            yield outcome
        elif not alive:
            yield from self._died(worker, task)
        elif not worker.ready:
            yield from self._wait_for(worker, task)
        elif worker.busy_s() > self._engine.timeout_s:
            what = f"the case took longer than {self._engine.timeout_s:g} s"
            yield self._killed(worker, task, Word.TIMED_OUT, what)
        elif 0 < self._engine.memory_gb < worker.memory_gb():
            what = f"the case needed more than {self._engine.memory_gb:g} GB of memory"
            yield self._killed(worker, task, Word.OUT_OF_MEMORY, what)

    def _wait_for(self, worker: "_Process", task: _Task) -> Iterator[Outcome]:
        """A worker that hangs before it has begun says nothing against its case."""
        if worker.busy_s() <= self._engine.loading_s:
            return
        worker.kill()
        if task.tries < TRIES:
            self._again.append(task)
            return
        what = f"no worker was ready within {self._engine.loading_s:g} s, {TRIES} times"
        if not self._ever_ready:
            way_out = "look at the machine's load and 'iac-seg doctor', then pass --resume"
            raise IacError(Word.TIMED_OUT, what, way_out=way_out)
        yield lost(task.job, Word.TIMED_OUT, what)

    def _died(self, worker: "_Process", task: _Task) -> Iterator[Outcome]:
        code = worker.exit_code()
        worker.kill()
        if task.tries < TRIES:
            self._again.append(task)
            return
        how = f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"
        what = f"its worker ended {how}, {TRIES} times"
        yield lost(task.job, Word.WORKER_KILLED, what)

    def _killed(self, worker: "_Process", task: _Task, word: Word, what: str) -> Outcome:
        wall_s = worker.busy_s()
        worker.kill()
        return replace(lost(task.job, word, what), wall_s=wall_s)


class _Process:
    """One worker process, made when it is needed and made anew when it died."""

    def __init__(self, engine: LocalEngine, number: int) -> None:
        self.number = number
        self.task: _Task | None = None
        self._engine = engine
        self._since = monotonic()
        self.ready = False
        self._process: BaseProcess | None = None
        self._pipe: Connection[Job, Outcome | Broken | Ready] | None = None

    def take(self, task: _Task) -> None:
        """Give it a case; a worker that died meanwhile is found out by `alive`."""
        if self._process is None or not self._process.is_alive() or self._pipe is None:
            self._pipe = self._start()
        self.task = task
        self._since = monotonic()
        with suppress(OSError):
            self._pipe.send(task.job)

    def _start(self) -> "Connection[Job, Outcome | Broken | Ready]":
        self.kill()
        self.ready = False
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        made_of = (self._engine.make_worker, self._engine.work, theirs, os.getpid())
        process = context.Process(target=serve, args=made_of, daemon=True)
        with numeric_threads(self._engine.work.settings.run.threads or usable_threads()):
            process.start()
        theirs.close()
        self._process = process
        return ours

    def signs(self) -> list["int | Connection[Any, Any]"]:
        """What wakes the parent: an answer, or the end of the process."""
        if self.task is None or self._process is None or self._pipe is None:
            return []
        return [self._pipe, self._process.sentinel]

    def outcome(self) -> Outcome | None:
        """The outcome of its case, if it has sent one. Raises: IacError: it cannot start."""
        assert self._pipe is not None
        try:
            while self._pipe.poll():
                answer = self._pipe.recv()
                if isinstance(answer, Broken):
                    raise answer.error()
                if isinstance(answer, Outcome):
                    return answer
                self._since = monotonic()  # loading is no part of the first case's time
                self.ready = True
        except (EOFError, OSError):
            return None  # it died, which `alive` tells
        return None

    def alive(self) -> bool:
        """Whether the process runs."""
        assert self._process is not None
        return self._process.is_alive()

    def busy_s(self) -> float:
        """Seconds since it took up its case."""
        return monotonic() - self._since

    def memory_gb(self) -> float:
        """Memory that it holds now; 0 where the system does not say."""
        assert self._process is not None
        try:
            pages = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1]
        except (OSError, IndexError):
            return 0.0
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e9

    def exit_code(self) -> int | None:
        """How it ended: negative for a signal."""
        assert self._process is not None
        self._process.join(timeout=5)
        return self._process.exitcode

    def kill(self) -> None:
        """End it at once. A case's folder is whole or absent, whenever that happens."""
        self.task = None
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._pipe is not None:
            self._pipe.close()
        self._process, self._pipe = None, None


# in the worker process


def serve(
    make_worker: Callable[[Work], Doer], work: Work, pipe: "Connection[Any, Any]", parent: int
) -> None:
    """Do jobs from the pipe until the parent closes it or is gone."""
    _live_and_die_quietly(parent)
    try:
        worker = make_worker(work)
    except IacError as error:
        pipe.send(Broken.by(error))
        return
    pipe.send(Ready())
    with suppress(EOFError, BrokenPipeError):
        while True:
            pipe.send(worker.do(pipe.recv()))


def _live_and_die_quietly(parent: int) -> None:
    """Leave Ctrl-C to the parent, end with it, and say nothing on its terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    be_silent()


PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that a process gets when its parent dies."""
