"""`iac-seg inspect`: every series found, which one would be used, and why the others not."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("inspect")(inspect)


def inspect(
    source: Annotated[
        Path,
        typer.Argument(
            readable=False, metavar="INPUT", help="A DICOM folder or file, a zip, or NIfTI."
        ),
    ],
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID to judge as named.")] = None,
    rules: Annotated[
        Path | None, typer.Option(readable=False, help="A rules file of your own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Also tell which file each number means.")
    ] = False,
) -> None:
    """List every series found, each rule's verdict, and which series would be used."""
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.dicom.inspection import lines_of, lines_of_names
    from iac_cli.dicom.read import inspect_source
    from iac_cli.dicom.reading import ReadSettings

    inspection = inspect_source(source, ReadSettings(rules=rules, series=series))
    if as_json:
        answer_json(inspection.to_json_dict())
    else:
        answer("\n".join(lines_of(inspection)))
    if verbose and inspection.names:
        tell("\n".join(lines_of_names(inspection)))
    if inspection.failure is not None:
        if as_json:
            raise typer.Exit(inspection.failure.exit_code)
        raise inspection.failure
