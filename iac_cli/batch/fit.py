"""How many workers fit this machine, and how many threads each may use."""

from dataclasses import replace
from pathlib import Path

from iac_cli.infer.device import Kind, gpus_present, parse_device, usable_threads
from iac_cli.settings import RunSettings

CASE_GB = 2.0
"""Memory to set aside for a worker: a head of 300 slices of 512 x 512 takes 1.0 GB."""

GPU_WORKERS = 8
"""Workers that share one GPU at most: while some read and write, others keep it busy."""

MEMORY_FOLDER = Path("/sys/fs/cgroup")
"""Where a container's memory limit and use are written (version 2 of cgroups)."""


def fit_workers(run: RunSettings) -> int:
    """Workers for `-j auto`: one a core, as far as the memory that is free goes."""
    cores = run.threads or usable_threads()
    free = free_gb()
    fitting = cores if free is None else min(cores, int(free / CASE_GB))
    return max(1, min(fitting, GPU_WORKERS) if _on_gpu(run) else fitting)


def shared_among(run: RunSettings, n_workers: int) -> RunSettings:
    """The settings of each worker: the cores are divided between them."""
    cores = run.threads or usable_threads()
    return replace(run, threads=max(1, cores // n_workers))


def _on_gpu(run: RunSettings) -> bool:
    kind = parse_device(run.device).kind
    return kind == Kind.CUDA or (kind == Kind.AUTO and gpus_present() > 0)


def free_gb(meminfo: Path = Path("/proc/meminfo"), container: Path = MEMORY_FOLDER) -> float | None:
    """Memory that may still be taken, of the machine and of its container; None: not known."""
    known = [one for one in (_machine_gb(meminfo), _container_gb(container)) if one is not None]
    return min(known, default=None)


def _machine_gb(meminfo: Path) -> float | None:
    kilobytes = _table(meminfo).get("MemAvailable:")
    return None if kilobytes is None else kilobytes / 1e6


def _container_gb(folder: Path) -> float | None:
    try:
        limit, used = (
            (folder / name).read_text(encoding="ascii").strip()
            for name in ("memory.max", "memory.current")
        )
    except OSError:
        return None
    if not limit.isdigit():
        return None
    cache = _table(folder / "memory.stat").get("inactive_file", 0)  # given back when asked for
    return (int(limit) - int(used) + cache) / 1e9


def _table(path: Path) -> dict[str, int]:
    """Names and numbers of a file that has one of each on a line."""
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines)
    return {one[0]: int(one[1]) for one in words if len(one) > 1 and one[1].isdigit()}
