"""How sure one case's numbers are, where the errors of the networks that made them are known."""

from dataclasses import dataclass, replace

from iac_cli.infer.card import joint_sha256
from iac_cli.infer.models import Models
from iac_cli.infer.operating import thresholds_of
from iac_cli.infer.segment import NativeProbability
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

Person = tuple[str | None, float | None]
"""Sex and age in years."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """What was told of one case, and from what."""

    thickness_mm: float
    """Of the slices that were looked at."""
    scores: Scores
    risk: Risk | None
    found: Found
    probability: NativeProbability


def how_sure(
    models: Models, told: Told, scheme: Scheme, person: Person
) -> tuple[Risk | None, Sureness | None]:
    """The risk with its probabilities, and the interval and the lesions' confidences.

    Unchanged and None where the errors of these networks are not known, or do not apply: they are
    of whole heads, and an artery outside the scan makes the volume a lower bound.
    Raises: IacError: model_card_invalid.
    """
    scores, risk = told.scores, told.risk
    volume_mm3 = scores.volume_mm3
    if volume_mm3 is None or not all(one.covered for one in scores.arteries):
        return risk, None
    known = _known_errors(models)
    if known is None:
        return risk, None
    if risk is not None:
        shares = group_probabilities(known, volume_mm3, told.thickness_mm, scheme, person)
        risk = replace(risk, probabilities=shares)
    interval_mm3 = known.interval_mm3(volume_mm3, told.thickness_mm)
    return risk, Sureness(interval_mm3, _lesions(known, told))


def _known_errors(models: Models) -> Uncertainty | None:
    card = models.segmenter.card
    made_by = MadeBy.of(
        card.sha256,
        joint_sha256(*(one.sha256 for one in models.locator.cards)),
        thresholds_of(card.points),
        card.calibration.to_json_dict(),
    )
    return load_uncertainty(card.path.parent, made_by)


def _lesions(known: Uncertainty, told: Told) -> tuple[float, ...] | None:
    law, found = known.lesion_law, told.found
    if law is None:
        return None
    means = mean_probabilities(found, told.probability.probability[found.box])
    pairs = zip(means, found.lesions, strict=True)
    return tuple(law.confidence(mean, lesion.volume_mm3) for mean, lesion in pairs)
