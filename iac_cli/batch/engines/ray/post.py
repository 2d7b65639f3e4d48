"""A worker's place on the cluster, which is filled anew when the worker is lost."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from iac_cli import __version__
from iac_cli.batch.engines import Broken
from iac_cli.batch.engines.ray.node import absolute
from iac_cli.batch.job import Job, Outcome
from iac_cli.errors import IacError, Word

STARTS = 5
"""A worker that ended this often before it was ready will never be."""


@dataclass(slots=True)
class Task:
    """A case on its way through the workers."""

    job: Job
    tries: int = 0
    used_s: float = 0.0
    """What its reading took."""
    begun: Any = None
    """Where Ray keeps what was read."""


class DiedError(Exception):
    """A worker, or what it was to work on, is lost."""


class Post:
    """A worker's place: filled at once, and filled anew when the worker is lost."""

    def __init__(self, make_actor: Callable[[], Any], number: int) -> None:
        self.number = number
        self.task: Task | None = None
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

    def read(self, task: Task) -> None:
        """Let it read a case."""
        read = self._actor.read.options(num_returns=2)
        self.call, task.begun = read.remote(absolute(task.job))
        self.task, self._since = task, monotonic()

    def give(self) -> Task:
        """Take away the case that it has read."""
        task, self.task = self.task, None
        assert task is not None
        return task

    def measure(self, task: Task) -> None:
        """Let it measure a case that was read."""
        self.call = self._actor.measure.remote(task.job, task.begun)
        self.task, self._since, task.begun = task, monotonic(), None

    def busy_s(self) -> float:
        """Seconds that were spent on its case until now."""
        spent_s = self.task.used_s if self.task is not None else 0.0
        return spent_s + monotonic() - self._since

    def answer(self) -> Outcome | None:
        """Take what it has answered; the outcome, where it was asked to measure.

        Raises: DiedError; IacError: no worker can be made ready.
        """
        import ray

        try:
            answer = ray.get(self.call)
        except ray.exceptions.RayError as error:
            if self._starts >= STARTS:
                raise _cannot_start(error) from error
            raise DiedError from error
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
