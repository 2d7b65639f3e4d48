"""Scans of one patient against each other: reconstructions of one day, and change over time.

Each patient gives one pair, so that pairs are independent. Two rows with the same voxels are one.
A factor is of volume + 1 mm³, so that a volume of 0 has one.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.measure.agreement import Icc, Limits, icc_2_1, limits_of_agreement
from iac_cli.report.scored import Scored

LEAST_PAIRS = 5
"""With fewer pairs no agreement is estimated."""

DAYS_A_YEAR = 365.25


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the pairs of one kind agree."""

    label: str
    n: int
    icc: Icc | None = None
    icc_log: Icc | None = None
    """Of log(1 + volume)."""
    limits: Limits | None = None
    """Of the volume, mm³."""
    limits_log: Limits | None = None
    """Of log(1 + volume): as exponentials they are factors."""


@dataclass(frozen=True, slots=True, eq=False)
class Retest:
    """Two reconstructions of one study, or of one day, for each patient that has them."""

    pairs: NDArray[np.float64]
    """(pair, 2): volume, mm³; the thinner slices first."""
    alike: NDArray[np.bool_]
    """(pair,): whether both have the same thickness and kernel."""
    agreements: tuple[Agreement, ...]
    why_none: str | None

    @property
    def all(self) -> Agreement | None:
        """Agreement of all pairs, when there are enough."""
        return self.agreements[0] if self.agreements and self.agreements[0].limits else None


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """The first and the last study of each patient with studies on several days."""

    pairs: NDArray[np.float64]
    """(patient, 2): first and last volume, mm³."""
    days: NDArray[np.float64]
    """(patient,): days between them."""
    n_alike: int
    """Pairs with the same thickness and kernel."""
    n_beyond: int | None
    """Pairs whose factor passes the smallest detectable one; None when that is not known."""
    why_none: str | None

    @property
    def change_mm3(self) -> NDArray[np.float64]:
        """Last less first."""
        return np.asarray(self.pairs[:, 1] - self.pairs[:, 0])

    @property
    def yearly_mm3(self) -> NDArray[np.float64]:
        """Change for each year between the two."""
        return np.asarray(self.change_mm3 / self.days * DAYS_A_YEAR)

    @property
    def n_new(self) -> int:
        """Patients with nothing at first and something at last."""
        return int(((self.pairs[:, 0] == 0) & (self.pairs[:, 1] > 0)).sum())

    @property
    def n_gone(self) -> int:
        """Patients with something at first and nothing at last."""
        return int(((self.pairs[:, 0] > 0) & (self.pairs[:, 1] == 0)).sum())


def retest_of(scored: Scored) -> Retest:
    """The pairs of reconstructions and how well they agree."""
    chosen = [rows[:2] for rows in _retest_groups(scored) if len(rows) > 1]
    pairs = _pairs(scored, chosen)
    alike = np.array([_alike(scored, *rows) for rows in chosen], dtype=bool)
    if not chosen:
        why = "no patient has two different measured reconstructions of one study or day"
        return Retest(pairs, alike, (), why)
    kinds = (
        ("all pairs", np.ones(len(pairs), dtype=bool)),
        ("same thickness and kernel", alike),
        ("another thickness or kernel", ~alike),
    )
    agreements = tuple(agreement_of(label, pairs[kind]) for label, kind in kinds)
    few = None
    if len(pairs) < LEAST_PAIRS:
        few = f"only {len(pairs)} pairs; agreement is estimated from {LEAST_PAIRS} on"
    return Retest(pairs, alike, agreements, few)


def agreement_of(label: str, pairs: NDArray[np.float64]) -> Agreement:
    """Agreement of pairs (n, 2), when there are at least `LEAST_PAIRS`."""
    if len(pairs) < LEAST_PAIRS:
        return Agreement(label, len(pairs))
    logs = np.log1p(pairs)
    return Agreement(
        label,
        len(pairs),
        icc_2_1(pairs),
        icc_2_1(logs),
        limits_of_agreement(pairs),
        limits_of_agreement(logs),
    )


def change_of(scored: Scored, retest: Retest) -> Change:
    """First and last study of each patient, with slices and kernel alike where there are such."""
    chosen, days = [], []
    for by_day in _days(scored).values():
        if len(by_day) > 1:
            first, last = min(by_day), max(by_day)
            chosen.append(_most_alike(scored, by_day[first], by_day[last]))
            days.append(last - first)
    pairs = _pairs(scored, chosen)
    sure = retest.all
    beyond = None
    if sure is not None and sure.limits_log is not None:
        factor_log = np.abs(np.diff(np.log1p(pairs), axis=1))
        beyond = int((factor_log > sure.limits_log.smallest_difference).sum())
    why = None if chosen else "no patient has measured studies of several days (study_day)"
    n_alike = sum(_alike(scored, *rows) for rows in chosen)
    return Change(pairs, np.array(days, dtype=float), n_alike, beyond, why)


def _pairs(scored: Scored, chosen: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    rows = np.array(chosen, dtype=int).reshape(-1, 2)
    return np.asarray(scored.numbers["volume_mm3"][rows])


def _ordered_rows(scored: Scored) -> Iterator[int]:
    """Measured rows: earliest, thinnest, then by kernel and series, whatever the table's order."""
    measured = np.flatnonzero(scored.measured & ~np.isnan(scored.numbers["volume_mm3"]))
    days, thickness = scored.numbers["study_day"], scored.numbers["thickness_mm"]
    kernels, series = scored.words["kernel"], scored.words["series_uid"]
    far = np.inf

    def key(row: int) -> tuple[float, float, str, str, int]:
        day, thick = days[row], thickness[row]
        return (
            far if np.isnan(day) else day,
            far if np.isnan(thick) else thick,
            kernels[row],
            series[row],
            row,
        )

    yield from sorted(measured.tolist(), key=key)


def _retest_groups(scored: Scored) -> Iterator[list[int]]:
    """Rows of one day (else of one study), different scans only; the first such of each patient."""
    days, studies, hashes = (
        scored.numbers["study_day"],
        scored.words["study_uid"],
        scored.words["input_sha256"],
    )
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    seen: set[tuple[tuple[str, ...], str]] = set()
    for row in _ordered_rows(scored):
        patient = scored.patients[row]
        if patient and not np.isnan(days[row]):
            key: tuple[str, ...] = (patient, f"{days[row]:g}")
        elif studies[row]:
            key = (patient, "", studies[row])
        else:
            continue
        if hashes[row] and (key, hashes[row]) in seen:
            continue
        seen.add((key, hashes[row]))
        groups[key].append(row)
    done: set[str] = set()
    for key, rows in groups.items():
        if len(rows) > 1 and not (key[0] and key[0] in done):
            done.add(key[0])
            yield rows


def _days(scored: Scored) -> Mapping[str, Mapping[float, list[int]]]:
    """For each known patient the rows of each day."""
    days = scored.numbers["study_day"]
    found: dict[str, dict[float, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in _ordered_rows(scored):
        patient = scored.patients[row]
        if patient and not np.isnan(days[row]):
            found[patient][float(days[row])].append(row)
    return found


def _most_alike(scored: Scored, first: Sequence[int], last: Sequence[int]) -> tuple[int, int]:
    """Of two days the first rows that are alike, else the first of each."""
    for one in first:
        for other in last:
            if _alike(scored, one, other):
                return one, other
    return first[0], last[0]


def _alike(scored: Scored, one: int, other: int) -> bool:
    """Whether two rows have the same known thickness and the same kernel."""
    thickness, kernels = scored.numbers["thickness_mm"], scored.words["kernel"]
    return bool(thickness[one] == thickness[other]) and kernels[one] == kernels[other]
