"""What runs on a cluster's nodes, where the working folder is another."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from iac_cli import __version__
from iac_cli.batch.engines import Broken, Ready, be_silent
from iac_cli.batch.engines.ray.cluster import Share
from iac_cli.batch.job import Job, Outcome, Work
from iac_cli.batch.work import Begun
from iac_cli.errors import IacError, Word
from iac_cli.infer.device import Kind, parse_device
from iac_cli.report.files import probe_output


class Measurer(Protocol):
    """What a measuring actor holds: it does the second half of one case after the other."""

    def measure(self, job: Job, begun: Begun) -> Outcome:
        """Measure what was read, whatever happens."""


def on_nodes(work: Work, share: Share) -> Work:
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


def absolute(job: Job) -> Job:
    """The job with paths that mean the same on every node."""
    scope = job.scope and replace(
        job.scope, folders=tuple(folder.absolute() for folder in job.scope.folders)
    )
    return replace(job, source=job.source.absolute(), scope=scope)


class Reader:
    """Reads one case after the other."""

    def __init__(self, work: Work, sign: Path, read: Callable[[Work, Job], Begun]) -> None:
        self._work, self._sign, self._read = work, sign, read

    def ready(self, version: str) -> Ready | Broken:
        """Whether it can work here."""
        return _ready(lambda: _check_node(self._work, self._sign, version))

    def read(self, job: Job) -> tuple[Ready, Begun]:
        """What was read, which stays on this node until a measurer asks for it."""
        return Ready(), self._read(self._work, job)


class MeasuringActor:
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
