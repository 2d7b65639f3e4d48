"""The figures of the cohort page as inline SVG: small, and in the page's own colours.

Colours are placeholders that become variables of the page's style, so that a figure follows light,
dark and print. Text stays text. The same numbers give the same bytes.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SERIES, SECOND, RULE = "#010203", "#040506", "#070809", "#0a0b0c"
"""Placeholders: text, first and second series, grid lines."""

COLOURS = {
    INK: "currentColor",
    SERIES: "var(--series)",
    SECOND: "var(--second)",
    RULE: "var(--rule)",
}

WIDTH_IN = 4.4
HEIGHT_IN = 2.4
MOST_POINTS = 400
"""More points than this are drawn as hexagons by their number, as one small picture."""
LONGEST_LABEL = 24
LEAST_LOG = -1.0
"""log10 of the smallest score that a histogram tells apart: less than a voxel holds."""

STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a kernel's name is no formula
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "path.simplify": True,
}


def histogram(values: NDArray[np.float64], label: str, whom: str, name: str) -> str:
    """How many cases have how much: zero apart, the rest in steps of equal ratio."""
    above = values[values > 0]
    with _figure() as (figure, axes):
        n_zero = int((values == 0).sum())
        low = max(float(np.floor(np.log10(above.min()))), LEAST_LOG) if len(above) else 0.0
        high = float(np.ceil(4 * np.log10(above.max())) / 4) if len(above) else 1.0
        edges = np.arange(low, max(high, low + 1) + 0.125, 0.25)
        counts, _ = np.histogram(np.log10(np.maximum(above, 10**low)), edges)
        axes.bar(edges[:-1], counts, width=0.23, align="edge", color=SERIES)
        zero_at = low - 0.5
        axes.bar([zero_at], [n_zero], width=0.23, align="center", color=SECOND)
        ticks = np.arange(low, edges[-1] + 0.01)
        axes.set_xticks([zero_at, *ticks], ["0", *(_power(tick) for tick in ticks)])
        axes.set_xlabel(label)
        axes.set_ylabel(whom)
        _whole_numbers(axes)
        return _svg(figure, name)


def _power(exponent: float) -> str:
    return f"{10.0**exponent:,.10g}".replace(",", " ")


def bars(names: Sequence[str], counts: Sequence[int], whom: str, name: str) -> str:
    """One horizontal bar for each name, with its number."""
    with _figure(height_in=0.5 + 0.27 * len(names)) as (figure, axes):
        places = np.arange(len(names))[::-1]
        axes.barh(places, counts, height=0.62, color=SERIES)
        for place, count in zip(places, counts, strict=True):
            axes.annotate(
                f"{count:,}".replace(",", " "),
                (count, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(places, [_short(one) for one in names])
        axes.set_xlim(0, max([1, *counts]) * 1.15)
        axes.set_xlabel(whom)
        _bare(axes)
        return _svg(figure, name)


def by_side(
    names: Sequence[str], right: Sequence[float | None], left: Sequence[float | None], name: str
) -> str:
    """Share with calcification in each artery, right above left; None is absent."""
    with _figure(height_in=0.62 + 0.36 * len(names)) as (figure, axes):
        places = np.arange(len(names), dtype=float)[::-1]
        for shares, shift, colour, label in (
            (right, 0.19, SERIES, "right (or midline)"),
            (left, -0.19, SECOND, "left"),
        ):
            known = [100 * (share or 0.0) for share in shares]
            axes.barh(places + shift, known, height=0.34, color=colour, label=label)
        axes.set_yticks(places, names)
        axes.set_xlim(0, 100)
        axes.set_xlabel("with calcification, % of those covered")
        axes.legend(frameon=False, loc="lower right", fontsize=8)
        _bare(axes)
        return _svg(figure, name)


def ranges(names: Sequence[str], quartiles: Sequence[tuple[float, float, float]], name: str) -> str:
    """Median as a dot and quartiles as a line for each name."""
    with _figure(height_in=0.55 + 0.25 * len(names)) as (figure, axes):
        places = np.arange(len(names))[::-1]
        for place, (low, middle, high) in zip(places, quartiles, strict=True):
            axes.plot([low, high], [place, place], color=SERIES, linewidth=2.5)
            axes.plot([middle], [place], "o", color=INK, markersize=4.5)
        axes.set_yticks(places, [_short(one) for one in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.set_xlim(left=0)
        axes.set_xlabel("volume, mm³: median and quartiles")
        _bare(axes)
        return _svg(figure, name)


def agreement(pairs: NDArray[np.float64], lines: tuple[float, float, float], name: str) -> str:
    """Bland-Altman figure of factors; `lines` are the low limit, the bias and the high limit."""
    with _figure(height_in=2.7) as (figure, axes):
        logs = np.log1p(pairs)
        middle, factor = np.expm1(logs.mean(axis=1)) + 1, np.exp(logs[:, 1] - logs[:, 0])
        _points(axes, np.log10(middle), np.log10(factor))
        for place, style in zip(np.log10(lines), ("--", "-", "--"), strict=True):
            axes.axhline(place, color=SECOND, linestyle=style, linewidth=1.3)
        _log_ticks(axes, "x", shift=1.0)
        _factor_ticks(axes)
        axes.set_xlabel("mean of the pair, mm³ (geometric)")
        axes.set_ylabel("second / first")
        return _svg(figure, name)


def before_after(pairs: NDArray[np.float64], name: str) -> str:
    """The last volume over the first, with the line of no change."""
    with _figure(height_in=2.9) as (figure, axes):
        logs = np.log10(pairs + 1)
        top = max(float(logs.max(initial=0.0)) * 1.05, 1.0)
        _points(axes, logs[:, 0], logs[:, 1])
        axes.plot([0, top], [0, top], color=SECOND, linewidth=1.3)
        axes.set_xlim(-0.05, top)
        axes.set_ylim(-0.05, top)
        for axis in ("x", "y"):
            _log_ticks(axes, axis, shift=1.0)
        axes.set_xlabel("first study, mm³")
        axes.set_ylabel("last study, mm³")
        return _svg(figure, name)


@contextmanager
def _figure(height_in: float = HEIGHT_IN) -> "Iterator[tuple[Figure, Axes]]":
    """An empty figure in the page's style; nothing of it stays behind."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
        yield figure, figure.subplots()


def _bare(axes: "Axes") -> None:
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.grid(True, color=RULE, linewidth=0.6)


def _whole_numbers(axes: "Axes") -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.yaxis.grid(True, color=RULE, linewidth=0.6)


def _points(axes: "Axes", x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Points, or hexagons by number where there are many."""
    if len(x) <= MOST_POINTS:
        axes.plot(x, y, "o", color=SERIES, markersize=3.2, alpha=0.65, markeredgewidth=0)
        return
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("", ["#9fb7d3", "#3b6ea5", "#f0a030"])
    axes.hexbin(x, y, gridsize=36, mincnt=1, bins="log", cmap=shades, rasterized=True)


TICKS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, 10_000.0)


def _log_ticks(axes: "Axes", axis: str, *, shift: float) -> None:
    """Round volumes as ticks of an axis of log10(volume + shift)."""
    low, high = axes.get_xlim() if axis == "x" else axes.get_ylim()
    shown = [tick for tick in TICKS if low - 1e-9 <= np.log10(tick + shift) <= high + 1e-9]
    places = [float(np.log10(tick + shift)) for tick in shown]
    set_ticks = axes.set_xticks if axis == "x" else axes.set_yticks
    set_ticks(places, [f"{tick:,.0f}".replace(",", " ") for tick in shown])
    (axes.set_xlim if axis == "x" else axes.set_ylim)(low, high)


FACTORS = (0.01, 0.03, 0.1, 0.2, 0.5, 0.8, 1.0, 1.25, 2.0, 5.0, 10.0, 30.0, 100.0)


def _factor_ticks(axes: "Axes") -> None:
    low, high = axes.get_ylim()
    high = 1.08 * max(high, -low, float(np.log10(1.3)))
    inside = [factor for factor in FACTORS if abs(np.log10(factor)) <= high]
    wide = high > np.log10(4)
    shown = [f for f in inside if not (wide and f in (0.8, 1.25))]
    axes.set_yticks([float(np.log10(f)) for f in shown], [f"× {f:g}" for f in shown])
    axes.set_ylim(-high, high)
    axes.yaxis.grid(True, color=RULE, linewidth=0.6)


def _short(name: str) -> str:
    """A name as a figure can show it: the table beside it has it in full."""
    plain = "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in name)
    return plain if len(plain) <= LONGEST_LABEL else plain[: LONGEST_LABEL - 1] + "…"


def _svg(figure: "Figure", name: str) -> str:
    """The figure as an SVG element for a page: own ids, the page's font and colours, no links."""
    import matplotlib as mpl

    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", metadata=nothing, dpi=110)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]+"', head)
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", body, count=1, flags=re.S)
    body = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(href=")#', rf"\1#{name}-", body)
    body = body.replace("url(#", f"url(#{name}-").replace("'DejaVu Sans', ", "").strip()
    body = re.sub(r"font: ([0-9.]+px) [^;\"]*", r"font-size: \1", body)
    for placeholder, colour in COLOURS.items():
        body = body.replace(placeholder, colour)
    return f'<svg {box[0] if box else ""} aria-hidden="true">{body}'
