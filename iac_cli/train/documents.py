"""The JSON files of a run's folder."""

import json
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object of a run's folder. Raises: IacError: model_unreadable."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error
    if not isinstance(values, dict):
        raise _unreadable(path)
    return values


def _unreadable(path: Path) -> IacError:
    return IacError(
        Word.MODEL_UNREADABLE,
        f"{path.name} of the run cannot be read as the JSON that it should be",
        way_out="restore the run's folder from a copy, or choose another folder",
    )
