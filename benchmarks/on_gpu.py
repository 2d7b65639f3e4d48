"""A trained segmenter on CUDA against the CPU: `python benchmarks/on_gpu.py RUN`. Needs a GPU.

Prints the largest difference in probability (fp32, no TF32) and windows a second.
"""

import sys
import time
from pathlib import Path

import torch

from iac_cli.train.export import interface_of, load_network


def main() -> None:
    """Compare and time."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    network = load_network(Path(sys.argv[1]))
    windows = torch.rand(8, *interface_of(network).example[1:]) * 2 - 1
    with torch.inference_mode():
        wanted = network(windows).sigmoid()
        network, windows = network.cuda(), windows.cuda()
        print(
            "largest difference in p:",
            float((wanted - network(windows).sigmoid().cpu()).abs().max()),
        )
        for half in (False, True):
            with torch.autocast("cuda", torch.bfloat16, enabled=half):
                network(windows)
                torch.cuda.synchronize()
                start = time.perf_counter()
                for _ in range(20):
                    network(windows)
                torch.cuda.synchronize()
            rate = 20 * len(windows) / (time.perf_counter() - start)
            print(f"{'bf16' if half else 'fp32'}: {rate:.0f} windows/s")


if __name__ == "__main__":
    main()
