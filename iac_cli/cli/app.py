"""The `iac-seg` application: registers one file a command; `exits.py` runs it.

Command modules import numpy and everything above it inside the command's body, so that `--help`
answers at once.
"""

from importlib import import_module
from importlib.util import find_spec

import typer

COMMANDS = (
    "segment",
    "inspect",
    "score",
    "export_risk",
    "convert",
    "simulate",
    "doctor",
    "explain",
)
"""Order of the commands in `--help`. Each is `cmd_NAME.py` with a function `register(app)`."""


def _show_version(wanted: bool) -> None:
    if wanted:
        from iac_cli import __version__

        typer.echo(f"iac-seg {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_show_version,
        is_eager=True,
        help="Print the version and stop.",
    ),
) -> None:
    """Volume and scores of intracranial arterial calcification from plain CT head scans.

    Research use only: not a medical device.
    """


def build_app() -> typer.Typer:
    """The application with every command registered."""
    app = typer.Typer(
        name="iac-seg",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        pretty_exceptions_show_locals=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for command in COMMANDS:
        name = f"iac_cli.cli.cmd_{command}"
        if find_spec(name) is not None:
            import_module(name).register(app)
    return app
