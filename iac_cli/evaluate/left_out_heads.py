"""Cache what leaving one anatomy out needs beside the heads of training: judges, made-up skulls.

    python -m iac_cli.evaluate.left_out_heads -o CACHE [--judge NAME IMAGE LINES]...
        [--procedural N]

`CACHE/judges` holds heads that are for judging only and must never lie among those of training;
`CACHE/skulls` gets the first N procedural heads, as by `iac-seg train prepare`, which makes the
heads of training.
"""

import argparse
from pathlib import Path

from iac_cli.dicom.read import read_series
from iac_cli.report.files import written_whole
from iac_cli.simulate.skull import make_skull, read_lines
from iac_cli.train.prepare import prepare_procedural


def cache_judge(name: str, image: Path, lines: Path, cache: Path) -> None:
    """Cache one head for judging."""
    skull = make_skull(name, read_series(image).volume, read_lines(lines))
    with written_whole(cache / "judges" / f"{name}.npz") as building:
        skull.save(building)


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
        prepare_procedural(number, chosen.cache)


if __name__ == "__main__":
    main()
