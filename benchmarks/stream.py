"""How fast training windows are made, where the time goes, and how long training waits for them.

    python benchmarks/stream.py --skulls CACHE/skulls [--device cpu|cuda] [--batches 8,32,96]
                                [--seconds 20] [--against CHECKOUT] [-o benchmarks/stream.json]

Windows of 16 x 48 x 48. `processor ms` is the processor time of all threads for a window, which a
busy machine changes less than the clock. `--against` measures the stream of another checkout of
this project in turns with this one, and prints the ratio.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from iac_cli.simulate.stream import StreamConfig, WindowStream
from iac_cli.train.hybrid import Hybrid, HybridConfig
from iac_cli.train.pool import USES
from iac_cli.train.segmenter import (
    hu_channels,
    load_skulls,
    segmentation_loss,
    shares_of,
)
from iac_cli.train.vit import VitConfig

ROUNDS = 3
"""Turns of the two checkouts."""


def make_stream(skulls: Path, device: torch.device) -> WindowStream:
    heads = load_skulls(skulls)
    return WindowStream(heads, shares_of(heads), StreamConfig(), device=device, seed=1)


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def speed(stream: WindowStream, batch: int, seconds: float) -> dict[str, float]:
    stream.batch(batch)
    wait(stream.device)
    made, start, used = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds or not made:
        stream.batch(batch)
        made += batch
    wait(stream.device)
    wall_s, used_s = time.perf_counter() - start, time.process_time() - used
    return {"windows_per_s": made / wall_s, "processor_ms": 1e3 * used_s / made}


def stages(stream: WindowStream, batch: int, seconds: float) -> dict[str, float]:
    """Share of each step in the time that a batch takes."""
    spent: Counter[str] = Counter()

    @contextmanager
    def measured(name: str) -> Iterator[None]:
        wait(stream.device)
        start = time.perf_counter()
        yield
        wait(stream.device)
        spent[name] += time.perf_counter() - start

    stream.stage, before = measured, stream.stage
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or not spent:
        stream.batch(batch)
    stream.stage = before
    return {name: value / sum(spent.values()) for name, value in spent.items()}


def waiting(stream: WindowStream, batch: int, seconds: float) -> dict[str, float]:
    """Share of training that goes by while windows are made, each of which serves some steps."""
    device = stream.device
    network = Hybrid(HybridConfig(vit=VitConfig())).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
    half = device.type == "cuda"
    making = learning = 0.0
    while making + learning < seconds or not learning:
        start = time.perf_counter()
        made = stream.batch(batch)
        wait(device)
        middle = time.perf_counter()
        for _ in range(USES):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
                logits = network(hu_channels(made.hu))[:, 0]
            loss = segmentation_loss(logits, made.label, made.weight)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        wait(device)
        making += middle - start
        learning += time.perf_counter() - middle
    return {
        "batch": batch,
        "share_of_time_waiting": making / (making + learning),
    }


def against(checkout: Path, chosen: argparse.Namespace) -> list[dict[str, float]]:
    """Both checkouts in turns: windows a second and processor ms of each, and the ratio."""
    code = (
        "import sys, json, time, torch; from pathlib import Path;"
        "from iac_cli.train.segmenter import load_skulls, SKULL_SHARES;"
        "from iac_cli.simulate.stream import StreamConfig, WindowStream;"
        "torch.set_num_threads(int(sys.argv[4])); s = load_skulls(Path(sys.argv[1]));"
        "w = WindowStream(s, {n: SKULL_SHARES.get(n, .3) for n in s}, StreamConfig(),"
        " device=torch.device(sys.argv[3]), seed=1); w.batch(8);"
        "t, c, n = time.perf_counter(), time.process_time(), 0\n"
        "while time.perf_counter() - t < float(sys.argv[2]) or not n: w.batch(32); n += 32\n"
        "torch.cuda.synchronize() if sys.argv[3] == 'cuda' else None\n"
        "print(json.dumps([n / (time.perf_counter() - t), 1e3 * (time.process_time() - c) / n]))"
    )
    words = [str(chosen.skulls.resolve()), str(chosen.seconds), chosen.device, str(chosen.threads)]
    here = Path(__file__).parents[1]
    found = []
    for _ in range(ROUNDS):
        row = {}
        for name, folder in (("now", here), ("before", checkout)):
            done = subprocess.run(
                [sys.executable, "-c", code, *words],
                cwd=folder,
                env={"PYTHONPATH": str(folder.resolve()), "PATH": ""},
                check=True,
                capture_output=True,
                text=True,
            )
            row[f"{name}_windows_per_s"], row[f"{name}_processor_ms"] = json.loads(done.stdout)
        row["faster"] = row["now_windows_per_s"] / row["before_windows_per_s"]
        row["less_processor_time"] = row["before_processor_ms"] / row["now_processor_ms"]
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--skulls", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", default="8,32,96")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--against", type=Path)
    parser.add_argument("-o", "--out", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    device = torch.device(chosen.device)
    stream = make_stream(chosen.skulls, device)
    batches = [int(word) for word in chosen.batches.split(",")]
    found: dict[str, object] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "threads": chosen.threads,
        "speed": {n: speed(stream, n, chosen.seconds) for n in batches},
        "stages": stages(stream, batches[0], chosen.seconds / 2),
        "training": waiting(stream, batches[0], chosen.seconds),
    }
    if chosen.against is not None:
        found["against"] = against(chosen.against, chosen)
    text = json.dumps(found, indent=1)
    if chosen.out is not None:
        chosen.out.write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
