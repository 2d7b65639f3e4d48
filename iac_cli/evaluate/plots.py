"""The pictures of an evaluation: volumes against the truth, their agreement, Dice, reliability."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from iac_cli.evaluate.evaluation import Evaluation
from iac_cli.evaluate.record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TICKS_MM3 = (0, 1, 3, 10, 30, 100, 300, 1000, 3000)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart by people who see colours differently too."""


def plots_of(records: Sequence[Record], evaluation: Evaluation) -> "Iterator[tuple[str, Figure]]":
    """Name and figure of each picture that there is something for."""
    seen = [one for one in records if one.measured and one.drawn_mm3 is not None]
    if seen:
        yield "volumes.png", _volumes(seen)
        yield "agreement.png", _agreement(seen)
    if any(one.dice is not None for one in seen):
        yield "dice.png", _dice(seen)
    if evaluation.calibration is not None:
        yield "reliability.png", _reliability(evaluation)


def _blank(width_in: float = 4.6, height_in: float = 4.2) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _kinds(seen: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(one.reconstruction for one in seen))


def _volumes(seen: Sequence[Record]) -> "Figure":
    figure, axes = _blank()
    top = 0.0
    for kind, colour in zip(_kinds(seen), COLOURS * 9, strict=False):
        own = [one for one in seen if one.reconstruction == kind]
        drawn = np.log1p([one.drawn_mm3 or 0.0 for one in own])
        told = np.log1p([one.volume_mm3 or 0.0 for one in own])
        top = max(top, float(drawn.max()), float(told.max()))
        axes.plot(drawn, told, "o", color=colour, markersize=4, alpha=0.7, label=kind)
    axes.plot([0, top], [0, top], color="0.6", linewidth=1)
    shown = [tick for tick in TICKS_MM3 if np.log1p(tick) <= top * 1.05 + 0.1]
    axes.set_xticks(np.log1p(shown), [str(tick) for tick in shown])
    axes.set_yticks(np.log1p(shown), [str(tick) for tick in shown])
    axes.set(xlabel="drawn, mm³", ylabel="told, mm³")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _agreement(seen: Sequence[Record]) -> "Figure":
    figure, axes = _blank(height_in=3.4)
    pairs = np.log1p([(one.drawn_mm3 or 0.0, one.volume_mm3 or 0.0) for one in seen])
    gap = pairs[:, 1] - pairs[:, 0]
    kinds = _kinds(seen)
    for kind, colour in zip(kinds, COLOURS * 9, strict=False):
        own = np.array([one.reconstruction == kind for one in seen])
        axes.plot(pairs[own].mean(axis=1), gap[own], "o", color=colour, markersize=4, alpha=0.7)
    spread = 1.96 * gap.std(ddof=1) if len(gap) > 1 else 0.0
    for level, style in ((0.0, "--"), (-spread, ":"), (spread, ":")):
        axes.axhline(gap.mean() + level, color="0.4", linestyle=style, linewidth=1)
    shown = [tick for tick in TICKS_MM3 if np.log1p(tick) <= pairs.max() + 0.1]
    axes.set_xticks(np.log1p(shown), [str(tick) for tick in shown])
    axes.set(xlabel="mean of drawn and told, mm³", ylabel="ln((1 + told) / (1 + drawn))")
    return figure


def _dice(seen: Sequence[Record]) -> "Figure":
    kinds = _kinds(seen)
    figure, axes = _blank(width_in=1.5 + 0.8 * len(kinds), height_in=3.4)
    values = [
        [one.dice for one in seen if one.reconstruction == kind and one.dice is not None]
        for kind in kinds
    ]
    axes.boxplot([own or [np.nan] for own in values], showfliers=False, widths=0.5)
    for place, own in enumerate(values, start=1):
        aside = place + 0.16 * np.sin(7.0 * np.arange(len(own)))
        axes.plot(aside, own, "o", color=COLOURS[0], markersize=3, alpha=0.6)
    axes.set_xticks(range(1, len(kinds) + 1), [kind.replace("mm ", "mm\n") for kind in kinds])
    axes.set(ylabel="Dice", ylim=(0, 1))
    return figure


def _reliability(evaluation: Evaluation) -> "Figure":
    figure, axes = _blank()
    told = (evaluation.calibration or {})["reliability"]
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.plot(told["stated"], told["seen"], "s-", color=COLOURS[0])
    axes.set(xlabel="stated probability", ylabel="share calcified", xlim=(0, 1), ylim=(0, 1))
    return figure
