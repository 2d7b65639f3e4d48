"""`iac-seg train`: from scans to a model, in five steps; each is a file of its own here."""

import typer

from iac_cli.cli import (
    train_calibrate,
    train_export,
    train_finetune,
    train_locator,
    train_pretrain,
    train_reopen,
)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        help="Train, calibrate and export networks of your own.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    for part in (
        train_pretrain,
        train_finetune,
        train_calibrate,
        train_export,
        train_reopen,
        train_locator,
    ):
        part.register(group)
    group.callback()(_train)
    app.add_typer(group, name="train")


def _train() -> None:
    """Train, calibrate and export networks of your own. Needs the `train` extra."""
