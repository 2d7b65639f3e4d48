"""Pre-training without labels: a masked autoencoder on windows of scans or of the stream."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from iac_cli.simulate.stream import StreamConfig
from iac_cli.train.cache import Entry, load_windows
from iac_cli.train.loop import Budget, Place, Trainer
from iac_cli.train.mae import Mae, MaeConfig, random_masking
from iac_cli.train.memory import told_memory
from iac_cli.train.pictures import draw_rows, grey, middle
from iac_cli.train.pool import CachedWindows, Drawn, Random, WindowSource
from iac_cli.train.runs import begin, held_by_first, save_network
from iac_cli.train.segmenter import LARGE_WINDOW, hu_channels
from iac_cli.train.streams import SkullSource, make_pool
from iac_cli.train.vit import patchify
from iac_cli.train.world import World

LOG_EVERY = 20
PICTURE_EVERY = 500
PICTURED = 4
POOL_BATCHES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """Settings of one pre-training, saved with it."""

    budget: Budget
    network: MaeConfig = field(default_factory=MaeConfig)
    batch: int = 32
    """Windows a step, in each process."""
    window: tuple[int, int, int] = LARGE_WINDOW
    stream: StreamConfig = field(default_factory=StreamConfig)
    """For cached heads."""


def pretrain(
    settings: PretrainSettings, run: Path, place: Place, data: Sequence[Entry] | SkullSource
) -> Mae:
    """Train until the budget is used, or go on; returns the network with averaged weights.

    Raises: IacError: output_locked, output_exists, empty_set, loss_not_finite, out_of_memory,
    gpu_out_of_memory, model_shape_mismatch.
    """
    with told_memory(), held_by_first(run, place.world):
        if place.world.is_first:
            begin(run, settings)
        torch.manual_seed(settings.budget.seed)
        trainer = Trainer(Mae(settings.network), settings.budget, run, place)
        torch.manual_seed(settings.budget.seed + 7919 * place.world.rank)
        source = _source(settings, trainer, data)
        _learn(trainer, settings, source)
        network: Mae = trainer.average.network  # type: ignore[assignment]
        if place.world.is_first:
            save_network(network, settings.network.to_dict(), run)
    return network


def _source(
    settings: PretrainSettings, trainer: Trainer, data: Sequence[Entry] | SkullSource
) -> WindowSource:
    if isinstance(data, SkullSource):
        n = max(1, settings.batch // 8)  # masks are new each time: a window lasts
        pool = make_pool(
            data, settings.stream, trainer, settings.window, (POOL_BATCHES * settings.batch, n)
        )
        trainer.keep("pool", pool)
        if not trainer.resumed:
            pool.fill()
        return pool
    windows = load_windows([entry.file for entry in data]).to(trainer.device)
    cached = CachedWindows(windows, settings.window, settings.budget.seed, trainer.world)
    trainer.keep("pool", cached)
    return cached


def _learn(trainer: Trainer, settings: PretrainSettings, source: WindowSource) -> None:
    random = Random(settings.budget.seed + 1, trainer.device)
    trainer.keep("masks", random)
    mae: Mae = trainer.network  # type: ignore[assignment]
    trainer.choose_precision(lambda network: _trial(network, settings, trainer.device))
    for step in trainer.steps():
        with trainer.waiting():
            batch = source.draw(settings.batch)
        windows = hu_channels(batch.hu)
        visible, hidden = _masks(settings, windows, random, trainer.world)
        trainer.network.train()
        with trainer.precision():
            guess = trainer.model(windows, visible, hidden)
        loss = mae.loss(guess, windows, hidden)
        trainer.learn(loss)
        if step % LOG_EVERY == 0 or trainer.is_last_step:
            trainer.log(loss=round(loss.item(), 5))
        if (step % PICTURE_EVERY == 0 or trainer.is_last_step) and trainer.world.is_first:
            _picture(trainer, batch, visible, hidden)


def _masks(
    settings: PretrainSettings, windows: Tensor, random: Random, world: World
) -> tuple[Tensor, Tensor]:
    """This process's share of the masks that all draw together."""
    b, n = len(windows), _n_tokens(settings)
    visible, hidden = random_masking(
        b * world.size, n, settings.network.mask_ratio, random.generator
    )
    mine = slice(world.rank * b, (world.rank + 1) * b)
    return visible[mine], hidden[mine]


def _n_tokens(settings: PretrainSettings) -> int:
    sides = zip(settings.window, settings.network.vit.patch, strict=True)
    n = 1
    for side, patch in sides:
        n *= side // patch
    return n


def _trial(network: nn.Module, settings: PretrainSettings, device: torch.device) -> Tensor:
    """The loss of a small step, to time."""
    b = min(4, settings.batch)
    windows = torch.zeros(b, settings.network.vit.channels, *settings.window, device=device)
    random = torch.Generator(device=device).manual_seed(1)
    visible, hidden = random_masking(b, _n_tokens(settings), settings.network.mask_ratio, random)
    mae: Mae = network  # type: ignore[assignment]
    return mae.loss(mae(windows, visible, hidden), windows, hidden)


@torch.no_grad()
def _picture(trainer: Trainer, batch: Drawn, visible: Tensor, hidden: Tensor) -> None:
    """Window, what is seen of it, and the guess beside it, middle planes of both HU channels."""
    mae: Mae = trainer.average.network  # type: ignore[assignment]
    windows = hu_channels(batch.hu[:PICTURED])
    n = len(windows)
    guess = mae(windows, visible[:n], hidden[:n]).float()
    if mae.config.normalise_patches:  # a guess has lost its level: give it the true one
        true = patchify(windows, mae.config.vit.patch).gather(
            1, hidden[:n, :, None].expand(-1, -1, guess.shape[2])
        )
        guess = guess * true.std(2, keepdim=True) + true.mean(2, keepdim=True)
    seen, guessed = (
        _placed(mae, windows, hidden[:n], values) for values in (-torch.ones_like(guess), guess)
    )
    rows = [
        [
            grey(middle(volume[k, c]))
            for c in range(windows.shape[1])
            for volume in (windows, seen, guessed)
        ]
        for k in range(n)
    ]
    draw_rows(trainer.run / "pictures" / f"step_{trainer.step:07d}.png", rows)


def _placed(mae: Mae, windows: Tensor, hidden: Tensor, values: Tensor) -> Tensor:
    """Windows with their hidden patches replaced by values (b, m, v)."""
    b, c, z, y, x = windows.shape
    pz, py, px = mae.config.vit.patch
    patches = patchify(windows, (pz, py, px))
    patches = patches.scatter(1, hidden[..., None].expand_as(values), values)
    laid = patches.reshape(b, z // pz, y // py, x // px, c, pz, py, px)
    return laid.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(b, c, z, y, x)
