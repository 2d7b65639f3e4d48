"""The console script, and the only place that turns failures into process exit codes."""

import errno
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from iac_cli.cli.commands import top_help
from iac_cli.cli.speak import answer, answer_json, tell
from iac_cli.errors import Exit, IacError, Word

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Operating system errors that mean a full disk, a used-up quota or a file that may not grow."""

NO_MEMORY = ("can't start new thread", "failed to map segment", "annot allocate memory")
"""Signs of too little memory in errors that have no type of their own for it."""


class Stopped(BaseException):
    """Ctrl-C or SIGTERM arrived; leaves through every `finally`, so nothing is half-written."""

    def __init__(self, code: Exit) -> None:
        super().__init__(code)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `iac-seg` and answer its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    _watch_signals()

    def run() -> int:
        if given in ([], ["--help"], ["-h"]):
            answer(top_help())
            return Exit.OK if given else Exit.USAGE
        from iac_cli.cli.app import build_app

        try:
            build_app(given)(args=given, prog_name="iac-seg")
        except SystemExit as stop:
            return stop.code if isinstance(stop.code, int) else Exit.OK
        return Exit.OK

    return int(exit_code_of(run, as_json="--json" in given))


def exit_code_of(run: Callable[[], int], *, as_json: bool = False) -> int:
    """Run a command and say its exit code; a failure is told in one line, or as JSON on stdout."""
    try:
        return run()
    except IacError as error:
        return _failed(error, as_json)
    except Stopped as stop:
        tell("stopped: nothing half-written was left behind")
        return stop.code
    except Exception as error:  # noqa: BLE001 - the last border: a bug leaves as exit code 1
        resource = _resource_failure(error)
        return _failed(resource, as_json) if resource else _internal(error, as_json)


def _resource_failure(error: Exception) -> IacError | None:
    """What the machine ran out of, when that is what an error says; None for a bug."""
    number = error.errno if isinstance(error, OSError) else None
    if number in FULL_DISK:
        return _disk_full()
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return _out_of_memory()
    if isinstance(error, RuntimeError | ImportError) and any(s in str(error) for s in NO_MEMORY):
        return _out_of_memory()
    return None


def _watch_signals() -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(Exit.TERMINATED if number == signal.SIGTERM else Exit.INTERRUPTED)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)


def _failed(error: IacError, as_json: bool) -> int:
    if as_json:
        answer_json(
            {
                "status": "failed",
                "code": error.word,
                "message": error.what,
                "way_out": error.way_out,
                "exit_code": int(error.exit_code),
            }
        )
    tell(f"{error.word}: {error.what}\n  way out: {error.way_out}")
    return error.exit_code


def _internal(error: BaseException, as_json: bool) -> int:
    """Write the traceback, without local values and the scan's paths, to a file of its own."""
    import traceback

    _forget_paths(error)
    log = _log_file()
    log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    kind = type(error).__name__
    if as_json:
        answer_json({"status": "failed", "code": "internal", "exit_code": int(Exit.INTERNAL)})
    tell(f"internal: a bug ({kind}); please report it with the log {log}")
    return Exit.INTERNAL


def _forget_paths(error: BaseException | None) -> None:
    """Take the file names out of an error and those it came from: they can hold a patient's."""
    while error is not None:
        if isinstance(error, OSError) and error.filename is not None:
            error.filename = error.filename2 = "(a file)"
        error = error.__cause__ or error.__context__


def _log_file() -> Path:
    import tempfile

    handle, name = tempfile.mkstemp(prefix="iac-seg-", suffix=".log")
    os.close(handle)
    return Path(name)


def _out_of_memory() -> IacError:
    return IacError(
        Word.OUT_OF_MEMORY,
        "the machine's memory does not suffice for this case",
        way_out="close other programs, or use a machine with more memory",
    )


def _disk_full() -> IacError:
    return IacError(
        Word.DISK_FULL,
        "no space is left on the output disk",
        way_out="free some space and run again",
    )
