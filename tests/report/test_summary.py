"""The numbers of the cohort page, on tables small enough to count by hand."""

from pathlib import Path

import numpy as np
import pytest

from iac_cli.measure.scheme import load_scheme
from iac_cli.report.scored import Scored
from iac_cli.report.summary import Count, Split, Spread, Summary, summarise
from tests.report.made_cohort import failed, row, scored


def numbers(cohort: Scored, scheme: str = "presence") -> Summary:
    return summarise(cohort, load_scheme(scheme))


def test_every_state_is_counted_with_its_codes(tmp_path: Path) -> None:
    rows = [
        row(3.0, warnings="thick_slices;sharp_kernel"),
        row(0.0, warnings="thick_slices"),
        row(None, reasons="too_thick;head_not_covered"),
        row(None, reasons="too_thick"),
        failed("no_dicom"),
    ]
    summary = numbers(scored(tmp_path, rows))
    totals = summary.totals
    assert (totals.n, totals.n_measured, totals.n_not_measurable, totals.n_failed) == (5, 2, 2, 1)
    assert totals.reasons == (Count("too_thick", 2), Count("head_not_covered", 1))
    assert totals.failures == (Count("no_dicom", 1),)
    assert summary.flags == (Count("thick_slices", 2), Count("sharp_kernel", 1))
    assert totals.n_patients is None


def test_the_burden_of_a_cohort_by_hand(tmp_path: Path) -> None:
    rows = [*(row(v) for v in (0, 0, 1, 3, 8)), row(None), failed("x")]
    burden = numbers(scored(tmp_path, rows)).burdens[0].spread
    assert (burden.n, burden.n_present, burden.share_present) == (5, 3, 0.6)
    assert [burden.at(q) for q in (0.25, 0.5, 0.75)] == [0.0, 1.0, 3.0]
    assert burden.quartiles == (0.0, 1.0, 3.0)
    assert burden.median_present == 3.0


def test_a_number_that_is_missing_is_no_zero(tmp_path: Path) -> None:
    rows = [row(5, ica_volume_mm3="", ica_r_volume_mm3=""), row(7, ica_r_volume_mm3=2)]
    summary = numbers(scored(tmp_path, rows))
    by_name = {one.name: one.spread for one in summary.burdens}
    assert (by_name["volume_mm3"].n, by_name["ica_volume_mm3"].n) == (2, 1)
    assert summary.arteries[0].spread.values.tolist() == [2.0]


def test_a_patient_counts_once_with_the_earliest_and_thinnest_scan(tmp_path: Path) -> None:
    rows = [
        row(100, patient_key="a", study_day=400, thickness_mm=1),
        row(20, patient_key="a", study_day=0, thickness_mm=5),
        row(10, patient_key="a", study_day=0, thickness_mm=1),
        row(None, patient_key="b", study_day=0, thickness_mm=1),
        row(40, patient_key="b", study_day=9, thickness_mm=1),
        row(7),
        failed("file_unreadable"),  # nobody knows whose it is, or whether it is anybody's
    ]
    summary = numbers(scored(tmp_path, rows))
    assert summary.burdens[0].spread.values.tolist() == [7.0, 10.0, 40.0]
    assert (summary.totals.n_patients, summary.totals.n_counted) == (3, 3)
    assert summary.groups == (Count("absent", 0), Count("present", 3))


def split(summary: Summary, title: str) -> Split:
    (one,) = [one for one in summary.splits if one.title == title]
    return one


def test_thickness_bands_have_inclusive_ends_and_their_order(tmp_path: Path) -> None:
    rows = [row(1, thickness_mm=t) for t in (1.0, 1.01, 5.0, 5.1, "", 0.5)]
    levels = split(numbers(scored(tmp_path, rows)), "Slice thickness").levels
    assert [(one.name, one.n) for one in levels] == [
        ("up to 1 mm", 2),
        ("over 1 to 2 mm", 1),
        ("over 3 to 5 mm", 1),
        ("over 5 mm", 1),
        ("not tagged", 1),
    ]


def test_rare_levels_are_counted_together_and_failed_cases_have_none(tmp_path: Path) -> None:
    rows = [row(1, kernel="H31s"), row(2, kernel="H31s"), failed("no_dicom")]
    rows += [row(3, kernel=f"K{k}") for k in range(20)]
    kernels = split(numbers(scored(tmp_path, rows)), "Kernel")
    assert (kernels.levels[0].name, kernels.levels[0].n) == ("H31s", 2)
    assert len(kernels.levels) == 12
    assert (kernels.n_levels_left, kernels.n_rows_left) == (9, 9)


def test_a_scanner_says_how_many_of_its_cases_were_measured(tmp_path: Path) -> None:
    rows = [
        row(4, manufacturer="GE", scanner_model="X"),
        row(None, manufacturer="GE", scanner_model="X"),
    ]
    (level,) = split(numbers(scored(tmp_path, rows)), "Scanner").levels
    assert (level.name, level.n, level.n_measured, level.spread.n) == ("GE X", 2, 1, 1)


def test_voltages_stand_in_their_order(tmp_path: Path) -> None:
    rows = [row(1, kvp_kv=v) for v in (120, 80, "", 100, 120)]
    levels = split(numbers(scored(tmp_path, rows)), "Tube voltage").levels
    assert [one.name for one in levels] == ["80 kV", "100 kV", "120 kV", "not tagged"]


def test_a_cohort_too_small_for_its_scheme_says_so(tmp_path: Path) -> None:
    summary = numbers(scored(tmp_path, [row(1)] * 3), "cohort_quartiles")
    assert summary.grouping is None
    assert "needs 20" in (summary.why_no_groups or "")


@pytest.mark.parametrize("rows", [[], [failed("no_dicom")], [row(None)], [row(0.0)]])
def test_next_to_nothing_has_numbers_too(tmp_path: Path, rows: list) -> None:
    summary = numbers(scored(tmp_path, rows))
    assert summary.totals.n == len(rows)
    assert summary.retest.why_none
    assert summary.change.why_none
    assert summary.review == ()


def test_programs_and_networks_are_told_apart(tmp_path: Path) -> None:
    made = {"iac_cli_version": "0.1.0", "model_name": "segmenter", "model_version": "1"}
    summary = numbers(scored(tmp_path, [row(1, **made), row(2, **made), row(3)]))
    assert summary.made == (
        Count("iac-cli 0.1.0, network segmenter 1", 2),
        Count("supplied mask", 1),
    )


def test_quartiles_are_those_of_pandas() -> None:
    import pandas

    values = np.random.default_rng(2).gamma(0.5, 80, 101)
    theirs = pandas.Series(values).quantile([0.25, 0.5, 0.75])
    assert Spread.of(values).quartiles == pytest.approx(tuple(theirs))
