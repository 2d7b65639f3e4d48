"""Every figure of an evaluation, for one group of series. docs/evaluation.md defines each.

A figure is a function of rows, so that the same function gives its value and, over patients drawn
anew, its interval. It is None where it does not exist: a Dice without calcium, an ICC of one value.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from iac_cli.evaluate.record import LesionSeen, Record
from iac_cli.evaluate.statistics import Resamples, binomial_interval, quadratic_kappa
from iac_cli.measure.agreement import icc_2_1, icc_value, limits_of_agreement

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]
OfRows = Callable[[IndexArray], float | None]

FOUND_SHARE = 0.25
"""A lesion is found, or right, when at least so much of it is drawn on the other side."""

LESION_BANDS_MM3 = (
    ("under_3_mm3", 0.0, 3.0),
    ("3_to_10_mm3", 3.0, 10.0),
    ("over_10_mm3", 10.0, np.inf),
)
"""Name, from, below: of a lesion's volume."""

TRUTHS = ("drawn", "true", "thinnest")
"""As drawn on the same scan; as it really is; as drawn on the patient's thinnest slices."""

QUARTILES = (0.25, 0.5, 0.75)
LEAST_FOR_QUARTILES = 8
"""Patients below which no quartiles are taken."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval; `n` is what it was taken from, as its definition says."""

    name: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper limits of the quarters of each truth, one value a patient."""

    drawn: tuple[float, ...] | None
    true: tuple[float, ...] | None

    @classmethod
    def of(cls, records: Sequence[Record]) -> "Limits":
        """From the patients' thinnest series, and from what is really there."""
        thinnest = thinnest_of(records)
        real = {one.patient: one.true_volume_mm3 for one in records}
        return cls(
            _quartiles([one.drawn_mm3 for one in thinnest.values()]),
            _quartiles(list(real.values())),
        )

    def of_truth(self, truth: str) -> tuple[float, ...] | None:
        """The limits by which a truth and what is compared with it are grouped."""
        return self.true if truth == "true" else self.drawn


def _quartiles(values: Sequence[float | None]) -> tuple[float, ...] | None:
    known = [value for value in values if value is not None]
    if len(known) < LEAST_FOR_QUARTILES:
        return None
    return tuple(float(q) for q in np.quantile(known, QUARTILES))


def thinnest_of(records: Sequence[Record]) -> dict[str, Record]:
    """Of each patient (and study day) the series of the thinnest slices, keyed by both."""
    kept: dict[str, Record] = {}
    for one in records:
        if one.drawn_mm3 is None:
            continue
        key = patient_day(one)
        before = kept.get(key)
        if before is None or _thickness(one) < _thickness(before):
            kept[key] = one
    return kept


def patient_day(one: Record) -> str:
    """A patient, at one day where days are told."""
    return one.patient if one.study_day is None else f"{one.patient}|{one.study_day:g}"


def _thickness(one: Record) -> float:
    return np.inf if one.thickness_mm is None else one.thickness_mm


class Group:
    """The measured series of one group as columns."""

    def __init__(self, records: Sequence[Record], thinnest: Mapping[str, Record]) -> None:
        self.all = list(records)
        self.rows = [one for one in records if one.measured and one.drawn_mm3 is not None]
        self.draws = Resamples([one.patient for one in self.rows])
        self.one_a_patient = len(self.rows) == self.draws.n_patients
        self.volume = _column(one.volume_mm3 for one in self.rows)
        self.truths = {
            "drawn": _column(one.drawn_mm3 for one in self.rows),
            "true": _column(one.true_volume_mm3 for one in self.rows),
            "thinnest": _column(_of_thinnest(one, thinnest) for one in self.rows),
        }
        self.dice = _column(one.dice for one in self.rows)
        overlaps = [one.overlap for one in self.rows]
        self.both = _column(None if o is None else o.both for o in overlaps)
        self.extra = _column(None if o is None else o.only_mask for o in overlaps)
        self.lost = _column(None if o is None else o.only_truth for o in overlaps)
        self.agatston = _column(one.agatston for one in self.rows)
        self.drawn_agatston = _column(one.drawn_agatston for one in self.rows)

    @property
    def every(self) -> IndexArray:
        """All rows."""
        return np.arange(len(self.rows))

    def figure(self, name: str, of: OfRows, n: int | None = None) -> Figure:
        """A figure and its bootstrap interval."""
        value = of(self.every) if self.rows else None
        interval = None if value is None else self.draws.interval(of)
        low, high = interval or (None, None)
        return Figure(name, value, len(self.rows) if n is None else n, low, high)


def _column(values: "Iterator[float | int | None]") -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _of_thinnest(one: Record, thinnest: Mapping[str, Record]) -> float | None:
    """None for the thinnest itself: it has its own truth."""
    best = thinnest.get(patient_day(one))
    return None if best is None or best.case == one.case else best.drawn_mm3


def figures_of(
    records: Sequence[Record], thinnest: Mapping[str, Record], limits: Limits
) -> list[Figure]:
    """Every figure of a group of series."""
    group = Group(records, thinnest)
    found = [
        Figure("patients", group.draws.n_patients, len({one.patient for one in records})),
        Figure("series_measured", len(group.rows), len(records)),
        *_overlap(group),
        *_lesions(group),
    ]
    for truth in TRUTHS:
        known = np.flatnonzero(~np.isnan(group.truths[truth]) & ~np.isnan(group.volume))
        if len(known):
            part = Group([group.rows[k] for k in known], thinnest)
            found += [*_agreement(part, truth), *_risk(part, truth, limits)]
    return [*found, *_agatston(group), *_presence(group), *_clean(group), *_covered(group)]


# overlap


def _overlap(group: Group) -> Iterator[Figure]:
    n_dice = int((~np.isnan(group.dice)).sum())
    yield group.figure("dice_mean", partial(_mean, group.dice), n_dice)
    yield group.figure("dice_median", partial(_median, group.dice), n_dice)
    true_voxels = int(np.nansum(group.both + group.lost))
    own_voxels = int(np.nansum(group.both + group.extra))

    def pooled(rows: IndexArray) -> float | None:
        both, extra, lost = (part[rows].sum() for part in (group.both, group.extra, group.lost))
        return _ratio(2 * both, 2 * both + extra + lost)

    def sensitivity(rows: IndexArray) -> float | None:
        return _ratio(group.both[rows].sum(), (group.both + group.lost)[rows].sum())

    def precision(rows: IndexArray) -> float | None:
        return _ratio(group.both[rows].sum(), (group.both + group.extra)[rows].sum())

    yield group.figure("dice_pooled", pooled, true_voxels)
    yield group.figure("voxel_sensitivity", sensitivity, true_voxels)
    yield group.figure("voxel_ppv", precision, own_voxels)


def _mean(values: FloatArray, rows: IndexArray) -> float | None:
    known = values[rows][~np.isnan(values[rows])]
    return float(known.mean()) if len(known) else None


def _median(values: FloatArray, rows: IndexArray) -> float | None:
    known = values[rows][~np.isnan(values[rows])]
    return float(np.median(known)) if len(known) else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole > 0 else None


def _lesions(group: Group) -> Iterator[Figure]:
    bands = (("", 0.0, np.inf), *LESION_BANDS_MM3)
    for side, name in (("true_lesions", "lesion_sensitivity"), ("lesions", "lesion_ppv")):
        for band, least, below in bands:
            counted = [_found(getattr(one, side), least, below) for one in group.rows]
            hits, n = np.array(counted, dtype=float).reshape(-1, 2).T
            of = partial(_share, hits, n)
            yield group.figure("_".join(filter(None, (name, band))), of, int(n.sum()))


def _found(lesions: Sequence[LesionSeen], least: float, below: float) -> tuple[int, int]:
    """How many lesions of a band are found, of how many."""
    own = [one for one in lesions if least <= one.volume_mm3 < below]
    return sum(one.share >= FOUND_SHARE for one in own), len(own)


def _share(hits: FloatArray, n: FloatArray, rows: IndexArray) -> float | None:
    return _ratio(hits[rows].sum(), n[rows].sum())


# volumes


def _agreement(group: Group, truth: str) -> Iterator[Figure]:
    pairs = np.stack([group.truths[truth], group.volume], axis=1)
    yield _icc(group, f"icc_{truth}", pairs)
    yield _icc(group, f"icc_log_{truth}", np.log1p(pairs))
    yield group.figure(
        f"volume_ratio_{truth}", lambda rows: _ratio(pairs[rows, 1].sum(), pairs[rows, 0].sum())
    )
    yield from _limits(group, truth, "mm3", pairs)
    yield from _limits(group, truth, "log", np.log1p(pairs))


def _icc(group: Group, name: str, pairs: FloatArray) -> Figure:
    """ICC(2,1); by its F interval where each patient has one series, else by bootstrap."""

    def of(rows: IndexArray) -> float | None:
        return icc_value(pairs[rows]) if len(rows) > 1 else None

    if not group.one_a_patient:
        return group.figure(name, of)
    found = icc_2_1(pairs) if len(pairs) > 1 else None
    if found is None:
        return Figure(name, None, len(pairs))
    return Figure(name, found.value, len(pairs), found.low, found.high)


def _limits(group: Group, truth: str, unit: str, pairs: FloatArray) -> Iterator[Figure]:
    """Bland-Altman figures; the interval of the bias is a bootstrap over patients."""
    if len(pairs) < 2:
        return
    found = limits_of_agreement(pairs)
    gap = pairs[:, 1] - pairs[:, 0]
    yield group.figure(f"bias_{unit}_{truth}", partial(_mean, gap))
    yield Figure(f"agreement_low_{unit}_{truth}", found.low, found.n)
    yield Figure(f"agreement_high_{unit}_{truth}", found.high, found.n)


def _agatston(group: Group) -> Iterator[Figure]:
    known = np.flatnonzero(~np.isnan(group.agatston) & ~np.isnan(group.drawn_agatston))
    if len(known) < 2:
        return
    pairs = np.stack([group.drawn_agatston, group.agatston], axis=1)[known]
    part = Group([group.rows[k] for k in known], {})
    gap = pairs[:, 1] - pairs[:, 0]
    found = limits_of_agreement(pairs)
    yield _icc(part, "agatston_icc", pairs)
    yield part.figure("agatston_bias", partial(_mean, gap))
    yield Figure("agatston_agreement_low", found.low, found.n)
    yield Figure("agatston_agreement_high", found.high, found.n)
    yield part.figure("agatston_error_median", partial(_median, np.abs(gap)))


# groups of risk


def _risk(group: Group, truth: str, limits: Limits) -> Iterator[Figure]:
    edges = limits.of_truth(truth)
    if edges is None:
        return
    told, real = (
        np.searchsorted(edges, values, side="left").astype(np.float64)
        for values in (group.volume, group.truths[truth])
    )
    right = (told == real).astype(np.float64)
    yield group.figure(f"risk_accuracy_{truth}", partial(_mean, right))
    yield Figure(f"risk_majority_{truth}", _majority(real), len(real))
    yield group.figure(f"risk_kappa_{truth}", lambda rows: quadratic_kappa(real[rows], told[rows]))


def _majority(groups: FloatArray) -> float | None:
    """Accuracy of who always says the commonest group."""
    if not len(groups):
        return None
    return float(np.unique(groups, return_counts=True)[1].max() / len(groups))


def _presence(group: Group) -> Iterator[Figure]:
    drawn, told = group.truths["drawn"] > 0, group.volume > 0
    for name, of, hit in (
        ("presence_sensitivity", drawn, told),
        ("presence_specificity", ~drawn, ~told),
    ):
        hits, n = (of & hit).astype(float), of.astype(float)
        yield group.figure(name, partial(_share, hits, n), int(of.sum()))


def _clean(group: Group) -> Iterator[Figure]:
    """What is drawn in heads that hold no calcification at all."""
    real = np.where(np.isnan(group.truths["true"]), group.truths["drawn"], group.truths["true"])
    rows = np.flatnonzero((real == 0) & (group.truths["drawn"] == 0))
    if not len(rows):
        return
    part = Group([group.rows[k] for k in rows], {})
    yield part.figure("clean_false_mm3_median", partial(_median, part.volume))
    yield part.figure("clean_false_mm3_p95", lambda at: float(np.percentile(part.volume[at], 95)))


def _covered(group: Group) -> Iterator[Figure]:
    told = [one for one in group.rows if one.low_mm3 is not None and one.high_mm3 is not None]
    if not told:
        return
    hits = sum(
        (one.low_mm3 or 0.0) <= (one.drawn_mm3 or 0.0) <= (one.high_mm3 or 0.0) for one in told
    )
    low, high = binomial_interval(hits, len(told)) or (None, None)
    yield Figure("interval_coverage", hits / len(told), len(told), low, high)
