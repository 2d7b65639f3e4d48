"""Train a locator: on whole heads, or on what lies around their arteries."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iac_cli.errors import IacError, Word
from iac_cli.locate.keypoints import keypoints
from iac_cli.simulate.heads import NEAR, WHOLE, HeadStream, Scale, StoredHead
from iac_cli.simulate.painted_skull import PROCEDURAL
from iac_cli.train.locator_net import Locator, LocatorConfig, keypoint_loss
from iac_cli.train.loop import Budget, Place, Trainer
from iac_cli.train.memory import told_memory
from iac_cli.train.pool import Random
from iac_cli.train.runs import begin, held, read_network, save_network, start_from, weights_sha256

MADE_PER_STEP = 3
"""A head is dearer to make than to learn from: each made one serves about batch / 3 steps."""

PROCEDURAL_SHARE = 0.5
"""Of all procedural heads together, for one of all real ones together."""

POOL = 64
PARTS = ("inputs", "targets", "present")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorSettings:
    """Settings of one training, saved with it."""

    budget: Budget
    batch: int = 8
    left_out: str = ""
    """Name of a head that this training must not see."""
    near: bool = False
    """Learn to place arteries finely in what lies around them, rather than to find them."""
    init_sha256: str | None = None
    """Of the weights that it starts from; filled in when it begins."""


class HeadPool:
    """Made heads, the oldest replaced first. A checkpoint holds how each was made."""

    def __init__(self, stream: HeadStream) -> None:
        self._stream = stream
        self._made: list[Any] = [None] * POOL
        self._origins: list[Tensor] = [torch.empty(0)] * POOL

    def make(self, place: int) -> None:
        """A new head in a place of the pool."""
        self._origins[place] = self._stream.random.get_state()
        self._made[place] = self._stream.batch(1)

    def of(self, places: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs, targets and presence of some of them."""
        inputs, targets, present = (
            torch.cat([getattr(self._made[i], name) for i in places]) for name in PARTS
        )
        return inputs, targets, present

    def state_dict(self) -> dict[str, Any]:
        """Random states."""
        return {"origins": list(self._origins), "stream": self._stream.random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the same heads again."""
        for place, origin in enumerate(state["origins"]):
            self._stream.random.set_state(origin)
            self.make(place)
        self._stream.random.set_state(state["stream"])


def train_locator(
    settings: LocatorSettings, heads: Path, run: Path, place: Place, init: Path | None = None
) -> nn.Module:
    """Train until the budget is used, or go on; returns the network with averaged weights.

    `init` is a finished run of a locator, whose weights are taken at the start.

    Raises: IacError: as `finetune`.
    """
    if init is not None:
        _check_locator(init)
        settings = replace(settings, init_sha256=weights_sha256(init))
    scale = NEAR if settings.near else WHOLE
    config = LocatorConfig(keypoints=len(keypoints()), cell_mm=scale.cell_mm)
    with told_memory(), held(run):
        begin(run, settings)
        torch.manual_seed(settings.budget.seed)
        network = Locator(config)
        if init is not None:
            start_from(network, init)
        trainer = Trainer(network, settings.budget, run, place)
        kept = _load_heads(heads, settings.left_out, scale)
        stream = HeadStream(
            kept,
            device=trainer.device,
            seed=settings.budget.seed,
            shares=shares_of(head.name for head in kept),
            scale=scale,
        )
        _learn(trainer, HeadPool(stream), settings)
        save_network(trainer.average.network, config.to_dict(), run)
    return trainer.average.network


def shares_of(names: Iterable[str]) -> dict[str, float]:
    """How often each of these heads is drawn: real ones alike, procedural ones as one kind."""
    names = list(names)
    drawn = [name for name in names if name.startswith(PROCEDURAL)]
    n_real = max(1, len(names) - len(drawn))
    each = PROCEDURAL_SHARE * n_real / max(1, len(drawn))
    return {name: each if name in drawn else 1.0 for name in names}


def _check_locator(run: Path) -> None:
    if read_network(run)["name"] != "locator":
        raise IacError(
            Word.MODEL_SHAPE_MISMATCH,
            "the run to start from holds no locator",
            way_out="give the folder of a run of 'iac-seg train locator'",
        )


def _load_heads(folder: Path, left_out: str, scale: Scale) -> list[StoredHead]:
    found = [StoredHead.load(path) for path in sorted(folder.glob("[!.]*.npz"))]
    kept = [head for head in found if head.name != left_out]
    if not kept:
        raise IacError(
            Word.EMPTY_SET,
            "the folder holds no cached head to train on",
            way_out="make them with 'iac-seg train prepare', and give its folder 'heads'",
        )
    other = [head.name for head in kept if head.step_mm != scale.stored_mm]
    if other:
        raise IacError(
            Word.BAD_SETTING,
            f"{len(other)} of the cached heads are not of {scale.stored_mm:g} mm, as {other[0]}",
            way_out="give CACHE/heads, or CACHE/near with --near, of 'iac-seg train prepare'",
        )
    return kept


def _learn(trainer: Trainer, pool: HeadPool, settings: LocatorSettings) -> None:
    random = Random(settings.budget.seed + 1, torch.device("cpu"))
    trainer.keep("pool", pool)
    trainer.keep("draws", random)
    if not trainer.resumed:
        for place in range(POOL):
            pool.make(place)
    example = pool.of([0])[0]
    trainer.choose_precision(lambda network: network(example)[0].float().square().mean())
    for step in trainer.steps():
        with trainer.waiting():
            for i in range(MADE_PER_STEP):
                pool.make((step * MADE_PER_STEP + i) % POOL)
        drawn = torch.randint(POOL, (settings.batch,), generator=random.generator).tolist()
        inputs, targets, present = pool.of(drawn)
        trainer.network.train()
        with trainer.precision():
            maps, absent = trainer.model(inputs)
        loss = keypoint_loss(maps, absent, targets, present)
        trainer.learn(loss)
        if step % 20 == 0:
            trainer.log(loss=round(loss.item(), 4))
