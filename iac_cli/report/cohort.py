"""Risk groups of scored cases again, without segmenting.

The order of the cases is that of the table. A case that was not measured keeps its row, empty: it
belongs to no group and to no quantile. A patient counts once in a quantile, with one row, and every
row then gets its group.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.measure.risk import (
    CohortLimits,
    group_within,
    limits_of_cohort,
    limits_of_person,
    not_measured,
)
from iac_cli.measure.scheme import Scheme, SchemeKind
from iac_cli.report.scored import RowStatus, Scored
from iac_cli.report.tables import RISK_COLUMNS, csv_text

WHOLE_COHORT = "all"
"""The one stratum of a cohort that is not split."""

OF_VOLUME = {"volume_mm3": lambda volume: volume, "log1p_volume": log1p}
"""Scores that follow from the volume, and how: its interval is theirs too."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A case's group, or why it has none; and the groups that its interval reaches."""

    group: str | None
    why: str | None = None
    low: str | None = None
    """Group of the lower limit of the volume; None without an interval."""
    high: str | None = None

    @property
    def crosses(self) -> bool:
        """Whether the interval reaches more than one group."""
        return self.low != self.high


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """A cohort under a scheme."""

    scheme: Scheme
    values: NDArray[np.float64]
    """The score that is grouped; NaN where it was not measured."""
    up_to: Sequence[tuple[float, ...] | None]
    """Each row's upper limits of the groups."""
    placed: Sequence[Placed]
    counted: NDArray[np.bool_]
    """Measured rows that stand for their patients: quantiles come from them."""
    limits: Mapping[str, CohortLimits] = field(default_factory=dict)
    """The quantiles of each stratum; none under a scheme with cut-offs of its own."""

    @property
    def sizes(self) -> dict[str, int]:
        """Number of rows in each group, from the lowest; those without one last, under ''."""
        counts = Counter(one.group or "" for one in self.placed)
        return {name: counts[name] for name in (*self.scheme.groups, "")}

    @property
    def n_crossing(self) -> int:
        """Rows whose interval reaches more than one group."""
        return sum(one.crosses for one in self.placed)


def group_cohort(scored: Scored, scheme: Scheme, *, by_sex: bool = False) -> Grouping:
    """Each row with its group, in the given order.

    Raises: IacError: conflicting_options; risk_undefined when the cohort is too small for any.
    """
    values = np.where(scored.measured, scored.numbers[scheme.score], np.nan)
    counted = scored.once_a_patient(~np.isnan(values))
    if scheme.kind is SchemeKind.CUT_POINTS:
        if by_sex:
            raise IacError(
                Word.CONFLICTING_OPTIONS,
                f"{scheme.name} has cut-offs of its own; only quantiles are taken by sex",
                way_out="leave out --by, or choose a cohort scheme",
            )
        limits: dict[str, CohortLimits] = {}
        people = zip(scored.words["sex"], scored.numbers["age_years"], strict=True)
        found = [limits_of_person(scheme, sex or None, _known(age)) for sex, age in people]
    else:
        strata = scored.words["sex"] if by_sex else [WHOLE_COHORT] * len(scored)
        limits = _limits(values, counted, strata, scheme)
        found = [_of_stratum(limits, stratum) for stratum in strata]
    placed = _placed(scored, scheme, values, found)
    if limits:
        _check_any(placed, scheme)
    return Grouping(scheme, values, [up_to for up_to, _ in found], placed, counted, limits)


def _known(value: float) -> float | None:
    return None if isnan(value) else float(value)


def _limits(
    values: NDArray[np.float64],
    counted: NDArray[np.bool_],
    strata: Sequence[str],
    scheme: Scheme,
) -> dict[str, CohortLimits]:
    """The quantiles of each known stratum, with their intervals."""
    names = np.array(strata)
    return {
        name: limits_of_cohort(values[counted & (names == name)].tolist(), scheme, intervals=True)
        for name in sorted(set(strata) - {""})
    }


def _of_stratum(
    limits: Mapping[str, CohortLimits], stratum: str
) -> tuple[tuple[float, ...] | None, str | None]:
    if not stratum:
        return None, "the sex is unknown"
    return limits[stratum].up_to, limits[stratum].why


def _placed(
    scored: Scored,
    scheme: Scheme,
    values: NDArray[np.float64],
    found: Sequence[tuple[tuple[float, ...] | None, str | None]],
) -> list[Placed]:
    low_mm3, high_mm3 = scored.numbers["volume_mm3_low"], scored.numbers["volume_mm3_high"]
    statuses, reasons = scored.words["status"], scored.words["reasons"]
    score_of = OF_VOLUME.get(scheme.score)
    rows = []
    for row, (value, (up_to, why)) in enumerate(zip(values.tolist(), found, strict=True)):
        if isnan(value):
            failed = statuses[row] == RowStatus.FAILED
            told = f"failed: {reasons[row]}" if failed else not_measured(scheme)
            rows.append(Placed(None, told))
        elif up_to is None:
            rows.append(Placed(None, why))
        elif score_of is None or isnan(low_mm3[row]) or isnan(high_mm3[row]):
            rows.append(Placed(group_within(value, up_to, scheme)))
        else:
            ends = (score_of(float(end[row])) for end in (low_mm3, high_mm3))
            low, high = (group_within(end, up_to, scheme) for end in ends)
            rows.append(Placed(group_within(value, up_to, scheme), None, low, high))
    return rows


def _check_any(placed: Sequence[Placed], scheme: Scheme) -> None:
    if any(one.group is not None for one in placed):
        return
    reasons = Counter(one.why for one in placed if one.why is not None)
    told = "; ".join(f"{why} ({n})" for why, n in sorted(reasons.items()))
    raise IacError(
        Word.RISK_UNDEFINED,
        f"no case has a group of {scheme.name}: {told}",
        way_out="give a larger cohort, leave out --by, or choose a scheme with cut-offs of its own",
    )


def risk_csv(scored: Scored, grouping: Grouping) -> str:
    """The table that export-risk writes; the same cases and scheme give the same bytes."""
    return csv_text(RISK_COLUMNS, (_row(scored, grouping, row) for row in range(len(scored))))


def _row(scored: Scored, grouping: Grouping, row: int) -> dict[str, Any]:
    scheme, placed = grouping.scheme, grouping.placed[row]
    return {
        "case_id": scored.words["case_id"][row],
        "status": scored.words["status"][row],
        "scheme": scheme.name,
        "version": scheme.version,
        "validated_intracranially": scheme.validated_intracranially,
        "score": scheme.score,
        "value": _known(grouping.values[row]),
        "sex": scored.words["sex"][row] or None,
        "age_years": _known(scored.numbers["age_years"][row]),
        "group": placed.group,
        "group_low": placed.low,
        "group_high": placed.high,
        "why": placed.why,
    }


def repeated_ids(scored: Scored) -> list[str]:
    """Case ids that more than one row carries: such a case counts twice in a quantile."""
    counts = Counter(scored.words["case_id"])
    return sorted(name for name, n in counts.items() if n > 1)
