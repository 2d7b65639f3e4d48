"""How the command line speaks: stdout is for results, stderr for people.

A reader that goes away (`iac-seg ... | head`) or a closed stdout never ends the work: what is left
unsaid is dropped, the files are finished and the exit code stays true. Where stdout cannot be
written for another reason, such as a full disk, that is told as a failure: somebody waits for it.
"""

import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

from iac_cli.errors import FULL_DISK, IacError, Word

STDERR = 2


def harmless(text: str) -> str:
    """The text without control characters, which a tag could use to steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def answer(text: str) -> None:
    """Write a result to stdout, a line or more."""
    _write(sys.stdout, harmless(text))


def answer_json(document: Any) -> None:
    """Write the one JSON document of a `--json` run to stdout."""
    import json

    _write(sys.stdout, json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False))


def tell(text: str) -> None:
    """Write a line for people to stderr."""
    _write(sys.stderr, harmless(text))


def tell_from_handler(text: str) -> None:
    """As `tell`, from within a signal's handler: stderr may be in the middle of a line just then,
    and may not be entered again. What its reader does not take at once is dropped.
    """
    with suppress(OSError, ValueError):
        if select.select([], [STDERR], [], 0.0)[1]:
            os.write(STDERR, f"{harmless(text)}\n".encode(errors="replace"))


def on_terminal() -> bool:
    """Whether stderr is a terminal, which can show what moves."""
    return sys.stderr is not None and sys.stderr.isatty()


def fill_closed() -> None:
    """Let standard streams that are closed lead nowhere, lest a result's file take their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number


def settle() -> None:
    """Write what is left; what cannot be written is dropped, not told when the program ends."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                _silence(stream)


def _write(stream: TextIO | None, text: str) -> None:
    """Raises: IacError: disk_full, output_not_writable, for stdout alone."""
    if stream is None:  # closed by whoever started the program
        return
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except OSError as error:
        _silence(stream)
        if stream is sys.stdout:
            raise IacError(
                Word.DISK_FULL if error.errno in FULL_DISK else Word.OUTPUT_NOT_WRITABLE,
                "standard output cannot be written; files that were asked for are written whole",
                way_out="send standard output elsewhere, or make room where it goes",
            ) from error


def _silence(stream: TextIO) -> None:
    """Let later writes, and the flush when the interpreter ends, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
