"""The cohort page: one HTML file that needs nothing else, no network and no script.

No identifier stands on it unless asked for: a case is named by its row in the table, since a case
id can be made from a folder's name, a study UID or a patient id.
"""

import base64
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import exp
from pathlib import Path
from typing import Any

from iac_cli.geometry.lines import Artery
from iac_cli.report import plots
from iac_cli.report.repeats import Agreement
from iac_cli.report.review import Reviewed
from iac_cli.report.summary import Split, Spread, Summary

PREVIEW = "preview.png"
PREVIEW_WIDTH = 1200
"""A wider preview is made smaller, so that a page of 20 stays below 5 MB."""
LARGEST_PREVIEW_BYTES = 8 * 2**20
LARGEST_PREVIEW_PIXELS = 40_000_000
"""A larger picture is none of ours, and is left out."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture of the page and what it shows, in words."""

    svg: str
    alt: str


@dataclass(frozen=True, slots=True)
class Card:
    """A case of the review list as the page shows it."""

    case: Reviewed
    name: str
    preview: str | None
    """A data URI."""


def cohort_page(summary: Summary, *, folder: Path | None, with_ids: bool = False) -> str:
    """The page's text; previews come from the cases' folders, where these are known."""
    from jinja2 import Environment, StrictUndefined

    source = files("iac_cli.report") / "templates" / "summary.html.j2"
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"num": number, "percent": percent, "count": count, "icc": icc}
    template = environment.from_string(source.read_text(encoding="utf-8"))
    whom = "patients" if summary.totals.n_patients else "cases"
    return template.render(
        one=summary,
        whom=whom,
        with_ids=with_ids,
        cards=_cards(summary, folder, with_ids=with_ids),
        has_folder=folder is not None,
        limits=_limits(summary),
        factors=[(agreement, _factors(agreement)) for agreement in summary.retest.agreements],
        yearly=Spread.of(summary.change.yearly_mm3),
        days=Spread.of(summary.change.days),
        change=Spread.of(summary.change.change_mm3),
        figures=_figures(summary, whom),
    )


def visible(value: Any) -> Any:
    """Text of a tag without characters that steer how a page is shown."""
    if type(value) is not str:
        return value
    return "".join(one for one in value if unicodedata.category(one)[0] != "C")


def number(value: float | None) -> str:
    """Three digits, a dash when it is missing."""
    if value is None:
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def count(value: int) -> str:
    """A whole number, its thousands apart."""
    return f"{value:,}".replace(",", "\u202f")


def percent(share: float | None) -> str:
    """A share as percent, a dash when it is missing."""
    return "–" if share is None else f"{100 * share:.0f} %"


def icc(value: float) -> str:
    """A coefficient with three decimals."""
    return f"{value:.3f}".replace("-", "−")


def _limits(summary: Summary) -> list[tuple[str, str, str]]:
    """The cut-points of the groups: for whom, up to where, and the interval where there is one."""
    rows = []
    for cuts in summary.scheme.cuts:
        ages = [
            f"{word} {years:g} years"
            for word, years in (("from", cuts.age_from), ("below", cuts.age_below))
            if years is not None
        ]
        whom = ", ".join([cuts.sex or "everybody", *ages])
        rows.append((whom, ", ".join(f"{cut:g}" for cut in cuts.up_to), "given by the scheme"))
    limits = summary.grouping.limits if summary.grouping else {}
    for own in limits.values():
        for at, low, high in zip(own.up_to or (), own.low, own.high, strict=False):
            told = f"{number(low)} to {number(high)}"
            rows.append((f"this cohort, {own.n} measured", number(at), told))
    return rows


def _factors(agreement: Agreement) -> dict[str, float] | None:
    """What the limits of the logarithms are as factors."""
    logs = agreement.limits_log
    if logs is None:
        return None
    return {
        "bias": exp(logs.bias),
        "low": exp(logs.low),
        "high": exp(logs.high),
        "smallest": exp(logs.smallest_difference),
    }


def _figures(summary: Summary, whom: str) -> dict[str, Any]:
    return {
        "burdens": _burden_figures(summary, whom),
        "groups": _group_figure(summary, whom),
        "arteries": _artery_figure(summary),
        "splits": [_split_figure(split, k) for k, split in enumerate(summary.splits)],
        "agreement": _agreement_figure(summary),
        "change": _change_figure(summary),
    }


def _burden_figures(summary: Summary, whom: str) -> list[Figure]:
    made = []
    for burden in summary.burdens:
        spread = burden.spread
        if not spread.n:
            continue
        label = f"{burden.label}, {burden.unit}" if burden.unit else burden.label
        alt = (
            f"Histogram of {label}: {spread.n} {whom}, {spread.n - spread.n_present} with 0; "
            f"median {number(spread.at(0.5))}, quartiles {number(spread.at(0.25))} and "
            f"{number(spread.at(0.75))}."
        )
        made.append(Figure(plots.histogram(spread.values, label, whom, burden.name), alt))
    return made


def _group_figure(summary: Summary, whom: str) -> Figure | None:
    if not sum(one.n for one in summary.groups):
        return None
    names = [one.name for one in summary.groups]
    counts = [one.n for one in summary.groups]
    told = ", ".join(f"{one.name} {one.n}" for one in summary.groups)
    return Figure(plots.bars(names, counts, whom, "groups"), f"Bars of {whom} by group: {told}.")


def _artery_figure(summary: Summary) -> Figure | None:
    shares = {part.artery: part.spread.share_present for part in summary.arteries}
    if all(share is None for share in shares.values()):
        return None
    names, right, left = _sides(shares)
    told = ", ".join(f"{artery} {percent(share)}" for artery, share in shares.items())
    alt = f"Share with calcification in each artery: {told}."
    return Figure(plots.by_side(names, right, left, "arteries"), alt)


def _sides(
    shares: dict[Artery, float | None],
) -> tuple[list[str], list[float | None], list[float | None]]:
    """Names of the arteries without their side; what stands right, or alone; what stands left."""
    names = list(dict.fromkeys(artery.value.partition("-")[0] for artery in shares))
    by_name = {artery.value: share for artery, share in shares.items()}
    right = [by_name.get(f"{name}-R", by_name.get(name)) for name in names]
    return names, right, [by_name.get(f"{name}-L") for name in names]


def _split_figure(split: Split, place: int) -> Figure | None:
    levels = [level for level in split.levels if level.spread.n]
    if len(levels) < 2:
        return None
    quartiles = [level.spread.quartiles for level in levels]
    names = [level.name for level in levels]
    medians = (f"{one.name} {number(one.spread.at(0.5))}" for one in levels)
    alt = f"Median volume in mm³ by {split.title.lower()}: {', '.join(medians)}."
    return Figure(plots.ranges(names, quartiles, f"split{place}"), alt)


def _agreement_figure(summary: Summary) -> Figure | None:
    found = summary.retest.all
    factors = _factors(found) if found else None
    if factors is None:
        return None
    lines = (factors["low"], factors["bias"], factors["high"])
    alt = (
        f"Bland-Altman figure of {len(summary.retest.pairs)} pairs: mean factor "
        f"{number(lines[1])}, limits {number(lines[0])} and {number(lines[2])}."
    )
    return Figure(plots.agreement(summary.retest.pairs, lines, "agreement"), alt)


def _change_figure(summary: Summary) -> Figure | None:
    change = summary.change
    if not len(change.pairs):
        return None
    alt = (
        f"Last volume over first volume of {len(change.pairs)} patients; median change "
        f"{number(Spread.of(change.change_mm3).at(0.5))} mm³."
    )
    return Figure(plots.before_after(change.pairs, "change"), alt)


def _cards(summary: Summary, folder: Path | None, *, with_ids: bool) -> Sequence[Card]:
    alone = summary.totals.n == 1
    return [
        Card(
            case,
            f"row {case.row + 1}" + (f" · {case.case_id}" if with_ids else ""),
            _preview(folder, case.case_id, alone=alone) if folder is not None else None,
        )
        for case in summary.review
    ]


def _preview(folder: Path, case_id: str, *, alone: bool) -> str | None:
    """A case's preview as a data URI; None when it is absent, or is no picture of ours."""
    place = folder / case_id
    if place.parent != folder or case_id in ("", ".", ".."):  # a name with a path in it
        return None
    path = place / PREVIEW
    if alone and not path.is_file():
        path = folder / PREVIEW
    if not path.is_file() or path.stat().st_size > LARGEST_PREVIEW_BYTES:
        return None
    jpeg = _smaller(path)
    return None if jpeg is None else "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


def _smaller(path: Path) -> bytes | None:
    """The picture no wider than `PREVIEW_WIDTH`, as JPEG without any other content."""
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > LARGEST_PREVIEW_PIXELS:
                return None
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    picture.thumbnail((PREVIEW_WIDTH, 10 * PREVIEW_WIDTH), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=78, subsampling=0, optimize=True)
    return stream.getvalue()
