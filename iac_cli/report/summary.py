"""The numbers of the cohort page, as values: counts, burdens, groups, arteries, scanners, flags.

A patient counts once, with the earliest measured study and of that the thinnest slices, wherever a
distribution is told; volumes are skewed, so they are told as median and quartiles with their n.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery
from iac_cli.measure.scheme import Scheme
from iac_cli.report.cohort import Grouping, group_cohort
from iac_cli.report.repeats import Change, Retest, change_of, retest_of
from iac_cli.report.review import Reviewed, rows_to_review
from iac_cli.report.scored import RowStatus, Scored
from iac_cli.report.tables import artery_prefix

BURDENS = (
    ("volume_mm3", "volume, all arteries", "mm³"),
    ("siphon_volume_mm3", "volume, both siphons", "mm³"),
    ("ica_volume_mm3", "volume, both ICAs", "mm³"),
    ("agatston", "Agatston score", ""),
)
"""Score, its label and its unit."""

THICKNESS_BANDS_MM = (1.0, 2.0, 3.0, 5.0)
"""Inclusive upper limits of the bands of slice thickness."""

MOST_LEVELS = 12
"""A split shows so many levels; the cases of the rarer ones are counted together."""

NOT_TAGGED = "not tagged"


@dataclass(frozen=True, slots=True)
class Count:
    """How many rows carry a code or a level."""

    name: str
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A skewed score in a group of cases."""

    values: NDArray[np.float64]
    """Sorted; only measured ones."""

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> "Spread":
        """Of values among which NaN is missing."""
        return cls(np.sort(values[~np.isnan(values)]))

    @property
    def n(self) -> int:
        """Cases with a value."""
        return len(self.values)

    @property
    def n_present(self) -> int:
        """Cases above 0."""
        return int((self.values > 0).sum())

    @property
    def share_present(self) -> float | None:
        """Share of cases above 0."""
        return self.n_present / self.n if self.n else None

    def at(self, quantile: float) -> float | None:
        """A quantile, linear between ranks; None without a case."""
        return float(np.quantile(self.values, quantile)) if self.n else None

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile of at least one case."""
        low, middle, high = np.quantile(self.values, (0.25, 0.5, 0.75))
        return float(low), float(middle), float(high)

    @property
    def median_present(self) -> float | None:
        """Median of the cases above 0."""
        above = self.values[self.values > 0]
        return float(np.median(above)) if len(above) else None


@dataclass(frozen=True, slots=True)
class Burden:
    """One score in the whole cohort."""

    name: str
    label: str
    unit: str
    spread: Spread


@dataclass(frozen=True, slots=True)
class ArteryPart:
    """One artery and side."""

    artery: Artery
    spread: Spread
    """Volume, of the measured cases that cover it."""


@dataclass(frozen=True, slots=True)
class Level:
    """The cases of one scanner, kernel, thickness or voltage."""

    name: str
    n: int
    """Rows that were read, measured or not."""
    n_measured: int
    spread: Spread
    """Volume, each patient once."""


@dataclass(frozen=True, slots=True)
class Split:
    """The cohort by something that changes the numbers."""

    title: str
    levels: tuple[Level, ...]
    n_levels_left: int
    n_rows_left: int
    """Rows of the levels that are not shown."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What became of the rows."""

    n: int
    n_measured: int
    n_not_measurable: int
    n_failed: int
    n_patients: int | None
    """None where the table does not tell patients apart."""
    n_counted: int
    """Measured rows that stand for their patients."""
    reasons: tuple[Count, ...]
    failures: tuple[Count, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """All numbers of the page."""

    totals: Totals
    burdens: tuple[Burden, ...]
    scheme: Scheme
    grouping: Grouping | None
    groups: tuple[Count, ...]
    """Patients in each group, from the lowest, and those without one, if any, last."""
    why_no_groups: str | None
    arteries: tuple[ArteryPart, ...]
    splits: tuple[Split, ...]
    flags: tuple[Count, ...]
    review: tuple[Reviewed, ...]
    retest: Retest
    change: Change
    made: tuple[Count, ...]
    """Programs, networks and definitions that the numbers come from."""


def summarise(scored: Scored, scheme: Scheme) -> Summary:
    """The numbers of a cohort. An empty one has empty parts."""
    measured = scored.measured
    counted = scored.once_a_patient(measured)
    grouping, why = _grouped(scored, scheme)
    retest = retest_of(scored)
    return Summary(
        totals=_totals(scored, measured, counted),
        burdens=tuple(
            Burden(name, label, unit, Spread.of(scored.numbers[name][counted]))
            for name, label, unit in BURDENS
        ),
        scheme=scheme,
        grouping=grouping,
        groups=_groups(grouping, counted),
        why_no_groups=why,
        arteries=tuple(_artery(scored, counted, artery) for artery in Artery),
        splits=_splits(scored, measured, counted),
        flags=_codes(scored.words["warnings"], measured),
        review=rows_to_review(scored, counted, grouping),
        retest=retest,
        change=change_of(scored, retest),
        made=_made(scored, measured),
    )


def _grouped(scored: Scored, scheme: Scheme) -> tuple[Grouping | None, str | None]:
    if not len(scored):
        return None, "the table holds no case"
    try:
        return group_cohort(scored, scheme), None
    except IacError as error:
        if error.word is not Word.RISK_UNDEFINED:
            raise
        return None, error.what


def _groups(grouping: Grouping | None, counted: NDArray[np.bool_]) -> tuple[Count, ...]:
    """Each group's patients, by the row that stands for the patient under the grouped score."""
    if grouping is None:
        return ()
    rows = np.flatnonzero(grouping.counted).tolist()
    sizes = Counter(grouping.placed[row].group for row in rows)
    groups = [Count(name, sizes[name]) for name in grouping.scheme.groups]
    n_without = max(int(counted.sum()) - sum(one.n for one in groups), 0)
    return (*groups, *([Count("no group", n_without)] if n_without else []))


def _totals(scored: Scored, measured: NDArray[np.bool_], counted: NDArray[np.bool_]) -> Totals:
    statuses = np.array(scored.words["status"], dtype=str)
    refused, failed = statuses == RowStatus.NOT_MEASURABLE, statuses == RowStatus.FAILED
    known = {patient for patient in scored.patients if patient}
    answered = zip(scored.patients, failed.tolist(), strict=True)
    keyless = sum(not patient and not lost for patient, lost in answered)  # a patient each
    return Totals(
        n=len(scored),
        n_measured=int(measured.sum()),
        n_not_measurable=int(refused.sum()),
        n_failed=int(failed.sum()),
        n_patients=len(known) + keyless if known else None,
        n_counted=int(counted.sum()),
        reasons=_codes(scored.words["reasons"], refused),
        failures=_codes(scored.words["reasons"], failed),
    )


def _codes(cells: Sequence[str], rows: NDArray[np.bool_]) -> tuple[Count, ...]:
    """How many of the rows carry each code, the commonest first."""
    texts = Counter(cells[row] for row in np.flatnonzero(rows).tolist())
    counts: Counter[str] = Counter()
    for text, n in texts.items():
        for code in dict.fromkeys(filter(None, text.split(";"))):
            counts[code] += n
    return _ordered(counts.items())


def _ordered(counts: Iterable[tuple[str, int]]) -> tuple[Count, ...]:
    """The commonest first; alphabetical among equals."""
    return tuple(Count(name, n) for name, n in sorted(counts, key=lambda one: (-one[1], one[0])))


def _artery(scored: Scored, counted: NDArray[np.bool_], artery: Artery) -> ArteryPart:
    volume = scored.numbers[f"{artery_prefix(artery)}_volume_mm3"]
    return ArteryPart(artery, Spread.of(volume[counted]))


def _splits(
    scored: Scored, measured: NDArray[np.bool_], counted: NDArray[np.bool_]
) -> tuple[Split, ...]:
    """By scanner, kernel, thickness and voltage: of rows that were read, so not of failed ones."""
    makers, models = scored.words["manufacturer"], scored.words["scanner_model"]
    scanners = [f"{maker} {model}".strip() for maker, model in zip(makers, models, strict=True)]
    voltages = scored.numbers["kvp_kv"].tolist()
    columns: tuple[tuple[str, Sequence[str], Callable[[str], object] | None], ...] = (
        ("Scanner", scanners, None),
        ("Kernel", scored.words["kernel"], None),
        ("Slice thickness", _bands(scored.numbers["thickness_mm"]), _band_order),
        ("Tube voltage", ["" if kv != kv else f"{kv:g} kV" for kv in voltages], _voltage_order),
    )
    read = np.array(scored.words["status"], dtype=str) != RowStatus.FAILED
    return tuple(
        _split(title, np.array(names, dtype=str), (read, measured, counted), scored, order)
        for title, names, order in columns
    )


def _split(
    title: str,
    names: NDArray[np.str_],
    rows: tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]],
    scored: Scored,
    order: Callable[[str], object] | None,
) -> Split:
    read, measured, counted = rows
    common = _ordered(Counter(names[read].tolist()).items())
    shown, left = list(common[:MOST_LEVELS]), common[MOST_LEVELS:]
    if order is not None:
        shown.sort(key=lambda count: (not count.name, order(count.name)))
    volume = scored.numbers["volume_mm3"]
    levels = []
    for count in shown:
        own = names == count.name
        spread = Spread.of(volume[own & counted])
        levels.append(Level(count.name or NOT_TAGGED, count.n, int((own & measured).sum()), spread))
    return Split(title, tuple(levels), len(left), sum(count.n for count in left))


BANDS = (
    "up to 1 mm",
    *(f"over {a:g} to {b:g} mm" for a, b in pairwise(THICKNESS_BANDS_MM)),
    f"over {THICKNESS_BANDS_MM[-1]:g} mm",
    "",
)
"""Names of the bands; the last is of scans without the tag."""


def _bands(thickness_mm: NDArray[np.float64]) -> list[str]:
    places = np.searchsorted(THICKNESS_BANDS_MM, thickness_mm, side="left")
    places[np.isnan(thickness_mm)] = len(BANDS) - 1
    return [BANDS[place] for place in places]


def _band_order(name: str) -> int:
    return BANDS.index(name)


def _voltage_order(name: str) -> float:
    return float(name.removesuffix(" kV") or 0)


def _made(scored: Scored, measured: NDArray[np.bool_]) -> tuple[Count, ...]:
    versions, models = scored.words["iac_cli_version"], scored.words["model_name"]
    releases, definitions = scored.words["model_version"], scored.words["agatston_definition"]
    counts: Counter[str] = Counter()
    for row in np.flatnonzero(measured).tolist():
        network = f"network {models[row]} {releases[row]}" if models[row] else "supplied mask"
        parts = [f"iac-cli {versions[row]}" if versions[row] else "", network]
        parts.append(f"Agatston: {definitions[row]}" if definitions[row] else "")
        counts[", ".join(filter(None, parts))] += 1
    return _ordered(counts.items())
