"""From an evaluation to the file and the table that docs/validation.md shows.

    python benchmarks/figures.py EVAL/evaluation.json docs/figures/NAME.json --command TEXT

Five digits are kept. The table is printed; a test holds the docs to it.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from iac_cli.evaluate.page import group_table

DIGITS = 5
BY = ("all", "thickness", "anatomy")


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--command", required=True)
    chosen = parser.parse_args()
    document = rounded(json.loads(chosen.evaluation.read_text(encoding="utf-8")))
    document["command"] = chosen.command
    text = json.dumps(document, separators=(",", ":"))
    chosen.out.write_text(text + "\n", encoding="utf-8")
    print("\n".join(group_table(document, *BY)))


if __name__ == "__main__":
    main()
