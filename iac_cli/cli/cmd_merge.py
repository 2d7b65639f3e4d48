"""`iac-seg merge`: the tables of a batch that was done in parts."""

from pathlib import Path
from typing import Annotated

import typer

from iac_cli.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("merge")(merge)


def merge(
    sources: Annotated[
        list[Path], typer.Argument(readable=False, metavar="OUT...", help="Batch folders.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", readable=False, help="Folder for the tables."),
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Put the parts of a batch together: the tables of one undivided run."""
    from iac_cli.batch.merge import merge as put_together
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.errors import Exit, IacError, Word

    if out is None and len(sources) > 1:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "several folders are put together, and none is named for the result",
            way_out="pass -o FOLDER",
        )
    merged = put_together(sources, out or sources[0])
    states = merged.counts.by_state
    if as_json:
        answer_json(merged.to_json_dict())
    else:
        told = ", ".join(f"{n} {state.replace('_', ' ')}" for state, n in states.items())
        answer(f"{merged.n_folders} parts: {told}")
    if merged.missing:
        tell(f"warning: missing parts: {', '.join(merged.missing)}")
    if merged.unlike:
        tell("warning: the parts were planned from different archives; resume each with the last")
    if merged.left:
        tell(f"warning: {merged.left} cases have not ended")
    incomplete = merged.missing or merged.unlike or merged.left or states.get("failed", 0)
    raise typer.Exit(Exit.BATCH_PARTIAL if incomplete else Exit.OK)
