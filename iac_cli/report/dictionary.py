"""Writes docs/data-dictionary.md from the columns: `python -m iac_cli.report.dictionary FILE`."""

import sys
from pathlib import Path

from iac_cli.report.tables import data_dictionary


def main(arguments: list[str]) -> None:
    """Write the data dictionary to the one file that is named."""
    (file,) = arguments
    Path(file).write_text(data_dictionary(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
