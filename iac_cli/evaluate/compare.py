"""Two evaluations of the same series against each other: paired differences by patient."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.figures import Limits
from iac_cli.evaluate.record import Record
from iac_cli.evaluate.run import CASES, NOTE
from iac_cli.evaluate.statistics import Resamples

FloatArray = NDArray[np.float64]

SAME_MM3 = 1e-3
"""Labels whose volumes differ by less are the same."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Second less first, each patient once (the mean of its series)."""

    name: str
    level: str
    """`all`, or a reconstruction."""
    n: int
    """Patients with the figure in both."""
    first: float
    second: float
    difference: float
    low: float | None
    """Bootstrapped 95 % interval over patients."""
    high: float | None
    wilcoxon_p: float | None
    """Two-sided signed-rank test; None with fewer than 6 patients that differ."""


MEASURES: tuple[tuple[str, Callable[[Record, Limits], float | None]], ...] = (
    ("dice", lambda one, _: one.dice),
    ("log_volume_error", lambda one, _: _log_error(one)),
    ("volume_mm3", lambda one, _: one.volume_mm3),
    ("agatston_error", lambda one, _: _gap(one.agatston, one.drawn_agatston)),
    ("risk_group_wrong", lambda one, limits: _wrong(one, limits)),
    ("lesions_found", lambda one, _: _share_found(one)),
    ("clean_false_mm3", lambda one, _: one.volume_mm3 if one.drawn_mm3 == 0 else None),
    ("measured", lambda one, _: float(one.measured)),
)
"""Name and value of each compared figure. Of errors less is better."""

LEAST_DIFFERENT = 6
"""With fewer patients that differ, no signed-rank test reaches 0.05."""


def _log_error(one: Record) -> float | None:
    if one.volume_mm3 is None or one.drawn_mm3 is None:
        return None
    return float(abs(np.log1p(one.volume_mm3) - np.log1p(one.drawn_mm3)))


def _gap(told: float | None, drawn: float | None) -> float | None:
    return None if told is None or drawn is None else abs(told - drawn)


def _wrong(one: Record, limits: Limits) -> float | None:
    if limits.drawn is None or one.volume_mm3 is None or one.drawn_mm3 is None:
        return None
    told, drawn = np.searchsorted(limits.drawn, (one.volume_mm3, one.drawn_mm3), side="left")
    return float(told != drawn)


def _share_found(one: Record) -> float | None:
    if not one.measured or not one.true_lesions:
        return None
    return float(np.mean([lesion.share >= 0.25 for lesion in one.true_lesions]))


def read_evaluation(folder: Path) -> list[Record]:
    """The records of an evaluation's folder. Raises: IacError: input_not_found, file_unreadable."""
    if not (folder / NOTE).is_file() or not (folder / CASES).is_dir():
        raise IacError(
            Word.INPUT_NOT_FOUND,
            f"{folder.name!r} holds no evaluation",
            way_out="give folders that 'iac-seg evaluate' wrote",
        )
    records = []
    for path in sorted((folder / CASES).glob("*.json")):
        try:
            records.append(Record.from_json(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise IacError(
                Word.FILE_UNREADABLE,
                "a record of the evaluation is damaged, or of another version",
                way_out="run the evaluation again: it makes anew what is damaged",
            ) from error
    _check_whole(folder, len(records))
    return records


def _check_whole(folder: Path, n: int) -> None:
    wanted = json.loads((folder / NOTE).read_text(encoding="utf-8"))["n_series"]
    if n != wanted:
        raise IacError(
            Word.INPUT_NOT_FOUND,
            f"the evaluation {folder.name!r} is not finished: {n} of {wanted} series",
            way_out="repeat its command: it goes on where it stopped",
        )


def compare(first: Sequence[Record], second: Sequence[Record]) -> list[Difference]:
    """Paired differences, second less first, over all series and by reconstruction.

    Raises: IacError: cases_differ.
    """
    pairs = _paired(first, second)
    limits = Limits.of([one for one, _ in pairs])
    kinds = list(dict.fromkeys(one.reconstruction for one, _ in pairs))
    found = []
    for level in ("all", *(kinds if len(kinds) > 1 else ())):
        own = [pair for pair in pairs if level in ("all", pair[0].reconstruction)]
        for name, of in MEASURES:
            one = _difference(name, level, own, lambda record, of=of: of(record, limits))  # type: ignore[misc]
            if one is not None:
                found.append(one)
    return found


def _paired(first: Sequence[Record], second: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The same series of both. Raises: IacError: cases_differ."""
    ours, theirs = ({one.case: one for one in side} for side in (first, second))
    apart = set(ours) ^ set(theirs)
    if apart or not ours:
        raise _differ(f"{len(apart)} series are in one of the evaluations alone")
    pairs = [(ours[case], theirs[case]) for case in ours]
    other = sum(_other_truth(one, two) for one, two in pairs)
    if other:
        raise _differ(f"{other} series have other labels, or another patient, in the second")
    return pairs


def _differ(what: str) -> IacError:
    return IacError(
        Word.CASES_DIFFER, what, way_out="compare evaluations of one test set; run both on it"
    )


def _other_truth(one: Record, two: Record) -> bool:
    if (one.patient, one.reconstruction) != (two.patient, two.reconstruction):
        return True
    if one.drawn_mm3 is None or two.drawn_mm3 is None:
        return False  # one of them could not be read
    return abs(one.drawn_mm3 - two.drawn_mm3) > SAME_MM3


def _difference(
    name: str,
    level: str,
    pairs: Sequence[tuple[Record, Record]],
    of: Callable[[Record], float | None],
) -> Difference | None:
    by_patient: dict[str, list[tuple[float, float]]] = {}
    for one, two in pairs:
        a, b = of(one), of(two)
        if a is not None and b is not None:
            by_patient.setdefault(one.patient, []).append((a, b))
    if not by_patient:
        return None
    means = np.array([np.mean(own, axis=0) for own in by_patient.values()])  # (patient, 2)
    gap = means[:, 1] - means[:, 0]
    draws = Resamples(list(by_patient))
    low, high = draws.interval(lambda rows: float(gap[rows].mean())) or (None, None)
    return Difference(
        name,
        level,
        len(gap),
        float(means[:, 0].mean()),
        float(means[:, 1].mean()),
        float(gap.mean()),
        low,
        high,
        _signed_rank(gap),
    )


def _signed_rank(gap: FloatArray) -> float | None:
    from scipy.stats import wilcoxon

    if np.count_nonzero(gap) < LEAST_DIFFERENT:
        return None
    return float(wilcoxon(gap, method="auto").pvalue)


def comparison_document(differences: Sequence[Difference]) -> dict[str, Any]:
    """As plain values."""
    return {"schema": 1, "differences": [asdict(one) for one in differences]}
