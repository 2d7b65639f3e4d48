"""How runs do on windows of the skulls that they were trained on: the same windows for all of them.

    python benchmarks/window_dice.py RUN... --skulls CACHE/skulls [--windows 512]

Prints the pooled Dice of each run's exported network at the best threshold for it (bright voxels of
acquired slices, as leaving one anatomy out counts them). It says nothing of other heads.
"""

import argparse
from pathlib import Path

import torch

from iac_cli.evaluate.left_out import make_stream
from iac_cli.evaluate.window_scores import judged
from iac_cli.simulate.stream import StreamConfig
from iac_cli.train.export import load_network
from iac_cli.train.segmenter import load_skulls

SEED = 777
"""Of the windows; no training has it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--skulls", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=512)
    chosen = parser.parse_args()
    skulls = load_skulls(chosen.skulls)
    for run in chosen.runs:
        stream = make_stream(skulls, StreamConfig(), torch.device("cpu"), SEED)
        scores = judged(load_network(run), stream, chosen.windows, 0.5)
        print(f"{run.name}: Dice {scores.best_dice:.3f} on {scores.windows} windows", flush=True)


if __name__ == "__main__":
    main()
