"""Risk groups: a scheme is data with a citation, and says what it is not.

No absolute cut-offs for intracranial calcification are accepted, so every scheme that ships says
`validated_intracranially = false`. A scheme is a TOML file; a user's own is checked word by word.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from iac_cli.errors import Finding
from iac_cli.measure.scores import Scores

SCHEMA = 1
"""Version of the layout of a scheme file."""

DEFAULT_SCHEME = "presence"
"""Absent or present: the only grouping that needs no cut-off, and none is validated here."""

SCORES = (
    "volume_mm3",
    "ica_volume_mm3",
    "siphon_volume_mm3",
    "agatston",
    "agatston_kvp",
    "hu_mm3",
    "log1p_volume",
)
"""The scores that a scheme may group by."""


class SchemeKind(StrEnum):
    """Where a scheme's cut-offs come from."""

    CUT_POINTS = "cut_points"
    """From the file: one case is enough."""
    COHORT_QUANTILES = "cohort_quantiles"
    """From the cohort that is grouped: one case alone has no group."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Upper limits of all groups but the last, inclusive, for the people they apply to."""

    up_to: tuple[float, ...]
    sex: str | None = None
    """"F" or "M"; None applies to all."""
    age_from: float | None = None
    """Years, inclusive."""
    age_below: float | None = None
    """Years, exclusive."""

    def applies(self, sex: str | None, age_years: float | None) -> bool:
        """True for a person of this sex and age; a condition on an unknown fact is not met."""
        if self.sex is not None and sex != self.sex:
            return False
        if self.age_from is None and self.age_below is None:
            return True
        if age_years is None:
            return False
        return (self.age_from is None or age_years >= self.age_from) and (
            self.age_below is None or age_years < self.age_below
        )


@dataclass(frozen=True, slots=True)
class Scheme:
    """A way to group scores, with its source."""

    name: str
    version: str
    title: str
    citation: str
    validated_intracranially: bool
    kind: SchemeKind
    score: str
    """Which score is grouped: one of `SCORES`."""
    groups: tuple[str, ...]
    """Names from the lowest to the highest."""
    cuts: tuple[Cuts, ...] = ()
    """Of a cut-point scheme: the first that applies to a person counts."""
    quantiles: tuple[float, ...] = ()
    """Of a cohort scheme: the upper limits of all groups but the last, as shares of the cohort."""
    least_cases: int = 1
    """Of a cohort scheme: a cohort, or a sex in it, below this size gets no groups."""
    note: str = ""


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


def risk_of(scores: Scores, scheme: Scheme, sex: str | None, age: float | None) -> Risk:
    """The risk group of one case, on its own. `sex` is "F", "M" or None, `age` in years."""
    raise NotImplementedError


def load_scheme(name_or_path: str | Path = DEFAULT_SCHEME) -> Scheme:
    """A shipped scheme by its name, or one from a TOML file.

    Raises: IacError: bad_setting, unknown_setting, input_not_found, input_forbidden.
    """
    raise NotImplementedError
