"""How fast training is, beside what the machine can do: `python benchmarks/train.py`.

For the pre-training and for every decoder and baseline: windows a second, and the share of the
machine's own matrix-product rate, timed in the same run. With --skulls also a training on the
stream: the share of its time that is spent waiting for windows.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from iac_cli.errors import IacError
from iac_cli.train.baselines import Baseline, BaselineConfig
from iac_cli.train.choose import SMALL_WINDOW
from iac_cli.train.decoders import Decoder
from iac_cli.train.finetune import FinetuneSettings, finetune
from iac_cli.train.loop import Budget, Place, Precision, Trainer
from iac_cli.train.mae import Mae, MaeConfig, random_masking
from iac_cli.train.networks import decoder_config, make_network
from iac_cli.train.segmenter import LARGE_WINDOW, segmentation_loss
from iac_cli.train.streams import SkullSource
from iac_cli.train.vit import Preset, preset_config

SIDE = {"cpu": 2048, "cuda": 8192}


def main() -> None:
    """Time everything that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", default="tiny", choices=[p.value for p in Preset])
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each network")
    parser.add_argument("--skulls", type=Path, help="cached heads: time a real training too")
    parser.add_argument("--networks", nargs="*", default=["mae", *Decoder, *Baseline])
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    peak = {half: _peak(device, half) for half in (False, True)}
    print(f"{device}, {torch.get_num_threads()} threads; matrix products: "
          f"{peak[False] / 1e9:.0f} GFLOP/s fp32, {peak[True] / 1e9:.0f} bf16")  # fmt: skip
    print(f"{'network':<14}{'precision':>10}{'windows/s':>11}{'GFLOP/window':>14}{'of peak':>9}")
    for name in chosen.networks:
        try:
            _time(name, chosen, device, peak)
        except IacError as error:
            print(f"{name:<14}{error.what}")
    if chosen.skulls is not None:
        _stream(chosen, device)


def _peak(device: torch.device, half: bool) -> float:
    """Best rate of a square matrix product, FLOP/s."""
    side, kind = SIDE[device.type], torch.bfloat16 if half else torch.float32
    a = torch.randn(side, side, device=device, dtype=kind)
    a @ a
    best = 0.0
    for _ in range(5):
        _wait(device)
        start = time.perf_counter()
        a @ a
        _wait(device)
        best = max(best, 2.0 * side**3 / (time.perf_counter() - start))
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _step(name: str, preset: str, batch: int, device: torch.device):
    """A network on a batch, and a function from it to the loss."""
    vit = preset_config(Preset(preset))
    random = torch.Generator(device=device).manual_seed(1)
    if name == "mae":
        windows = torch.randn(batch, 2, *LARGE_WINDOW, device=device)
        visible, hidden = random_masking(batch, 600, 0.9, random)
        return Mae(MaeConfig(vit=vit)), lambda n: n.loss(
            n(windows, visible, hidden), windows, hidden
        )
    config = (
        BaselineConfig(name=Baseline(name))
        if name in set(Baseline)
        else decoder_config(Decoder(name), vit)
    )
    windows = torch.randn(batch, 2, *SMALL_WINDOW, device=device)
    label = (windows[:, 0] > 1.5).float()
    ones = torch.ones_like(label)
    return make_network(config), lambda n: segmentation_loss(n(windows)[:, 0], label, ones)


def _time(name: str, chosen: argparse.Namespace, device: torch.device, peak: dict) -> None:
    batch = chosen.batch or (96 if device.type == "cuda" else 8)
    network, loss = _step(name, chosen.preset, batch, device)
    with tempfile.TemporaryDirectory() as run:
        place = Place(device=device, precision=Precision.AUTO)
        trainer = Trainer(network, Budget(minutes=60.0), Path(run), place)
        trainer.choose_precision(loss)

        def step() -> None:
            trainer.network.train()
            with trainer.precision():
                value = loss(trainer.network)
            trainer.learn(value)

        with FlopCounterMode(display=False) as counter:
            step()
        n, start = 0, time.perf_counter()
        while time.perf_counter() - start < chosen.seconds:
            step()
            _wait(device)
            n += 1
        rate = n / (time.perf_counter() - start)
    flop = counter.get_total_flops()
    print(f"{name:<14}{'bf16' if trainer.half else 'fp32':>10}{rate * batch:>11.1f}"
          f"{flop / batch / 1e9:>14.2f}{rate * flop / peak[trainer.half]:>9.0%}")  # fmt: skip


def _stream(chosen: argparse.Namespace, device: torch.device) -> None:
    """The share of a real training's time in which it waits for windows."""
    told = []
    place = Place(device=device, on_progress=told.append)
    batch = chosen.batch or (96 if device.type == "cuda" else 8)
    settings = FinetuneSettings(
        budget=Budget(minutes=max(0.5, chosen.seconds / 20.0)),
        network=decoder_config(Decoder.HYBRID, preset_config(Preset(chosen.preset))).to_dict(),
        batch=batch,
    )
    with tempfile.TemporaryDirectory() as run:
        finetune(settings, Path(run), place, SkullSource(chosen.skulls))
    last = told[-1]
    print(f"hybrid on the stream: {last.step / max(1e-9, last.elapsed_s):.2f} steps/s of {batch}, "
          f"{last.values['waiting']:.0%} of the time waiting for windows")  # fmt: skip


if __name__ == "__main__":
    main()
