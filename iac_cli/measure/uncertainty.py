"""How sure a volume is: an interval, a probability of each risk group, a confidence per lesion.

Split conformal prediction (Vovk 2005; Lei 2018) on ln(1 + mm3), Mondrian: what is told falls into
one category, and the errors seen in that category on patients of their own give the interval.
Categories are "nothing told", and slice thickness otherwise. With n errors the interval holds the
truth of a new patient of the same kind with at least the stated probability, whatever the errors'
law; it is null where n is too small for that. It says nothing about patients of another kind.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import ceil, exp, floor, isfinite, log
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.measure.risk import limits_of_person
from iac_cli.measure.scheme import Scheme

SCHEMA = 1
FILE = "uncertainty.json"
"""Beside the model cards."""

THICKNESS_LIMITS_MM = (1.5, 3.5, 5.5, 7.5)
"""Inclusive upper limits of the categories; thicker slices have no interval."""

NOTHING_TOLD = "nothing told"
CATEGORIES = (
    NOTHING_TOLD,
    f"up to {THICKNESS_LIMITS_MM[0]:g} mm",
    *(f"over {a:g} to {b:g} mm" for a, b in pairwise(THICKNESS_LIMITS_MM)),
)

CONFIDENCE = 0.9

BEFORE: Mapping[str, Any] = {"lesion_threshold": 0.0, "thicker_slices": []}
"""What a file, or the note of an evaluation, says of thresholds that it was made without."""

VOLUME_SCORES = ("volume_mm3", "log1p_volume")
"""Scores of a risk scheme whose groups have probabilities."""


@dataclass(frozen=True, slots=True)
class LesionLaw:
    """p(right) = sigmoid(offset + by_p * logit(mean p) + by_size * ln(mm3)), by regression."""

    offset: float
    by_p: float
    by_size: float

    def confidence(self, mean_p: float, volume_mm3: float) -> float:
        """Probability [0, 1] that at least a quarter of a lesion is calcification."""
        z = self.offset + self.by_p * logit(mean_p) + self.by_size * log(volume_mm3)
        return 1.0 / (1.0 + exp(-min(max(z, -30.0), 30.0)))


def logit(p: float) -> float:
    """ln(p / (1 - p)), of p kept within 1e-6 of the ends."""
    kept = min(max(p, 1e-6), 1.0 - 1e-6)
    return log(kept) - log(1.0 - kept)


@dataclass(frozen=True, slots=True)
class AbsenceLaw:
    """p(no calcification) = sigmoid(offset + by_size * ln(1 + told mm3)) where some was told."""

    offset: float
    by_size: float

    def probability(self, told_mm3: float) -> float:
        """Probability [0, 1] that all that was told is false."""
        z = self.offset + self.by_size * float(np.log1p(told_mm3))
        return 1.0 / (1.0 + exp(-min(max(z, -30.0), 30.0)))


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """Errors by category, ln(1 + true) - ln(1 + told), each sorted; and two laws."""

    errors: Mapping[str, NDArray[np.float64]]
    errors_present: Mapping[str, NDArray[np.float64]]
    """Of these, the errors of the patients who have calcification."""
    absence_law: AbsenceLaw | None = None
    """None: the category's own share of patients without any, however much was told."""
    lesion_law: LesionLaw | None = None
    confidence: float = CONFIDENCE

    def interval_mm3(self, told_mm3: float, thickness_mm: float) -> tuple[float, float] | None:
        """The interval of a volume, mm3; None where its category has too few errors."""
        errors = self._errors(told_mm3, thickness_mm)
        places = None if errors is None else conformal_places(len(errors), self.confidence)
        if errors is None or places is None:
            return None
        low, high = (np.expm1(np.log1p(told_mm3) + errors[place]) for place in places)
        return max(0.0, float(low)), max(0.0, float(high))

    def probabilities(
        self, told_mm3: float, thickness_mm: float, limits_mm3: Sequence[float]
    ) -> tuple[float, ...] | None:
        """Probability of each group below inclusive upper limits.

        Absence apart: it is no error of a size. The rest is shared out as the errors seen have it.
        """
        errors = self._errors(told_mm3, thickness_mm)
        if errors is None or conformal_places(len(errors), self.confidence) is None:
            return None
        category = category_of(told_mm3, thickness_mm) or ""
        present = self.errors_present.get(category, np.zeros(0))
        absent = 1.0 - len(present) / len(errors)
        if self.absence_law is not None and told_mm3 > 0.0:
            absent = self.absence_law.probability(told_mm3) if len(present) else 1.0
        smallest = np.nextafter(0.0, 1.0)  # who has calcification has more than none
        values = np.maximum(np.expm1(np.log1p(told_mm3) + present), smallest)
        groups = np.searchsorted(limits_mm3, values, side="left")
        shares = np.bincount(groups, minlength=len(limits_mm3) + 1) / max(1, len(present))
        shares = (1.0 - absent) * shares
        shares[int(np.searchsorted(limits_mm3, 0.0, side="left"))] += absent
        return tuple(float(share) for share in shares)

    def _errors(self, told_mm3: float, thickness_mm: float) -> NDArray[np.float64] | None:
        category = category_of(told_mm3, thickness_mm)
        return None if category is None else self.errors.get(category)


def category_of(told_mm3: float, thickness_mm: float) -> str | None:
    """The category of what was told; None beyond the thickest slices."""
    if not 0.0 < thickness_mm <= THICKNESS_LIMITS_MM[-1]:
        return None
    if told_mm3 <= 0.0:
        return NOTHING_TOLD
    return CATEGORIES[1 + int(np.searchsorted(THICKNESS_LIMITS_MM, thickness_mm, side="left"))]


def conformal_places(n: int, confidence: float) -> tuple[int, int] | None:
    """Indices of the sorted errors that bound the interval; None when n is too small.

    Each side is left with half of 1 - confidence: the k-th smallest and largest of n with
    k = floor((n + 1) (1 - confidence) / 2).
    """
    k = floor((n + 1) * (1.0 - confidence) / 2.0 + 1e-9)
    return None if k < 1 else (k - 1, n - k)


def least_errors(confidence: float = CONFIDENCE) -> int:
    """The smallest n of a category that gives an interval."""
    return ceil(2.0 / (1.0 - confidence) - 1e-9) - 1


def group_probabilities(
    known: Uncertainty,
    told_mm3: float,
    thickness_mm: float,
    scheme: Scheme,
    person: tuple[str | None, float | None],
) -> dict[str, float] | None:
    """Probability of each group of a scheme by volume, for a person's (sex, age in years)."""
    if scheme.score not in VOLUME_SCORES:
        return None
    limits, _ = limits_of_person(scheme, *person)
    if limits is None:
        return None
    in_mm3 = limits if scheme.score == "volume_mm3" else [float(np.expm1(v)) for v in limits]
    shares = known.probabilities(told_mm3, thickness_mm, in_mm3)
    return None if shares is None else dict(zip(scheme.groups, shares, strict=True))


# the file


@dataclass(frozen=True, slots=True)
class MadeBy:
    """The networks and the thresholds whose errors these are."""

    segmenter_sha256: str
    locator_sha256: str
    thresholds: str
    """Of voxels and of lesions, by thickness, as JSON with sorted keys."""
    calibration: str
    """Its entry on the card, as JSON with sorted keys."""

    @classmethod
    def of(
        cls,
        segmenter: str,
        locator: str,
        thresholds: Mapping[str, Any],
        calibration: Mapping[str, Any],
    ) -> "MadeBy":
        """From hashes, thresholds (`infer.operating.thresholds_of`) and the card's entry."""
        texts = (json.dumps(values, sort_keys=True) for values in (thresholds, calibration))
        return cls(segmenter, locator, *texts)

    def to_json_dict(self) -> dict[str, Any]:
        """As the file holds it."""
        thresholds: dict[str, Any] = json.loads(self.thresholds)
        return {
            "segmenter_sha256": self.segmenter_sha256,
            "locator_sha256": self.locator_sha256,
            "calibration": json.loads(self.calibration),
        } | thresholds


def load_uncertainty(folder: Path, made_by: MadeBy) -> Uncertainty | None:
    """The errors of these very networks; None where none are known, or of others alone.

    Raises: IacError: model_card_invalid: the file is damaged.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return _parsed(text, made_by)


@cache
def _parsed(text: str, made_by: MadeBy) -> Uncertainty | None:
    try:
        document = json.loads(text)
        if document["schema"] != SCHEMA:
            raise ValueError("another schema")
        if BEFORE | document["made_by"] != made_by.to_json_dict():
            return None
        lesions, absence = document["lesion_law"], document["absence_law"]
        every, present = (
            {name: _sorted(values) for name, values in document[key].items()}
            for key in ("errors", "errors_present")
        )
        return Uncertainty(
            every,
            present,
            None if absence is None else AbsenceLaw(**{k: float(v) for k, v in absence.items()}),
            None if lesions is None else LesionLaw(**{k: float(v) for k, v in lesions.items()}),
            _share(document["confidence"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IacError(
            Word.MODEL_CARD_INVALID,
            f"{FILE} beside the models is not usable",
            way_out="make it again with 'iac-seg evaluate intervals', or remove it",
        ) from error


def _sorted(values: Sequence[float]) -> NDArray[np.float64]:
    errors = np.sort(np.array(values, dtype=np.float64))
    if errors.ndim != 1 or not np.isfinite(errors).all():
        raise ValueError("errors must be finite")
    errors.setflags(write=False)
    return errors


def _share(value: float) -> float:
    if not isfinite(value) or not 0.0 < value < 1.0:
        raise ValueError("confidence must lie between 0 and 1")
    return float(value)
