"""Cache the heads that training draws from: real ones, and procedural ones drawn from seeds.

`ANATOMY.toml` names each real head: its CT, its artery lines (JSON), labels where readers drew
them, and whether it is a skull replica. The cache (`CACHE/skulls` for segmenters, `CACHE/heads` for
locators, `CACHE/near` for second ones) holds all that a machine without a DICOM reader needs to
train. Procedural heads need no data.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iac_cli.dicom.labels import read_labels
from iac_cli.dicom.read import read_series
from iac_cli.errors import IacError, Word
from iac_cli.report.files import written_whole
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.anatomy.variety import ORDINARY, draw_variety
from iac_cli.simulate.head import anatomy_stream
from iac_cli.simulate.heads import NEAR, WHOLE, paint_head, store_head
from iac_cli.simulate.painted_skull import PROCEDURAL, painted_skull
from iac_cli.simulate.skull import make_skull, read_lines

FIRST_SEED = 70_001
"""Seed of the first procedural head; training has seeds of its own."""

VARIETY = 1
"""Of a seed, the random numbers that its skull base varies by."""


@dataclass(frozen=True, slots=True)
class Source:
    """One head of an anatomy list; paths are relative to the list's `root`."""

    name: str
    image: Path
    lines: Path
    labels: Path | None
    is_replica: bool
    as_it_is_too: bool
    """Cache the replica for the locator once more without the poured brain."""
    blur_mm: float = 0.0
    """Standard deviation of the scan's point spread in plane; a soft scan is made sharper."""


def read_sources(path: Path, root: Path | None = None) -> list[Source]:
    """The heads that a list names.

    Raises:
        IacError: bad_setting, unknown_setting, input_not_found.

    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    base = root or (path.parent / document.get("root", ".")).resolve()
    return [_source(name, values, base) for name, values in document.get("head", {}).items()]


def _source(name: str, values: dict[str, Any], base: Path) -> Source:
    known = {"image", "lines", "labels", "replica", "as_it_is_too", "blur_mm"}
    for key in values.keys() - known:
        raise IacError(
            Word.UNKNOWN_SETTING,
            f"head {name} has an unknown entry {key}",
            way_out=f"known entries: {', '.join(sorted(known))}",
        )
    for key in ("image", "lines"):
        if key not in values or not (base / values[key]).exists():
            raise IacError(
                Word.INPUT_NOT_FOUND,
                f"head {name} has no {key}, or it is not there",
                way_out="give paths relative to the list's root",
            )
    return Source(
        name=name,
        image=base / values["image"],
        lines=base / values["lines"],
        labels=base / values["labels"] if "labels" in values else None,
        is_replica=bool(values.get("replica", False)),
        as_it_is_too=bool(values.get("as_it_is_too", False)),
        blur_mm=float(values.get("blur_mm", 0.0)),
    )


def prepare(source: Source, cache: Path) -> None:
    """Write a real head's three cache files. Raises: IacError, as reading and writing do."""
    volume = read_series(source.image).volume
    lines = read_lines(source.lines)
    labels = None if source.labels is None else read_labels(source.labels, volume.grid)
    skulls, heads = cache / "skulls", cache / "heads"
    skull = make_skull(
        source.name,
        volume,
        lines,
        labels=labels,
        is_replica=source.is_replica,
        blur_mm=source.blur_mm,
    )
    with written_whole(skulls / f"{source.name}.npz") as building:
        skull.save(building)
    for folder, scale in ((heads, WHOLE), (cache / "near", NEAR)):
        head = store_head(source.name, volume, lines, is_replica=source.is_replica, scale=scale)
        with written_whole(folder / f"{source.name}.npz") as building:
            head.save(building)
    if source.as_it_is_too:
        name = f"{source.name}_as_it_is"
        with written_whole(heads / f"{name}.npz") as building:
            store_head(name, volume, lines).save(building)


def prepare_procedural(number: int, cache: Path, *, varied: bool = False) -> None:
    """Write the three cache files of a procedural head, the same for the same number.

    It is untilted, without calcification, named by its number. A varied one is the same person
    with another skull base around the siphon. Raises: IacError, as writing does.
    """
    name, seed = f"{PROCEDURAL}_{number}", FIRST_SEED + number
    variety = ORDINARY
    if varied:
        name = f"{PROCEDURAL}_varied_{number}"
        variety = draw_variety(np.random.default_rng([seed, VARIETY]))
    head = draw_head(anatomy_stream(seed), variety=variety)
    with written_whole(cache / "skulls" / f"{name}.npz") as building:
        painted_skull(name, head).save(building)
    for folder, scale in (("heads", WHOLE), ("near", NEAR)):
        with written_whole(cache / folder / f"{name}.npz") as building:
            paint_head(name, head, scale).save(building)
