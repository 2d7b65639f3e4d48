"""The memory of a training: a lack of it is told, and what a step frees serves the next one."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from iac_cli.errors import IacError, Word

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt (malloc.h)."""


def keep_freed_memory() -> bool:
    """Let the C library keep what a step frees; whether it can (glibc can).

    A step takes and frees tensors of many megabytes. By itself glibc gives each back to the system
    and asks anew, which clears it page by page. It holds for the whole process, until that ends.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is None:
        return False
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))


@contextmanager
def told_memory() -> Iterator[None]:
    """Tell a lack of memory by its word. Raises: IacError: gpu_out_of_memory, out_of_memory."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise IacError(
            Word.GPU_OUT_OF_MEMORY,
            "the GPU's memory does not suffice for a batch",
            way_out="give a smaller --batch; the last checkpoint stays",
        ) from error
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "allocate memory" not in str(error):
            raise
        raise IacError(
            Word.OUT_OF_MEMORY,
            "the machine's memory does not suffice for a batch",
            way_out="give a smaller --batch or --preset; the last checkpoint stays",
        ) from error
