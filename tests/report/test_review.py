"""Which cases a person is asked to look at first."""

from pathlib import Path

from iac_cli.measure.scheme import Cuts as CutPoints
from iac_cli.measure.scheme import Scheme, SchemeKind, load_scheme
from iac_cli.report.review import MOST_REVIEWED
from iac_cli.report.summary import summarise
from tests.report.made_cohort import row, scored

TWO_CUTS = Scheme(
    name="own",
    version="1",
    title="",
    citation="x",
    validated_intracranially=False,
    kind=SchemeKind.CUT_POINTS,
    score="volume_mm3",
    groups=("low", "middle", "high"),
    cuts=(CutPoints((10.0, 100.0)),),
)


def reviewed(folder: Path, rows: list[dict[str, object]], scheme: Scheme = TWO_CUTS) -> list[int]:
    return [one.row for one in summarise(scored(folder, rows), scheme).review]


def test_the_widest_ratio_comes_first_then_what_lies_near_a_cut_point(tmp_path: Path) -> None:
    rows = [
        row(1000),
        row(10.5),
        row(90),
        row(500, volume_mm3_low=400, volume_mm3_high=600),
        row(5, volume_mm3_low=1, volume_mm3_high=20),
        row(None),
    ]
    assert reviewed(tmp_path, rows) == [4, 3, 1, 2, 0]


def test_a_zero_lies_near_no_cut_point_at_zero(tmp_path: Path) -> None:
    assert reviewed(tmp_path, [row(0), row(3), row(1)], load_scheme("presence")) == [2, 1]
    assert reviewed(tmp_path, [row(0)]) == [0]  # but it has its distance to a cut-point above


def test_the_list_is_bounded_and_holds_a_patient_once(tmp_path: Path) -> None:
    assert len(reviewed(tmp_path, [row(k + 1) for k in range(60)])) == MOST_REVIEWED
    twice = [row(9, patient_key="p", study_day=day) for day in (7, 0)]
    assert reviewed(tmp_path, twice) == [1]


def test_each_case_says_why(tmp_path: Path) -> None:
    rows = [row(5, volume_mm3_low=1, volume_mm3_high=3, warnings="thick_slices"), row(9)]
    first, second = summarise(scored(tmp_path, rows), TWO_CUTS).review
    assert first.why == "its interval spans a factor of 2"
    assert (first.warnings, first.group, first.low_mm3) == (("thick_slices",), "low", 1.0)
    assert second.why == "near the cut-point 10 of volume_mm3"
