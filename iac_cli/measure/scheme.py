"""Schemes of risk groups: data with a citation, which say what they are not.

No absolute cut-offs for intracranial calcification are accepted, so every scheme that ships says
`validated_intracranially = false`. A scheme is a TOML file; a user's own is checked key by key.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from importlib.resources import files
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word
from iac_cli.toml_file import read_toml

WAY_OUT = "correct the scheme file; see docs/risk.md"

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


def shipped_schemes() -> tuple[str, ...]:
    """Names of the schemes that come with the package, sorted."""
    folder = files("iac_cli.measure") / "schemes"
    return tuple(sorted(Path(item.name).stem for item in folder.iterdir()))


def load_scheme(name_or_path: str | Path = DEFAULT_SCHEME) -> Scheme:
    """A shipped scheme by its name, or one from a TOML file (a path that ends in .toml).

    Raises: IacError: bad_setting, unknown_setting, input_not_found, input_forbidden.
    """
    name = str(name_or_path)
    if name in shipped_schemes():
        shipped = files("iac_cli.measure") / "schemes" / f"{name}.toml"
        return _SchemeFile(f"{name}.toml", tomllib.loads(shipped.read_text("utf-8"))).scheme()
    path = Path(name_or_path)
    if path.suffix != ".toml" and not path.is_file():
        raise IacError(
            Word.BAD_SETTING,
            f"no risk scheme is called {name!r}",
            way_out=f"give one of {', '.join(shipped_schemes())}, or a TOML file",
        )
    return _SchemeFile(path.name, read_toml(path, "the risk scheme", way_out=WAY_OUT)).scheme()


def _bad(file: str, what: str) -> IacError:
    return IacError(Word.BAD_SETTING, f"{file}: {what}", way_out=WAY_OUT)


_KNOWN = (
    "schema",
    "name",
    "version",
    "title",
    "citation",
    "validated_intracranially",
    "note",
    "kind",
    "score",
    "groups",
    "cuts",
    "quantiles",
    "least_cases",
)
_KNOWN_CUTS = ("up_to", "sex", "age_from", "age_below")


@dataclass(frozen=True, slots=True)
class _SchemeFile:
    """A parsed scheme file; each method checks one part of it and names what is wrong."""

    file: str
    table: dict[str, Any]

    def scheme(self) -> Scheme:
        self._no_others(self.table, _KNOWN, "")
        if self.table.get("schema") != SCHEMA:
            raise _bad(self.file, f"'schema' must be {SCHEMA}")
        kind = SchemeKind(self._one_of("kind", [k.value for k in SchemeKind]))
        groups = self._groups()
        by_cuts = kind is SchemeKind.CUT_POINTS
        self._check_limits(kind)
        return Scheme(
            name=self._text("name"),
            version=self._text("version"),
            title=self._text("title", ""),
            citation=self._text("citation"),
            validated_intracranially=self._flag("validated_intracranially"),
            note=self._text("note", ""),
            kind=kind,
            score=self._one_of("score", list(SCORES)),
            groups=groups,
            cuts=self._cuts(len(groups)) if by_cuts else (),
            quantiles=() if by_cuts else self._quantiles(len(groups)),
            least_cases=1 if by_cuts else self._least_cases(),
        )

    def _no_others(self, table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
        for name in table:
            if name not in known:
                nearest = get_close_matches(name, known, n=1)
                hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
                raise IacError(
                    Word.UNKNOWN_SETTING,
                    f"{self.file}: no such key: {where}{name}{hint}",
                    way_out=f"known keys here: {', '.join(known)}",
                )

    def _check_limits(self, kind: SchemeKind) -> None:
        """Each kind has its own keys for the limits of its groups, and only those."""
        own: tuple[str, ...] = ("cuts",)
        other: tuple[str, ...] = ("quantiles", "least_cases")
        if kind is SchemeKind.COHORT_QUANTILES:
            own, other = other, own
        if own[0] not in self.table:
            raise _bad(self.file, f"'{own[0]}' is missing")
        for name in other:
            if name in self.table:
                raise _bad(self.file, f"'{name}' does not belong to kind {kind.value!r}")

    def _text(self, name: str, default: str | None = None) -> str:
        value = self.table.get(name, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise _bad(self.file, f"'{name}' must be text")
        return value

    def _flag(self, name: str) -> bool:
        value = self.table.get(name)
        if not isinstance(value, bool):
            raise _bad(self.file, f"'{name}' must be true or false")
        return value

    def _one_of(self, name: str, allowed: Sequence[str]) -> str:
        value = self.table.get(name)
        if value not in allowed:
            raise _bad(self.file, f"'{name}' must be one of {', '.join(allowed)}")
        return str(value)

    def _groups(self) -> tuple[str, ...]:
        groups = self.table.get("groups")
        if not isinstance(groups, list) or len(groups) < 2:
            raise _bad(self.file, "'groups' must be a list of at least two names")
        if not all(isinstance(name, str) and name.strip() for name in groups):
            raise _bad(self.file, "each of 'groups' must be text")
        if len(set(groups)) != len(groups):
            raise _bad(self.file, "two of 'groups' have the same name")
        return tuple(groups)

    def _rising(self, values: Any, name: str, n: int) -> tuple[float, ...]:
        if not isinstance(values, list) or len(values) != n:
            raise _bad(self.file, f"'{name}' must be a list of {n} numbers, one fewer than groups")
        numbers = tuple(self._number(value, name) for value in values)
        if any(high <= low for low, high in pairwise(numbers)):
            raise _bad(self.file, f"'{name}' must rise: {', '.join(f'{v:g}' for v in numbers)}")
        return numbers

    def _number(self, value: Any, name: str) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise _bad(self.file, f"'{name}' must hold finite numbers only")
        return float(value)

    def _cuts(self, n_groups: int) -> tuple[Cuts, ...]:
        cuts = self.table["cuts"]
        if not isinstance(cuts, list) or not cuts or not all(isinstance(c, dict) for c in cuts):
            raise _bad(self.file, "'cuts' must be one or more [[cuts]] tables")
        return tuple(self._one_cuts(table, n_groups) for table in cuts)

    def _one_cuts(self, table: dict[str, Any], n_groups: int) -> Cuts:
        self._no_others(table, _KNOWN_CUTS, "cuts.")
        sex = table.get("sex")
        if sex not in (None, "F", "M"):
            raise _bad(self.file, '\'cuts.sex\' must be "F" or "M"')
        age_from, age_below = (
            self._number(table[name], f"cuts.{name}") if name in table else None
            for name in ("age_from", "age_below")
        )
        if age_from is not None and age_below is not None and age_from >= age_below:
            raise _bad(self.file, "'cuts.age_from' must be below 'cuts.age_below'")
        up_to = self._rising(table.get("up_to"), "cuts.up_to", n_groups - 1)
        return Cuts(up_to, sex, age_from, age_below)

    def _quantiles(self, n_groups: int) -> tuple[float, ...]:
        quantiles = self._rising(self.table["quantiles"], "quantiles", n_groups - 1)
        if quantiles[0] <= 0 or quantiles[-1] >= 1:
            raise _bad(self.file, "'quantiles' must lie between 0 and 1")
        return quantiles

    def _least_cases(self) -> int:
        least = self.table.get("least_cases", 1)
        if isinstance(least, bool) or not isinstance(least, int) or least < 1:
            raise _bad(self.file, "'least_cases' must be a whole number of at least 1")
        return least
