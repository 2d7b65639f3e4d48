"""Time and memory of the main job: `python benchmarks/segment.py [--out FILE.json] [--quick]`.

Each case is a fresh process, the interpreter's start included. Targets are ratios to an anchor that
is timed in the same run, and two budgets in seconds for an idle machine with two cores. Real heads
are read from IAC_TEST_DATA (default ../shared/data) and left out where they are absent.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("IAC_TEST_DATA", ROOT.parent / "shared" / "data"))
PROGRAM = str(Path(sys.executable).parent / "iac-seg")

REAL = {
    "head_ge_tilted, 28 slices": "head_ge_tilted",
    "head_pet_ct, 67 slices": "head_pet_ct",
    "head_healthy, NIfTI, 108 slices": "head_healthy/head.nii.gz",
    "head_cadaver, NIfTI, 113 slices": "head_cadaver/head.nii.gz",
    "phantom_philips, 5 series": "phantom_philips",
}


@dataclass(frozen=True)
class Run:
    """One case: seconds in all and by stage, memory in MB, how it ended."""

    wall_s: float
    peak_mb: float
    stages: dict[str, float]
    status: str


def segment(source: Path, repeats: int, options: Sequence[str]) -> Run:
    """The best of a few runs of `iac-seg segment`, each a process of its own."""
    runs = [_segment_once(source, options) for _ in range(repeats)]
    return min(runs, key=lambda run: run.wall_s)


def _segment_once(source: Path, options: Sequence[str]) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        start = time.perf_counter()
        process = subprocess.Popen(
            [PROGRAM, "segment", str(source), "-o", str(out), "-d", "cpu", "-q", *options]
        )
        _, _, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return Run(wall_s, usage.ru_maxrss / 1024, result["timings"], result["status"])


def best_of(call: Callable[[], Any], repeats: int) -> float:
    """Least seconds of a few calls, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def read_against_dcm2niix(folder: Path, repeats: int) -> dict[str, float]:
    """Reading a series without the imports, and dcm2niix converting it to uncompressed NIfTI."""
    from iac_cli.dicom.read import read_series

    ours_s = best_of(lambda: read_series(folder), repeats)
    tool = shutil.which("dcm2niix") or str(Path(sys.executable).parent / "dcm2niix")
    if not Path(tool).exists():
        return {"read_s": ours_s}

    def convert() -> None:
        with tempfile.TemporaryDirectory() as out:
            command = [tool, "-z", "n", "-b", "n", "-o", out, str(folder)]
            subprocess.run(command, stdout=subprocess.DEVNULL, check=False)

    theirs_s = best_of(convert, repeats)
    return {"read_s": ours_s, "dcm2niix_s": theirs_s, "ratio": ours_s / theirs_s}


def window_against_unet(repeats: int, backend: str) -> dict[str, float]:
    """One window of the shipped network and of a plain convolutional U-Net, same runtime.

    `side_by_side_s` is a window's share when the product runs several at once, in `backend`.
    """
    import onnxruntime

    from iac_cli.infer.card import read_segmenter_card, shipped_models
    from iac_cli.infer.device import usable_threads
    from iac_cli.infer.runtime import open_engine
    from iac_cli.settings import Backend, RunSettings

    card = read_segmenter_card(shipped_models())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_threads()

    def seconds(model: Any) -> float:
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        windows = np.zeros((1, card.n_channels, *card.window), dtype=np.float32)
        return best_of(lambda: session.run(None, {name: windows}), repeats)

    ours_s, unet_s = seconds(str(card.path)), seconds(plain_unet(card.window))
    engine = open_engine(card, RunSettings(device="cpu", backend=Backend(backend)))
    several = np.zeros((engine.batch, card.n_channels, *card.window), dtype=np.float32)
    beside_s = best_of(lambda: engine.run(several), repeats) / engine.batch
    return {
        "window_s": ours_s,
        "side_by_side_s": beside_s,
        "plain_unet_s": unet_s,
        "times_faster": unet_s / ours_s,
    }


def plain_unet(window: tuple[int, int, int]) -> bytes:
    """nnU-Net's PlainConvUNet as an ONNX file with random weights.

    Written out here because the package that defines it pulls other deep learning packages: five
    stages of 32 to 320 channels, two convolutions with instance normalisation and leaky rectifier
    each, the first stride in plane, transposed convolutions upwards.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes: list[Any] = []
    weights: list[Any] = []
    channels = (32, 64, 128, 256, 320)
    strides = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2))

    def weight(*shape: int) -> str:
        name = f"w{len(weights)}"
        values = rng.normal(0, 0.05, shape).astype(np.float32)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def add(operator: str, inputs: list[str], **attributes: Any) -> str:
        output = f"v{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def block(x: str, inputs: int, outputs: int, stride: tuple[int, int, int]) -> str:
        for i in range(2):
            kernel = weight(outputs, inputs if i == 0 else outputs, 3, 3, 3)
            steps = list(stride) if i == 0 else [1, 1, 1]
            x = add("Conv", [x, kernel, weight(outputs)], pads=[1] * 6, strides=steps)
            x = add("InstanceNormalization", [x, weight(outputs), weight(outputs)])
            x = add("LeakyRelu", [x], alpha=0.01)
        return x

    x, inputs, skips = "windows", 2, []
    for outputs, stride in zip(channels, strides, strict=True):
        x = block(x, inputs, outputs, stride)
        skips.append(x)
        inputs = outputs
    skips.pop()
    for outputs, stride in zip(channels[-2::-1], strides[:0:-1], strict=True):
        kernel = weight(inputs, outputs, *stride)
        x = add("ConvTranspose", [x, kernel, weight(outputs)], strides=list(stride))
        x = block(add("Concat", [x, skips.pop()], axis=1), 2 * outputs, outputs, (1, 1, 1))
        inputs = outputs
    nodes.append(helper.make_node("Conv", [x, weight(1, 32, 1, 1, 1)], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "plain_unet",
        [helper.make_tensor_value_info("windows", TensorProto.FLOAT, [1, 2, *window])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1, *window])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return bytes(model.SerializeToString())


def help_against_python(repeats: int) -> dict[str, float]:
    """`iac-seg --help` and a bare interpreter, taken in turn."""
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}

    def seconds(*command: str) -> float:
        start = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, env=variables, check=True)
        return time.perf_counter() - start

    seconds(PROGRAM, "--help")
    pairs = [
        (seconds(sys.executable, "-c", "pass"), seconds(PROGRAM, "--help")) for _ in range(repeats)
    ]
    bare_s, help_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"python_s": bare_s, "help_s": help_s, "ratio": help_s / bare_s}


def simulated_head(folder: Path) -> Path:
    """A simulated head of 300 thin slices of 512 x 512."""
    size = ["--size", "512x512x300", "--thickness-mm", "0.6", "--increment-mm", "0.6"]
    subprocess.run([PROGRAM, "simulate", "head", "-o", str(folder), *size, "-q"], check=True)
    return folder / "study"


def cases(scratch: Path, quick: bool) -> dict[str, Path]:
    """What is measured, by name."""
    found = {"sample_data": ROOT / "sample_data" / "study"}
    found |= {name: DATA / path for name, path in REAL.items()}
    found = {name: path for name, path in found.items() if path.exists()}
    if not quick:
        found["simulated, 300 x 512 x 512"] = simulated_head(scratch / "head300")
    return found


def main() -> None:
    """Measure everything, print a table, and write JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="without the simulated 300 slices")
    parser.add_argument("--model", type=Path, help="another folder of models, for the cases")
    parser.add_argument("--backend", default="onnx", help="onnx or openvino, for the cases")
    given = parser.parse_args()
    options = ["--backend", given.backend]
    options += [] if given.model is None else ["--model", str(given.model)]
    figures: dict[str, Any] = {"cases": {}, "reading": {}}
    with tempfile.TemporaryDirectory() as scratch:
        for name, source in cases(Path(scratch), given.quick).items():
            run = segment(source, given.repeats, options)
            figures["cases"][name] = vars(run)
            stages = ", ".join(f"{stage} {wall_s:.2f}" for stage, wall_s in run.stages.items())
            print(f"{name:<34} {run.wall_s:6.2f} s {run.peak_mb:6.0f} MB {run.status}: {stages}")
            if source.is_dir():
                reading = read_against_dcm2niix(source, given.repeats)
                figures["reading"][name] = reading
                print(f"{'':<34} {_told(reading)}")
    figures["window"] = window_against_unet(given.repeats, given.backend)
    figures["help"] = help_against_python(4 * given.repeats)
    print(f"{'one window':<34} {_told(figures['window'])}")
    print(f"{'--help':<34} {_told(figures['help'])}")
    if given.out:
        given.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in values.items())


if __name__ == "__main__":
    main()
