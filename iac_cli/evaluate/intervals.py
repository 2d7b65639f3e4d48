"""Makes `uncertainty.json` from an evaluation on patients who chose nothing else.

One series a patient, picked by a hash of the patient's name: series of one patient are not
exchangeable with those of another. The truth is what the protocol draws on the same scan.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.figures import FOUND_SHARE
from iac_cli.evaluate.record import Record
from iac_cli.infer.operating import DECIDING
from iac_cli.measure.uncertainty import (
    CATEGORIES,
    CONFIDENCE,
    SCHEMA,
    THICKNESS_LIMITS_MM,
    AbsenceLaw,
    LesionLaw,
    MadeBy,
    category_of,
    least_errors,
    logit,
)

LEAST_LESIONS = 50
"""Lesions, right and wrong together, below which no law of lesions is fitted."""

LEAST_WRONG = 10
"""And of either kind."""

LEAST_ABSENT = 5
"""Patients without calcification where some was told, and with it, for the law of absence."""

RIDGE = 1e-3
"""Pull of the law's slopes towards 0, so that separated lesions have finite ones."""


def one_a_patient(records: Sequence[Record]) -> list[Record]:
    """One measured series of each patient, the same one each time."""
    by_patient: dict[str, list[Record]] = {}
    for one in records:
        if one.measured and one.thickness_mm is not None and one.drawn_mm3 is not None:
            by_patient.setdefault(one.patient, []).append(one)
    return [own[_pick(patient, len(own))] for patient, own in by_patient.items()]


def _pick(patient: str, n: int) -> int:
    return int.from_bytes(hashlib.sha256(patient.encode()).digest()[:8], "big") % n


def uncertainty_document(
    records: Sequence[Record], asked: Mapping[str, Any], made_on: str
) -> dict[str, Any]:
    """What `uncertainty.json` holds.

    Raises: IacError: bad_setting: masks were judged, the gate was off, or no category has enough
    patients.
    """
    if asked["judged"] != "model" or not asked["gate"]:
        raise IacError(
            Word.BAD_SETTING,
            "errors of supplied masks, or without the measurability gate, are not the model's",
            way_out="evaluate the model itself, with the gate on",
        )
    picked = one_a_patient(records)
    errors = errors_by_category(picked)
    if not any(len(own) >= least_errors() for own in errors.values()):
        raise IacError(
            Word.BAD_SETTING,
            f"{len(picked)} patients are too few: a category needs {least_errors()}, "
            f"the largest has {max(map(len, errors.values()), default=0)}",
            way_out="evaluate on more patients; 100 in each category are a beginning",
        )
    made_by = MadeBy.of(
        asked["segmenter"]["sha256"],
        asked["locator"]["sha256"],
        {name: asked[name] for name in DECIDING},
        asked["calibration"],
    )
    lesions, absence = lesion_law(picked), absence_law(picked)
    present = errors_by_category([one for one in picked if one.drawn_mm3])
    return {
        "schema": SCHEMA,
        "made_by": made_by.to_json_dict(),
        "made_on": made_on,
        "truth": "as the published protocol draws on the same scan",
        "confidence": CONFIDENCE,
        "thickness_limits_mm": list(THICKNESS_LIMITS_MM),
        "n_patients": len(picked),
        "n_not_measured": len({one.patient for one in records}) - len(picked),
        "errors": _rounded(errors),
        "errors_present": _rounded(present),
        "absence_law": None if absence is None else asdict(absence),
        "lesion_law": None if lesions is None else asdict(lesions),
    }


def _rounded(errors: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: [round(error, 6) for error in own] for name, own in errors.items()}


def errors_by_category(picked: Sequence[Record]) -> dict[str, list[float]]:
    """ln(1 + drawn) - ln(1 + told), sorted, of each category that has any."""
    errors: dict[str, list[float]] = {name: [] for name in CATEGORIES}
    for one in picked:
        category = category_of(one.volume_mm3 or 0.0, one.thickness_mm or 0.0)
        if category is not None:
            error = np.log1p(one.drawn_mm3 or 0.0) - np.log1p(one.volume_mm3 or 0.0)
            errors[category].append(float(error))
    return {name: sorted(own) for name, own in errors.items() if own}


def absence_law(picked: Sequence[Record]) -> AbsenceLaw | None:
    """Logistic regression of whether all that was told is false; None with too few of either."""
    told = [one for one in picked if one.volume_mm3]
    absent = np.array([one.drawn_mm3 == 0 for one in told], dtype=float)
    if min(absent.sum(), (1 - absent).sum()) < LEAST_ABSENT:
        return None
    seen = np.array([(1.0, np.log1p(one.volume_mm3 or 0.0)) for one in told])
    return AbsenceLaw(*_logistic(seen, absent))


def lesion_law(picked: Sequence[Record]) -> LesionLaw | None:
    """Logistic regression of whether a told lesion is right; None with too few of either kind."""
    lesions = [one for record in picked for one in record.lesions if one.mean_p is not None]
    right = np.array([one.share >= FOUND_SHARE for one in lesions], dtype=float)
    if len(lesions) < LEAST_LESIONS or min(right.sum(), (1 - right).sum()) < LEAST_WRONG:
        return None
    seen = np.array([(1.0, logit(one.mean_p or 0.0), np.log(one.volume_mm3)) for one in lesions])
    return LesionLaw(*_logistic(seen, right))


def _logistic(seen: NDArray[np.float64], true: NDArray[np.float64]) -> list[float]:
    """Coefficients of a logistic regression on columns, the first of which is 1."""
    from scipy.optimize import minimize

    def loss(slopes: NDArray[np.float64]) -> float:
        z = seen @ slopes
        pull = RIDGE * float((slopes[1:] ** 2).sum())
        return float((np.logaddexp(0.0, z) - true * z).mean()) + pull

    found = minimize(loss, np.zeros(seen.shape[1]), method="BFGS")
    return [float(value) for value in found.x]
