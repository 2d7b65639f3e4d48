"""Make the pictures of the docs: `python docs/images/make.py`. Only simulated heads, never a scan.

Runs the main job on `sample_data` and keeps its preview.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[1] / "sample_data" / "study"


def main() -> None:
    """Segment the sample and copy its preview beside this file."""
    program = Path(sys.executable).parent / "iac-seg"
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        subprocess.run([program, "segment", SAMPLE, "-o", out, "-q"], check=True)
        shutil.copy(out / "preview.png", HERE / "sample_preview.png")


if __name__ == "__main__":
    main()
