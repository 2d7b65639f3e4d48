"""Risk groups again from what was written, through the library and the command line."""

import csv
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery
from iac_cli.measure.scheme import Scheme, load_scheme
from iac_cli.report.case import write_case
from iac_cli.report.cohort import group_cohort, repeated_ids, risk_csv
from iac_cli.report.result import Result
from iac_cli.report.scored import read_cases
from iac_cli.report.tables import scores_csv
from tests.command import iac_seg
from tests.report.made_case import case_of, stack

AGATSTON = [0.0, 10.0, 10.5, 400.0, 401.0]
GROUPS = ["0", "over 0 to 10", "over 10 to 100", "over 100 to 400", "over 400"]


def cohort(n: int = 24, seed: int = 1) -> list[Result]:
    """Results that differ by case id, sex, volumes and scores; each seventh is not measurable."""
    measured, _ = case_of(stack())
    refused, _ = case_of(stack(), absent=(Artery.ICA_R,))
    rng = np.random.default_rng(seed)
    results = []
    for k in range(n):
        scores = replace(
            measured.scores,
            ica_volume_mm3=float(rng.gamma(0.6, 90)),
            agatston=AGATSTON[k % len(AGATSTON)],
        )
        base = refused if k % 7 == 6 else replace(measured, scores=scores)
        results.append(replace(base, case_id=f"case-{k:02}", sex="FM"[k % 2]))
    return results


def written(folder: Path, results: list[Result]) -> Path:
    path = folder / "scores.csv"
    path.write_text(scores_csv(results), encoding="utf-8", newline="")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_a_table_and_a_folder_of_the_same_cases_give_the_same_groups(tmp_path: Path) -> None:
    results = cohort()
    table = written(tmp_path, results)
    for result in results:
        write_case(tmp_path / "batch" / result.case_id, result)
    scheme = load_scheme("cohort_quartiles")
    texts = {risk_text(source, scheme) for source in (table, tmp_path / "batch")}
    assert len(texts) == 1


def risk_text(source: Path, scheme: Scheme, *, by_sex: bool = False) -> str:
    scored = read_cases(source)
    return risk_csv(scored, group_cohort(scored, scheme, by_sex=by_sex))


def test_cut_points_regroup_every_case_and_leave_the_unmeasured_empty(tmp_path: Path) -> None:
    results = cohort(7)
    scheme = load_scheme("coronary_by_analogy")
    table = rows_of(risk_text(written(tmp_path, results), scheme))
    assert [row["risk_group"] for row in table] == [*GROUPS, GROUPS[0], ""]
    row = table[6]
    assert (row["status"], row["risk_value"], row["risk_group"]) == ("not_measurable", "", "")
    assert row["risk_undefined"] == "agatston could not be measured"
    assert row["validated_intracranially"] == "false"


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_quartiles_by_sex_agree_with_pandas(tmp_path: Path) -> None:
    import pandas

    results = cohort(60)
    scheme = load_scheme("cohort_quartiles")
    text = risk_text(written(tmp_path, results), scheme, by_sex=True)
    frame = pandas.DataFrame(rows_of(text))
    frame["risk_value"] = pandas.to_numeric(frame["risk_value"])
    for _, part in frame[frame["risk_value"].notna()].groupby("sex"):
        theirs = pandas.qcut(part["risk_value"], 4, labels=list(scheme.groups))
        assert list(part["risk_group"]) == list(theirs)
    assert (frame[frame["risk_value"].isna()]["risk_group"] == "").all()


def test_one_result_file_is_a_cohort_of_one(tmp_path: Path) -> None:
    write_case(tmp_path / "out", cohort(1)[0])
    scheme = load_scheme("presence")
    text = risk_text(tmp_path / "out" / "result.json", scheme)
    assert [row["case_id"] for row in rows_of(text)] == ["case-00"]
    assert risk_text(tmp_path / "out", scheme) == text


def test_an_unfinished_result_is_not_read(tmp_path: Path) -> None:
    write_case(tmp_path / "batch" / "one", cohort(1)[0])
    write_case(tmp_path / "batch" / ".two.x.part", cohort(2)[1])
    assert read_cases(tmp_path / "batch").words["case_id"] == ["case-00"]


def test_a_cohort_too_small_for_any_group(tmp_path: Path) -> None:
    cases = read_cases(written(tmp_path, cohort(10)))
    with pytest.raises(IacError, match="needs 20") as refused:
        group_cohort(cases, load_scheme("cohort_quartiles"))
    assert refused.value.word is Word.RISK_UNDEFINED


def test_cut_points_are_not_taken_by_sex(tmp_path: Path) -> None:
    cases = read_cases(written(tmp_path, cohort(3)))
    with pytest.raises(IacError) as refused:
        group_cohort(cases, load_scheme("presence"), by_sex=True)
    assert refused.value.word is Word.CONFLICTING_OPTIONS


def test_a_table_saved_again_by_a_spreadsheet_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = written(tmp_path, cohort(3))
    text = path.read_text(encoding="utf-8").replace("\n", "\r\n")
    path.write_text(text, encoding="utf-8-sig", newline="")
    assert len(read_cases(path)) == 3


def _with_column(name: str, cell: str, text: str) -> str:
    header, *lines = text.splitlines()
    return "\n".join([f"{header},{name}", *(f"{line},{cell}" for line in lines)])


def _interval(low: str, high: str, text: str) -> str:
    table = list(csv.DictReader(text.splitlines()))
    for row in table:
        row |= {"volume_mm3_low": low, "volume_mm3_high": high}
    lines = [",".join(table[0]), *(",".join(row.values()) for row in table)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: "", "holds no case"),
        (lambda text: text.split("\n")[0], "holds no case"),
        (lambda text: text.replace("agatston_kvp", "x", 1), "no column 'agatston_kvp'"),
        (lambda text: text.replace(",measured,", ",done,", 1), "unknown status in line 2"),
        (lambda text: text.replace(",F,", ",female,", 1), "unknown sex in line 2"),
        (lambda text: text.replace(",10.0,", ",ten,", 1), "no number as agatston of line 3"),
        (lambda text: text.replace(",10.0,", ",nan,", 1), "no finite number as agatston"),
        (lambda text: text.replace(",10.0,", ",-10.0,", 1), "a negative agatston"),
        (partial(_with_column, "study_day", "1.5"), "no whole number of days"),
        (partial(_interval, "9", "3"), "a lower limit of the volume above the upper one in line 2"),
        (lambda text: text.replace("case-01,", "case-01,,", 1), "wrong number of cells in line 3"),
        (lambda text: text + 'x,"', "wrong number of cells|comma-separated"),
        (lambda text: text.replace("case-00", "\x00\udcff", 1), "not UTF-8|comma-separated"),
    ],
)
def test_a_broken_table_is_refused_with_its_place(tmp_path: Path, change, says: str) -> None:
    path = written(tmp_path, cohort(3))
    path.write_bytes(change(path.read_text()).encode("utf-8", "surrogateescape"))
    with pytest.raises(IacError, match=says) as refused:
        read_cases(path)
    assert refused.value.word is Word.FILE_UNREADABLE
    assert str(tmp_path) not in refused.value.what


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", "layout None"),
        ('{"schema_version": 2}', "layout 2"),
        ('{"schema_version": 1}', "breaks the layout"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_broken_result_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "case").mkdir()
    (tmp_path / "case" / "result.json").write_text(text)
    with pytest.raises(IacError, match=says) as refused:
        read_cases(tmp_path)
    assert refused.value.word is Word.FILE_UNREADABLE
    assert "case/result.json" in refused.value.what


def test_what_is_not_there(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "absent.csv", tmp_path / "absent.json"):
        with pytest.raises(IacError) as refused:
            read_cases(source)
        assert refused.value.word is Word.INPUT_NOT_FOUND


def test_the_command_writes_the_table_and_says_how_many(tmp_path: Path) -> None:
    table = written(tmp_path, cohort(60))
    out = tmp_path / "risk.csv"
    arguments = ("--scheme", "cohort_quartiles", "--by", "sex")
    run = iac_seg("export-risk", table, "-o", out, *arguments)
    assert run.returncode == 0, run.stderr
    assert "Not validated" in run.stdout
    first = out.read_bytes()
    again = iac_seg("export-risk", table, "-o", out, *arguments)
    assert again.returncode == 7
    assert again.stderr.startswith("output_exists")
    more = iac_seg("export-risk", table, "-o", out, *arguments, "--overwrite", "--json")
    told = json.loads(more.stdout)
    assert told["cases"] == 60
    assert sum(told["groups"].values()) + told["without_group"] == 60
    assert out.read_bytes() == first
    assert len(rows(out)) == 60


def test_the_command_refuses_to_write_over_its_input(tmp_path: Path) -> None:
    table = written(tmp_path, cohort(3))
    before = table.read_bytes()
    run = iac_seg("export-risk", table, "-o", table, "--overwrite")
    assert run.returncode == 7
    assert table.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (("--scheme", "nobody"), 2, "bad_setting"),
        (("--by", "sex"), 2, "conflicting_options"),
        (("--by", "height"), 2, ""),
        (("--scheme", "cohort_quartiles"), 6, "risk_undefined"),
    ],
)
def test_bad_options_have_their_exit_codes(
    tmp_path: Path, arguments: tuple[str, ...], code: int, word: str
) -> None:
    table = written(tmp_path, cohort(3))
    run = iac_seg("export-risk", table, "-o", tmp_path / "risk.csv", *arguments)
    assert run.returncode == code, run.stderr
    assert word in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "risk.csv").exists()


def test_hostile_case_ids_and_group_names_stay_harmless(tmp_path: Path) -> None:
    scheme = tmp_path / "own.toml"
    scheme.write_text(
        'schema = 1\nname = "=own"\nversion = "1"\ncitation = "x"\n'
        'validated_intracranially = false\nkind = "cut_points"\nscore = "agatston"\n'
        'groups = ["=1+1", "@x"]\n[[cuts]]\nup_to = [5]\n'
    )
    table = written(tmp_path, [replace(cohort(1)[0], case_id='=HYPERLINK("x")')])
    run = iac_seg("export-risk", table, "-o", tmp_path / "risk.csv", "--scheme", scheme)
    assert run.returncode == 0, run.stderr
    (row,) = rows(tmp_path / "risk.csv")
    assert row["case_id"].startswith("'=")
    assert (row["risk_scheme"], row["risk_group"]) == ("'=own", "'=1+1")


def with_columns(path: Path, **more: list[object]) -> Path:
    """The table with columns put behind it, or in the place of its own."""
    import pandas

    frame = pandas.read_csv(path, dtype=str, keep_default_na=False)
    for name, values in more.items():
        frame[name] = [str(value) for value in values]
    frame.to_csv(path, index=False)
    return path


def test_a_failed_case_keeps_its_row_and_says_why(tmp_path: Path) -> None:
    table = written(tmp_path, cohort(2))
    n_columns = table.read_text().partition("\n")[0].count(",") + 1
    with table.open("a") as stream:
        stream.write("case-x,failed,pixels_truncated" + "," * (n_columns - 3) + "\n")
    row = rows_of(risk_text(table, load_scheme("presence")))[2]
    assert (row["status"], row["risk_value"], row["risk_group"]) == ("failed", "", "")
    assert row["risk_undefined"] == "failed: pixels_truncated"


def test_the_table_of_a_batch_stands_above_the_results_in_its_folder(tmp_path: Path) -> None:
    write_case(tmp_path / "case-00", cohort(1)[0])
    written(tmp_path, cohort(5))
    assert len(read_cases(tmp_path)) == 5


def test_the_interval_of_the_volume_says_which_groups_it_reaches(tmp_path: Path) -> None:
    scheme = tmp_path / "own.toml"
    scheme.write_text(
        'schema = 1\nname = "own"\nversion = "1"\ncitation = "x"\n'
        'validated_intracranially = false\nkind = "cut_points"\nscore = "volume_mm3"\n'
        'groups = ["low", "middle", "high"]\n[[cuts]]\nup_to = [10, 100]\n'
    )
    table = with_columns(
        written(tmp_path, cohort(4)),
        volume_mm3=[5, 9, 50, 200],
        volume_mm3_low=[1, 8, 9, ""],
        volume_mm3_high=[10, 11, 101, ""],
    )
    chosen = load_scheme(scheme)
    placed = group_cohort(read_cases(table), chosen).placed
    assert [(one.group, one.low, one.high) for one in placed] == [
        ("low", "low", "low"),
        ("low", "low", "middle"),
        ("middle", "low", "high"),
        ("high", None, None),
    ]
    assert group_cohort(read_cases(table), chosen).n_crossing == 2
    of_another_score = group_cohort(read_cases(table), load_scheme("coronary_by_analogy"))
    assert of_another_score.n_crossing == 0


def test_a_patient_counts_once_in_a_quantile(tmp_path: Path) -> None:
    """Of each patient the earliest study, of that the thinnest slices, as if nothing else were."""
    few = cohort(24, seed=3)
    alone = group_cohort(read_cases(written(tmp_path, few)), load_scheme("cohort_quartiles"))
    n = len(few)
    again = with_columns(
        written(tmp_path, [*few, *reversed(cohort(24, seed=4)), *cohort(24, seed=5)]),
        patient_key=[*range(n), *reversed(range(n)), *range(n)],
        study_day=[0] * n + [400] * n + [0] * n,
        thickness_mm=[1] * n + [0.5] * n + [5] * n,
    )
    scored = read_cases(again)
    grouping = group_cohort(scored, load_scheme("cohort_quartiles"))
    assert grouping.limits == alone.limits
    assert [one.group for one in grouping.placed[:n]] == [one.group for one in alone.placed]
    measured_more = [one for one in grouping.placed[n:] if one.group]
    assert measured_more
    assert len(repeated_ids(scored)) == n


def test_an_unknown_sex_has_no_quantiles(tmp_path: Path) -> None:
    results = cohort(60)
    results[0] = replace(results[0], sex=None)
    table = rows_of(
        risk_text(written(tmp_path, results), load_scheme("cohort_quartiles"), by_sex=True)
    )
    assert (table[0]["risk_group"], table[0]["risk_undefined"]) == ("", "the sex is unknown")


def test_cut_points_of_the_cohort_are_told_with_their_intervals(tmp_path: Path) -> None:
    table = written(tmp_path, cohort(60))
    arguments = ("export-risk", table, "-o", tmp_path / "risk.csv", "--scheme", "cohort_quartiles")
    told = iac_seg(*arguments).stdout
    assert "quartile 1 up to" in told
    assert "95 % interval" in told
    (one,) = json.loads(iac_seg(*arguments, "--overwrite", "--json").stdout)["cut_points"]
    for low, at, high in zip(one["low"], one["up_to"], one["high"], strict=True):
        assert low <= at <= high


@pytest.mark.parametrize("name", ["scores.csv", "lesions.csv", "run.json", "scores.parquet"])
@pytest.mark.parametrize("command", ["export-risk", "summarise"])
def test_a_batchs_own_file_is_never_written_over(tmp_path: Path, command: str, name: str) -> None:
    written(tmp_path, cohort(3))
    kept = tmp_path / name
    if not kept.exists():
        kept.write_text("kept")
    before = kept.read_bytes()
    run = iac_seg(command, tmp_path, "-o", kept, "--overwrite")
    assert run.returncode == 7
    assert kept.read_bytes() == before
