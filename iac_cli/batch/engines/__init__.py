"""Where the work of a batch is done: local processes, or a Ray cluster; the outcomes are equal."""

from collections.abc import Callable, Iterator
from typing import Protocol

from iac_cli.batch.job import Job, Outcome, Started

TRIES = 3
"""A case whose worker died this often is not tried again: it is the case that kills."""

ShouldStop = Callable[[], bool]
"""Asked before every case: True lets the running cases end and begins no other."""


class Engine(Protocol):
    """Does jobs, in any order, and tells of each as it begins and ends."""

    def run(self, jobs: Iterator[Job], should_stop: ShouldStop) -> Iterator[Started | Outcome]:
        """Do the jobs. Closing the iterator ends the workers at once.

        Raises: IacError: device and model words, when no worker can be made ready.
        """
