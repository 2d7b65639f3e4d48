"""Progress for people, on stderr: a bar on a terminal, one plain line a stage elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from iac_cli.cli.speak import on_terminal, tell

OnStep = Callable[[str, int, int], None]


@contextmanager
def progress(*, quiet: bool) -> Iterator[OnStep | None]:
    """Yield the callback (stage, done, of how many) that shows progress; None when quiet."""
    if quiet:
        yield None
    elif on_terminal():
        with _bar() as on_step:
            yield on_step
    else:
        yield _plain()


def _plain() -> OnStep:
    """A line when a stage begins, none for its steps."""
    told: set[str] = set()

    def on_step(stage: str, _done: int, _total: int) -> None:
        if stage not in told:
            told.add(stage)
            tell(f"{stage} ...")

    return on_step


@contextmanager
def _bar() -> Iterator[OnStep]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, object] = {}

        def on_step(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=done, total=total or None)  # type: ignore[arg-type]

        yield on_step
