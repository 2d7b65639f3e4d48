"""What every training shares: a schedule by elapsed time, averaged weights, resumable checkpoints.

Runs are bounded by time, not steps: the same command gives the best that a budget allows on two
cores or on a data-centre card. A checkpoint is replaced whole, so a killed run loses at most
`CHECKPOINT_S`.
"""

import contextlib
import copy
import csv
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

CHECKPOINT_S = 45.0
"""Longest time between two checkpoints."""

MOST_SKIPPED = 20
"""Steps in a row whose gradient may be not finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How long to train and how fast to learn."""

    minutes: float
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.03
    warm_up: float = 0.03
    """Share of the budget over which the learning rate rises."""
    averaging: float = 0.998
    """Decay of the exponential average of the weights, per step."""
    seed: int = 1


def learning_rate(progress: float, budget: Budget) -> float:
    """Linear rise, then half a cosine to one hundredth; `progress` in [0, 1]."""
    if progress < budget.warm_up:
        return budget.learning_rate * progress / budget.warm_up
    fallen = (progress - budget.warm_up) / (1.0 - budget.warm_up)
    return budget.learning_rate * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, fallen))))


def choose_device(name: str) -> torch.device:
    """`auto` is CUDA where there is one, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether bfloat16 is worth it: always on CUDA; on a CPU only by a timed convolution."""
    if device.type == "cuda":
        return True
    layer, window = nn.Conv3d(16, 16, 3, padding=1), torch.randn(1, 16, 16, 48, 48)
    seconds = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled), torch.no_grad():
            layer(window)
            start = time.perf_counter()
            for _ in range(3):
                layer(window)
            seconds.append(time.perf_counter() - start)
    return seconds[1] < seconds[0]


class Average:
    """Exponential average of a network's weights and normalisation statistics."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move towards the network's present weights; faster at the start."""
        self.steps += 1
        decay = min(self.decay, (1.0 + self.steps) / (10.0 + self.steps))
        mine, theirs = self.network.state_dict(), network.state_dict()
        floats = [key for key, value in mine.items() if value.is_floating_point()]
        torch._foreach_lerp_([mine[k] for k in floats], [theirs[k] for k in floats], 1.0 - decay)


class Trainer:
    """One network under training: step, average, log, checkpoint, resume."""

    def __init__(self, network: nn.Module, budget: Budget, run: Path, device: torch.device) -> None:
        torch.manual_seed(budget.seed)
        torch.backends.cudnn.benchmark = True  # every step has one of few shapes
        self.network, self.budget, self.run, self.device = network.to(device), budget, run, device
        self.average = Average(self.network, budget.averaging)
        self.optimiser = torch.optim.AdamW(
            _decayed(self.network, budget.weight_decay), lr=budget.learning_rate, betas=(0.9, 0.98)
        )
        self.half = bfloat16_pays(device)
        self.elapsed_s, self.step, self._saved_s, self._skipped = 0.0, 0, 0.0, 0
        run.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def progress(self) -> float:
        """Share of the budget that is used, [0, 1]."""
        return min(1.0, self.elapsed_s / (60.0 * self.budget.minutes))

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Autocast to bfloat16 where that pays."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    def steps(self) -> Iterator[int]:
        """Step numbers until the budget is used; keeps the clock and the checkpoints."""
        last = time.monotonic()
        while self.progress < 1.0:
            yield self.step
            self.step += 1
            now = time.monotonic()
            self.elapsed_s, last = self.elapsed_s + now - last, now
            if self.elapsed_s - self._saved_s > CHECKPOINT_S:
                self.save()
        self.save()

    def learn(self, loss: Tensor) -> None:
        """One optimiser step.

        Half precision now and then gives a gradient that is not finite: such a step is left out.
        `MOST_SKIPPED` of them in a row stop the run; its last checkpoint stays.

        Raises:
            FloatingPointError: the loss or its gradient stays not finite.

        """
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.progress, self.budget)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if not bool(torch.isfinite(norm)):
            self._skipped += 1
            if self._skipped >= MOST_SKIPPED:
                raise FloatingPointError(f"the loss is not finite at step {self.step}")
            return
        self._skipped = 0
        self.optimiser.step()
        self.average.update(self.network)

    def log(self, **values: float) -> None:
        """Append a row to the run's `progress.csv`."""
        path = self.run / "progress.csv"
        row = {"step": self.step, "elapsed_s": round(self.elapsed_s, 1)} | values
        new = not path.exists()
        with path.open("a", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, row.keys())
            if new:
                writer.writeheader()
            writer.writerow(row)

    def save(self) -> None:
        """Replace the checkpoint whole."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average.network.state_dict(),
            "average_steps": self.average.steps,
            "optimiser": self.optimiser.state_dict(),
            "elapsed_s": self.elapsed_s,
            "step": self.step,
        }
        partial = self.run / "checkpoint.partial"
        torch.save(state, partial)
        partial.replace(self.run / "checkpoint.pt")
        self._saved_s = self.elapsed_s

    def _resume(self) -> None:
        path = self.run / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.network.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.elapsed_s, self.step = state["elapsed_s"], state["step"]
        self._saved_s = self.elapsed_s


def _decayed(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels only, not on biases and normalisation."""
    wide = [p for p in network.parameters() if p.ndim > 1]
    thin = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": wide, "weight_decay": weight_decay},
        {"params": thin, "weight_decay": 0.0},
    ]
