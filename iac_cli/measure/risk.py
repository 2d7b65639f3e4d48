"""Risk groups of one case or of a cohort, by a scheme. A case without a number has no group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from iac_cli.errors import Finding, Word
from iac_cli.measure.scheme import DEFAULT_SCHEME as DEFAULT_SCHEME
from iac_cli.measure.scheme import Scheme, SchemeKind
from iac_cli.measure.scheme import load_scheme as load_scheme
from iac_cli.measure.scores import Scores


@dataclass(frozen=True, slots=True)
class Risk:
    """The group of one case, or why it has none."""

    scheme: str
    version: str
    score: str
    group: str | None
    validated_intracranially: bool
    citation: str
    probabilities: dict[str, float] | None = None
    """Probability of each group; None until the uncertainty of the score is known."""
    finding: Finding | None = None
    """Why a measured case has no group."""


def risk_of(scores: Scores, scheme: Scheme, sex: str | None, age: float | None) -> Risk | None:
    """The risk group of one case, on its own; None when the case was not measurable.

    `sex` is "F", "M" or None, `age` in years.
    """
    if not scores.measured:
        return None
    group, why = group_of(getattr(scores, scheme.score), scheme, sex, age)
    return Risk(
        scheme=scheme.name,
        version=scheme.version,
        score=scheme.score,
        group=group,
        validated_intracranially=scheme.validated_intracranially,
        citation=scheme.citation,
        finding=None if why is None else Finding(Word.RISK_UNDEFINED, why),
    )


def group_of(
    value: float | None, scheme: Scheme, sex: str | None, age: float | None
) -> tuple[str | None, str | None]:
    """The group of a score on its own, or None and why it has none."""
    if value is None:
        return None, not_measured(scheme)
    limits, why = limits_of_person(scheme, sex, age)
    return (None, why) if limits is None else (group_within(value, limits, scheme), None)


def limits_of_person(
    scheme: Scheme, sex: str | None, age: float | None
) -> tuple[tuple[float, ...] | None, str | None]:
    """The upper limits of the groups for one person, or None and why there are none."""
    if scheme.kind is SchemeKind.COHORT_QUANTILES:
        return None, f"{scheme.name} groups a cohort: use export-risk on all its cases"
    for cuts in scheme.cuts:
        if cuts.applies(sex, age):
            return cuts.up_to, None
    return None, f"{scheme.name} has no cut-offs for this sex and age, or they are unknown"


def not_measured(scheme: Scheme) -> str:
    """Why a case without the scheme's score has no group."""
    return f"{scheme.score} could not be measured"


def group_within(value: float, up_to: Sequence[float], scheme: Scheme) -> str:
    """The group of a value under upper limits, each inclusive."""
    return scheme.groups[int(np.searchsorted(up_to, value, side="left"))]


@dataclass(frozen=True, slots=True)
class CohortLimits:
    """What the quantiles of a cohort, or of one sex in it, are."""

    n: int
    """Measured cases that they come from."""
    up_to: tuple[float, ...] | None
    """Upper limits of all groups but the last; None below the scheme's `least_cases`."""
    why: str | None = None
    """Why there are none."""
    low: tuple[float, ...] = ()
    """Lower ends of the limits' 95 % intervals, when asked for."""
    high: tuple[float, ...] = ()


def limits_of_cohort(
    values: Sequence[float], scheme: Scheme, *, intervals: bool = False
) -> CohortLimits:
    """The quantiles that a scheme asks for, linear between ranks."""
    n = len(values)
    if n < max(1, scheme.least_cases):
        few = f"{n} measured cases, {scheme.name} needs {scheme.least_cases}"
        return CohortLimits(n, None, few)
    up_to = tuple(float(q) for q in np.quantile(values, scheme.quantiles))
    low, high = quantile_intervals(values, scheme.quantiles) if intervals else ((), ())
    return CohortLimits(n, up_to, None, low, high)


BOOTSTRAP_REPEATS = 1000
BOOTSTRAP_SEED = 1
"""Fixed, so that the same cohort gives the same digits."""


def quantile_intervals(
    values: Sequence[float], quantiles: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Lower and upper ends of the quantiles' 95 % intervals, by a percentile bootstrap."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    known = np.sort(np.asarray(values, dtype=np.float64))
    again = np.empty((BOOTSTRAP_REPEATS, len(quantiles)))
    for row in again:
        row[:] = np.quantile(known[rng.integers(0, len(known), len(known))], quantiles)
    low, high = np.quantile(again, (0.025, 0.975), axis=0)
    return tuple(map(float, low)), tuple(map(float, high))
