"""Cache what leaving one anatomy out needs beside the heads of training: judges, made-up skulls.

    python -m iac_cli.evaluate.left_out_heads -o CACHE [--judge NAME IMAGE LINES]...
        [--procedural N]

`CACHE/judges` holds heads that are for judging only and must never lie among those of training;
`CACHE/skulls` gets N procedural skulls. Training heads come from `iac-seg train prepare`.
"""

import argparse
from pathlib import Path

from iac_cli.dicom.read import read_series
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.head import anatomy_stream
from iac_cli.simulate.painted_skull import painted_skull
from iac_cli.simulate.skull import make_skull, read_lines

FIRST_SEED = 70_001
"""Procedural skulls of training have seeds of their own."""


def cache_judge(name: str, image: Path, lines: Path, cache: Path) -> None:
    """Cache one head for judging."""
    folder = cache / "judges"
    folder.mkdir(parents=True, exist_ok=True)
    make_skull(name, read_series(image).volume, read_lines(lines)).save(folder / f"{name}.npz")


def cache_procedural(number: int, cache: Path) -> None:
    """Cache the procedural skull of a number; one that is there stays."""
    folder = cache / "skulls"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"procedural_{number}"
    if not (folder / f"{name}.npz").exists():
        head = draw_head(anatomy_stream(FIRST_SEED + number))
        painted_skull(name, head).save(folder / f"{name}.npz")


def main() -> None:
    """Parse the command line and cache what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--cache", type=Path, required=True)
    parser.add_argument("--judge", nargs=3, action="append", default=[])
    parser.add_argument("--procedural", type=int, default=0)
    chosen = parser.parse_args()
    for name, image, lines in chosen.judge:
        cache_judge(name, Path(image), Path(lines), chosen.cache)
    for number in range(chosen.procedural):
        cache_procedural(number, chosen.cache)


if __name__ == "__main__":
    main()
