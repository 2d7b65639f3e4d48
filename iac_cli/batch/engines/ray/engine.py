"""A Ray cluster: readers, which need a CPU alone, feed measurers, which hold the models.

A reader's answer stays in Ray's object store until a measurer takes it; only outcomes come back.
Every worker is an actor that does one thing at a time, so that a time limit is exact and a worker
that is lost, or a node, is replaced; its case runs again. Input and output lie on a file system
that all nodes share.
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from iac_cli.batch.engines import TRIES, ShouldStop
from iac_cli.batch.engines.ray.cluster import READERS, Share
from iac_cli.batch.engines.ray.node import Measurer, MeasuringActor, Reader, on_nodes
from iac_cli.batch.engines.ray.post import DiedError, Post, Task
from iac_cli.batch.job import Job, Outcome, Started, Work
from iac_cli.batch.work import Begun, Worker, lost, read_job
from iac_cli.errors import IacError, Word
from iac_cli.report.files import told_as_output

POLL_S = 0.25
"""How often time limits and Ctrl-C are looked at."""

EVENLY = {"scheduling_strategy": "SPREAD"}
"""Over all nodes, in place of filling one after the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RayEngine:
    """Runs on the cluster that this process has `joined`."""

    work: Work
    share: Share
    timeout_s: float = 600.0
    """A case that takes longer, waiting left out, is killed."""
    read: Callable[[Work, Job], Begun] = read_job
    make_measurer: Callable[[Work], Measurer] = Worker
    """Both are called on the nodes, where their module is imported anew."""

    def run(self, jobs: Iterator[Job], should_stop: ShouldStop) -> Iterator[Started | Outcome]:
        """Do the jobs. Closing the iterator ends the workers at once."""
        with told_as_output(self.work.out):
            self.work.out.mkdir(parents=True, exist_ok=True)
            sign = tempfile.NamedTemporaryFile(dir=self.work.out, prefix=".seen-by-all.")  # noqa: SIM115
        with sign:
            crew = _Crew(self, Path(sign.name), jobs, should_stop)
            try:
                yield from crew.events()
            finally:
                crew.end()


class _Crew:
    """The workers of one run."""

    def __init__(
        self, engine: RayEngine, sign: Path, jobs: Iterator[Job], should_stop: ShouldStop
    ) -> None:
        import ray

        self._timeout_s = engine.timeout_s
        self._jobs = jobs
        self._should_stop = should_stop
        self._next: deque[Task] = deque()
        share, work, sign = engine.share, on_nodes(engine.work, engine.share), sign.absolute()
        make_reader = partial(
            ray.remote(Reader).options(**share.reader(), **EVENLY).remote,
            *(work, sign, engine.read),
        )
        make_measurer = partial(
            ray.remote(MeasuringActor).options(**share.measurer(), **EVENLY).remote,
            *(work, sign, engine.make_measurer),
        )
        n_readers = share.n_workers * READERS[share.kind]
        self._readers = [Post(make_reader, number) for number in range(n_readers)]
        self._measurers = [Post(make_measurer, number) for number in range(share.n_workers)]

    def events(self) -> Iterator[Started | Outcome]:
        """Each case as it begins and ends, until all have ended or no other may begin."""
        posts = self._readers + self._measurers
        while self._has_next() or any(post.task for post in posts):
            yield from self._hand_out()
            self._pass_on()
            answered = self._wait()
            for post in posts:
                yield from self._look_at(post, post.call in answered)

    def end(self) -> None:
        """End every worker at once."""
        for post in self._readers + self._measurers:
            post.kill()

    def _has_next(self) -> bool:
        if self._should_stop():
            return False
        if not self._next:
            self._next.extend(map(Task, islice(self._jobs, 1)))
        return bool(self._next)

    def _hand_out(self) -> Iterator[Started]:
        for reader in self._readers:
            if reader.is_free() and self._has_next():
                task = self._next.popleft()
                task.tries += 1
                reader.read(task)
                yield Started(task.job.case_id, reader.number)

    def _pass_on(self) -> None:
        """Give what was read to free measurers. Until then its reader begins no other case."""
        waiting = [one for one in self._readers if one.task is not None and one.call is None]
        free = [one for one in self._measurers if one.is_free()]
        for reader, measurer in zip(waiting, free, strict=False):
            measurer.measure(reader.give())

    def _wait(self) -> set[Any]:
        """Wait until a worker has answered, or a moment; say whose calls are answered."""
        import ray

        for post in self._readers + self._measurers:
            post.start_if_down()
        calls = [post.call for post in self._readers + self._measurers if post.call is not None]
        if not calls:
            return set()
        with _interrupted_plainly():
            ray.wait(calls, num_returns=1, timeout=POLL_S, fetch_local=False)
            answered, _ = ray.wait(calls, num_returns=len(calls), timeout=0, fetch_local=False)
        return set(answered)

    def _look_at(self, post: "Post", answered: bool) -> Iterator[Outcome]:
        """What became of a worker's case, if anything did."""
        task = post.task
        try:
            outcome = post.answer() if answered else None
        except DiedError:
            post.kill()
            if task is not None:
                yield from self._lost(task)
            return
        if task is None:
            return
        if outcome is not None:
            _check_seen(task.job, outcome)
            yield outcome
        elif post.call is not None and (wall_s := post.busy_s()) > self._timeout_s:
            post.kill()
            what = f"the case took longer than {self._timeout_s:g} s"
            yield replace(lost(task.job, Word.TIMED_OUT, what), wall_s=wall_s)

    def _lost(self, task: Task) -> Iterator[Outcome]:
        if task.tries < TRIES:
            self._next.append(Task(task.job, task.tries))
        else:
            yield lost(task.job, Word.WORKER_KILLED, f"its worker was lost, {TRIES} times")


@contextmanager
def _interrupted_plainly() -> Iterator[None]:
    """What a signal's handler raises while Ray's compiled code waits leaves it as its cause."""
    try:
        yield
    except SystemError as error:
        raise error.__cause__ or error from None


def _check_seen(job: Job, outcome: Outcome) -> None:
    """A node that does not see the input would fail case after case."""
    if outcome.code == Word.INPUT_NOT_FOUND and job.source.exists():
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "a node of the cluster does not see the studies",
            way_out="keep them on a file system that all nodes have at the same path",
        )
