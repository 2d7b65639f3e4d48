"""The console script, and the only place that turns failures into process exit codes."""

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from iac_cli.cli.commands import top_help
from iac_cli.cli.speak import (
    answer,
    answer_json,
    fill_closed,
    settle,
    tell,
    tell_from_handler,
)
from iac_cli.errors import Exit, IacError, system_failure

FILE_NUMBER = re.compile(r"\bfile (\d+)\b")
"""How a sentence calls a file of the input."""


SOON_S = 0.05
"""When a stop is raised again that came where Python drops exceptions."""


class Stopped(BaseException):
    """Ctrl-C or SIGTERM arrived; leaves through every `finally`, so nothing is half-written."""

    def __init__(self, code: Exit) -> None:
        super().__init__(code)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `iac-seg` and answer its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked_to_stop = _watch_signals()
    fill_closed()

    def run() -> int:
        if given in ([], ["--help"], ["-h"]):
            answer(top_help())
            return Exit.OK if given else Exit.USAGE
        from iac_cli.cli.app import run_app

        try:
            return run_app(given)
        except SystemExit as stop:
            return _code_of(stop)

    code = None
    try:
        code = int(
            exit_code_of(
                run,
                as_json="--json" in given,
                verbose=bool({"-v", "--verbose"} & set(given)),
                asked_to_stop=asked_to_stop,
            )
        )
        settle()
    except Stopped as stop:  # the run had ended, or failed already
        code = int(stop.code) if code is None else code
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    return code


def _code_of(stop: SystemExit) -> int:
    """Its number; a stop that only carries words, as a library may raise it, is no success."""
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or Exit.OK
    tell(str(stop.code))
    return Exit.INTERNAL


def exit_code_of(
    run: Callable[[], int],
    *,
    as_json: bool = False,
    verbose: bool = False,
    asked_to_stop: Callable[[], Exit | None] = lambda: None,
) -> int:
    """Run a command and say its exit code; a failure is told in one line, or as JSON on stdout.

    `verbose`: the user asked to be told which file each number means. `asked_to_stop`: the code of
    a stop that was asked for, whatever the exception has become on its way up: a library that is
    being loaded may swallow it and fail of what it then lacks. A run that ends well all the same
    has written what it was asked for, and stays one.
    """
    try:
        code = run()
        asked = asked_to_stop() if code else None
        return code if asked is None else _stopped(asked)
    except Stopped as stop:
        return _stopped(stop.code)
    except Exception as error:  # noqa: BLE001 - the last border: a bug leaves as exit code 1
        asked = asked_to_stop()
        if asked is not None:
            return _stopped(asked)
        if isinstance(error, IacError):
            return _failed(error, as_json, verbose)
        known = system_failure(error)
        return _failed(known, as_json) if known else _internal(error, as_json)


def _stopped(code: Exit) -> Exit:
    tell("stopped: nothing half-written was left behind")
    return code


def _watch_signals() -> Callable[[], Exit | None]:
    """Raise `Stopped` at Ctrl-C and SIGTERM; answers what tells the code of a stop asked for."""
    asked: list[Exit] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.append(Exit.TERMINATED if number == signal.SIGTERM else Exit.INTERRUPTED)
        raise Stopped(asked[0])

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    _stop_again_where_swallowed(stop)
    return lambda: asked[0] if asked else None


def _stop_again_where_swallowed(stop: Callable[[int, FrameType | None], None]) -> None:
    """Python swallows what is raised in a destructor or a callback; a stop is raised once more."""
    usual = sys.unraisablehook

    def swallowed(told: "sys.UnraisableHookArgs") -> None:
        if not isinstance(told.exc_value, Stopped):
            usual(told)
            return
        number = signal.SIGTERM if told.exc_value.code == Exit.TERMINATED else signal.SIGINT
        signal.signal(signal.SIGALRM, lambda _number, frame: stop(number, frame))
        signal.setitimer(signal.ITIMER_REAL, SOON_S)

    sys.unraisablehook = swallowed


@contextmanager
def gentle_stop(notice: str) -> Iterator[Callable[[], int]]:
    """While the block runs, the first Ctrl-C or SIGTERM only asks; a second one stops at once.

    Yields a function that answers 0, or the exit code of the stop that was asked for.
    """
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        code = Exit.TERMINATED if number == signal.SIGTERM else Exit.INTERRUPTED
        if asked:
            raise Stopped(code)
        asked.append(code)
        tell_from_handler(notice)

    before = {one: signal.signal(one, ask) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked[0] if asked else 0
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _failed(error: IacError, as_json: bool, verbose: bool = False) -> int:
    tell(f"{error.word}: {error.what}\n  way out: {error.way_out}")
    for number in sorted({int(n) for n in FILE_NUMBER.findall(error.what)}):
        if not 1 <= number <= len(error.names):
            continue
        name = error.names[number - 1] if verbose else "'iac-seg inspect -v' tells its name"
        tell(f"  file {number}: {name}")
    if as_json:
        _answer_failure(
            {
                "status": "failed",
                "code": error.word,
                "message": error.what,
                "way_out": error.way_out,
                "exit_code": int(error.exit_code),
            }
        )
    return error.exit_code


def _answer_failure(document: dict[str, object]) -> None:
    """A failure's document; that stdout cannot be written either changes nothing."""
    with suppress(IacError):
        answer_json(document)


def _internal(error: BaseException, as_json: bool) -> int:
    """Write the traceback, without local values and the scan's paths, to a file of its own."""
    import traceback

    _forget_paths(error)
    log = _log_file()
    log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    kind = type(error).__name__
    if as_json:
        _answer_failure({"status": "failed", "code": "internal", "exit_code": int(Exit.INTERNAL)})
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
