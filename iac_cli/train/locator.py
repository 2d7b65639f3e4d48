"""Train the locator on whole heads.

python -m iac_cli.train.locator --heads FOLDER -o RUN --minutes 20
"""

import argparse
from pathlib import Path

import torch

from iac_cli.locate.keypoints import keypoints
from iac_cli.simulate.heads import CoarseHead, HeadStream
from iac_cli.train.locator_net import Locator, LocatorConfig, keypoint_loss
from iac_cli.train.loop import Budget, Trainer, choose_device
from iac_cli.train.segmenter import save_network

MADE_PER_STEP = 3
"""A head is dearer to make than to learn from: each made one serves about batch / 3 steps."""

POOL = 64


def train_locator(
    heads: Path, run: Path, budget: Budget, *, batch: int, device: torch.device, left_out: str = ""
) -> Locator:
    """Train until the budget is used; returns the network with averaged weights."""
    trainer = Trainer(Locator(LocatorConfig(keypoints=len(keypoints()))), budget, run, device)
    sources = [CoarseHead.load(path) for path in sorted(heads.glob("*.npz"))]
    sources = [head for head in sources if head.name != left_out]
    stream = HeadStream(sources, device=device, seed=budget.seed + trainer.step)
    pool = [stream.batch(1) for _ in range(POOL)]
    for step in trainer.steps():
        for i in range(MADE_PER_STEP):
            pool[(step * MADE_PER_STEP + i) % POOL] = stream.batch(1)
        drawn = torch.randint(POOL, (batch,), generator=stream.random, device=device).tolist()
        inputs, targets, present = (
            torch.cat([getattr(pool[i], name) for i in drawn])
            for name in ("inputs", "targets", "present")
        )
        trainer.network.train()
        with trainer.precision():
            maps, absent = trainer.network(inputs)
        loss = keypoint_loss(maps, absent, targets, present)
        trainer.learn(loss)
        if step % 20 == 0:
            trainer.log(loss=round(loss.item(), 4), lr=trainer.optimiser.param_groups[0]["lr"])
    return trainer.average.network  # type: ignore[return-value]


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("-o", "--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--left-out", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    budget = Budget(minutes=chosen.minutes, seed=chosen.seed, learning_rate=2e-3)
    network = train_locator(
        chosen.heads,
        chosen.run,
        budget,
        batch=chosen.batch,
        device=choose_device(chosen.device),
        left_out=chosen.left_out,
    )
    save_network(network, network.config.to_dict(), chosen.run)


if __name__ == "__main__":
    main()
