"""Selection rules: a data file, checked when it is read, and the verdict of each rule.

Rules judge a mapping of facts and decide nothing; `series.py` makes the facts and the choice.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word
from iac_cli.toml_file import read_toml

DEFAULT_RULES = Path(__file__).with_name("rules.toml")

START_FROM = "start from the built-in rules.toml, which explains each key"

FACTS = (
    "modality", "object", "image_type", "description", "contrast_agent", "rescale_type", "kernel",
    "kernel_class", "manufacturer", "n_slices", "angle_deg", "step_mm", "thickness_mm",
    "coverage_mm", "kvp_from_120", "lossy", "burned_in", "when", "series_number",
    "acquisition_number",
)  # fmt: skip
"""Every fact that a rule may look at."""

SECRET_FACTS = frozenset({"description", "contrast_agent", "when"})
"""Facts whose values are never printed: people type names and dates into them."""

RULE_WORDS = frozenset(
    {
        Word.NO_CT_SERIES,
        Word.LOCALIZER_ONLY,
        Word.DERIVED_ONLY,
        Word.NOT_AXIAL,
        Word.TOO_FEW_SLICES,
        Word.NOT_HOUNSFIELD,
        Word.CONTRAST_SUSPECTED,
        Word.TOO_THICK,
    }
)
"""The failures that a rule may stand for."""

Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition that a series must meet. Without a value for its fact it passes by default."""

    name: str
    fact: str
    word: Word
    one_of: tuple[str, ...] | None = None
    none_of: tuple[str, ...] | None = None
    all_of: tuple[str, ...] | None = None
    matches: str | None = None
    matches_not: str | None = None
    ignoring: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    required: bool = False
    named: str = "keep"
    unless_lossy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """A preference between two usable series."""

    name: str
    fact: str
    order: str = "lowest"
    floor: float | None = None
    decimals: int = 3
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """A whole rules file."""

    version: str
    rules: tuple[Rule, ...]
    ranks: tuple[Rank, ...]
    kernels: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says about one series."""

    rule: str
    passed: bool
    what: str
    word: Word


def load_rules(path: Path | None = None) -> Rules:
    """Read and check a rules file; the built-in one without a path.

    Raises: IacError: input_not_found, bad_setting, unknown_setting.
    """
    source = path or DEFAULT_RULES
    table = read_toml(source, "the rules file", way_out=START_FROM)
    _known(source, table, ("version", "rule", "rank", "kernels"))
    rules = tuple(_rule(source, entry) for entry in _entries(source, table, "rule"))
    ranks = tuple(_rank(source, entry) for entry in _entries(source, table, "rank"))
    if not rules:
        raise _bad(source, "holds no rule, so nothing would ever be refused")
    return Rules(str(table.get("version", "")), rules, ranks, _kernels(source, table))


def _bad(source: Path, what: str) -> IacError:
    return IacError(
        Word.BAD_SETTING,
        f"rules file {source.name!r}: {what}",
        way_out=START_FROM,
    )


def _known(source: Path, table: Mapping[str, Any], names: Sequence[str]) -> None:
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise IacError(
                Word.UNKNOWN_SETTING,
                f"rules file {source.name!r} has an unknown key {key!r}{hint}",
                way_out="start from the built-in rules.toml, which explains each key",
            )


def _entries(source: Path, table: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    entries = table.get(name, [])
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise _bad(source, f"{name} must be written as [[{name}]]")
    return entries


_LISTS = ("one_of", "none_of", "all_of", "classes")
_KINDS: dict[str, type | tuple[type, ...]] = {
    "at_least": (int, float),
    "at_most": (int, float),
    "floor": (int, float),
    "decimals": int,
    "required": bool,
    "unless_lossy": bool,
}


def _checked(source: Path, entry: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """An entry's values with their types checked and lists made tuples."""
    _known(source, entry, names)
    where = f"{entry.get('name', 'an entry without a name')!r}"
    if not isinstance(entry.get("name"), str) or entry.get("fact") not in FACTS:
        raise _bad(source, f"{where} needs a name, and a fact among {', '.join(FACTS)}")
    values: dict[str, Any] = {}
    for key, value in entry.items():
        if key in _LISTS:
            if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
                raise _bad(source, f"{where}: {key} must be a list of strings")
            values[key] = tuple(value)
        elif not isinstance(value, _KINDS.get(key, str)):
            raise _bad(source, f"{where}: {key} has a value of the wrong type")
        else:
            values[key] = value
    for key in ("matches", "matches_not", "ignoring"):
        if key in values:
            _check_pattern(source, values[key])
    return values


def _check_pattern(source: Path, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise _bad(source, f"{pattern!r} is no regular expression: {error}") from error


def _rule(source: Path, entry: dict[str, Any]) -> Rule:
    values = _checked(source, entry, [f.name for f in fields(Rule)])
    try:
        word = Word(values.pop("word", ""))
    except ValueError as error:
        raise _bad(source, f"{values['name']!r}: word is not a failure word") from error
    if word not in RULE_WORDS:
        known = ", ".join(sorted(RULE_WORDS))
        raise _bad(source, f"{values['name']!r}: word must be one of {known}")
    if values.get("named", "keep") not in ("keep", "skip"):
        raise _bad(source, f"{values['name']!r}: named must be 'keep' or 'skip'")
    return Rule(word=word, **values)


def _rank(source: Path, entry: dict[str, Any]) -> Rank:
    values = _checked(source, entry, [f.name for f in fields(Rank)])
    if values.get("order", "lowest") not in ("lowest", "highest"):
        raise _bad(source, f"{values['name']!r}: order must be 'lowest' or 'highest'")
    return Rank(**values)


def _kernels(source: Path, table: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    kernels = table.get("kernels", {})
    if not isinstance(kernels, dict):
        raise _bad(source, "kernels must be a table of lists")
    for name, patterns in kernels.items():
        if not isinstance(patterns, list) or not all(isinstance(p, str) for p in patterns):
            raise _bad(source, f"kernels.{name} must be a list of strings")
        for pattern in patterns:
            _check_pattern(source, pattern)
    return {name: tuple(patterns) for name, patterns in kernels.items()}


def kernel_class(kernel: str | None, rules: Rules) -> str:
    """The first class whose patterns match the kernel; "unknown" without one."""
    name = (kernel or "").split("\\")[0].strip().upper()
    for found, patterns in rules.kernels.items():
        if name and any(re.search(p, name, re.IGNORECASE) for p in patterns):
            return found
    return "unknown"


def judge(facts: Facts, rules: Rules, *, named: bool) -> tuple[Verdict, ...]:
    """Every rule's verdict on one series; `named` when the user gave its UID."""
    verdicts = []
    for rule in rules.rules:
        skipped = (named and rule.named == "skip") or (rule.unless_lossy and facts.get("lossy"))
        value = facts.get(rule.fact)
        if skipped:
            why = "left out: the series was named" if named else "left out: the image is lossy"
            verdicts.append(Verdict(rule.name, True, why, rule.word))
            continue
        holds = _holds(rule, value)
        what = _shown(rule.fact, value) + ("" if holds else _wanted(rule))
        verdicts.append(Verdict(rule.name, holds, what, rule.word))
    return tuple(verdicts)


def _holds(rule: Rule, value: Any) -> bool:
    if value is None or value == ():
        return not rule.required
    tests = []
    if isinstance(value, int | float):
        tests += [rule.at_least is None or value >= rule.at_least]
        tests += [rule.at_most is None or value <= rule.at_most]
        return all(tests)
    words = set(value) if isinstance(value, tuple) else {str(value)}
    text = " ".join(sorted(words))
    if rule.ignoring is not None:
        text = re.sub(rule.ignoring, " ", text, flags=re.IGNORECASE)
    tests += [rule.one_of is None or bool(words & set(rule.one_of))]
    tests += [rule.none_of is None or not words & set(rule.none_of)]
    tests += [rule.all_of is None or words >= set(rule.all_of)]
    tests += [rule.matches is None or bool(re.search(rule.matches, text, re.IGNORECASE))]
    tests += [rule.matches_not is None or not re.search(rule.matches_not, text, re.IGNORECASE)]
    return all(tests)


def _shown(fact: str, value: Any) -> str:
    if value is None or value == ():
        return f"{fact} absent"
    if fact in SECRET_FACTS:
        return f"the tag {fact} is filled in"
    if isinstance(value, tuple):
        value = "\\".join(value)
    elif isinstance(value, float):
        value = f"{value:.2f}"
    return f"{fact} {value}"


def _wanted(rule: Rule) -> str:
    """The limit that a series broke, in words; a pattern is not told, for it helps nobody."""
    limits = [("at least", rule.at_least), ("at most", rule.at_most)]
    told = [f"{name} {limit:g}" for name, limit in limits if limit is not None]
    lists = [("one of", rule.one_of), ("none of", rule.none_of), ("all of", rule.all_of)]
    told += [f"{name} {', '.join(values)}" for name, values in lists if values]
    return f" (wanted: {' and '.join(told)})" if told else ""


def rank_key(facts: Facts, rules: Rules) -> tuple[Any, ...]:
    """What series are sorted by: the smallest key is the best series."""
    return tuple(_rank_value(rank, facts.get(rank.fact)) for rank in rules.ranks)


def _rank_value(rank: Rank, value: Any) -> Any:
    if rank.classes is not None:
        return rank.classes.index(value) if value in rank.classes else len(rank.classes)
    if isinstance(value, str):
        value = float(value) if value.isdigit() else None
    if value is None:
        return float("inf")
    number = float(value)
    number = round(max(number, rank.floor) if rank.floor is not None else number, rank.decimals)
    return number if rank.order == "lowest" else -number


def deciding_rank(loser: Facts, winner: Facts, rules: Rules) -> str | None:
    """The name of the first rank in which two series differ; None when they are equal."""
    pairs = zip(rules.ranks, rank_key(loser, rules), rank_key(winner, rules), strict=True)
    return next((rank.name for rank, mine, theirs in pairs if mine != theirs), None)
