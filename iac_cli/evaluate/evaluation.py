"""An evaluation as a value: figures of every group, arteries, pairs of series, calibration."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from iac_cli.evaluate.figures import (
    Figure,
    Limits,
    figures_of,
    patient_day,
    thinnest_of,
)
from iac_cli.evaluate.record import Record
from iac_cli.measure.agreement import icc_2_1, limits_of_agreement
from iac_cli.measure.reliability import Curve

SCHEMA = 1

LEAST_PAIRS = 5
"""With fewer pairs no agreement is told."""

BURDENS_MM3 = ((0.0, "none"), (20.0, "up to 20 mm3"), (100.0, "20 to 100 mm3"))
NOISES_HU = ((3.5, "up to 3.5 HU"), (5.0, "3.5 to 5 HU"))
"""Inclusive upper limits; what lies above the last has the name that follows."""

MOST_BURDEN, MOST_NOISE = "over 100 mm3", "over 5 HU"


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """Figures of the series that share something."""

    by: str
    level: str
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class ArteryFigures:
    """One artery over all series."""

    artery: str
    n_series: int
    """Measured series whose labels tell arteries apart."""
    n_calcified: int
    dice_mean: float | None
    sensitivity: float | None
    ppv: float | None
    icc: float | None
    bias_mm3: float


@dataclass(frozen=True, slots=True)
class PairFigures:
    """Two series of each patient: what another reconstruction, or time, does to the volume."""

    kind: str
    """`repeat`: of one day. `longitudinal`: first to last day, change told against drawn."""
    first: str
    second: str
    n: int
    icc: float | None
    icc_log: float | None
    bias_mm3: float
    low_mm3: float
    high_mm3: float
    smallest_difference_mm3: float
    smallest_factor: float
    """Smallest detectable difference of log(1 + volume) as a factor."""
    reclassified: float | None
    """Share of patients whose quarter of the burden differs between the two."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All numbers."""

    n_patients: int
    n_series: int
    not_measured: dict[str, int]
    """How many series were not measurable, by reason."""
    limits: Limits
    groups: tuple[GroupFigures, ...]
    arteries: tuple[ArteryFigures, ...]
    pairs: tuple[PairFigures, ...]
    calibration: dict[str, Any] | None

    def to_json_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"schema": SCHEMA, **asdict(self)}

    def figure(self, name: str, by: str = "all", level: str = "all") -> Figure | None:
        """One figure of one group."""
        for group in self.groups:
            if (group.by, group.level) == (by, level):
                return next((one for one in group.figures if one.name == name), None)
        return None


def evaluation_of(records: Sequence[Record]) -> Evaluation:
    """Every figure of the records."""
    thinnest, limits = thinnest_of(records), Limits.of(records)
    lost: dict[str, int] = {}
    for one in records:
        for reason in one.reasons:
            lost[reason] = lost.get(reason, 0) + 1
    groups = tuple(
        GroupFigures(by, level, tuple(figures_of(own, thinnest, limits)))
        for by, level, own in groups_of(records)
    )
    return Evaluation(
        n_patients=len({one.patient for one in records}),
        n_series=len(records),
        not_measured=lost,
        limits=limits,
        groups=groups,
        arteries=tuple(_arteries(records)),
        pairs=(*_repeats(records, limits), *_changes(records)),
        calibration=_calibration(records),
    )


def groups_of(records: Sequence[Record]) -> Iterator[tuple[str, str, list[Record]]]:
    """By, level and series: all of them, then by what changes a number where it varies."""
    yield "all", "all", list(records)
    ways: tuple[tuple[str, Callable[[Record], str | None]], ...] = (
        ("thickness", lambda one: None if one.thickness_mm is None else f"{one.thickness_mm:g} mm"),
        ("kernel", lambda one: one.kernel),
        ("noise", lambda one: _band(one.noise_hu, NOISES_HU, MOST_NOISE)),
        ("burden", lambda one: _band(_burden(one), BURDENS_MM3, MOST_BURDEN)),
        ("anatomy", lambda one: one.anatomy),
    )
    for by, of in ways:
        levels: dict[str, list[Record]] = {}
        for one in records:
            level = of(one)
            if level is not None:
                levels.setdefault(level, []).append(one)
        if len(levels) > 1:
            for level in sorted(levels, key=_order):
                yield by, level, levels[level]


def _burden(one: Record) -> float | None:
    return one.drawn_mm3 if one.true_volume_mm3 is None else one.true_volume_mm3


def _band(value: float | None, limits: Sequence[tuple[float, str]], most: str) -> str | None:
    if value is None:
        return None
    return next((name for limit, name in limits if value <= limit), most)


def _order(level: str) -> tuple[int, float, str]:
    """Bands in their order, numbers by size, words by letter."""
    names = [name for _, name in (*BURDENS_MM3, *NOISES_HU)]
    if level in names:
        return 0, names.index(level), level
    first = level.split()[0]
    number = float(first) if first.replace(".", "", 1).isdigit() else np.inf
    return 1, number, level


def _arteries(records: Sequence[Record]) -> Iterator[ArteryFigures]:
    known = [one.arteries for one in records if one.arteries is not None]
    for name in known[0] if known else ():
        seen = [each[name] for each in known]
        both = sum(one.overlap.both for one in seen)
        extra = sum(one.overlap.only_mask for one in seen)
        lost = sum(one.overlap.only_truth for one in seen)
        dices = [one.overlap.dice for one in seen if one.overlap.dice is not None]
        pairs = np.array([(one.drawn_mm3, one.volume_mm3) for one in seen])
        icc = icc_2_1(pairs) if len(pairs) > 1 else None
        yield ArteryFigures(
            artery=name,
            n_series=len(seen),
            n_calcified=sum(one.drawn_mm3 > 0 for one in seen),
            dice_mean=float(np.mean(dices)) if dices else None,
            sensitivity=both / (both + lost) if both + lost else None,
            ppv=both / (both + extra) if both + extra else None,
            icc=None if icc is None else icc.value,
            bias_mm3=float((pairs[:, 1] - pairs[:, 0]).mean()),
        )


def _repeats(records: Sequence[Record], limits: Limits) -> Iterator[PairFigures]:
    """Every two reconstructions that enough patients have on one day."""
    by_kind: dict[str, dict[str, Record]] = {}
    for one in records:
        if one.measured:
            by_kind.setdefault(one.reconstruction, {})[patient_day(one)] = one
    for first, second in combinations(sorted(by_kind, key=_order), 2):
        days = [day for day in by_kind[first] if day in by_kind[second]]
        once = {by_kind[first][day].patient: day for day in reversed(days)}  # one day a patient
        pairs = np.array(
            [
                (by_kind[first][day].volume_mm3, by_kind[second][day].volume_mm3)
                for day in once.values()
            ],
            dtype=float,
        ).reshape(-1, 2)
        if len(pairs) >= LEAST_PAIRS:
            yield _pair_figures("repeat", (first, second), pairs, limits.drawn)


def _changes(records: Sequence[Record]) -> Iterator[PairFigures]:
    """First and last day of each patient at one reconstruction: change told against drawn."""
    days: dict[tuple[str, str], list[Record]] = {}
    for one in records:
        if one.measured and one.study_day is not None and one.drawn_mm3 is not None:
            days.setdefault((one.reconstruction, one.patient), []).append(one)
    changes: dict[str, list[tuple[float, float]]] = {}
    for (kind, _), own in days.items():
        if len(own) > 1:
            own.sort(key=lambda one: one.study_day or 0.0)
            first, last = own[0], own[-1]
            drawn = (last.drawn_mm3 or 0.0) - (first.drawn_mm3 or 0.0)
            told = (last.volume_mm3 or 0.0) - (first.volume_mm3 or 0.0)
            changes.setdefault(kind, []).append((drawn, told))
    for kind, pairs in sorted(changes.items()):
        if len(pairs) >= LEAST_PAIRS:
            yield _pair_figures(
                "longitudinal", (f"{kind}: change drawn", "change told"), np.array(pairs), None
            )


def _pair_figures(
    kind: str, names: tuple[str, str], pairs: Any, edges: tuple[float, ...] | None
) -> PairFigures:
    plain = limits_of_agreement(pairs)
    logs = np.sign(pairs) * np.log1p(np.abs(pairs))
    log, icc, icc_log = limits_of_agreement(logs), icc_2_1(pairs), icc_2_1(logs)
    moved = None
    if edges is not None:
        groups = np.searchsorted(edges, pairs, side="left")
        moved = float((groups[:, 0] != groups[:, 1]).mean())
    return PairFigures(
        kind=kind,
        first=names[0],
        second=names[1],
        n=len(pairs),
        icc=None if icc is None else icc.value,
        icc_log=None if icc_log is None else icc_log.value,
        bias_mm3=plain.bias,
        low_mm3=plain.low,
        high_mm3=plain.high,
        smallest_difference_mm3=plain.smallest_difference,
        smallest_factor=float(np.exp(log.smallest_difference)),
        reclassified=moved,
    )


def _calibration(records: Sequence[Record]) -> dict[str, Any] | None:
    """Calibration over all candidates, from the sums of every series."""
    bins = [one.bins for one in records if one.bins is not None]
    n = np.sum([one.n for one in bins], axis=0) if bins else np.zeros(0)
    if not n.sum():
        return None
    used = n > 0
    stated = np.sum([one.stated for one in bins], axis=0)[used] / n[used]
    seen = np.sum([one.calcified for one in bins], axis=0)[used] / n[used]
    curve = Curve(stated, seen, n[used].astype(float))
    brier = float(sum(one.squared for one in bins) / n.sum())
    return {
        "candidates": int(n.sum()),
        "ece": curve.error,
        "brier": brier,
        "reliability": curve.to_json_dict(),
    }
