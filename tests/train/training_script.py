"""A small training as a process of its own, to be killed or started twice.

python training_script.py pretrain|finetune RUN DATA STEPS BATCH [slow]
"""

import sys
import time
from pathlib import Path

import torch

from iac_cli.train import loop
from iac_cli.train.cache import read_index
from iac_cli.train.finetune import FinetuneSettings, finetune
from iac_cli.train.loop import Budget, Place, Precision
from iac_cli.train.pretrain import PretrainSettings, pretrain
from iac_cli.train.streams import SkullSource
from iac_cli.train.world import joined_world
from tests.train import heads


def _rest_after_saving() -> None:
    save = loop.Trainer.save

    def slowly(trainer: loop.Trainer) -> None:
        save(trainer)
        time.sleep(1.0)  # time to be killed in

    loop.Trainer.save = slowly


def main() -> None:
    what, run, data, steps, batch, *slow = sys.argv[1:]
    torch.set_num_threads(1)
    loop.CHECKPOINT_S = 0.0  # after every step

    if slow:
        _rest_after_saving()
    folder = Path(data)
    source = read_index(folder) if (folder / "index.json").is_file() else SkullSource(folder)
    budget = Budget(steps=int(steps), seed=3, averaging=0.5)
    with joined_world(torch.device("cpu")) as world:
        place = Place(
            device=torch.device("cpu"),
            world=world,
            precision=Precision.FP32,
        )
        if what == "pretrain":
            settings = PretrainSettings(
                budget=budget, network=heads.MAE_STILL, batch=int(batch), window=(8, 16, 24)
            )
            pretrain(settings, Path(run), place, source)
        else:
            finetune(
                FinetuneSettings(
                    budget=budget,
                    network=heads.NETWORK,
                    batch=int(batch),
                    window=(8, 16, 16),
                    large_window=(8, 24, 24),
                    stream=heads.STREAM,
                ),
                Path(run),
                place,
                source,
            )


if __name__ == "__main__":
    main()
