"""How fast training is, beside what the machine can do: `python benchmarks/train.py`.

For the pre-training and for every decoder and baseline, at a training's own batch: windows a
second, and the share of the machine's own rate of matrix products, timed right after it in the
precision that the steps took. Counted are the multiplications and additions of matrix products,
convolutions and attention, forward and backward; nothing else, and no recomputation on the CPU, so
that the share is rather too low. With --skulls also a real training on the stream: its share with
everything else that a training does, and how much of its time it waits for windows.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from iac_cli.errors import IacError
from iac_cli.train.baselines import Baseline, BaselineConfig
from iac_cli.train.choose import SMALL_WINDOW, default_batch
from iac_cli.train.decoders import Decoder
from iac_cli.train.finetune import FinetuneSettings, finetune
from iac_cli.train.loop import Budget, Place, Precision, Trainer
from iac_cli.train.mae import Mae, MaeConfig, random_masking
from iac_cli.train.networks import decoder_config, make_network
from iac_cli.train.segmenter import LARGE_EVERY, LARGE_WINDOW, segmentation_loss
from iac_cli.train.streams import SkullSource
from iac_cli.train.vit import Preset, preset_config

SIDE = {"cpu": 2048, "cuda": 8192}
"""Of the square matrices of the machine's own rate."""


def _attention_flop(query, key, value, *_, **__) -> int:
    """Shapes (b, h, n, d): scores, and their product with the values."""
    b, heads, n, d = query
    return 2 * b * heads * n * key[2] * (d + value[3])


def _attention_backward_flop(_gradient, query, key, value, *_, **__) -> int:
    return 2 * _attention_flop(query, key, value)


ON_CPU = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flop,
}
"""What PyTorch's counter does not know."""


def main() -> None:
    """Time everything that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", default="tiny", choices=[p.value for p in Preset])
    parser.add_argument("--batch", type=int, default=0, help="windows [default: a training's]")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each network")
    parser.add_argument("--skulls", type=Path, help="cached heads: time a real training too")
    parser.add_argument("--networks", nargs="*", default=["mae", *Decoder, *Baseline])
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    print(f"{device}, {torch.get_num_threads()} threads")
    print(f"{'network':<14}{'precision':>10}{'windows/s':>11}{'GFLOP/window':>14}{'GFLOP/s':>9}"
          f"{'machine':>9}{'share':>7}")  # fmt: skip
    for name in chosen.networks:
        try:
            _time(name, chosen, device)
        except IacError as error:
            print(f"{name:<14}{error.what}")
    if chosen.skulls is not None:
        _stream(chosen, device)


def _peak(device: torch.device, half: bool) -> float:
    """Best rate of a square matrix product in the precision of a step, FLOP/s.

    On a GPU convolutions in fp32 use TF32 unless told otherwise; then so does the product.
    """
    matmul = torch.backends.cuda.matmul
    before, matmul.allow_tf32 = matmul.allow_tf32, torch.backends.cudnn.allow_tf32
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
    matmul.allow_tf32 = before
    return best


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _step(name: str, preset: str, batch: int, device: torch.device, window=SMALL_WINDOW):
    """A network, and a function from it to the loss on a batch."""
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
    windows = torch.randn(batch, 2, *window, device=device)
    label = (windows[:, 0] > 1.5).float()
    ones = torch.ones_like(label)
    return make_network(config), lambda n: segmentation_loss(n(windows)[:, 0], label, ones)


def _batch(name: str, chosen: argparse.Namespace, device: torch.device) -> int:
    """As in a training, unless told otherwise."""
    usual = (256, 32) if name == "mae" else (96, 24)
    return chosen.batch or default_batch(device, *usual)


def _time(name: str, chosen: argparse.Namespace, device: torch.device) -> None:
    batch = _batch(name, chosen, device)
    network, loss = _step(name, chosen.preset, batch, device)
    with tempfile.TemporaryDirectory() as run:
        place = Place(device=device, precision=Precision.AUTO)
        trainer = Trainer(network, Budget(minutes=60.0), Path(run), place)
        trainer.choose_precision(loss)
        flop = _flop_of_a_step(trainer, loss)  # warms up as well
        n, start = 0, time.perf_counter()
        while time.perf_counter() - start < chosen.seconds:
            _learn(trainer, loss)
            _wait(device)
            n += 1
        rate = n / (time.perf_counter() - start)
    peak = _peak(device, trainer.half)
    print(f"{name:<14}{'bf16' if trainer.half else 'fp32':>10}{rate * batch:>11.1f}"
          f"{flop / batch / 1e9:>14.2f}{rate * flop / 1e9:>9.0f}{peak / 1e9:>9.0f}"
          f"{rate * flop / peak:>7.0%}")  # fmt: skip


def _learn(trainer: Trainer, loss) -> None:
    """A training step."""
    trainer.network.train()
    with trainer.precision():
        value = loss(trainer.network)
    trainer.learn(value)


def _flop_of_a_step(trainer: Trainer, loss) -> int:
    with FlopCounterMode(display=False, custom_mapping=ON_CPU) as counter:
        _learn(trainer, loss)
    return counter.get_total_flops()


def _stream(chosen: argparse.Namespace, device: torch.device) -> None:
    """A real training's share of the machine's rate, and of its time that it waits for windows."""
    told = []
    place = Place(device=device, on_progress=told.append)
    batch = _batch("hybrid", chosen, device)
    settings = FinetuneSettings(
        budget=Budget(minutes=max(0.5, chosen.seconds / 20.0)),
        network=decoder_config(Decoder.HYBRID, preset_config(Preset(chosen.preset))).to_dict(),
        batch=batch,
    )
    flop = 0.0
    with tempfile.TemporaryDirectory() as run:
        finetune(settings, Path(run), place, SkullSource(chosen.skulls))
        for window, n, share in (
            (SMALL_WINDOW, batch, 1.0 - 1.0 / LARGE_EVERY),
            (LARGE_WINDOW, max(1, batch // 4), 1.0 / LARGE_EVERY),
        ):
            network, loss = _step("hybrid", chosen.preset, n, device, window)
            trainer = Trainer(network, Budget(minutes=60.0), Path(run) / str(n), place)
            flop += share * _flop_of_a_step(trainer, loss)
        half = bool(torch.load(Path(run) / "checkpoint.pt", weights_only=True)["numbers"][-1])
    last, peak = told[-1], _peak(device, half)
    rate = last.step / max(1e-9, last.elapsed_s)
    share, waiting = rate * flop / peak, last.values["waiting"]
    print(f"hybrid on the stream: {rate:.2f} steps/s of {batch}, {share:.0%} of the machine's "
          f"rate, {waiting:.0%} of the time waiting for windows")  # fmt: skip


if __name__ == "__main__":
    main()
