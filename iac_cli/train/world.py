"""One process, or several that torchrun has started: who this one is, and what they share."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from iac_cli.errors import IacError, Word

LONGEST_WAIT = timedelta(hours=24)
"""While the first process cuts windows, the others wait."""


@dataclass(frozen=True, slots=True)
class World:
    """This process's number among all. The first one writes."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def from_first(self, value: float, device: torch.device) -> float:
        """The first process's value, in all of them."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=device)
        distributed.broadcast(shared, src=0)
        return float(shared.item())

    def gathered(self, value: Any) -> list[Any]:
        """The value of every process, in the first; empty elsewhere."""
        if self.size == 1:
            return [value]
        values = [None] * self.size if self.is_first else None
        distributed.gather_object(value, values)
        return list(values or [])

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined_world(device: torch.device) -> Iterator[World]:
    """The processes that torchrun has started, or this one alone."""
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield World()
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=LONGEST_WAIT)
    try:
        yield World(distributed.get_rank(), distributed.get_world_size())
        distributed.barrier()  # nobody leaves while another still hears from it
    finally:
        distributed.destroy_process_group()


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; under torchrun each process has its own.

    Raises: IacError: device_unavailable, bad_setting.
    """
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    kind, _, index = name.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and not index.isdigit()):
        raise IacError(
            Word.BAD_SETTING,
            f"a device is auto, cpu or cuda[:N], got {name!r}",
            way_out="--device auto",
        )
    if kind == "cuda" and int(index or 0) >= n_gpus:
        raise IacError(
            Word.DEVICE_UNAVAILABLE,
            f"{name} was asked for, PyTorch finds {n_gpus} usable GPUs",
            way_out="--device cpu, or install a PyTorch with CUDA",
        )
    if kind == "cpu" or not n_gpus:
        return torch.device("cpu")
    if distributed.is_available() and distributed.is_torchelastic_launched():
        index = str(distributed.get_node_local_rank(0) % n_gpus)
        torch.cuda.set_device(int(index))
    return torch.device("cuda", int(index or 0))
