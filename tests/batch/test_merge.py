"""Parts that lie in folders of their own are the parts of one batch."""

import json
from pathlib import Path

import pytest

from iac_cli.batch.folder import RunFolder
from iac_cli.batch.job import Outcome, State
from iac_cli.batch.ledger import Entry, Keys, Ledger
from iac_cli.batch.merge import merge
from iac_cli.errors import IacError, Word
from iac_cli.report.tables import SCORES_COLUMNS


def part(
    out: Path,
    number: int,
    case_id: str,
    naming: str = "same",
    *,
    series: str = "",
    voxels: str = "",
    gone: bool = False,
) -> Path:
    folder = RunFolder(out, number, 2)
    folder.state.mkdir(parents=True)
    ledger = Ledger(folder.ledger)
    known = {"case_id": case_id, "status": "measured", "study_uid": series, "series_uid": series}
    known["input_sha256"] = voxels
    row = tuple(known.get(column.name, "") for column in SCORES_COLUMNS)
    ledger.plan(("site",), {case_id: ("A",)}, naming, [case_id] if gone else [])
    ledger.end([Entry(Keys("i", "s", "m"), Outcome(case_id, State.MEASURED, row))])
    ledger.close()
    return out


def test_parts_in_folders_of_their_own_miss_nothing(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one", 1, "b"), part(tmp_path / "two", 2, "a")
    merged = merge([one, two], tmp_path / "out")
    assert (merged.missing, merged.left, merged.n_folders) == ((), 0, 2)
    lines = (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["case_id", "a", "b"]


def test_tables_of_others_are_not_replaced(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one", 1, "b"), part(tmp_path / "two", 2, "a")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "scores.csv").write_text("id,x\n1,2\n")
    batch = tmp_path / "batch"
    batch.mkdir()
    Ledger(RunFolder(batch).ledger).close()
    for out in (theirs, batch):
        with pytest.raises(IacError) as caught:
            merge([one, two], out)
        assert caught.value.word is Word.OUTPUT_EXISTS
    assert (theirs / "scores.csv").read_text() == "id,x\n1,2\n"
    assert not (batch / "scores.csv").exists()


def test_a_merge_may_be_done_again(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one", 1, "b"), part(tmp_path / "two", 2, "a")
    assert merge([one], tmp_path / "out").missing == ("2-of-2",)
    merge([one, two], tmp_path / "out")
    story = json.loads((tmp_path / "out" / "merged.json").read_text())
    assert (story["folders"], story["missing_parts"], story["measured"]) == (2, [], 2)
    assert merge([one], one).counts.by_state["measured"] == 1


def test_an_emptied_ledger_is_damage_and_no_batch_without_cases(tmp_path: Path) -> None:
    one = part(tmp_path / "one", 1, "b")
    merge([one], one)
    before = (one / "scores.csv").read_bytes()
    RunFolder(one, 1, 2).ledger.write_bytes(b"")
    with pytest.raises(IacError) as caught:
        merge([one], one)
    assert caught.value.word is Word.LEDGER_DAMAGED
    assert (one / "scores.csv").read_bytes() == before


def test_parts_that_name_their_cases_otherwise_are_refused(tmp_path: Path) -> None:
    one, two = part(tmp_path / "one", 1, "b"), part(tmp_path / "two", 2, "a", naming="other")
    with pytest.raises(IacError) as caught:
        merge([one, two], tmp_path / "out")
    assert caught.value.word is Word.CONFLICTING_OPTIONS
    assert not (tmp_path / "out").exists()


BOTH = ["new", "old"]

SAME = {
    "UIDs": ({"series": "1.2"}, {"series": "1.2"}, ["new"]),
    "UIDs and voxels": (
        {"series": "1.2", "voxels": "f"},
        {"series": "1.2", "voxels": "f"},
        ["new"],
    ),
    "UIDs, one of them not read": ({"series": "1.2", "voxels": "f"}, {"series": "1.2"}, ["new"]),
    "voxels of a NIfTI": ({"voxels": "f"}, {"voxels": "f"}, ["new"]),
    "other UIDs": ({"series": "1.3"}, {"series": "1.2"}, BOTH),
    "other voxels": ({"series": "1.2", "voxels": "e"}, {"series": "1.2", "voxels": "f"}, BOTH),
    "other voxels of a NIfTI": ({"voxels": "e"}, {"voxels": "f"}, BOTH),
    "nothing known": ({}, {}, BOTH),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("gone", [True, False])
def test_a_series_with_another_id_in_another_part_is_there_once(
    name: str, gone: bool, tmp_path: Path
) -> None:
    old, new, there = SAME[name]
    there = there if gone else BOTH
    one = part(tmp_path / "one", 1, "old", gone=gone, **old)
    two = part(tmp_path / "two", 2, "new", **new)
    merged = merge([one, two], tmp_path / "out")
    assert (merged.counts.by_state["measured"], merged.left) == (len(there), 0)
    lines = (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == there


@pytest.mark.parametrize(("plans", "unlike"), [("pp", False), ("pq", True), (" q", False)])
def test_parts_of_different_plans_are_told(tmp_path: Path, plans: str, unlike: bool) -> None:
    folders = [part(tmp_path / "one", 1, "a"), part(tmp_path / "two", 2, "b")]
    for number, (folder, plan) in enumerate(zip(folders, plans, strict=True), start=1):
        ledger = Ledger(RunFolder(folder, number, 2).ledger)
        ledger.plan(("site",), ledger.about(), "same", whole=plan.strip())
        ledger.close()
    assert merge(folders, tmp_path / "out").unlike is unlike


def test_a_part_that_lost_its_ledger_is_not_left_out(tmp_path: Path) -> None:
    part(part(tmp_path / "in", 1, "b"), 2, "a")
    lost = RunFolder(tmp_path / "in", 2, 2)
    lost.log.write_text("")
    lost.ledger.unlink()
    with pytest.raises(IacError) as caught:
        merge([tmp_path / "in"], tmp_path / "in")
    assert caught.value.word is Word.LEDGER_DAMAGED


def test_two_divided_batches_miss_what_one_of_them_misses(tmp_path: Path) -> None:
    folders = [part(tmp_path / "x1", 1, "a"), part(tmp_path / "x2", 2, "b")]
    folders.append(part(tmp_path / "y1", 1, "c"))
    assert merge(folders, tmp_path / "out").missing == ("2-of-2",)
