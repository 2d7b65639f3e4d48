"""Training with labels: any segmentation network, on the stream or on labelled scans.

One step in `LARGE_EVERY` takes windows of inference size, so that the network is at home there too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iac_cli.errors import IacError, Word
from iac_cli.simulate.stream import StreamConfig
from iac_cli.train.cache import Entry, load_windows
from iac_cli.train.loop import Budget, Place, Trainer
from iac_cli.train.memory import told_memory
from iac_cli.train.networks import make_network, read_config
from iac_cli.train.pictures import draw_rows, fullest, grey
from iac_cli.train.pool import CachedWindows, Drawn, Random, WindowPool, Windows, WindowSource
from iac_cli.train.runs import begin, held_by_first, save_network, start_from, weights_sha256
from iac_cli.train.segmenter import (
    ARTERY_WEIGHT,
    LARGE_EVERY,
    LARGE_WINDOW,
    artery_loss,
    hu_channels,
    network_input,
    segmentation_loss,
)
from iac_cli.train.splits import Split, save_splits
from iac_cli.train.streams import SkullSource, make_stream

LOG_EVERY = 20
WATCH_EVERY = 200
"""Steps between two looks at the development windows, and two pictures."""
WATCHED = 64
PICTURED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneSettings:
    """Settings of one training with labels, saved with it."""

    budget: Budget
    network: dict[str, Any]
    """As in a card's `architecture`."""
    batch: int = 24
    """Windows a step, in each process; a quarter of it in a step of large windows."""
    window: tuple[int, int, int] = (16, 48, 48)
    large_window: tuple[int, int, int] = LARGE_WINDOW
    stream: StreamConfig = field(default_factory=StreamConfig)
    """For cached heads."""
    init_sha256: str | None = None
    """Of the weights that it starts from; filled in when it begins."""


@dataclass(frozen=True, slots=True, eq=False)
class _Sources:
    small: WindowSource
    large: WindowSource
    development: Windows | None = None


def finetune(
    settings: FinetuneSettings,
    run: Path,
    place: Place,
    data: Sequence[Entry] | SkullSource,
    init: Path | None = None,
) -> nn.Module:
    """Train until the budget is used, or go on; returns the network with averaged weights.

    `init` is a pre-training, whose encoder is taken, or a run with labels, taken whole.

    Raises: IacError: output_locked, output_exists, empty_set, labels_missing, loss_not_finite,
    out_of_memory, gpu_out_of_memory, model_not_found, model_shape_mismatch.
    """
    if init is not None:
        settings = replace(settings, init_sha256=weights_sha256(init))
    with told_memory(), held_by_first(run, place.world):
        if place.world.is_first:
            begin(run, settings)
            if not isinstance(data, SkullSource):
                save_splits(run, {entry.patient: entry.split for entry in data})
        torch.manual_seed(settings.budget.seed)
        network = make_network(read_config(settings.network))
        if init is not None:
            start_from(network, init)
        trainer = Trainer(network, settings.budget, run, place)
        torch.manual_seed(settings.budget.seed + 7919 * place.world.rank)
        _learn(trainer, settings, _sources(settings, trainer, data))
        if place.world.is_first:
            save_network(trainer.average.network, settings.network, run)
    return trainer.average.network


def _sources(
    settings: FinetuneSettings, trainer: Trainer, data: Sequence[Entry] | SkullSource
) -> _Sources:
    if isinstance(data, SkullSource):
        return _streamed(settings, trainer, data)
    if not all(entry.labelled for entry in data):
        raise IacError(
            Word.LABELS_MISSING,
            "windows without labels were given",
            way_out="give labelled scans; windows without labels are for 'train pretrain'",
        )
    files = {split: [e.file for e in data if e.split == split] for split in Split}
    windows = load_windows(files[Split.TRAIN]).to(trainer.device)
    seed, world = settings.budget.seed, trainer.world
    small = CachedWindows(windows, settings.window, seed, world)
    large = CachedWindows(windows, settings.large_window, seed + 1, world)
    trainer.keep("small", small)
    trainer.keep("large", large)
    watched = files[Split.DEVELOPMENT]
    return _Sources(small, large, load_windows(watched).to(trainer.device) if watched else None)


def _streamed(settings: FinetuneSettings, trainer: Trainer, data: SkullSource) -> _Sources:
    """Two pools on one stream."""
    stream = make_stream(data, settings.stream, trainer)
    n, m = settings.batch, max(1, settings.batch // 4)
    seed = settings.budget.seed + trainer.world.rank
    small = WindowPool(stream, settings.window, 24 * n, n, seed)
    large = WindowPool(stream, settings.large_window, 12 * m, m, seed + 1)
    for name, pool in (("small", small), ("large", large)):
        trainer.keep(name, pool)
        if not trainer.resumed:
            pool.fill()
    return _Sources(small, large)


def _learn(trainer: Trainer, settings: FinetuneSettings, sources: _Sources) -> None:
    random = Random(settings.budget.seed + 2 + trainer.world.rank, trainer.device)
    trainer.keep("prior", random)
    trainer.choose_precision(lambda network: _trial(network, settings, trainer.device))
    for step in trainer.steps():
        is_large = step % LARGE_EVERY == LARGE_EVERY - 1
        with trainer.waiting():
            n = max(1, settings.batch // 4) if is_large else settings.batch
            batch = (sources.large if is_large else sources.small).draw(n)
        trainer.network.train()
        windows = network_input(batch, trainer.network, random.generator)
        with trainer.precision():
            answer = trainer.model(windows)
        losses = _losses(answer, batch)
        trainer.learn(losses["loss"] + ARTERY_WEIGHT * losses.get("artery_loss", 0.0))
        if step % LOG_EVERY == 0 or trainer.is_last_step:
            trainer.log(**{name: round(loss.item(), 5) for name, loss in losses.items()})
        if (step % WATCH_EVERY == 0 or trainer.is_last_step) and trainer.world.is_first:
            _watch(trainer, batch, sources.development)


def _losses(answer: Tensor, batch: Drawn) -> dict[str, Tensor]:
    """Of calcification, and of the arteries' place where the network answers that too."""
    losses = {"loss": segmentation_loss(answer[:, 0], batch.label, batch.weight)}
    if answer.shape[1] > 1:
        losses["artery_loss"] = artery_loss(answer[:, 1], batch.distance_mm)
    return losses


def _trial(network: nn.Module, settings: FinetuneSettings, device: torch.device) -> Tensor:
    """The loss of a small step, to time."""
    windows = torch.zeros(min(4, settings.batch), 2, *settings.window, device=device)
    logits: Tensor = network(windows)
    return logits.float().square().mean()


def _watch(trainer: Trainer, batch: Drawn, development: Windows | None) -> None:
    """A picture, and the averaged network's loss and Dice on the development windows."""
    if development is not None:
        trainer.log(**_development(trainer, development))
    shown = Drawn(*(v[:PICTURED] for v in (batch.hu, batch.label, batch.weight, batch.distance_mm)))
    with torch.no_grad():
        p = trainer.average.network(network_input(shown, trainer.network))[:, 0].sigmoid()
    p = p * shown.weight  # elsewhere nothing was learned
    channels, rows = hu_channels(shown.hu), []
    for k in range(len(p)):
        z = fullest(shown.label[k] * shown.weight[k])
        planes = (grey(channels[k, 0, z]), grey(channels[k, 1, z]), shown.label[k, z], p[k, z])
        rows.append(planes)
    draw_rows(trainer.run / "pictures" / f"step_{trainer.step:07d}.png", rows)


@torch.no_grad()
def _development(trainer: Trainer, windows: Windows) -> dict[str, float]:
    """Loss and pooled Dice at 0.5 of the averaged network, on voxels that count."""
    losses, both, drawn, labelled = [], 0.0, 0.0, 0.0
    n = min(WATCHED, len(windows.hu))
    for first in range(0, n, 8):
        batch = windows.part(slice(first, min(n, first + 8)))
        logits = trainer.average.network(network_input(batch, trainer.network))[:, 0]
        losses.append(float(segmentation_loss(logits, batch.label, batch.weight)))
        mask, label = (logits > 0.0) * batch.weight, batch.label * batch.weight
        both += float((mask * label).sum())
        drawn, labelled = drawn + float(mask.sum()), labelled + float(label.sum())
    dice = 2.0 * both / max(1.0, drawn + labelled)
    return {
        "development_loss": round(sum(losses) / len(losses), 5),
        "development_dice": round(dice, 4),
    }
