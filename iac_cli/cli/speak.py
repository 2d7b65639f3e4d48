"""How the command line speaks: stdout is for results, stderr for people.

A reader that goes away (`iac-seg ... | head`) never ends the work: what is left unsaid is dropped,
the files are finished and the exit code stays true.
"""

import os
import sys
from typing import Any, TextIO


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


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except BrokenPipeError:
        _silence(stream)


def _silence(stream: TextIO) -> None:
    """Let later writes, and the flush when the interpreter ends, go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
