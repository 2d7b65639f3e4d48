"""Being part of a Ray cluster, and dividing it among a batch's workers."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from iac_cli.batch.fit import CASE_GB, GPU_WORKERS
from iac_cli.batch.job import Work
from iac_cli.errors import IacError, Word
from iac_cli.infer.device import Kind, gpus_present, parse_device, usable_threads
from iac_cli.settings import prepare_ray

READER_CPUS = 0.25
"""CPUs that a reader asks for beside a measurer on CPUs, which takes far longer than it."""

READERS = {Kind.CPU: 1, Kind.CUDA: 2}
"""Readers for each measurer: each holds one head in memory beside the one that is measured."""


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
            Word.RUNTIME_MISSING,
            "Ray is not installed",
            way_out="install iac-cli with its extra 'ray': pip install '.[ray]'",
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
