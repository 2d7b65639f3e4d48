"""Intervals that hold what they promise, on thousands of simulated patients; and by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.intervals import absence_law, errors_by_category
from iac_cli.evaluate.record import Record
from iac_cli.measure.scheme import load_scheme
from iac_cli.measure.uncertainty import (
    CATEGORIES,
    FILE,
    NOTHING_TOLD,
    AbsenceLaw,
    LesionLaw,
    MadeBy,
    Uncertainty,
    category_of,
    conformal_places,
    group_probabilities,
    least_errors,
    load_uncertainty,
)

THRESHOLDS = {"threshold": 0.2, "lesion_threshold": 0.6, "thicker_slices": []}
THICKER = {"over_mm": 3.0, "threshold": 0.1, "lesion_threshold": 0.6}
PLATT = {"method": "platt", "a": 1.0, "b": 0.0}
MADE_BY = MadeBy.of("a" * 64, "b" * 64, THRESHOLDS, PLATT)
UP_TO_1_5 = CATEGORIES[1]


def people(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drawn, told and thickness of n patients: skewed, biased by thickness, with misses."""
    drawn = np.where(rng.random(n) < 0.2, 0.0, np.exp(rng.normal(3.8, 1.5, n)))
    thickness = rng.choice([1.0, 3.0, 5.0], n)
    shift = rng.standard_t(3, n) * 0.15 * thickness - 0.05 * thickness
    told = np.expm1(np.maximum(np.log1p(drawn) + shift, 0.0)) * (rng.random(n) > 0.1)
    return drawn, told, thickness


def known_from(drawn, told, thickness) -> Uncertainty:
    errors: dict[str, list[float]] = {}
    for a, b, mm in zip(drawn, told, thickness, strict=True):
        errors.setdefault(category_of(b, mm), []).append(float(np.log1p(a) - np.log1p(b)))
    every = {name: np.sort(own) for name, own in errors.items()}
    return Uncertainty(every, every)


def covered(known: Uncertainty, drawn, told, thickness) -> np.ndarray:
    inside = []
    for a, b, mm in zip(drawn, told, thickness, strict=True):
        low, high = known.interval_mm3(b, mm)
        inside.append(low - 1e-9 <= a <= high + 1e-9)
    return np.array(inside)


def test_intervals_cover_new_patients_as_promised() -> None:
    """Over many calibrations of 300 patients, each tried on 100 new ones: 90 % in every category.

    An exact binomial interval around what was seen must not lie below 0.9, nor above it by more
    than the little that a finite calibration gives away, 2 / (n + 1).
    """
    rng = np.random.default_rng(11)
    hits: dict[str, list[bool]] = {name: [] for name in CATEGORIES[:4]}
    for _ in range(60):
        known = known_from(*people(300, rng))
        fresh = people(100, rng)
        inside = covered(known, *fresh)
        for mm, told, hit in zip(fresh[2], fresh[1], inside, strict=True):
            hits[category_of(told, mm)].append(bool(hit))
    for name, own in hits.items():
        assert len(own) >= 1000, name
        seen = stats.binomtest(sum(own), len(own)).proportion_ci(0.999)
        assert seen.high >= 0.9, name
        tied = 0.1 if name == NOTHING_TOLD else 2 / 61  # most errors there are one and the same: 0
        assert seen.low <= 0.9 + tied, name


def records(n: int, rng: np.random.Generator) -> list[Record]:
    return [
        Record(
            case=str(k), patient=str(k), reconstruction="", measured=True,
            drawn_mm3=float(a), volume_mm3=float(b), thickness_mm=float(mm),
        )
        for k, (a, b, mm) in enumerate(zip(*people(n, rng), strict=True))
    ]  # fmt: skip


def test_probabilities_of_groups_are_those_that_come_true() -> None:
    rng = np.random.default_rng(5)
    seen = records(6000, rng)
    every, present = (
        {name: np.array(own) for name, own in errors_by_category(some).items()}
        for some in (seen, [one for one in seen if one.drawn_mm3])
    )
    known = Uncertainty(every, present, absence_law(seen))
    drawn, told, thickness = people(4000, rng)
    limits = (0.0, 30.0, 100.0)
    stated = np.array(
        [known.probabilities(b, mm, limits) for b, mm in zip(told, thickness, strict=True)]
    )
    np.testing.assert_allclose(stated.sum(axis=1), 1.0)
    groups = np.searchsorted(limits, drawn, side="left")
    for group in range(4):
        share = (groups == group).mean()
        assert stated[:, group].mean() == pytest.approx(share, abs=0.03)
        for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.01)):
            held = (stated[:, group] >= low) & (stated[:, group] < high)
            if held.sum() >= 100:
                seen_share = (groups[held] == group).mean()
                assert stated[held, group].mean() == pytest.approx(seen_share, abs=0.15)


def test_interval_by_hand() -> None:
    """19 errors of -0.9 ... 0.9: the outermost are the limits, as factors of 1 + volume."""
    errors = {UP_TO_1_5: np.linspace(-0.9, 0.9, 19)}
    known = Uncertainty(errors, errors)
    low, high = known.interval_mm3(50.0, 1.0)
    assert (low, high) == pytest.approx((51 * np.exp(-0.9) - 1, 51 * np.exp(0.9) - 1))
    assert known.interval_mm3(0.1, 1.0)[0] == 0.0
    shares = known.probabilities(50.0, 1.0, (50.0,))
    assert shares == pytest.approx((10 / 19, 9 / 19))


@pytest.mark.parametrize(
    ("n", "places"), [(18, None), (19, (0, 18)), (39, (1, 37)), (100, (4, 95))]
)
def test_places_are_those_of_split_conformal_prediction(n: int, places) -> None:
    assert conformal_places(n, 0.9) == places
    assert least_errors(0.9) == 19


def test_absence_is_no_error_of_a_size() -> None:
    """2 of 20 patients had none: that share, or the law's, goes to the group that holds 0."""
    present = {UP_TO_1_5: np.zeros(18)}
    errors = {UP_TO_1_5: np.sort(np.concatenate([np.zeros(18), [-1.0, -2.0]]))}
    assert Uncertainty(errors, present).probabilities(50.0, 1.0, (0.0, 60.0)) == pytest.approx(
        (0.1, 0.9, 0.0)
    )
    law = AbsenceLaw(0.0, -0.5)
    absent = 1 / (1 + np.exp(0.5 * np.log(51.0)))
    told = Uncertainty(errors, present, law).probabilities(50.0, 1.0, (0.0, 60.0))
    assert told == pytest.approx((absent, 1 - absent, 0.0))
    assert Uncertainty(errors, present, law).probabilities(50.0, 1.0, (60.0,)) == (1.0, 0.0)


def test_what_is_too_rare_or_too_thick_has_no_interval() -> None:
    known = Uncertainty({UP_TO_1_5: np.zeros(18)}, {UP_TO_1_5: np.zeros(18)})
    assert known.interval_mm3(5.0, 1.0) is None
    assert known.probabilities(5.0, 1.0, (0.0,)) is None
    assert known.interval_mm3(5.0, 3.0) is None
    assert category_of(5.0, 7.6) is None
    assert category_of(0.0, 5.0) == NOTHING_TOLD
    assert [category_of(1.0, mm) for mm in (1.5, 3.5, 5.5, 7.5)] == list(CATEGORIES[1:])


def test_schemes_by_another_score_have_no_probabilities() -> None:
    errors = {UP_TO_1_5: np.linspace(-1, 1, 39)}
    known = Uncertainty(errors, errors)
    told = group_probabilities(known, 5.0, 1.0, load_scheme("presence"), (None, None))
    assert told == pytest.approx({"absent": 0.0, "present": 1.0})
    for name in ("coronary_by_analogy", "cohort_quartiles"):
        assert group_probabilities(known, 5.0, 1.0, load_scheme(name), (None, None)) is None


def test_a_lesions_confidence_by_hand() -> None:
    law = LesionLaw(1.0, 2.0, -0.5)
    z = 1.0 + 2.0 * np.log(0.3 / 0.7) - 0.5 * np.log(8.0)
    assert law.confidence(0.3, 8.0) == pytest.approx(1 / (1 + np.exp(-z)))
    assert 0.0 < law.confidence(0.0, 1e-3) < law.confidence(1.0, 1e-3) <= 1.0


# the file


def document(**changes) -> dict:
    return {
        "schema": 1,
        "made_by": MADE_BY.to_json_dict(),
        "confidence": 0.9,
        "errors": {UP_TO_1_5: [0.2, -0.1] * 10},
        "errors_present": {UP_TO_1_5: [0.2, -0.1] * 9},
        "absence_law": None,
        "lesion_law": {"offset": 0.0, "by_p": 1.0, "by_size": 0.0},
    } | changes


def test_the_file_serves_its_own_networks_alone(tmp_path: Path) -> None:
    assert load_uncertainty(tmp_path, MADE_BY) is None
    (tmp_path / FILE).write_text(json.dumps(document()))
    known = load_uncertainty(tmp_path, MADE_BY)
    assert known.interval_mm3(10.0, 1.0) == pytest.approx(
        (11 * np.exp(-0.1) - 1, 11 * np.exp(0.2) - 1)
    )
    for other in (
        MadeBy.of("c" * 64, "b" * 64, THRESHOLDS, PLATT),
        MadeBy.of("a" * 64, "c" * 64, THRESHOLDS, PLATT),
        MadeBy.of("a" * 64, "b" * 64, THRESHOLDS | {"threshold": 0.3}, PLATT),
        MadeBy.of("a" * 64, "b" * 64, THRESHOLDS | {"lesion_threshold": 0.5}, PLATT),
        MadeBy.of("a" * 64, "b" * 64, THRESHOLDS | {"thicker_slices": [THICKER]}, PLATT),
        MadeBy.of("a" * 64, "b" * 64, THRESHOLDS, PLATT | {"a": 1.1}),
    ):
        assert load_uncertainty(tmp_path, other) is None
    before = document()
    del before["made_by"]["thicker_slices"]  # as a file from before they had thresholds
    (tmp_path / FILE).write_text(json.dumps(before))
    assert load_uncertainty(tmp_path, MADE_BY) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        json.dumps(document(schema=2)),
        json.dumps(document(errors={UP_TO_1_5: ["much"]})),
        json.dumps(document(errors={UP_TO_1_5: [float("nan")]})),
        json.dumps(document(confidence=1.0)),
        json.dumps(document(lesion_law={"offset": 1.0})),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(IacError) as caught:
        load_uncertainty(tmp_path, MADE_BY)
    assert caught.value.word is Word.MODEL_CARD_INVALID
