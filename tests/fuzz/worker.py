"""Runs one mutated input through one command, in a child process with limits, and judges it.

The parent imports the libraries once; each case runs in a fork of it, so a crash, an endless loop
or a hunger for memory ends the child alone. Judged: the exit code is one of the documented ones and
not "internal", no traceback, nobody's identity in any output, time, memory, no partial result.
"""

import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from iac_cli.errors import Exit, Word
from tests.fuzz.mutations import Mutated
from tests.fuzz.seeds import IDENTITY

TIME_LIMIT_S = 10.0
GROWTH_LIMIT_BYTES = 1 << 30
"""How much address space a case may add to that of the parent."""

COMMANDS = ("inspect", "convert", "score")
ALLOWED = {code.value for code in Exit} - {Exit.INTERNAL, Exit.USAGE, Exit.BATCH_PARTIAL}
HEAVY = (
    "jsonschema",
    "nibabel",
    "onnxruntime",
    "pandas",
    "PIL.ImageFont",
    "pydicom.pixels.decoders",
    "scipy.ndimage",
    "SimpleITK",
    "typer._adapters",
    "iac_cli.cli.progress",
    "iac_cli.cli.results",
    "iac_cli.dicom.inspection",
    "iac_cli.dicom.second",
    "iac_cli.geometry.resample",
    "iac_cli.infer.models",
    "iac_cli.infer.runtime",
    "iac_cli.pipeline",
    "iac_cli.report.preview",
    "iac_cli.report.tables",
)
"""What the commands import when they run."""

WORDS = {word.value for word in Word}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one command ended on one input."""

    command: str
    code: int
    """Exit code; negative: killed by that signal."""
    wall_s: float
    peak_growth_mb: float
    complaints: tuple[str, ...]
    """What is wrong; empty when all is well."""
    said: str
    """The end of standard error."""


def import_everything() -> None:
    """Import what the commands use, so that a fork starts at once. Starts no thread."""
    for name in HEAVY:
        import_module(name)
    from iac_cli.cli.app import build_app

    build_app()


def arguments(command: str, mutated: Mutated, out: Path) -> list[str]:
    """The command line of a case."""
    if command == "inspect":
        return ["inspect", str(mutated.source)]
    if command == "convert":
        second = [] if mutated.second_reader else ["--no-second"]
        return ["convert", str(mutated.source), "-o", str(out / "ct.nii.gz"), *second]
    scored = ["-o", str(out / "scored"), "--model", str(mutated.models)]
    return ["score", str(mutated.mask), "--ct", str(mutated.source), *scored]


def run_case(command: str, mutated: Mutated, scratch: Path) -> Outcome:
    """Run a command on a mutated input in a limited child and judge how it ended."""
    from iac_cli.cli.exits import main

    out = scratch / command
    out.mkdir()
    began = time.monotonic()
    pid = _fork(lambda: main(arguments(command, mutated, out)), out)
    code, usage, timed_out = _wait(pid, began)
    wall_s = time.monotonic() - began
    peak_mb = usage.ru_maxrss / 1024 - _resident_mb()
    stderr, stdout = ((out / name).read_bytes() for name in ("stderr", "stdout"))
    complaints = [
        *(["took more than 10 s"] if timed_out else []),
        *_complaints_about_code(code, stdout + stderr),
        *_complaints_about_text(stdout + stderr),
        *_complaints_about_files(command, code, out),
    ]
    said = stderr[-600:].decode("utf-8", "replace")
    log = "".join(p.read_text()[-1500:] for p in out.glob("tmp/iac-seg-*.log"))
    return Outcome(command, code, wall_s, max(0.0, peak_mb), tuple(complaints), said + log)


def _fork(run: Callable[[], int], out: Path) -> int:
    """Run in a child with its own output files, temporary folder and memory limit."""
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        for number, name in ((1, "stdout"), (2, "stderr")):
            target = os.open(out / name, os.O_CREAT | os.O_WRONLY)
            os.dup2(target, number)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8")
        (out / "tmp").mkdir()
        tempfile.tempdir = str(out / "tmp")
        limit = _address_space_bytes() + GROWTH_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.alarm(int(TIME_LIMIT_S) + 5)
        code = run()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, began: float) -> tuple[int, resource.struct_rusage, bool]:
    """Exit code, usage and whether the time limit was passed; the child is killed then."""
    timed_out = False
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage, timed_out
        if not timed_out and time.monotonic() - began > TIME_LIMIT_S:
            timed_out = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def _address_space_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _complaints_about_code(code: int, text: bytes) -> list[str]:
    if code < 0:
        return [f"killed by signal {-code}"]
    lines = text.decode("utf-8", "replace").splitlines()
    words = {line.strip().split(":")[0] for line in lines}
    asks_for_labels = code == Exit.USAGE and Word.BAD_OPTION in words and b"--labels" in text
    if code not in ALLOWED and not asks_for_labels:
        return [f"exit code {code}"]
    if code and not WORDS & words:
        return [f"exit code {code} without a word"]
    return []


def _complaints_about_text(text: bytes) -> list[str]:
    found = []
    if b"Traceback (most recent" in text:
        found.append("traceback")
    parts = [part for name in IDENTITY for part in name.split("^")]
    if any(part.encode() in text for part in parts):
        found.append("identity in the output")
    if b"\x1b[2J" in text or b"\x1b[31m" in text:
        found.append("escape codes in the output")
    return found


def _complaints_about_files(command: str, code: int, out: Path) -> list[str]:
    """Leftovers of a failed run, or nothing written by a run that says it went well."""
    left = [p for p in out.rglob("*") if p.is_file() and p.name not in ("stdout", "stderr")]
    names = [str(p.relative_to(out)) for p in left]
    temporary = [n for n in names if n.startswith("tmp/") or "/." in n or n.startswith(".")]
    if temporary:
        return [f"left behind {temporary[:3]}"]
    if code not in (Exit.OK, Exit.NOT_MEASURABLE) and names:
        return [f"partial result {names[:3]}"]
    if code == Exit.OK and command != "inspect" and not names:
        return ["said ok and wrote nothing"]
    return []
