"""Where the work of a batch is done: local processes, or a Ray cluster; the outcomes are equal."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from iac_cli.batch.job import Job, Outcome, Started
from iac_cli.errors import IacError, Word

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


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker's answer: the models are loaded."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A worker's answer: it cannot work at all."""

    word: Word
    what: str
    way_out: str

    @classmethod
    def by(cls, error: IacError) -> "Broken":
        """What an error told."""
        return cls(error.word, error.what, error.way_out)

    def error(self) -> IacError:
        """The error again, in another process."""
        return IacError(self.word, self.what, way_out=self.way_out)


def be_silent() -> None:
    """Let this worker's words (a library that prints) go nowhere: they could name a person."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
