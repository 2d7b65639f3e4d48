"""Make the pictures of the docs: `python docs/images/make.py`. Only simulated heads, never a scan.

Runs the main job on `sample_data` and keeps its preview; shows slices of the sample and of a head
with every finding there is; then shows the page of a made-up cohort in headless Chromium, when
there is one, and keeps its top.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
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
        make_sample()
        make_findings()
        browser = next(filter(None, map(shutil.which, BROWSERS)), None)
        if browser is not None:
            make_page(Path(folder), browser)


def make_preview(folder: Path) -> None:
    """Segment the sample and copy its preview."""
    out = folder / "out"
    subprocess.run([PROGRAM, "segment", SAMPLE, "-o", out, "-q"], check=True)
    shutil.copy(out / "preview.png", HERE / "sample_preview.png")


def make_sample() -> None:
    """Six slices of the sample, its labels in red."""
    from iac_cli.dicom.labels import read_labels
    from iac_cli.dicom.read import read_series

    volume = read_series(SAMPLE).volume
    labels = read_labels(SAMPLE.parent / "truth" / "labels.nii.gz", volume.grid)
    busy = sorted(np.argsort((labels > 0).sum(axis=(1, 2)))[-4:])
    chosen = [*busy, 17, 22]
    tiles = [tile(volume.hu[k], labels[k] > 0, k in busy) for k in chosen]
    save(tiles, 3, HERE.parent / "simulator.png")


def make_findings() -> None:
    """Slices of a head with every mimic, disease, metal and artefact."""
    from dataclasses import fields

    from iac_cli.simulate.findings.rates import Rates
    from iac_cli.simulate.head import simulate_head
    from iac_cli.simulate.head_settings import HeadSettings

    rates = Rates(**{field.name: 1.0 for field in fields(Rates)})
    head = simulate_head(HeadSettings(seed=5, thickness_mm=3.0, tilt_deg=8.0, rates=rates))
    labels = head.truth.arteries > 0
    tiles = [tile(head.hu[k], labels[k], False) for k in (6, 14, 19, 21, 24, 29, 33, 38)]
    save(tiles, 4, HERE / "findings.png")


def tile(hu: np.ndarray, labels: np.ndarray, bone: bool) -> np.ndarray:
    """One slice, (rows, columns, 3): a bone window or a brain window, labels in red."""
    low, high = (-200.0, 1000.0) if bone else (-20.0, 110.0)
    grey = (np.clip((hu - low) / (high - low), 0.0, 1.0) * 255).astype(np.uint8)
    colour = np.repeat(grey[..., None], 3, axis=2)
    colour[labels] = (255, 60, 40)
    return colour[30:-40, 60:-60]


def save(tiles: list[np.ndarray], per_row: int, path: Path) -> None:
    """Tiles in rows, at two thirds of their size."""
    rows = [np.concatenate(tiles[k : k + per_row], 1) for k in range(0, len(tiles), per_row)]
    picture = Image.fromarray(np.concatenate(rows))
    small = picture.resize((picture.width * 6 // 10, picture.height * 6 // 10), Image.LANCZOS)
    small.save(path, optimize=True)


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
