"""`iac-seg slurm-script`: a batch in parts as a Slurm array job."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("slurm-script")(slurm_script)


def slurm_script(  # noqa: PLR0913 - the command's options
    out: Annotated[
        Path, typer.Option("-o", "--out", readable=False, help="Folder for all results.")
    ],
    num_parts: Annotated[int, typer.Option("--num-parts", min=1, help="Tasks of the array.")],
    given: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[STUDIES_DIR] [-- OPTIONS]",
            help="Tree of studies; after --, more options of batch-score.",
        ),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(readable=False, help="CSV: case_id,path[,sex,age,series,...].")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Longest time of a task: 24:00:00.")] = None,
    mem: Annotated[str | None, typer.Option(help="Memory of a task: 16G.")] = None,
    cpus: Annotated[int | None, typer.Option(min=1, help="Cores of a task.")] = None,
    gpus: Annotated[int | None, typer.Option(min=0, help="GPUs of a task.")] = None,
    partition: Annotated[str | None, typer.Option(help="Partition of the cluster.")] = None,
) -> None:
    """Print a Slurm array script that scores an archive in parts."""
    import sys

    from iac_cli.batch.slurm import Slurm, array_script
    from iac_cli.cli.speak import answer
    from iac_cli.errors import IacError, Word

    words = list(given or ())
    tree = [str(Path(words.pop(0)).absolute())] if words and words[0][:1] != "-" else []
    if manifest is not None:
        tree += ["--manifest", str(manifest.absolute())]
    if not tree:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "neither a tree of studies nor a manifest was given",
            way_out="give STUDIES_DIR or --manifest",
        )
    asked = Slurm(time=time, mem=mem, cpus=cpus, gpus=gpus, partition=partition)
    program = str(Path(sys.argv[0]).absolute())
    answer(array_script(program, out.absolute(), num_parts, [*tree, *words], asked).rstrip("\n"))
