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
        return None, f"{scheme.score} could not be measured"
    if scheme.kind is SchemeKind.COHORT_QUANTILES:
        return None, f"{scheme.name} groups a cohort: use export-risk on all its cases"
    for cuts in scheme.cuts:
        if cuts.applies(sex, age):
            return _group(value, cuts.up_to, scheme), None
    return None, f"{scheme.name} has no cut-offs for this sex and age, or they are unknown"


def groups_of_cohort(
    values: Sequence[float | None], scheme: Scheme, strata: Sequence[str | None]
) -> list[tuple[str | None, str | None]]:
    """For each score its group by the quantiles of its stratum, or None and why it has none.

    `strata` names the part of the cohort whose quantiles count, as "F" or "M"; all the same for
    one cohort. None is an unknown stratum: no group. Quantiles are linear between ranks.
    """
    limits: dict[str, tuple[float, ...]] = {}
    sizes: dict[str, int] = {}
    for stratum in {name for name in strata if name is not None}:
        own = [v for v, s in zip(values, strata, strict=True) if s == stratum and v is not None]
        sizes[stratum] = len(own)
        if own and len(own) >= scheme.least_cases:
            limits[stratum] = tuple(float(q) for q in np.quantile(own, scheme.quantiles))
    answers: list[tuple[str | None, str | None]] = []
    for value, part in zip(values, strata, strict=True):
        if value is None:
            answers.append((None, f"{scheme.score} could not be measured"))
        elif part is None:
            answers.append((None, "the sex is unknown"))
        elif part not in limits:
            few = f"{sizes[part]} measured cases, {scheme.name} needs {scheme.least_cases}"
            answers.append((None, few))
        else:
            answers.append((_group(value, limits[part], scheme), None))
    return answers


def _group(value: float, up_to: Sequence[float], scheme: Scheme) -> str:
    return scheme.groups[int(np.searchsorted(up_to, value, side="left"))]
