"""`iac-seg train prepare` and `iac-seg train locator`: cached heads, and what finds arteries."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from iac_cli.cli import train_options as options


def register(app: typer.Typer) -> None:
    """Add the commands to the `train` group."""
    app.command("prepare")(prepare)
    app.command("locator")(locator)


def prepare(
    sources: Annotated[
        Path, typer.Argument(readable=False, metavar="ANATOMY.toml", help="Lists the heads.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", readable=False, metavar="CACHE", help="Folder to fill.")
    ],
    root: Annotated[
        Path | None, typer.Option(readable=False, help="Where the list's paths start from.")
    ] = None,
    procedural: Annotated[int, typer.Option(min=0, help="Procedural heads as well.")] = 6,
    varied: Annotated[
        int, typer.Option(min=0, help="And so many with skull bases wilder than people's.")
    ] = 0,
    quiet: options.Quiet = False,
) -> None:
    """Cache heads with traced arteries: CACHE/skulls for windows, heads and near for locators."""
    from iac_cli.cli.progress import progress
    from iac_cli.train.prepare import prepare as prepare_one
    from iac_cli.train.prepare import prepare_procedural, read_sources

    steps = [partial(prepare_one, source, out) for source in read_sources(sources, root)]
    steps += [partial(prepare_procedural, number, out) for number in range(procedural)]
    steps += [partial(prepare_procedural, number, out, varied=True) for number in range(varied)]
    with progress(quiet=quiet) as on_step:
        for done, step in enumerate(steps):
            if on_step is not None:
                on_step("heads", done, len(steps))
            step()


def locator(  # noqa: PLR0913 - each parameter is an option of the command line
    out: options.Out,
    heads: Annotated[Path, typer.Option(readable=False, help="Cached coarse heads.")],
    left_out: options.LeftOut = "",
    init: Annotated[
        Path | None,
        typer.Option(readable=False, metavar="RUN", help="A run to start from [default: none]."),
    ] = None,
    near: Annotated[
        bool, typer.Option("--near", help="Place arteries finely, in heads of CACHE/near.")
    ] = False,
    minutes: Annotated[float, typer.Option(min=0.0, help="How long to train.")] = 20.0,
    steps: options.Steps = 0,
    batch: Annotated[int, typer.Option(min=1, help="Heads a step.")] = 8,
    learning_rate: Annotated[float, typer.Option(help="Highest.")] = 2e-3,
    seed: options.Seed = 1,
    device: options.Device = "auto",
    precision: options.PrecisionOption = options.PrecisionName.AUTO,
    quiet: options.Quiet = False,
) -> None:
    """Train the network that finds the arteries in a whole head."""
    options.need_torch()
    from iac_cli.train.locator import LocatorSettings, train_locator

    settings = LocatorSettings(
        budget=options.budget_of(minutes, steps, learning_rate, seed),
        batch=batch,
        left_out=left_out,
        near=near,
    )
    with options.place_of(device, precision, tensorboard=False, quiet=quiet) as place:
        train_locator(settings, heads, out, place, init)
