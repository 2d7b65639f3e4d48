"""`iac-seg train reopen`: an exported model as a run again, to train on."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from iac_cli.cli import train_options as options


class RoleName(StrEnum):
    """What a model does."""

    SEGMENTER = "segmenter"
    LOCATOR = "locator"
    LOCATOR_NEAR = "locator_near"


def register(app: typer.Typer) -> None:
    """Add the command to the `train` group."""
    app.command("reopen")(reopen)


def reopen(
    out: options.Out,
    role: Annotated[RoleName, typer.Option(help="Which of the models.")] = RoleName.SEGMENTER,
    model: Annotated[
        Path | None,
        typer.Option("--model", readable=False, help="Folder of other models than the shipped."),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Make a run of an exported model, so that --init can go on from its weights."""
    options.need_torch()
    from iac_cli.cli.speak import tell
    from iac_cli.infer.card import Role, shipped_models
    from iac_cli.train.reopen import reopen as library

    library(model or shipped_models(), Role(role.value), out)
    if not quiet:
        command = "finetune" if role == RoleName.SEGMENTER else "locator"
        tell(f"reopened: {out}; next 'iac-seg train {command} --init {out}'")
