"""Cached heads as a source of labelled windows without end."""

from dataclasses import dataclass
from pathlib import Path

from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.loop import Trainer
from iac_cli.train.pool import WindowPool
from iac_cli.train.segmenter import load_skulls, shares_of

BETWEEN_PROCESSES = 1_000_003
"""Seeds of two processes' streams are this far apart."""


@dataclass(frozen=True, slots=True)
class SkullSource:
    """A folder of cached heads, and one that this training must not see."""

    folder: Path
    left_out: str = ""


def make_stream(source: SkullSource, config: StreamConfig, trainer: Trainer) -> WindowStream:
    """The stream of this process. Raises: IacError: empty_set."""
    skulls = load_skulls(source.folder, source.left_out)
    seed = trainer.budget.seed + BETWEEN_PROCESSES * trainer.world.rank
    return WindowStream(skulls, shares_of(skulls), config, device=trainer.device, seed=seed)


def make_pool(
    source: SkullSource,
    config: StreamConfig,
    trainer: Trainer,
    window: tuple[int, int, int],
    sizes: tuple[int, int],
) -> WindowPool:
    """A pool of one window size; `sizes` are how many it holds, and how many are made at once."""
    stream = make_stream(source, config, trainer)
    return WindowPool(stream, window, *sizes, seed=trainer.budget.seed + trainer.world.rank)
