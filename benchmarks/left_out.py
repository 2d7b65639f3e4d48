"""From runs that left one anatomy out to the file and the table that docs/stream.md shows.

    python benchmarks/left_out.py OUT... -o docs/figures/left_out.json

OUT are folders of `python -m iac_cli.evaluate.left_out`, all of one length.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measured import number, rounded

SHOWN = {"dice": 3, "sensitivity": 2, "false_mm3_per_window": 1}
"""Figures of a judgement and their decimals."""


def runs_of(folders: list[Path]) -> list[dict[str, Any]]:
    """Every finished run, by name."""
    paths = sorted(path for folder in folders for path in folder.glob("*/result.json"))
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    if len({(run["minutes"], run["steps"]) for run in runs}) != 1:
        raise SystemExit("these runs are not all of one length, or there are none")
    return runs


def table(document: dict[str, Any]) -> Iterator[str]:
    """A row for each run, a column for each head that any was judged on."""
    runs = document["runs"]
    heads = sorted({name for run in runs for name in run["judged_on"]})
    yield f"| | {' | '.join(name.removeprefix('judge:') for name in heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for run in runs:
        cells = (_cell(run["judged_on"].get(name)) for name in heads)
        yield f"| {run['run']} | {' | '.join(cells)} |"


def _cell(scores: dict[str, Any] | None) -> str:
    if scores is None:
        return "–"
    return ", ".join(number(scores[name], digits) for name, digits in SHOWN.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--out", type=Path, required=True)
    chosen = parser.parse_args()
    document = {"schema": 1, "runs": runs_of(chosen.folders)}
    chosen.out.write_text(rounded(document) + "\n", encoding="utf-8")
    print("\n".join(table(document)))


if __name__ == "__main__":
    main()
