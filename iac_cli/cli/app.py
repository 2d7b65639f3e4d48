"""The `iac-seg` application: registers one file a command; `exits.py` runs it.

Command modules import numpy and everything above it inside the command's body, and only the asked
one is loaded at all, so that `--help` answers at once.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer

from iac_cli.cli.commands import COMMANDS
from iac_cli.errors import Exit, IacError, Word

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""What wrong options raise; it lies in another package from one version of Typer to the next."""


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


def run_app(arguments: Sequence[str]) -> int:
    """Run the command that is asked for and answer its exit code. Raises: IacError: bad_option."""
    try:
        code = build_app(arguments)(args=arguments, prog_name="iac-seg", standalone_mode=False)
    except UsageError as error:
        return _wrong_usage(error)
    return code if isinstance(code, int) else Exit.OK


def _wrong_usage(error: Any) -> int:
    """Tell what is wrong with the options; a group without its command shows its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return Exit.USAGE
    told = str(error.format_message()).replace("Value error, ", "")  # the checker's own words
    what = " ".join(told.split()).rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "iac-seg"
    raise IacError(
        Word.BAD_OPTION, what, way_out=f"'{command} --help' tells what it takes"
    ) from error


def build_app(arguments: Sequence[str] = ()) -> typer.Typer:
    """The application for these arguments.

    Only the command that is asked for is loaded; the others, and all of them when the help or an
    unknown command is asked for, are present by name alone.
    """
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
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for command, line in COMMANDS.items():
        if command == asked:
            import_module(f"iac_cli.cli.cmd_{command.replace('-', '_')}").register(app)
        else:
            app.command(command, help=line)(_not_loaded)
    return app


def _not_loaded() -> None:
    """Stands for a command that was not asked for."""
