"""Which cases a person should look at first: the least sure, then those close to a cut-point."""

from dataclasses import dataclass
from math import inf, log1p

import numpy as np
from numpy.typing import NDArray

from iac_cli.report.cohort import Grouping
from iac_cli.report.scored import Scored

MOST_REVIEWED = 20

LOG_SCORE = "log1p_volume"
"""The one score that is a logarithm already."""


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A case of the review list."""

    row: int
    """Index into the table, from 0."""
    case_id: str
    """An identifier when the user made it one: shown only when asked for."""
    group: str | None
    volume_mm3: float
    low_mm3: float | None
    high_mm3: float | None
    agatston: float | None
    thickness_mm: float | None
    warnings: tuple[str, ...]
    why: str


def rows_to_review(
    scored: Scored, counted: NDArray[np.bool_], grouping: Grouping | None
) -> tuple[Reviewed, ...]:
    """The first `MOST_REVIEWED` of the measured cases, each patient once.

    First those with an interval of their volume, the widest ratio first; then those without one,
    the nearest to a cut-point first, as a ratio too. A score of exactly 0 lies near no cut-point
    at 0: nothing was found that could be judged again.
    """
    low, high = scored.numbers["volume_mm3_low"], scored.numbers["volume_mm3_high"]
    width = np.log1p(high) - np.log1p(low)
    ordered: list[tuple[tuple[int, float, int], str]] = []
    for row in np.flatnonzero(counted).tolist():
        if not np.isnan(width[row]):
            wide = f"its interval spans a factor of {np.exp(width[row]):.3g}"
            ordered.append(((0, -float(width[row]), row), wide))
            continue
        distance, cut = _nearest_cut(grouping, row)
        if distance < inf and grouping is not None:
            near = f"near the cut-point {cut:.4g} of {grouping.scheme.score}"
            ordered.append(((1, distance, row), near))
    ordered.sort()
    first = ordered[:MOST_REVIEWED]
    return tuple(_reviewed(scored, grouping, row, why) for (*_, row), why in first)


def _nearest_cut(grouping: Grouping | None, row: int) -> tuple[float, float]:
    """Distance on the scale of log(1 + score) to the nearest cut-point, and that cut-point."""
    if grouping is None or grouping.up_to[row] is None or np.isnan(grouping.values[row]):
        return inf, inf
    value = float(grouping.values[row])
    as_log = float if grouping.scheme.score == LOG_SCORE else log1p
    near = [
        (abs(as_log(value) - as_log(cut)), cut)
        for cut in grouping.up_to[row] or ()
        if not (cut == 0 and value == 0)
    ]
    return min(near, default=(inf, inf))


def _reviewed(scored: Scored, grouping: Grouping | None, row: int, why: str) -> Reviewed:
    def number(name: str) -> float | None:
        value = float(scored.numbers[name][row])
        return None if np.isnan(value) else value

    return Reviewed(
        row=row,
        case_id=scored.words["case_id"][row],
        group=grouping.placed[row].group if grouping is not None else None,
        volume_mm3=float(scored.numbers["volume_mm3"][row]),
        low_mm3=number("volume_mm3_low"),
        high_mm3=number("volume_mm3_high"),
        agatston=number("agatston"),
        thickness_mm=number("thickness_mm"),
        warnings=tuple(filter(None, scored.words["warnings"][row].split(";"))),
        why=why,
    )
