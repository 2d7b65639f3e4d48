"""The page of an evaluation: Markdown that a person reads, made from the JSON document alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DIGITS = {"mm3": 1, "agatston": 1, "factor": 2}
"""Decimals by a part of a figure's name; others have three."""

WIDE = (
    ("series_measured", "series"),
    ("dice_mean", "Dice"),
    ("lesion_sensitivity", "lesions found"),
    ("lesion_ppv", "lesions right"),
    ("icc_drawn", "ICC"),
    ("icc_log_drawn", "ICC, log"),
    ("bias_log_drawn", "bias, log"),
    ("risk_accuracy_drawn", "risk accuracy"),
    ("risk_majority_drawn", "majority"),
    ("clean_false_mm3_p95", "false mm³, 95th"),
)
"""Figures that the tables by group show, and their heads."""

TITLES = {
    "thickness": "By slice thickness",
    "kernel": "By kernel",
    "noise": "By noise (of a 5 mm slice)",
    "burden": "By true burden",
    "anatomy": "By head",
}

Document = Mapping[str, Any]


def report_page(document: Document, pictures: Sequence[str]) -> str:
    """The page's text."""
    return "\n".join(_lines(document, pictures)) + "\n"


def _lines(document: Document, pictures: Sequence[str]) -> Iterator[str]:
    yield "# Evaluation"
    yield ""
    yield (
        f"{document['n_patients']} patients, {document['n_series']} series. "
        "95 % intervals are bootstrapped over patients. docs/evaluation.md defines every figure. "
        "Simulated data are no patients; nothing here is a clinical validation."
    )
    yield ""
    yield from _judged(document["asked"])
    yield from (f"- not measured: {reason}, {n} series" for reason, n in _lost(document))
    yield ""
    for name in pictures:
        yield f"![{name.removesuffix('.png')}]({name})"
    yield ""
    yield from _overall(document)
    for by, title in TITLES.items():
        yield from _by(document, by, title)
    yield from _arteries(document["arteries"])
    yield from _pairs(document["pairs"])
    yield from _calibration(document["calibration"])


def _judged(asked: Mapping[str, Any]) -> Iterator[str]:
    if asked.get("judged") == "model":
        card = asked["segmenter"]
        yield f"- segmenter {card['name']} {card['version']}, {card['sha256'][:12]}"
        yield f"- threshold {_thresholds(asked)}, {asked['calibration']['method']} scaling"
        for thicker in asked.get("thicker_slices", []):
            yield f"- on slices over {thicker['over_mm']:g} mm threshold {_thresholds(thicker)}"
    elif asked:
        yield "- supplied masks"
    if asked and not asked["gate"]:
        yield "- measurability gate off: what the product refuses was measured too"


def _thresholds(asked: Mapping[str, Any]) -> str:
    return f"{asked['threshold']}, of a lesion's mean {asked.get('lesion_threshold', 0.0)}"


def _lost(document: Document) -> Sequence[tuple[str, int]]:
    return sorted(document["not_measured"].items())


def _overall(document: Document) -> Iterator[str]:
    whole = next(group for group in document["groups"] if group["by"] == "all")
    yield "## All series"
    yield ""
    yield from _head("figure", "value", "95 % interval", "n")
    for one in whole["figures"]:
        interval = "–"
        if one["low"] is not None and one["high"] is not None:
            interval = f"{_shown(one['name'], one['low'])} to {_shown(one['name'], one['high'])}"
        yield _row(f"`{one['name']}`", _shown(one["name"], one["value"]), interval, one["n"])
    yield ""


def _by(document: Document, by: str, title: str) -> Iterator[str]:
    lines = group_table(document, by)
    if lines:
        yield f"## {title}"
        yield ""
        yield from lines
        yield ""


def group_table(document: Document, *by: str) -> list[str]:
    """The lines of a Markdown table of groups, one row each; empty when there is no such group."""
    groups = [group for way in by for group in document["groups"] if group["by"] == way]
    rows = []
    for group in groups:
        figures = {one["name"]: one for one in group["figures"]}
        told = (_with_interval(figures.get(name)) for name, _ in WIDE)
        rows.append(_row(group["level"], *told))
    return [*_head("", *(label for _, label in WIDE)), *rows] if rows else []


def _with_interval(one: Mapping[str, Any] | None) -> str:
    if one is None or one["value"] is None:
        return "–"
    value = _shown(one["name"], one["value"])
    if one["low"] is None or one["high"] is None:
        return value
    return f"{value} ({_shown(one['name'], one['low'])}, {_shown(one['name'], one['high'])})"


def _shown(name: str, value: float | int | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    is_share = name.startswith("lesion_") or name.endswith("icc")
    digits = 3 if is_share else next((n for part, n in DIGITS.items() if part in name), 3)
    return f"{value:.{digits}f}".replace("-", "−")


def _arteries(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "## By artery"
    yield ""
    yield from _head("artery", "series", "calcified", "Dice", "sensitivity", "PPV", "ICC", "bias")
    for one in rows:
        names = ("dice_mean", "sensitivity", "ppv", "icc", "bias_mm3")
        told = [_shown(name, one[name]) for name in names]
        yield _row(one["artery"], one["n_series"], one["n_calcified"], *told)
    yield ""


def _pairs(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield "## Two series of each patient"
    yield ""
    yield from _head(
        *("first", "second", "n", "ICC", "ICC, log", "bias, mm³", "limits, mm³"),
        *("smallest difference", "as factor", "reclassified"),
    )
    for one in rows:
        low, high = (_shown("mm3", one[name]) for name in ("low_mm3", "high_mm3"))
        yield _row(
            one["first"],
            one["second"],
            one["n"],
            _shown("icc", one["icc"]),
            _shown("icc", one["icc_log"]),
            _shown("mm3", one["bias_mm3"]),
            f"{low} to {high}",
            _shown("mm3", one["smallest_difference_mm3"]),
            _shown("factor", one["smallest_factor"]),
            _shown("share", one["reclassified"]),
        )
    yield ""


def _calibration(told: Mapping[str, Any] | None) -> Iterator[str]:
    if told is None:
        return
    yield "## Calibration of candidate voxels"
    yield ""
    yield (
        f"{told['candidates']} voxels of at least 130 HU within reach of an artery: "
        f"ECE {told['ece']:.4f}, Brier {told['brier']:.5f}."
    )
    yield ""


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|" + "---|" * len(names)


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(one).replace("|", "/") for one in cells) + " |"
