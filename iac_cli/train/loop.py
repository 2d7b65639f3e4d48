"""What every training shares: schedule, averaged weights, losses on file, resumable checkpoints.

A run is bounded by time (the best that a budget allows, on two cores or on a data-centre card) or
by steps (then it can be repeated exactly). A checkpoint holds the random states and what the
windows are drawn from; it is replaced whole, so that a killed run loses at most `CHECKPOINT_S` and
goes on as if nothing had happened: on a CPU, a run bounded by steps ends with the same bits.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from iac_cli.errors import IacError, Word
from iac_cli.report.files import written_whole
from iac_cli.train.average import Average
from iac_cli.train.losses_file import LossesFile
from iac_cli.train.memory import keep_freed_memory
from iac_cli.train.world import World

CHECKPOINT_S = 45.0
"""Longest time between two checkpoints."""

MOST_SKIPPED = 20
"""Steps in a row whose gradient may be not finite."""

MOST_SKIPPED_IN_HALF = 5
"""After so many in bfloat16 the run goes on in full precision."""

TIMED_STEPS = 2


class Precision(StrEnum):
    """What a training computes in. `auto` takes bfloat16 where a timed step is faster in it."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long to train and how fast to learn. Either `minutes` or `steps` is above 0."""

    minutes: float = 0.0
    steps: int = 0
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.03
    warm_up: float = 0.03
    """Share of the budget over which the learning rate rises."""
    averaging: float = 0.998
    """Decay of the exponential average of the weights, per step."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """What a run tells while it is at work."""

    step: int
    share: float
    """Of the budget, [0, 1]."""
    elapsed_s: float
    values: dict[str, float]


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a training runs, and whom it tells."""

    device: torch.device
    world: World = field(default_factory=World)
    precision: Precision = Precision.AUTO
    on_progress: OnProgress | None = None
    tensorboard: bool = False


class Stateful(Protocol):
    """Something that a checkpoint must hold, such as what windows are drawn from."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and lists of them."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Be as then."""


def check_budget(budget: Budget) -> None:
    """Refuse a budget that is none. Raises: IacError: bad_setting."""
    if (budget.minutes > 0) == (budget.steps > 0) or not 0 < budget.learning_rate < 1:
        raise IacError(
            Word.BAD_SETTING,
            "a training needs either minutes or steps above 0, and a learning rate in (0, 1)",
            way_out="for example --minutes 30",
        )


def learning_rate(progress: float, budget: Budget) -> float:
    """Linear rise, then half a cosine to one hundredth; `progress` in [0, 1]."""
    if progress < budget.warm_up:
        return budget.learning_rate * progress / budget.warm_up
    fallen = (progress - budget.warm_up) / (1.0 - budget.warm_up)
    return budget.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, fallen))))


def bfloat16_pays(step: Callable[[], Tensor], device: torch.device) -> bool:
    """Whether a training step, given as the loss that it leads to, is faster in bfloat16.

    Timed, but for processors with AVX2 alone: there a convolution in bfloat16 takes many seconds,
    too long to try.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        return False
    seconds, finite = [], True
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            step().backward()  # type: ignore[no-untyped-call]
            start = time.perf_counter()
            for _ in range(TIMED_STEPS):
                loss = step()
                loss.backward()  # type: ignore[no-untyped-call]
                finite = finite and bool(torch.isfinite(loss))
            seconds.append(time.perf_counter() - start)
    return finite and seconds[1] < seconds[0]


class Trainer:
    """One network under training: step, average, log, checkpoint, resume."""

    def __init__(self, network: nn.Module, budget: Budget, run: Path, place: Place) -> None:
        check_budget(budget)
        torch.backends.cudnn.benchmark = True  # every step has one of few shapes
        if place.device.type == "cpu":
            keep_freed_memory()
            # Kernels with their channels side by side: convolutions are faster so.
            network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.network, self.budget, self.run = network.to(place.device), budget, run
        self.device, self.world, self._place = place.device, place.world, place
        self.model = _shared(self.network, self.world)
        """What a step calls: the network, its gradients averaged over the processes."""
        self.average = Average(self.network, budget.averaging)
        self.optimiser = torch.optim.AdamW(
            _decayed(self.network, budget.weight_decay), lr=budget.learning_rate, betas=(0.9, 0.98)
        )
        self.half = False
        self.elapsed_s, self.step, self.waited_s = 0.0, 0, 0.0
        self._saved_s, self._skipped, self._timed = 0.0, 0, False
        self._kept: dict[str, Stateful] = {}
        self._states: dict[str, Any] = {}
        run.mkdir(parents=True, exist_ok=True)
        self._losses = LossesFile(run, self.world.is_first, board=place.tensorboard)
        self._resume()

    @property
    def progress(self) -> float:
        """Share of the budget that is used, [0, 1]."""
        if self.budget.steps:
            return min(1.0, self.step / self.budget.steps)
        return min(1.0, self.elapsed_s / (60.0 * self.budget.minutes))

    @property
    def is_last_step(self) -> bool:
        """Whether the step at work is the last one; known beforehand of a budget of steps, else
        taken from how long a step has taken so far."""
        if self.budget.steps:
            return self.step + 1 >= self.budget.steps
        a_step_s = self.elapsed_s / max(1, self.step)
        return self.elapsed_s + a_step_s >= 60.0 * self.budget.minutes

    @property
    def resumed(self) -> bool:
        """Whether the run goes on from a checkpoint."""
        return bool(self._states)

    def keep(self, name: str, thing: Stateful) -> None:
        """Hold something in every checkpoint; where there is one, it is as then at once."""
        self._kept[name] = thing
        if self._states:
            thing.load_state_dict(self._states["kept"][name])

    def choose_precision(self, step: Callable[[nn.Module], Tensor]) -> None:
        """Settle on bfloat16 or not, for the whole run; `step` is a small step's loss."""
        if self.resumed or self._place.precision != Precision.AUTO:
            self.half = self.half if self.resumed else self._place.precision == Precision.BF16
            return
        with torch.random.fork_rng(devices=[]):
            trial = type(self.average)(self.network, 0.0).network.requires_grad_(True).train()
            pays = bfloat16_pays(lambda: step(trial), self.device)
        self.half = bool(self.world.from_first(float(pays), self.device))

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Autocast to bfloat16 where that pays."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time in which no step is made because windows are."""
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.waited_s += time.perf_counter() - start

    def steps(self) -> Iterator[int]:
        """Step numbers until the budget is used; keeps the clock and the checkpoints."""
        self._restore_random()
        last = time.monotonic()
        while self.progress < 1.0:
            yield self.step
            self.step += 1
            now = time.monotonic()
            elapsed_s = self.elapsed_s + now - last
            self.elapsed_s, last = self.world.from_first(elapsed_s, self.device), now
            if self.elapsed_s - self._saved_s > CHECKPOINT_S:
                self.save()
        self.save()

    def learn(self, loss: Tensor) -> None:
        """One optimiser step.

        Half precision now and then gives a gradient that is not finite: such a step is left out,
        and after `MOST_SKIPPED_IN_HALF` in a row the run goes on in full precision.

        Raises:
            IacError: loss_not_finite after `MOST_SKIPPED` in a row.

        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.progress, self.budget)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not bool(torch.isfinite(norm)):
            self._skip()
            return
        self._skipped = 0
        self.optimiser.step()
        self.average.update(self.network)

    def _skip(self) -> None:
        self._skipped += 1
        if self._skipped == MOST_SKIPPED_IN_HALF:
            self.half = False
        if self._skipped >= MOST_SKIPPED:
            raise IacError(
                Word.LOSS_NOT_FINITE,
                f"the loss or its gradient is not finite, {MOST_SKIPPED} steps in a row up to "
                f"step {self.step}",
                way_out="lower --learning-rate and start in a new folder, or check the scans' HU",
            )

    def log(self, **values: float) -> None:
        """Write a row of losses and tell about it."""
        row = values | {
            "lr": self.optimiser.param_groups[0]["lr"],
            "waiting": round(min(1.0, self.waited_s / max(1.0, self.elapsed_s)), 3),
        }
        self._losses.add(self.step, self.elapsed_s, row)
        if self._place.on_progress and self.world.is_first:
            self._place.on_progress(Progress(self.step, self.progress, self.elapsed_s, row))

    def save(self) -> None:
        """Replace the checkpoint whole."""
        own = {
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "kept": {name: thing.state_dict() for name, thing in self._kept.items()},
        }
        processes = self.world.gathered(own)
        if self.world.is_first:
            state = {
                "network": self.network.state_dict(),
                "average": self.average.network.state_dict(),
                "average_steps": self.average.steps,
                "optimiser": self.optimiser.state_dict(),
                "numbers": [self.elapsed_s, self.step, self.waited_s, self._skipped, self.half],
                "processes": processes,
            }
            with written_whole(self.run / "checkpoint.pt") as building:
                torch.save(state, building)
        self._saved_s = self.elapsed_s

    def _resume(self) -> None:
        """Raises: IacError: model_shape_mismatch, model_unreadable, conflicting_options."""
        path = self.run / "checkpoint.pt"
        if not path.exists():
            return
        state = _read_checkpoint(path)
        try:
            self.network.load_state_dict(state["network"])
            self.average.network.load_state_dict(state["average"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (RuntimeError, ValueError) as error:
            raise IacError(
                Word.MODEL_SHAPE_MISMATCH,
                "the checkpoint in the run's folder is of another network",
                way_out="choose another folder, or give the options that the run was begun with",
            ) from error
        if len(state["processes"]) != self.world.size:
            raise IacError(
                Word.CONFLICTING_OPTIONS,
                f"the run was begun with {len(state['processes'])} processes, "
                f"now there are {self.world.size}",
                way_out="start as many processes as before",
            )
        self.average.steps = state["average_steps"]
        elapsed_s, step, waited_s, skipped, half = state["numbers"]
        self.elapsed_s, self.step, self.waited_s = elapsed_s, step, waited_s
        self._skipped, self.half, self._saved_s = skipped, half, elapsed_s
        self._states = state["processes"][self.world.rank]
        self._losses.cut(self.step)

    def _restore_random(self) -> None:
        if self._states:
            torch.set_rng_state(self._states["random"])
            if self._states["cuda"] is not None:
                torch.cuda.set_rng_state(self._states["cuda"], self.device)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, UnpicklingError) as error:
        raise IacError(
            Word.MODEL_UNREADABLE,
            "the checkpoint in the run's folder cannot be read",
            way_out="remove checkpoint.pt to begin that run again, or choose another folder",
        ) from error
    return state


def _shared(network: nn.Module, world: World) -> nn.Module:
    """The network as each of several processes calls it; their gradients are averaged."""
    if world.size == 1:
        return network
    if next(network.parameters()).is_cuda:
        network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
    return nn.parallel.DistributedDataParallel(network)


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels only, not on biases and normalisation."""
    wide = [p for p in network.parameters() if p.ndim > 1]
    thin = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": wide, "weight_decay": weight_decay},
        {"params": thin, "weight_decay": 0.0},
    ]
