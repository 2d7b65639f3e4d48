"""Runs `iac-seg` as a user does: a process of its own."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "sample_data" / "study"
PROGRAM = str(Path(sys.executable).parent / "iac-seg")

PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2


def environment(**more: str) -> dict[str, str]:
    """The environment of a run: one thread, no settings of ours or of Python but those given."""
    ours = ("IAC_SEG_", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return kept | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"} | more


def iac_seg(
    *arguments: str | Path,
    before: Callable[[], None] | None = None,
    cwd: Path | None = None,
    timeout_s: float = 120,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run the program to its end; `before` runs in the child, before the program."""
    if before is not None:  # a limit on files would leave half a module's bytecode behind
        variables = {"PYTHONDONTWRITEBYTECODE": "1"} | variables
    return subprocess.run(
        [PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**variables),
        preexec_fn=before,
        timeout=timeout_s,
        check=False,
    )


def as_ordinary_user() -> None:
    """Take from root the right to ignore file permissions; for anyone else, nothing to do."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
