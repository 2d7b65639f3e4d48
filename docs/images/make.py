"""Make the pictures of the docs: `python docs/images/make.py`. Only simulated heads, never a scan.

Runs the main job on `sample_data` and keeps its preview; then shows the page of a made-up cohort in
headless Chromium, when there is one, and keeps its top.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SAMPLE = ROOT / "sample_data" / "study"
PROGRAM = Path(sys.executable).parent / "iac-seg"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGE_SIZE = (1000, 1180)


def main() -> None:
    """Make each picture beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        make_preview(Path(folder))
        browser = next(filter(None, map(shutil.which, BROWSERS)), None)
        if browser is not None:
            make_page(Path(folder), browser)


def make_preview(folder: Path) -> None:
    """Segment the sample and copy its preview."""
    out = folder / "out"
    subprocess.run([PROGRAM, "segment", SAMPLE, "-o", out, "-q"], check=True)
    shutil.copy(out / "preview.png", HERE / "sample_preview.png")


def make_page(folder: Path, browser: str) -> None:
    """The top of a made-up cohort's page, in as few colours as it needs."""
    table, page, shot = folder / "scores.csv", folder / "page.html", folder / "page.png"
    making = [sys.executable, ROOT / "benchmarks" / "cohort.py", "--rows", "600"]
    subprocess.run([*making, "--table", table], check=True)
    subprocess.run([PROGRAM, "summarise", table, "-o", page], check=True)
    width, height = PAGE_SIZE
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")
    size = f"--window-size={width},{height}"
    command = [browser, *options, size, f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    with Image.open(shot) as image:
        few = image.convert("RGB").quantize(48)
    few.save(HERE / "cohort_page.png", optimize=True)


if __name__ == "__main__":
    main()
