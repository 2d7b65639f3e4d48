"""The whole training on a bare machine: cached heads in, weights and figures out.

CACHE comes from `iac-seg train prepare`, procedural heads included.

    PYTHONPATH=. python3 containers/train_on_gpu.py --skulls CACHE/skulls -o OUT --minutes 8

Generates windows, pre-trains, fine-tunes, calibrates, and evaluates on windows of seeds of their
own. Needs torch, numpy, scipy and safetensors; no DICOM reader, no command line of the product.
Every file that it leaves is below 16 MB. The same command goes on where a run was cut.
"""

import argparse
import json
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from iac_cli.errors import IacError
from iac_cli.infer.calibrate import calibrated, calibration_of
from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.calibrate import calibrate_on_windows
from iac_cli.train.choose import SMALL_WINDOW, default_batch, network_values
from iac_cli.train.decoders import Decoder
from iac_cli.train.export import load_network
from iac_cli.train.finetune import FinetuneSettings, finetune
from iac_cli.train.locator import LocatorSettings, train_locator
from iac_cli.train.loop import Budget, Place, Precision, Progress
from iac_cli.train.mae import MaeConfig
from iac_cli.train.pretrain import PretrainSettings, pretrain
from iac_cli.train.segmenter import hu_channels, load_skulls, shares_of
from iac_cli.train.streams import SkullSource
from iac_cli.train.vit import Preset, preset_config
from iac_cli.train.world import choose_device, joined_world

EVALUATION_SEED = 30_000_001
MOST_BYTES = 16_000_000
KEPT = ("network.safetensors", "network.json", "settings.json", "progress.csv", "calibration.json")
TELL_EVERY_S = 20.0


def main() -> int:
    """Parse, train, leave the files."""
    chosen = _parser().parse_args()
    try:
        device = choose_device(chosen.device)
        with joined_world(device) as world:
            place = Place(
                device=device,
                world=world,
                precision=Precision(chosen.precision),
                on_progress=_teller(),
            )
            _train(chosen, place)
            if world.is_first:
                _judge(chosen)
                _leave(chosen)
    except IacError as error:
        print(f"{error.word}: {error.what}\n  way out: {error.way_out}", file=sys.stderr)
        return int(error.exit_code)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skulls", type=Path, required=True)
    parser.add_argument("--heads", type=Path, help="coarse heads: train a locator as well")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/bare"), help="checkpoints")
    parser.add_argument("--minutes", type=float, default=8.0, help="of training, all together")
    parser.add_argument("--init", type=Path, help="go on from this run's weights; no pre-training")
    parser.add_argument("--learning-rate", type=float, help="of the fine-tuning, at its highest")
    parser.add_argument("--pretraining", type=float, default=0.25, help="its share of the minutes")
    parser.add_argument("--locator", type=float, default=0.25, help="its share, with --heads")
    parser.add_argument("--locator-init", type=Path, help="go on from this locator's weights")
    parser.add_argument("--preset", choices=[p.value for p in Preset], default="tiny")
    parser.add_argument("--decoder", choices=[d.value for d in Decoder], default="hybrid")
    parser.add_argument("--arteries", action="store_true", help="learn where arteries run as well")
    parser.add_argument("--mask-ratio", type=float, default=0.9)
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--windows", type=int, default=300, help="to calibrate and to evaluate on")
    parser.add_argument("--large-window", default="24,80,80", help="what inference looks at")
    parser.add_argument("--fine-mm", type=float, default=0.5)
    parser.add_argument("--left-out", default="")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=[p.value for p in Precision], default="auto")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _sides(text: str) -> tuple[int, int, int]:
    z, y, x = (int(side) for side in text.split(","))
    return z, y, x


def _teller():
    last = [-TELL_EVERY_S]

    def tell(progress: Progress) -> None:
        if progress.elapsed_s < last[0]:
            last[0] = -TELL_EVERY_S  # another training
        if progress.elapsed_s - last[0] >= TELL_EVERY_S:
            last[0] = progress.elapsed_s
            print(f"step {progress.step}, {progress.share:.0%}: {progress.values}", flush=True)

    return tell


def _train(chosen: argparse.Namespace, place: Place) -> None:
    source = SkullSource(chosen.skulls, chosen.left_out)
    stream = StreamConfig(fine_mm=chosen.fine_mm)
    vit = preset_config(Preset(chosen.preset))
    first = 0.0 if chosen.init else chosen.pretraining * chosen.minutes
    second = chosen.locator * chosen.minutes if chosen.heads else 0.0
    init = chosen.init
    if first > 0:
        init = chosen.runs / "mae"
        settings = PretrainSettings(
            budget=Budget(minutes=first, learning_rate=1e-3, seed=chosen.seed),
            network=MaeConfig(vit=vit, mask_ratio=chosen.mask_ratio),
            batch=chosen.batch or default_batch(place.device, 256, 32),
            window=_sides(chosen.large_window),
            stream=stream,
        )
        _said("pre-training", lambda: pretrain(settings, init, place, source))
    network = network_values(
        vit, Decoder(chosen.decoder), None, prior=False, arteries=chosen.arteries
    )
    tuning = FinetuneSettings(
        budget=_tuning_budget(chosen, chosen.minutes - first - second),
        network=network,
        batch=chosen.batch or default_batch(place.device, 96, 24),
        window=SMALL_WINDOW,
        large_window=_sides(chosen.large_window),
        stream=stream,
    )
    _said("fine-tuning", lambda: finetune(tuning, chosen.runs / "segmenter", place, source, init))
    if chosen.heads and place.world.is_first:
        rate = 1e-3 if chosen.locator_init else 2e-3
        budget = Budget(minutes=second, learning_rate=rate, seed=chosen.seed)
        settings = LocatorSettings(budget=budget, left_out=chosen.left_out)
        run = chosen.runs / "locator"
        alone = Place(device=place.device, precision=place.precision, on_progress=place.on_progress)
        start = chosen.locator_init
        _said("locator", lambda: train_locator(settings, chosen.heads, run, alone, start))


def _tuning_budget(chosen: argparse.Namespace, minutes: float) -> Budget:
    budget = Budget(minutes=minutes, seed=chosen.seed)
    rate = chosen.learning_rate
    return budget if rate is None else replace(budget, learning_rate=rate)


def _said(name: str, work) -> None:
    start = time.monotonic()
    print(f"{name} ...", flush=True)
    work()
    print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)


def _judge(chosen: argparse.Namespace) -> None:
    """Calibrate, then judge on windows of another seed."""
    run = chosen.runs / "segmenter"
    start = time.monotonic()
    fields = calibrate_on_windows(
        run, chosen.skulls, chosen.windows, window=_sides(chosen.large_window)
    )
    (run / "calibration.json").write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")
    print(f"calibration: {time.monotonic() - start:.0f} s", flush=True)
    start = time.monotonic()
    figures = _figures(chosen, fields)
    chosen.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=1) + "\n"
    (chosen.out / "evaluation.json").write_text(text, encoding="utf-8")
    print(f"evaluation: {time.monotonic() - start:.0f} s\n{text}", flush=True)


def _figures(chosen: argparse.Namespace, fields: dict) -> dict:
    """Pooled figures of voxels that count, on windows; no figures of heads, let alone patients."""
    network = load_network(chosen.runs / "segmenter")
    skulls = load_skulls(chosen.skulls)
    config = StreamConfig(fine_mm=1.0, window=_sides(chosen.large_window))
    stream = WindowStream(
        skulls,
        shares_of(skulls),
        config,
        device=torch.device("cpu"),
        seed=EVALUATION_SEED + chosen.seed,
    )
    calibration = calibration_of(fields["calibration"])
    both = drawn = labelled = false_empty = empty = 0.0
    for _ in range(-(-chosen.windows // 8)):
        made = stream.batch(8)
        with torch.inference_mode():
            logits = network(hu_channels(made.hu))[:, 0].numpy()
        counts = (made.weight.numpy() > 0.5) & (made.hu.numpy() >= 130.0)
        mask = (calibrated(logits, calibration) >= fields["threshold"]) & counts
        label = (made.label.numpy() > 0.5) & counts
        both += float((mask & label).sum())
        drawn, labelled = drawn + float(mask.sum()), labelled + float(label.sum())
        clean = ~label.any(axis=(1, 2, 3))
        empty += float(clean.sum())
        false_empty += float(mask[clean].sum())
    voxels = np.array([both, drawn, labelled])
    return {
        "data": f"{chosen.windows} simulated windows of a seed of their own, heads as in training",
        "left_out_of_training": chosen.left_out or None,
        "dice_pooled": 2.0 * both / max(1.0, drawn + labelled),
        "voxel_sensitivity": both / max(1.0, labelled),
        "voxel_ppv": both / max(1.0, drawn),
        "voxels_both_drawn_labelled": voxels.tolist(),
        "windows_without_calcium": empty,
        "false_voxels_in_those": false_empty,
        "threshold": fields["threshold"],
        "ece": fields["figures"]["after"]["ece"],
    }


def _leave(chosen: argparse.Namespace) -> None:
    """Copy what is worth keeping. Checkpoints stay behind."""
    made = ("segmenter", "locator") if chosen.init else ("mae", "segmenter", "locator")
    for name in made:
        run = chosen.runs / name
        files = [run / file for file in KEPT] + sorted((run / "pictures").glob("*.png"))[-2:]
        for file in files:
            if not file.is_file():
                continue
            if file.stat().st_size > MOST_BYTES:
                print(f"left behind, too large: {name}/{file.name}", file=sys.stderr)
                continue
            (chosen.out / name).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, chosen.out / name / file.name)


if __name__ == "__main__":
    sys.exit(main())
