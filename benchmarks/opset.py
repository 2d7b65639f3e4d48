"""One window of the shipped network as it is, and with the fused attention of a newer opset.

    python benchmarks/opset.py [--opset 23] [--rounds 9]

ONNX Runtime on one thread of the CPU; processor time, the two in turns.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from iac_cli.infer.card import Role, shipped_models
from iac_cli.train.export import OPSET, export_onnx, interface_of, load_network
from iac_cli.train.reopen import reopen


def main() -> None:
    import onnxruntime

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--opset", type=int, default=23)
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    seconds: dict[int, list[float]] = {OPSET: [], chosen.opset: []}
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        reopen(shipped_models(), Role.SEGMENTER, Path(folder) / "run")
        network = load_network(Path(folder) / "run")
        sessions = {}
        for opset in seconds:
            path = Path(folder) / f"{opset}.onnx"
            export_onnx(network, interface_of(network), path, opset)
            sessions[opset] = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        shape = (1, *interface_of(network).example[1:])
        windows = np.random.default_rng(0).uniform(-1.0, 1.0, shape).astype(np.float32)
        for _ in range(chosen.rounds):
            for opset, session in sessions.items():
                start = time.process_time()
                (answers[opset],) = session.run(None, {"windows": windows})
                seconds[opset].append(time.process_time() - start)
    old, new = (statistics.median(own) for own in seconds.values())
    differ = float(np.abs(np.subtract(*answers.values())).max())
    print(
        f"opset {OPSET}: {old:.4f} s a window, opset {chosen.opset}: {new:.4f} s ({new / old:.3f})"
    )
    print(f"logits differ by at most {differ:.1e}")


if __name__ == "__main__":
    main()
