"""What scripts share that measure into a JSON file and draw pictures of it."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def rounded(document: object) -> str:
    """JSON with five digits of each number."""
    if isinstance(document, dict):
        return "{" + ",\n".join(f'"{k}": {rounded(v)}' for k, v in document.items()) + "}"
    if isinstance(document, list | tuple):
        return "[" + ", ".join(rounded(v) for v in document) + "]"
    return f"{document:.5g}" if isinstance(document, float) else json.dumps(document)


def number(value: float | None, digits: int) -> str:
    """A cell of a table."""
    return "-" if value is None else f"{value:.{digits}f}"


def measure_or_draw(
    doc: str | None,
    measure: Callable[[Path, Path], None],
    draw: Callable[[Any, Path], None],
    measured: str,
) -> None:
    """`measure [--data DATA] [-o FILE]` and `draw FILE [-o FOLDER]`."""
    parser = argparse.ArgumentParser(description=doc)
    todo = parser.add_subparsers(dest="todo", required=True)
    measuring = todo.add_parser("measure")
    measuring.add_argument("--data", type=Path, default=Path("../shared/data"))
    measuring.add_argument("-o", "--out", type=Path, default=Path(measured))
    drawing = todo.add_parser("draw")
    drawing.add_argument("measured", type=Path)
    drawing.add_argument("-o", "--out", type=Path, default=Path("docs/images"))
    chosen = parser.parse_args()
    if chosen.todo == "measure":
        measure(chosen.data, chosen.out)
    else:
        draw(json.loads(chosen.measured.read_text(encoding="utf-8")), chosen.out)
