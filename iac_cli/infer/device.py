"""Which device is asked for, which is there, and how many CPU threads this process may use."""

import math
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path

from iac_cli.errors import IacError, Word

CGROUP_FILES = (Path("/sys/fs/cgroup/cpu.max"),)
"""Where a container's CPU limit is written ("QUOTA PERIOD" in microseconds, or "max PERIOD")."""

GPU_NODES = Path("/dev")
"""Holds `nvidia0`, `nvidia1`, ... where NVIDIA's driver is loaded."""

RUNTIME_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")


class Kind(StrEnum):
    """What may be asked for."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class Device:
    """A device as asked for: its kind and, for CUDA, which one."""

    kind: Kind
    index: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.index}" if self.kind == Kind.CUDA else str(self.kind)


def parse_device(text: str) -> Device:
    """`auto`, `cpu`, `cuda`, `cuda:1`; `gpu` is accepted for `cuda`.

    Raises:
        IacError: bad_setting.

    """
    match = re.fullmatch(r"(auto|cpu|cuda|gpu)(?::(\d{1,3}))?", text.strip().lower())
    if match is None or (match[2] is not None and match[1] in ("auto", "cpu")):
        raise IacError(
            Word.BAD_SETTING,
            f"no such device: {text!r}",
            way_out="give --device auto, cpu, cuda or cuda:N",
        )
    kind = Kind.CUDA if match[1] == "gpu" else Kind(match[1])
    return Device(kind, int(match[2] or 0))


def gpus_present(nodes: Path = GPU_NODES) -> int:
    """How many NVIDIA devices the driver shows; a hint, never a proof that one can be used."""
    return sum(1 for node in nodes.glob("nvidia[0-9]*"))


def usable_threads(cgroup_files: tuple[Path, ...] = CGROUP_FILES) -> int:
    """CPU threads that this process may use, by its affinity and its container's limit."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    limits = [limit for path in cgroup_files if (limit := _cgroup_limit(path)) is not None]
    return max(1, min([allowed, *limits]))


def _cgroup_limit(path: Path) -> int | None:
    try:
        quota, period = path.read_text(encoding="ascii").split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        return None


def runtime_versions() -> dict[str, str]:
    """Version of each ONNX Runtime distribution that is installed."""
    found = {}
    for name in RUNTIME_DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def check_one_runtime(installed: dict[str, str] | None = None) -> None:
    """Refuse two ONNX Runtime distributions at once: they overwrite each other's files.

    Raises:
        IacError: runtime_conflict.

    """
    found = runtime_versions() if installed is None else installed
    if len(found) > 1:
        both = " and ".join(f"{name} {version}" for name, version in found.items())
        raise IacError(
            Word.RUNTIME_CONFLICT,
            f"{both} are both installed and break each other",
            way_out="pip uninstall onnxruntime onnxruntime-gpu, then install one of them",
        )
