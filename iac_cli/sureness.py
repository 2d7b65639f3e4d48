"""How sure one case's numbers are, where the errors of the networks that made them are known."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.reading import Reading
from iac_cli.infer.models import Models
from iac_cli.measure.lesions import Found, mean_probabilities
from iac_cli.measure.risk import Risk
from iac_cli.measure.scheme import Scheme
from iac_cli.measure.scores import Scores
from iac_cli.measure.uncertainty import (
    MadeBy,
    Uncertainty,
    group_probabilities,
    load_uncertainty,
)
from iac_cli.report.result import Sureness


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of one case."""

    scores: Scores
    thickness_mm: float


def known_errors(models: Models, scores: Scores) -> Uncertainty | None:
    """Errors of these networks on patients of their own; None where they do not apply.

    They are of whole heads: an artery outside the scan makes the volume a lower bound.
    Raises: IacError: model_card_invalid.
    """
    if not scores.measured or not all(one.covered for one in scores.arteries):
        return None
    card = models.segmenter.card
    made_by = MadeBy.of(
        card.sha256, models.locator.card.sha256, card.threshold, card.calibration.to_json_dict()
    )
    return load_uncertainty(card.path.parent, made_by)


def usual_thickness_mm(reading: Reading) -> float:
    """The larger of what is tagged and the usual distance between slices."""
    steps = np.diff(reading.volume.grid.offsets_mm)
    usual = float(np.median(steps)) if len(steps) else 0.0
    return max(reading.series.thickness_mm or 0.0, usual)


def with_probabilities(
    risk: Risk | None,
    known: Uncertainty,
    told: Told,
    scheme: Scheme,
    person: tuple[str | None, float | None],
) -> Risk | None:
    """The risk with a probability of each group, where the scheme groups by volume."""
    volume_mm3 = told.scores.volume_mm3
    if risk is None or volume_mm3 is None:
        return risk
    shares = group_probabilities(known, volume_mm3, told.thickness_mm, scheme, person)
    return replace(risk, probabilities=shares)


def sureness_of(
    known: Uncertainty, told: Told, found: Found, p: NDArray[np.float32]
) -> Sureness | None:
    """Interval of the volume and confidence of each lesion; `p` lies on `found.box`."""
    volume_mm3, law, lesions = told.scores.volume_mm3, known.lesion_law, None
    if volume_mm3 is None:
        return None
    if law is not None and found.lesions:
        pairs = zip(mean_probabilities(found, p), found.lesions, strict=True)
        lesions = tuple(law.confidence(mean, lesion.volume_mm3) for mean, lesion in pairs)
    return Sureness(known.interval_mm3(volume_mm3, told.thickness_mm), lesions)
