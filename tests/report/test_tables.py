"""The CSV tables: exact cells, harmless text, and a data dictionary that is never stale."""

import csv
import io
from dataclasses import replace
from pathlib import Path

import pandas
import pytest

from iac_cli.geometry.lines import Artery
from iac_cli.measure.scheme import SCORES
from iac_cli.report.result import Case, Result, Sureness
from iac_cli.report.tables import (
    SCORES_COLUMNS,
    TABLES,
    cell,
    csv_text,
    data_dictionary,
    harmless,
    lesion_cells,
    lesions_csv,
    scores_csv,
)
from tests.report.made_case import (
    case_of,
    made,
    reading_of,
    scored,
    stack,
    supplied_mask_case,
)

DOCS = Path(__file__).parents[2] / "docs"


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_a_row_says_what_the_result_says() -> None:
    result, _ = case_of(stack(uneven=True))
    (row,) = rows(scores_csv([result]))
    told = result.to_json_dict()
    for name in SCORES:
        assert float(row[name]) == told[name]
    assert (row["case_id"], row["status"], row["reasons"]) == ("case-1", "measured", "")
    assert row["warnings"] == "sharp_kernel"
    assert row["ica_l_covered"] == "true"
    assert float(row["ica_l_volume_mm3"]) == told["arteries"]["ICA-L"]["volume_mm3"]
    assert row["v4_r_volume_mm3"] == "0.0"
    assert float(row["volume_at_160hu_mm3"]) == told["threshold_sensitivity"][2]["volume_mm3"]
    assert float(row["smallest_increment_mm"]) == pytest.approx(1.1)
    assert float(row["largest_increment_mm"]) == pytest.approx(5.0)
    assert (row["risk_group"], row["volume_mm3_low"]) == ("present", "")
    assert (row["kvp_kv"], row["n_slices"], row["iac_cli_version"]) == ("120.0", "12", "0.1.0")


def test_what_is_missing_is_an_empty_cell() -> None:
    outside, _ = case_of(stack(), absent=(Artery.V4_R,))
    refused, _ = case_of(stack(), absent=(Artery.ICA_R,))
    masked = supplied_mask_case(stack())
    unread = Result.refused(Case("unread"), refused.scores.reasons)
    table = rows(scores_csv([outside, refused, masked, unread]))
    assert (table[0]["v4_r_covered"], table[0]["v4_r_volume_mm3"]) == ("false", "")
    assert (table[1]["status"], table[1]["reasons"]) == ("not_measurable", "head_not_covered")
    assert (table[1]["volume_mm3"], table[1]["risk_group"], table[1]["n_lesions"]) == ("", "", "")
    assert (table[2]["volume_at_110hu_mm3"], table[2]["model_name"]) == ("", "")
    assert table[2]["mask_left_out_single_voxels"] == "1"
    assert table[3]["n_slices"] == ""
    assert len({tuple(row) for row in table}) == 1


def test_every_lesion_has_its_row() -> None:
    result, _ = case_of(stack())
    table = rows(lesions_csv([result]))
    assert [row["lesion"] for row in table] == ["1", "2", "3"]
    assert [row["artery"] for row in table] == ["ICA-R", "ICA-L", "BA"]
    assert [row["segment"] for row in table] == ["cavernous", "cavernous", ""]
    assert sum(float(row["volume_mm3"]) for row in table) == pytest.approx(result.scores.volume_mm3)
    assert [row["at_edge"] for row in table] == ["false"] * 3
    assert [row["confidence"] for row in table] == [""] * 3
    sure = replace(result, sureness=Sureness(lesions=(0.25, 0.5, 1.0)))
    assert [row["confidence"] for row in rows(lesions_csv([sure]))] == ["0.25", "0.5", "1.0"]
    assert [cells[-1] for cells in lesion_cells(sure.to_json_dict())] == ["0.25", "0.5", "1.0"]
    centre = [float(table[1][f"centre_{axis}_mm"]) for axis in "xyz"]
    expected = stack().to_world([[4.5, 20.5, 41.0]])[0]
    assert centre == pytest.approx(expected.tolist())


def test_pandas_reads_the_tables_back() -> None:
    result, _ = case_of(stack())
    table = pandas.read_csv(io.StringIO(scores_csv([result, result])))
    assert table.shape == (2, len(SCORES_COLUMNS))
    assert table["volume_mm3"][0] == result.scores.volume_mm3
    assert list(table.columns) == [column.name for column in SCORES_COLUMNS]


def test_a_table_without_rows_is_its_header() -> None:
    assert lesions_csv([]).count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('=HYPERLINK("http://x";"y")', '\'=HYPERLINK("http://x";"y")'),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("@SUM(1)", "'@SUM(1)"),
        ("-x", "'-x"),
        ("-12.5", "-12.5"),
        ("+3", "+3"),
        ("\t=1", "' =1"),
        ("\r=1", "' =1"),
        ("\x00=1", "'=1"),
        ("\u202e=1", "'=1"),
        ("H31s", "H31s"),
        ("a\x1b[31mb\x07", "a[31mb"),
        ("line\nbreak", "line break"),
        ("M\u00fcller, \u4e2d", "M\u00fcller, \u4e2d"),
        ("", ""),
    ],
)
def test_text_that_a_spreadsheet_would_run_is_made_harmless(text: str, expected: str) -> None:
    assert harmless(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (0.0, "0.0"),
        (0.1 + 0.2, "0.30000000000000004"),
    ],
)
def test_cells(value: object, expected: str) -> None:
    assert cell(value) == expected


def test_hostile_tags_stay_in_their_cells() -> None:
    volume, _, _, scores = scored(stack())
    reading = reading_of(
        volume, manufacturer='=cmd|"x",\n"y"', kernel="a,b;c\"d'e", scanner_model="\x1b]0;x\x07"
    )
    result = Result.of(Case("=1+1", reading, made=made()), scores, None)
    text = scores_csv([result])
    (row,) = rows(text)
    assert row["case_id"] == "'=1+1"
    assert row["manufacturer"] == '\'=cmd|"x", "y"'
    assert row["kernel"] == "a,b;c\"d'e"
    assert row["scanner_model"] == "]0;x"
    assert text.count("\n") == 2
    assert "\x1b" not in text


def test_no_table_holds_a_duration_a_date_or_a_path() -> None:
    names = {column.name for columns in TABLES.values() for column in columns}
    for part in ("time", "date", "_s", "path", "folder", "wall"):
        assert not [name for name in names if name.endswith(part)], part
    text = scores_csv([case_of(stack())[0]])
    assert "/" not in text
    assert "SECRET" not in text


def test_names_carry_their_units_and_are_unique() -> None:
    ends = {"mm3": "mm3", "mm": "mm", "HU": "hu", "kV": "kv", "years": "years", "degrees": "deg"}
    for table, columns in TABLES.items():
        names = [column.name for column in columns]
        assert len(set(names)) == len(names), table
        for column in columns:
            end = ends.get(column.unit)
            named = column.name.removesuffix("_low").removesuffix("_high")
            assert end is None or named.endswith(end), column.name
            assert column.meaning


def test_the_data_dictionary_is_current() -> None:
    written = (DOCS / "data-dictionary.md").read_text(encoding="utf-8")
    assert written == data_dictionary(), (
        "run: python -m iac_cli.report.dictionary docs/data-dictionary.md"
    )


def test_columns_can_be_read_from_a_plain_document() -> None:
    text = csv_text(SCORES_COLUMNS, [case_of(stack())[0].to_json_dict()])
    assert text == scores_csv([case_of(stack())[0]])
