"""Options that the trainings share, and how they become values."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iac_cli.train.cache import Entry
    from iac_cli.train.loop import Budget, OnProgress, Place, Progress
    from iac_cli.train.scans import Wanted
    from iac_cli.train.streams import SkullSource

TELL_EVERY_S = 15.0
"""Seconds between two lines where stderr is no terminal."""


class PresetName(StrEnum):
    """Sizes of the encoder."""

    TINY = "tiny"
    SMALL = "small"
    BASE = "base"


class PrecisionName(StrEnum):
    """What a training computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


Out = Annotated[
    Path,
    typer.Option("-o", "--out", readable=False, metavar="RUN", help="The run's folder."),
]
Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", readable=False, metavar="PATH...", help="Scans; more may follow, or --data again."
    ),
]
More = Annotated[list[Path] | None, typer.Argument(readable=False, hidden=True)]
Skulls = Annotated[
    Path | None,
    typer.Option(readable=False, help="Cached heads instead: calcium is simulated in them."),
]
LeftOut = Annotated[str, typer.Option(metavar="NAME", help="A cached head that is not trained on.")]
Minutes = Annotated[float, typer.Option(min=0.0, help="How long to train.")]
Steps = Annotated[
    int, typer.Option(min=0, help="Steps instead of minutes: can be repeated to the bit.")
]
Batch = Annotated[int, typer.Option(min=0, help="Windows a step; 0 suits the device.")]
Seed = Annotated[int, typer.Option(min=0, help="Of weights and draws.")]
Device = Annotated[str, typer.Option("-d", "--device", help="auto, cpu or cuda[:N].")]
PrecisionOption = Annotated[
    PrecisionName, typer.Option(help="auto times a step and takes the faster.")
]
Board = Annotated[bool, typer.Option("--tensorboard", help="TensorBoard's files as well.")]
PerScan = Annotated[int, typer.Option(min=1, help="Windows cut of each scan.")]
ModelFolder = Annotated[
    Path | None, typer.Option("--model", readable=False, help="Folder of another locator.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print failures alone.")]


def need_torch() -> None:
    """Refuse where the `train` extra is not installed. Raises: IacError: runtime_missing."""
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        from iac_cli.infer.engine import runtime_missing

        raise runtime_missing("torch or safetensors", "'.[train]' in the source tree") from error


def budget_of(minutes: float, steps: int, rate: float, seed: int) -> "Budget":
    """Steps win over the default of minutes."""
    from iac_cli.train.loop import Budget

    return Budget(minutes=0.0 if steps else minutes, steps=steps, learning_rate=rate, seed=seed)


@contextmanager
def place_of(
    device: str, precision: PrecisionName, *, tensorboard: bool, quiet: bool
) -> Iterator["Place"]:
    """Where a training runs, alone or among the processes of torchrun, and whom it tells."""
    from iac_cli.train.loop import Place, Precision
    from iac_cli.train.world import choose_device, joined_world

    chosen = choose_device(device)
    with (
        joined_world(chosen) as world,
        training_progress(quiet=quiet or not world.is_first) as tell,
    ):
        yield Place(
            device=chosen,
            world=world,
            precision=Precision(precision.value),
            on_progress=tell,
            tensorboard=tensorboard,
        )


@contextmanager
def training_progress(*, quiet: bool) -> Iterator["OnProgress | None"]:
    """Progress for people: a bar with the losses on a terminal, a line now and then elsewhere."""
    from iac_cli.cli.speak import on_terminal

    if quiet:
        yield None
    elif on_terminal():
        with _bar() as on_progress:
            yield on_progress
    else:
        yield _lines()


def line_of(progress: "Progress") -> str:
    """One line: step, share, minutes, losses."""
    values = ", ".join(f"{name.replace('_', ' ')} {v:.4g}" for name, v in progress.values.items())
    minutes = progress.elapsed_s / 60.0
    return f"step {progress.step}, {progress.share:.0%}, {minutes:.1f} min: {values}"


def _lines() -> "OnProgress":
    from iac_cli.cli.speak import tell

    last = [-TELL_EVERY_S]

    def on_progress(progress: "Progress") -> None:
        if progress.elapsed_s - last[0] >= TELL_EVERY_S or "development_dice" in progress.values:
            last[0] = progress.elapsed_s
            tell(line_of(progress))

    return on_progress


@contextmanager
def _bar() -> Iterator["OnProgress"]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("windows ...", total=1.0)

        def on_progress(progress: "object") -> None:
            bar.update(task, completed=progress.share, description=line_of(progress))  # type: ignore[attr-defined,arg-type]

        yield on_progress


def check_sources(data: list[Path], skulls: Path | None) -> None:
    """Scans or cached heads, one of both. Raises: IacError: bad_option, input_not_found."""
    from iac_cli.errors import IacError, Word

    if bool(data) == (skulls is not None):
        raise IacError(
            Word.BAD_OPTION,
            "either --data or --skulls is needed, and not both",
            way_out="--data with scans, or --skulls with the cache of 'iac-seg train prepare'",
        )
    if skulls is not None and not skulls.is_dir():
        raise IacError(
            Word.INPUT_NOT_FOUND,
            "the folder of cached heads does not exist",
            way_out="make it with 'iac-seg train prepare'",
        )


def entries_of(
    data: list[Path], run: Path, wanted: "Wanted", place: "Place", *, quiet: bool
) -> "list[Entry]":
    """Windows of the scans, with progress; those that were refused are told by number."""
    from iac_cli.cli.progress import progress
    from iac_cli.cli.speak import tell
    from iac_cli.train.runs import check_free
    from iac_cli.train.scans import windows_of

    if place.world.is_first:
        check_free(run)
    with progress(quiet=quiet or not place.world.is_first) as on_step:

        def on_case(done: int, total: int) -> None:
            if on_step is not None:
                on_step("scans to windows", done, total)

        entries, refused = windows_of(data, run / "windows", wanted, place.world, on_case)
    if not quiet:
        for one in refused:
            tell(f"scan {one.number} is left out, {one.word}: {one.what}")
    return entries


def skull_source(skulls: Path, left_out: str) -> "SkullSource":
    """Cached heads but one."""
    from iac_cli.train.streams import SkullSource

    return SkullSource(skulls, left_out)
