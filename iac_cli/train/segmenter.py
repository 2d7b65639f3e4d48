"""Train the hybrid network on the window stream.

    python -m iac_cli.train.segmenter --skulls FOLDER -o RUN --minutes 60

Each made window serves several steps (mirrored, with other gain and noise). One step in
`LARGE_EVERY` takes windows of inference size, so that the network is at home there too.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from iac_cli.simulate.skull import Skull
from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.hybrid import Hybrid, HybridConfig
from iac_cli.train.loop import Budget, Trainer, choose_device
from iac_cli.train.vit import VitConfig

HU_WINDOWS = ((-200.0, 1500.0), (0.0, 300.0))
"""The segmenter's input channels, HU."""

SKULL_SHARES = {
    "visible_human": 0.38,
    "head_cadaver": 0.30,
    "head_pet_ct": 0.17,
    "phantom_philips": 0.15,
}
"""How often each head is drawn; a head that is not named here counts 0.3."""

LARGE_WINDOW = (24, 80, 80)
LARGE_EVERY = 4
USES = 3
"""How many steps one made window serves; so many steps pass between two fresh batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterRun:
    """Settings of one training, saved with it."""

    skulls: Path
    run: Path
    budget: Budget
    network: HybridConfig
    stream: StreamConfig
    batch: int = 96
    left_out: str = ""
    """Name of a head that this training must not see."""


def hu_channels(hu: Tensor, windows: tuple[tuple[float, float], ...] = HU_WINDOWS) -> Tensor:
    """HU (b, z, y, x) -> the network's input (b, channels, z, y, x) in [-1, 1]."""
    scaled = [((hu - low) / (high - low)).clamp(0.0, 1.0) * 2.0 - 1.0 for low, high in windows]
    return torch.stack(scaled, dim=1)


def segmentation_loss(logits: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy plus half a soft Dice, on voxels of weight 1 only; all (b, z, y, x)."""
    logits = logits.float()
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    entropy = (each * weight).sum() / weight.sum().clamp(min=1.0)
    p = logits.sigmoid() * weight
    overlap = 2.0 * (p * label).sum() / (p.sum() + (label * weight).sum()).clamp(min=1.0)
    return entropy + 0.5 * (1.0 - overlap)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A training batch, all (b, z, y, x)."""

    hu: Tensor
    label: Tensor
    weight: Tensor


class WindowPool:
    """A ring of made windows from which every step draws; fresh ones replace the oldest."""

    def __init__(self, stream: WindowStream, window: tuple[int, int, int], size: int) -> None:
        self.stream, self.window, self.size = stream, window, size
        self.oldest = self.draws = 0
        shape = (size, *window)
        self.hu = torch.empty(shape, dtype=torch.float16, device=stream.device)
        self.label = torch.empty(shape, dtype=torch.bool, device=stream.device)
        self.weight = torch.empty(shape, dtype=torch.bool, device=stream.device)

    def refresh(self, n: int) -> None:
        """Make `n` new windows in place of the oldest."""
        made = self.stream.batch(n, self.window)
        place = torch.arange(self.oldest, self.oldest + n, device=self.hu.device) % self.size
        self.hu[place] = made.hu.half()
        self.label[place] = made.label > 0.5
        self.weight[place] = made.weight > 0.5
        self.oldest = (self.oldest + n) % self.size

    def fill(self, n: int) -> None:
        """Make every window of the pool, `n` at a time."""
        for _ in range(-(-self.size // n)):
            self.refresh(n)

    def draw(self, n: int) -> Drawn:
        """A batch, mirrored and with gain and noise of its own."""
        random, device = self.stream.random, self.hu.device
        self.draws += 1
        chosen = torch.randint(self.size, (n,), generator=random, device=device)
        hu = self.hu[chosen].float()
        flip = torch.rand(n, 1, 1, 1, generator=random, device=device) < 0.5
        hu, label, weight = (
            torch.where(flip, volume.flip(-1), volume)
            for volume in (hu, self.label[chosen].float(), self.weight[chosen].float())
        )
        gain = 1.0 + 0.02 * torch.randn(n, 1, 1, 1, generator=random, device=device)
        noise = 2.0 * torch.rand(n, 1, 1, 1, generator=random, device=device)
        grain = torch.randn(hu.shape, generator=random, device=device)
        return Drawn(hu * gain + noise * grain, label, weight)


def load_skulls(folder: Path, left_out: str = "") -> dict[str, Skull]:
    """All cached heads of a folder but one."""
    found = {path.stem: Skull.load(path) for path in sorted(folder.glob("*.npz"))}
    return {name: skull for name, skull in found.items() if name != left_out}


def train_segmenter(settings: SegmenterRun, device: torch.device) -> Hybrid:
    """Train until the budget is used; returns the network with averaged weights."""
    trainer = Trainer(Hybrid(settings.network), settings.budget, settings.run, device)
    skulls = load_skulls(settings.skulls, settings.left_out)
    shares = {name: SKULL_SHARES.get(name, 0.3) for name in skulls}
    seed = settings.budget.seed + trainer.step
    stream = WindowStream(skulls, shares, settings.stream, device=device, seed=seed)
    small_n, large_n = settings.batch, max(1, settings.batch // 4)
    small = WindowPool(stream, settings.stream.window, 24 * small_n)
    large = WindowPool(stream, LARGE_WINDOW, 12 * large_n)
    small.fill(small_n)
    large.fill(large_n)
    for step in trainer.steps():
        is_large = step % LARGE_EVERY == LARGE_EVERY - 1
        pool, n = (large, large_n) if is_large else (small, small_n)
        if pool.draws % USES == 0:
            pool.refresh(n)
        batch = pool.draw(n)
        trainer.network.train()
        with trainer.precision():
            logits = trainer.network(hu_channels(batch.hu))[:, 0]
        loss = segmentation_loss(logits, batch.label, batch.weight)
        trainer.learn(loss)
        if step % 50 == 0:
            trainer.log(loss=round(loss.item(), 4), lr=trainer.optimiser.param_groups[0]["lr"])
    return trainer.average.network  # type: ignore[return-value]


def save_network(network: torch.nn.Module, config: dict[str, object], run: Path) -> None:
    """Averaged weights in half precision, with their settings, beside the checkpoint."""
    from safetensors.torch import save_file

    weights = {k: v.detach().cpu() for k, v in network.state_dict().items()}
    halved = {k: v.half() if v.is_floating_point() else v for k, v in weights.items()}
    save_file({k: v.contiguous() for k, v in halved.items()}, run / "network.safetensors")
    (run / "network.json").write_text(json.dumps(config, indent=1), encoding="utf-8")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skulls", type=Path, required=True)
    parser.add_argument("-o", "--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--path", type=int, nargs=4, default=(8, 16, 48, 96))
    parser.add_argument("--fine-mm", type=float, default=0.5)
    parser.add_argument("--left-out", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    settings = SegmenterRun(
        skulls=chosen.skulls,
        run=chosen.run,
        budget=Budget(minutes=chosen.minutes, seed=chosen.seed),
        network=HybridConfig(vit=VitConfig(), path=tuple(chosen.path)),
        stream=StreamConfig(fine_mm=chosen.fine_mm),
        batch=chosen.batch,
        left_out=chosen.left_out,
    )
    network = train_segmenter(settings, choose_device(chosen.device))
    save_network(network, settings.network.to_dict(), settings.run)


if __name__ == "__main__":
    main()
