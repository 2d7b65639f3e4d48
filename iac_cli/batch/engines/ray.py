"""A Ray cluster: readers, which need a CPU alone, feed measurers, which hold the models.

A reader's answer stays in Ray's object store until a measurer takes it; only outcomes come back.
Every worker is an actor that does one thing at a time, so that a time limit is exact and a worker
that is lost, or a node, is replaced; its case runs again. Input and output lie on a file system
that all nodes share.
"""

import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

from iac_cli import __version__
from iac_cli.batch.engines import TRIES, Broken, Ready, ShouldStop, be_silent
from iac_cli.batch.fit import CASE_GB, GPU_WORKERS
from iac_cli.batch.job import Job, Outcome, Started, Work
from iac_cli.batch.work import Begun, Worker, lost, read_job
from iac_cli.errors import IacError, Word
from iac_cli.infer.device import Kind, gpus_present, parse_device, usable_threads
from iac_cli.report.files import probe_output, told_as_output
from iac_cli.settings import prepare_ray

POLL_S = 0.25
"""How often time limits and Ctrl-C are looked at."""

READER_CPUS = 0.25
"""CPUs that a reader asks for beside a measurer on CPUs, which takes far longer than it."""

READERS = {Kind.CPU: 1, Kind.CUDA: 2}
"""Readers for each measurer: each holds one head in memory beside the one that is measured."""

EVENLY = {"scheduling_strategy": "SPREAD"}
"""Over all nodes, in place of filling one after the other."""

STARTS = 5
"""A worker that ended this often before it was ready will never be."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster has to offer, as it is now."""

    cpus: float
    gpus: float
    memory_gb: float
    smallest_cpus: float
    """CPUs of the smallest node that has any."""


@contextmanager
def joined(address: str | None, run_on: str = "auto") -> Iterator[Cluster]:
    """Be part of a cluster while the block runs; without an address, of one on this machine alone.

    Raises: IacError: runtime_missing, cluster_unavailable.
    """
    prepare_ray(joining=address is not None)
    try:
        import ray
    except ImportError as error:
        raise IacError(
            Word.RUNTIME_MISSING, "Ray is not installed", way_out="pip install 'iac-cli[ray]'"
        ) from error
    on_cpu = parse_device(run_on).kind == Kind.CPU
    alone: dict[str, Any] = {
        "num_cpus": usable_threads(),
        "num_gpus": 0 if on_cpu else gpus_present(),
        "include_dashboard": False,
    }
    with _own_signals():
        try:
            ray.init(
                address=address or "local",
                log_to_driver=False,
                configure_logging=False,
                **({} if address else alone),
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise IacError(
                Word.CLUSTER_UNAVAILABLE,
                f"the Ray cluster {address or 'on this machine'} could not be joined",
                way_out="run this on a node of the cluster; 'ray status' shows whether it is up",
            ) from error
    try:
        yield _cluster(ray.nodes())
    finally:
        ray.shutdown()


@contextmanager
def _own_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself when it starts; who calls us has a use for it."""
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in before.items():
            with suppress(ValueError):  # only a program's main thread has signals
                signal.signal(one, handler)


def _cluster(nodes: list[dict[str, Any]]) -> Cluster:
    there = [node["Resources"] for node in nodes if node["Alive"]]
    cpus, gpus, memory = (
        sum(one.get(name, 0.0) for one in there) for name in ("CPU", "GPU", "memory")
    )
    smallest = min((one["CPU"] for one in there if one.get("CPU")), default=1.0)
    return Cluster(cpus, gpus, memory / 1e9, smallest)


@dataclass(frozen=True, slots=True)
class Share:
    """How many measurers, and what of the cluster each of them and of their readers asks for."""

    n_workers: int
    threads: int
    kind: Kind
    gpus: float = 0.0

    def measurer(self) -> dict[str, float]:
        """Ray's resources of a measurer; a GPU's share stands for its CPU too."""
        if self.kind == Kind.CUDA:
            return {"num_cpus": 0, "num_gpus": self.gpus}
        return {"num_cpus": self.threads - READER_CPUS, "num_gpus": 0}

    def reader(self) -> dict[str, float]:
        """Ray's resources of a reader."""
        return {"num_cpus": 1 if self.kind == Kind.CUDA else READER_CPUS, "num_gpus": 0}


def share_of(cluster: Cluster, work: Work, n_workers: int | None = None) -> Share:
    """Divide a cluster among so many measurers; None: as many as fit."""
    run = work.settings.run
    fitting = cluster.memory_gb / CASE_GB
    if cluster.gpus and parse_device(run.device).kind != Kind.CPU:
        fitting = min(fitting, cluster.gpus * GPU_WORKERS, cluster.cpus / (1 + READERS[Kind.CUDA]))
        n = n_workers or max(1, int(fitting))
        gpus = min(1.0, int(1e4 * cluster.gpus / n) / 1e4)
        return Share(n, run.threads or 1, Kind.CUDA, gpus)
    n = n_workers or max(1, int(min(fitting, cluster.cpus / (run.threads or 1))))
    threads = run.threads or max(1, int(min(cluster.cpus / n, cluster.smallest_cpus)))
    return Share(n, threads, Kind.CPU)


class Measurer(Protocol):
    """What a measuring actor holds: it does the second half of one case after the other."""

    def measure(self, job: Job, begun: Begun) -> Outcome:
        """Measure what was read, whatever happens."""


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


@dataclass(slots=True)
class _Task:
    job: Job
    tries: int = 0
    used_s: float = 0.0
    """What its reading took."""
    begun: Any = None
    """Where Ray keeps what was read."""


class _Crew:
    """The workers of one run."""

    def __init__(
        self, engine: RayEngine, sign: Path, jobs: Iterator[Job], should_stop: ShouldStop
    ) -> None:
        import ray

        self._timeout_s = engine.timeout_s
        self._jobs = jobs
        self._should_stop = should_stop
        self._next: deque[_Task] = deque()
        share, work, sign = engine.share, _on_nodes(engine.work, engine.share), sign.absolute()
        make_reader = partial(
            ray.remote(_Reader).options(**share.reader(), **EVENLY).remote,
            *(work, sign, engine.read),
        )
        make_measurer = partial(
            ray.remote(_Measurer).options(**share.measurer(), **EVENLY).remote,
            *(work, sign, engine.make_measurer),
        )
        n_readers = share.n_workers * READERS[share.kind]
        self._readers = [_Post(make_reader, number) for number in range(n_readers)]
        self._measurers = [_Post(make_measurer, number) for number in range(share.n_workers)]

    def events(self) -> Iterator[Started | Outcome]:
        posts = self._readers + self._measurers
        while self._has_next() or any(post.task for post in posts):
            yield from self._hand_out()
            self._pass_on()
            answered = self._wait()
            for post in posts:
                yield from self._look_at(post, post.call in answered)

    def end(self) -> None:
        for post in self._readers + self._measurers:
            post.kill()

    def _has_next(self) -> bool:
        if self._should_stop():
            return False
        if not self._next:
            self._next.extend(map(_Task, islice(self._jobs, 1)))
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

    def _look_at(self, post: "_Post", answered: bool) -> Iterator[Outcome]:
        """What became of a worker's case, if anything did."""
        task = post.task
        try:
            outcome = post.answer() if answered else None
        except _DiedError:
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

    def _lost(self, task: _Task) -> Iterator[Outcome]:
        if task.tries < TRIES:
            self._next.append(_Task(task.job, task.tries))
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


class _DiedError(Exception):
    """A worker, or what it was to work on, is lost."""


class _Post:
    """A worker's place: filled at once, and filled anew when the worker is lost."""

    def __init__(self, make_actor: Callable[[], Any], number: int) -> None:
        self.number = number
        self.task: _Task | None = None
        self.call: Any = None
        """What it was asked and has not answered."""
        self._make_actor = make_actor
        self._actor: Any = None
        self._ready = False
        self._starts = 0
        self._since = monotonic()

    def start_if_down(self) -> None:
        """Ask the cluster for a worker, where there is none; it comes when there is room for it."""
        if self._actor is None:
            self._starts += 1
            self._actor = self._make_actor()
            self.call = self._actor.ready.remote(__version__)

    def is_free(self) -> bool:
        """Whether it can take up a case."""
        return self._ready and self.task is None

    def read(self, task: _Task) -> None:
        """Let it read a case."""
        read = self._actor.read.options(num_returns=2)
        self.call, task.begun = read.remote(_absolute(task.job))
        self.task, self._since = task, monotonic()

    def give(self) -> _Task:
        """Take away the case that it has read."""
        task, self.task = self.task, None
        assert task is not None
        return task

    def measure(self, task: _Task) -> None:
        """Let it measure a case that was read."""
        self.call = self._actor.measure.remote(task.job, task.begun)
        self.task, self._since, task.begun = task, monotonic(), None

    def busy_s(self) -> float:
        """Seconds that were spent on its case until now."""
        spent_s = self.task.used_s if self.task is not None else 0.0
        return spent_s + monotonic() - self._since

    def answer(self) -> Outcome | None:
        """Take what it has answered; the outcome, where it was asked to measure.

        Raises: _DiedError; IacError: no worker can be made ready.
        """
        import ray

        try:
            answer = ray.get(self.call)
        except ray.exceptions.RayError as error:
            if self._starts >= STARTS:
                raise _cannot_start(error) from error
            raise _DiedError from error
        self.call = None
        if isinstance(answer, Broken):
            raise answer.error()
        if isinstance(answer, Outcome):
            self.task = None
            return answer
        self._ready, self._starts = True, 0
        if self.task is not None:
            self.task.used_s = self.busy_s()
        return None

    def kill(self) -> None:
        """End it at once. A case's folder is whole or absent, whenever that happens."""
        import ray

        if self._actor is not None:
            ray.kill(self._actor)
        self._actor = self.call = self.task = None
        self._ready = False


def _cannot_start(error: Exception) -> IacError:
    return IacError(
        Word.CLUSTER_UNAVAILABLE,
        f"a worker could not be started, {STARTS} times ({type(error).__name__})",
        way_out=f"install iac-cli {__version__} and what it needs on every node",
    )


# on the nodes, where the working folder is another


def _on_nodes(work: Work, share: Share) -> Work:
    """The work with places that are the same everywhere; Ray says which GPU a worker uses."""
    device = "cuda" if parse_device(work.settings.run.device).kind == Kind.CUDA else None
    run = replace(work.settings.run, threads=share.threads)
    run = run if device is None else replace(run, device=device)
    scheme = work.scheme
    return replace(
        work,
        out=work.out.absolute(),
        settings=replace(work.settings, run=run),
        model=work.model and work.model.absolute(),
        rules=work.rules and work.rules.absolute(),
        scheme=str(Path(scheme).absolute()) if scheme and Path(scheme).is_file() else scheme,
    )


def _absolute(job: Job) -> Job:
    scope = job.scope and replace(
        job.scope, folders=tuple(folder.absolute() for folder in job.scope.folders)
    )
    return replace(job, source=job.source.absolute(), scope=scope)


class _Reader:
    """Reads one case after the other."""

    def __init__(self, work: Work, sign: Path, read: Callable[[Work, Job], Begun]) -> None:
        self._work, self._sign, self._read = work, sign, read

    def ready(self, version: str) -> Ready | Broken:
        """Whether it can work here."""
        return _ready(lambda: _check_node(self._work, self._sign, version))

    def read(self, job: Job) -> tuple[Ready, Begun]:
        """What was read, which stays on this node until a measurer asks for it."""
        return Ready(), self._read(self._work, job)


class _Measurer:
    """Holds the models and measures one case after the other."""

    def __init__(self, work: Work, sign: Path, make: Callable[[Work], Measurer]) -> None:
        self._work, self._sign, self._make = work, sign, make
        self._measurer: Measurer | None = None

    def ready(self, version: str) -> Ready | Broken:
        """Whether it can work here; loads the models."""

        def start() -> None:
            _check_node(self._work, self._sign, version)
            self._measurer = self._make(self._work)

        return _ready(start)

    def measure(self, job: Job, begun: Begun) -> Outcome:
        """How a case ended that was read."""
        assert self._measurer is not None
        return self._measurer.measure(job, begun)


def _ready(start: Callable[[], None]) -> Ready | Broken:
    be_silent()
    try:
        start()
    except IacError as error:
        return Broken.by(error)
    return Ready()


def _check_node(work: Work, sign: Path, version: str) -> None:
    """A node must have this version, and see the output folder as the others do."""
    if version != __version__:
        raise IacError(
            Word.CLUSTER_UNAVAILABLE,
            f"a node has iac-cli {__version__}, this machine {version}",
            way_out="install the same version on every node",
        )
    if not sign.exists():
        raise IacError(
            Word.OUTPUT_NOT_WRITABLE,
            "a node of the cluster does not see the output folder",
            way_out="choose one on a file system that all nodes have at the same path",
        )
    probe_output(work.out)
