"""Figures of records whose answers are arithmetic, and of published examples."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from iac_cli.errors import IacError, Word
from iac_cli.evaluate.compare import compare
from iac_cli.evaluate.evaluation import evaluation_of
from iac_cli.evaluate.figures import Limits, figures_of, thinnest_of
from iac_cli.evaluate.record import ArterySeen, Bins, LesionSeen, Overlap, Record

DOCS = Path(__file__).parents[2] / "docs" / "evaluation.md"


def record(number: int, told: float, drawn: float, **more) -> Record:
    kind = more.pop("thickness_mm", 5.0)
    values = {
        "case": f"P{number}_{kind:g}",
        "patient": f"P{number}",
        "reconstruction": f"{kind:g} mm soft",
        "thickness_mm": kind,
        "kernel": "soft",
        "measured": True,
        "true_volume_mm3": drawn / 2,
        "drawn_mm3": drawn,
        "drawn_agatston": 3 * drawn,
        "volume_mm3": told,
        "agatston": 3 * told,
        "overlap": Overlap(
            int(min(told, drawn)), *(int(max(0, d)) for d in (told - drawn, drawn - told))
        ),
    }
    return Record(**(values | more))


def figures(records, **_):
    found = figures_of(records, thinnest_of(records), Limits.of(records))
    return {one.name: one for one in found}


COHORT = [
    record(k, told, drawn)
    for k, (told, drawn) in enumerate(
        [
            (0, 0),
            (0, 0),
            (4, 0),
            (10, 20),
            (30, 30),
            (60, 50),
            (90, 100),
            (200, 160),
            (0, 5),
            (300, 320),
        ]
    )
]


def test_overlap_by_hand() -> None:
    seen = figures(COHORT)
    dices = [
        2 * min(a, b) / (a + b)
        for a, b in (
            (4, 0),
            (10, 20),
            (30, 30),
            (60, 50),
            (90, 100),
            (200, 160),
            (0, 5),
            (300, 320),
        )
    ]
    assert seen["dice_mean"].value == pytest.approx(np.mean(dices))
    assert seen["dice_mean"].n == 8
    both = 10 + 30 + 50 + 90 + 160 + 300
    assert seen["voxel_sensitivity"].value == pytest.approx(both / 685)
    assert seen["voxel_ppv"].value == pytest.approx(both / 694)
    assert seen["dice_pooled"].value == pytest.approx(2 * both / (685 + 694))


def test_volumes_by_hand() -> None:
    seen = figures(COHORT)
    gaps = [one.volume_mm3 - one.drawn_mm3 for one in COHORT]
    assert seen["bias_mm3_drawn"].value == pytest.approx(np.mean(gaps))
    spread = 1.959964 * np.std(gaps, ddof=1)
    assert seen["agreement_low_mm3_drawn"].value == pytest.approx(np.mean(gaps) - spread)
    assert seen["volume_ratio_drawn"].value == pytest.approx(694 / 685)
    assert seen["volume_ratio_true"].value == pytest.approx(2 * 694 / 685)
    assert seen["agatston_bias"].value == pytest.approx(3 * np.mean(gaps))
    assert "icc_thinnest" not in seen


def test_groups_of_risk_by_hand() -> None:
    """Drawn: 0 0 0 5 20 30 50 100 160 320; quartiles 1.25, 25, 87.5."""
    assert Limits.of(COHORT).drawn == pytest.approx((1.25, 25.0, 87.5))
    seen = figures(COHORT)
    wrong = 2  # 4 instead of 0 is up by one, 0 instead of 5 is down by one
    assert seen["risk_accuracy_drawn"].value == pytest.approx(1 - wrong / 10)
    assert seen["risk_majority_drawn"].value == pytest.approx(3 / 10)


def test_clean_heads_and_presence_by_hand() -> None:
    seen = figures(COHORT)
    assert seen["clean_false_mm3_median"].value == 0.0
    assert seen["clean_false_mm3_p95"].value == pytest.approx(np.percentile([0, 0, 4], 95))
    assert seen["clean_false_mm3_median"].n == 3
    assert seen["presence_sensitivity"].value == pytest.approx(6 / 7)
    assert seen["presence_specificity"].value == pytest.approx(2 / 3)


def test_lesions_are_found_from_a_quarter_on_and_sorted_by_size() -> None:
    lesions = [
        LesionSeen(2.0, 0.25),
        LesionSeen(2.9, 0.24),
        LesionSeen(3.0, 1.0),
        LesionSeen(40.0, 0.0),
    ]
    one = record(1, 10, 10, true_lesions=tuple(lesions), lesions=(LesionSeen(12.0, 0.9),))
    seen = figures([one])
    assert seen["lesion_sensitivity"].value == 0.5
    assert seen["lesion_sensitivity_under_3_mm3"].value == 0.5
    assert seen["lesion_sensitivity_3_to_10_mm3"].value == 1.0
    assert seen["lesion_sensitivity_over_10_mm3"].value == 0.0
    assert seen["lesion_ppv_over_10_mm3"].value == 1.0
    assert seen["lesion_ppv_under_3_mm3"].value is None


def test_icc_is_that_of_shrout_and_fleiss() -> None:
    """Two of the judges of Shrout & Fleiss 1979, table 2 (first and third of six subjects)."""
    judges = np.array([(9, 5), (6, 3), (8, 6), (7, 2), (10, 6), (6, 4)], float)
    seen = figures([record(k, a, b) for k, (b, a) in enumerate(judges)])
    n, mean = 6, judges.mean()
    rows, columns = judges.mean(1), judges.mean(0)
    between = 2 * ((rows - mean) ** 2).sum() / (n - 1)
    repeat = n * ((columns - mean) ** 2).sum()
    rest = ((judges - rows[:, None] - columns + mean) ** 2).sum() / (n - 1)
    assert seen["icc_drawn"].value == pytest.approx(
        (between - rest) / (between + rest + 2 * (repeat - rest) / n)
    )
    assert seen["icc_drawn"].low is not None


def test_against_the_thinnest_slices_of_the_same_patient() -> None:
    thick = [record(k, 10 * k, 12 * k) for k in range(1, 7)]
    thin = [record(k, 9 * k, 8 * k, thickness_mm=1.0) for k in range(1, 7)]
    seen = figures(thick)
    assert "icc_thinnest" not in seen
    both = figures_of(thick, thinnest_of(thick + thin), Limits.of(thick + thin))
    told = {one.name: one for one in both}
    assert told["volume_ratio_thinnest"].value == pytest.approx(10 / 8)
    assert told["volume_ratio_drawn"].value == pytest.approx(10 / 12)


def test_pairs_of_reconstructions_and_their_smallest_difference() -> None:
    rng = np.random.default_rng(2)
    base = rng.uniform(20, 200, 30)
    noise = rng.normal(0, 3, (30, 2))
    records = [
        record(k, base[k] + noise[k, i], base[k], thickness_mm=thick)
        for k in range(30)
        for i, thick in enumerate((1.0, 5.0))
    ]
    evaluation = evaluation_of(records)
    (pair,) = [one for one in evaluation.pairs if one.kind == "repeat"]
    assert (pair.first, pair.second, pair.n) == ("1 mm soft", "5 mm soft", 30)
    gaps = noise[:, 1] - noise[:, 0]
    assert pair.bias_mm3 == pytest.approx(gaps.mean())
    sem = gaps.std(ddof=1) / math.sqrt(2)
    assert pair.smallest_difference_mm3 == pytest.approx(1.959964 * math.sqrt(2) * sem)
    assert [group.level for group in evaluation.groups if group.by == "thickness"] == [
        "1 mm",
        "5 mm",
    ]


def test_change_over_time_is_told_against_change_drawn() -> None:
    records = [
        replace(record(k, told, drawn), case=f"P{k}_{day}", study_day=float(day))
        for k in range(8)
        for day, told, drawn in ((0, 50, 40), (700, 80 + k, 75))
    ]
    evaluation = evaluation_of(records)
    (pair,) = [one for one in evaluation.pairs if one.kind == "longitudinal"]
    assert pair.n == 8
    assert pair.bias_mm3 == pytest.approx(np.mean([30 + k - 35 for k in range(8)]))


def test_calibration_adds_up_over_series() -> None:
    bins = [Bins((8, 2), (0.8, 1.8), (0, 2), 0.1), Bins((2, 8), (0.2, 7.2), (1, 6), 2.0)]
    evaluation = evaluation_of([record(k, 1, 1, bins=one) for k, one in enumerate(bins)])
    assert evaluation.calibration is not None
    expected = (10 * abs(0.1 - 0.1) + 10 * abs(0.9 - 0.8)) / 20
    assert evaluation.calibration["ece"] == pytest.approx(expected)
    assert evaluation.calibration["brier"] == pytest.approx(2.1 / 20)


def test_intervals_are_counted() -> None:
    told = [record(k, 10, 10, low_mm3=5.0, high_mm3=20.0) for k in range(9)]
    told.append(record(9, 10, 30, low_mm3=5.0, high_mm3=20.0))
    covered = figures(told)["interval_coverage"]
    assert covered.value == pytest.approx(0.9)
    exact = stats.binomtest(9, 10).proportion_ci()
    assert (covered.low, covered.high) == pytest.approx((exact.low, exact.high))


def test_what_was_not_measured_is_counted_and_left_out() -> None:
    lost = Record(
        case="x", patient="x", reconstruction="5 mm", measured=False, reasons=("too_thick",)
    )
    evaluation = evaluation_of([*COHORT, lost])
    assert evaluation.not_measured == {"too_thick": 1}
    assert evaluation.figure("series_measured").value == 10
    assert evaluation.figure("series_measured").n == 11
    assert evaluation.figure("dice_mean").value == figures(COHORT)["dice_mean"].value


def test_nothing_measured_is_no_crash() -> None:
    lost = Record(
        case="x", patient="x", reconstruction="5 mm", measured=False, reasons=("too_thick",)
    )
    assert evaluation_of([lost]).figure("dice_mean").value is None


def test_a_record_reads_back() -> None:
    seen = ArterySeen(1.0, 2.0, Overlap(1, 2, 3))
    one = record(
        1,
        5,
        5,
        arteries={"BA": seen},
        bins=Bins((1,), (0.5,), (1,), 0.25),
        lesions=(LesionSeen(1.0, 0.5, "BA", 0.7),),
        reasons=(),
    )
    assert Record.from_json(one.to_json()) == one
    with pytest.raises((ValueError, KeyError, TypeError)):
        Record.from_json(one.to_json()[:100])


def test_the_docs_define_every_figure() -> None:
    text = DOCS.read_text(encoding="utf-8")
    full = [replace(one, low_mm3=0.0, high_mm3=9.0) for one in COHORT]
    thin = [record(k, 1, 1, thickness_mm=1.0) for k in range(10)]
    names = {one.name for one in figures_of(full, thinnest_of(full + thin), Limits.of(full + thin))}
    for truth in ("drawn", "true", "thinnest"):
        names = {name.replace(f"_{truth}", "_TRUTH") for name in names}
    for band in ("_under_3_mm3", "_3_to_10_mm3", "_over_10_mm3"):
        names = {name.replace(band, "") for name in names}
    assert not [name for name in sorted(names) if f"`{name}`" not in text]


# comparing


def better(one: Record) -> Record:
    return replace(one, volume_mm3=one.drawn_mm3, overlap=Overlap(int(one.drawn_mm3), 0, 0))


def test_differences_are_paired_by_patient() -> None:
    found = {one.name: one for one in compare(COHORT, list(map(better, COHORT)))}
    dice = found["dice"]
    ours = [one.dice for one in COHORT if one.dice is not None and one.drawn_mm3 > 0]
    assert dice.n == 7
    assert dice.second == 1.0
    assert dice.difference == pytest.approx(1 - np.mean(ours))
    assert dice.low <= dice.difference <= dice.high
    gaps = [1 - one for one in ours]
    assert dice.wilcoxon_p == pytest.approx(stats.wilcoxon(gaps).pvalue)
    assert found["risk_group_wrong"].difference == pytest.approx(-0.2)


def test_an_evaluation_against_itself_differs_nowhere() -> None:
    for one in compare(COHORT, COHORT):
        assert (one.difference, one.wilcoxon_p) == (0.0, None)


@pytest.mark.parametrize(
    "other",
    [
        COHORT[:-1],
        [replace(COHORT[0], drawn_mm3=7.0), *COHORT[1:]],
        [replace(COHORT[0], patient="Q"), *COHORT[1:]],
        [],
    ],
)
def test_other_cases_are_not_compared(other: list[Record]) -> None:
    with pytest.raises(IacError) as caught:
        compare(COHORT, other)
    assert caught.value.word is Word.CASES_DIFFER
