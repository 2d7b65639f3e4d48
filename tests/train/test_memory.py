"""What a step frees serves the next one."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be told")

COUNT = """
import resource, torch
from iac_cli.train.memory import keep_freed_memory
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
kept = {keep} and keep_freed_memory()
for _ in range(20):  # the heap grows at first
    torch.ones(16_000_000)
before = faults()
for _ in range(10):
    torch.ones(16_000_000)
print(int(kept), faults() - before)
"""


def _faults(keep: bool) -> int:
    """Faults while memory is taken and freed: each page that is asked for anew costs one."""
    code = COUNT.format(keep=keep)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, faults = map(int, done.stdout.split())
    assert kept == keep
    return faults


def test_freed_memory_is_kept_when_asked():
    assert _faults(keep=True) < 0.2 * _faults(keep=False)
