"""`iac-seg status`: how far a batch is, while it runs or after the fact."""

from pathlib import Path
from typing import Annotated

import typer

from iac_cli.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("status")(status)


def status(
    out: Annotated[
        Path, typer.Argument(readable=False, metavar="OUT", help="Output folder of a batch.")
    ],
    as_json: o.Json = False,
) -> None:
    """Say how far a batch is: counts, rate, time left, failures by code."""
    from iac_cli.batch.status import lines_of, read_status
    from iac_cli.cli.speak import answer, answer_json

    found = read_status(out)
    if as_json:
        answer_json(found.to_json_dict())
    else:
        answer("\n".join(lines_of(found)))
