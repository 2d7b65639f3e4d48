"""A batch from its plan to its tables: three states, what resume does again, what it refuses."""

import csv
import json
import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from oracle import oracle_models
from pyarrow import parquet
from tiny_models import place_locator, rewrite_card

from iac_cli.batch.folder import RunFolder, locked
from iac_cli.batch.job import State, Work
from iac_cli.batch.ledger import Ledger
from iac_cli.batch.manifest import read_manifest
from iac_cli.batch.merge import merge
from iac_cli.batch.plan import Plan, part_of, plan_tree
from iac_cli.batch.run import shared_keys
from iac_cli.batch.status import read_status
from iac_cli.errors import Exit, IacError, Word
from iac_cli.locate.keypoints import keypoints
from iac_cli.settings import CaseSettings, IdFrom, WindowSettings
from tests.batch import cohort
from tests.batch.inline import ON_CPU, Looker, score

NAMES = CaseSettings(id_from=IdFrom.FOLDER)


def archive(root: Path) -> Path:
    """One study of each state, and what must not bring the batch down."""
    cohort.study(root / "plain", 1)
    cohort.study(root / "tilted", 2, tilt_deg=15)
    cohort.study(root / "clean", 5)
    cohort.water(root / "water", 6)
    cohort.damaged(root / "damaged", 7)
    cohort.rubble(root / "rubble")
    cohort.escaping(root / "evil" / "scan.zip")
    cohort.bomb(root / "huge" / "scan.zip")
    (root / "plain" / "loop").symlink_to("..")
    return root


STATES = {
    **dict.fromkeys(("plain", "tilted", "clean"), "measured"),
    "water": "not_measurable",
    **dict.fromkeys(("damaged", "rubble", "evil_scan.zip", "huge_scan.zip"), "failed"),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oracle_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archive(tmp_path_factory.mktemp("tree") / "in")


@pytest.fixture(scope="module")
def whole(tree: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    ended, _ = score(plan(tree), out, models)
    assert ended.exit_code is Exit.BATCH_PARTIAL
    return out


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "out"))


@pytest.fixture
def own_tree(tree: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tree, tmp_path / "in", symlinks=True))


def plan(tree: Path, *leaving_out: str) -> Plan:
    made = plan_tree(tree, NAMES)
    return replace(made, jobs=tuple(job for job in made.jobs if job.case_id not in leaving_out))


def table(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {row["case_id"]: row for row in rows}
    assert len(found) == len(rows)
    assert list(found) == sorted(found)
    return found


def refusal(caught: pytest.ExceptionInfo[IacError]) -> Word:
    return caught.value.word


# three states


def test_every_case_is_there_once_in_its_state(whole: Path) -> None:
    assert {name: row["status"] for name, row in table(whole / "scores.csv").items()} == STATES


def test_nothing_found_is_zero_and_not_measurable_is_empty(whole: Path) -> None:
    rows = table(whole / "scores.csv")
    assert float(rows["plain"]["volume_mm3"]) > 0
    assert rows["clean"]["volume_mm3"] == "0.0"
    for name, state in STATES.items():
        if state != "measured":
            assert rows[name]["volume_mm3"] == rows[name]["n_lesions"] == "", name
            assert rows[name]["reasons"], name


def test_failures_have_codes_and_one_sentence(whole: Path) -> None:
    rows = table(whole / "failures.csv")
    assert {name: row["code"] for name, row in rows.items()} == {
        "damaged": "pixels_truncated",
        "rubble": "header_truncated",
        "evil_scan.zip": "archive_damaged",
        "huge_scan.zip": "archive_damaged",
    }
    for row in rows.values():
        assert row["code"] in set(Word)
        assert row["message"]
        assert "\n" not in row["message"]


def test_case_folders_are_as_segment_makes_them(whole: Path) -> None:
    for name, state in STATES.items():
        if state == "failed":
            assert not (whole / name).exists()
            continue
        document = json.loads((whole / name / "result.json").read_text())
        assert (document["case_id"], document["status"]) == (name, state)
        assert (whole / name / "preview.png").exists() == (state == "measured")
        (row,) = table(whole / name / "scores.csv").values()
        batch_row = table(whole / "scores.csv")[name]
        assert row == {column: batch_row[column] for column in row}


def test_not_measurable_cases_alone_are_no_blemish(
    tree: Path, models: Path, tmp_path: Path
) -> None:
    failing = [name for name, state in STATES.items() if state == "failed"]
    ended, _ = score(plan(tree, *failing), tmp_path / "out", models)
    assert ended.counts.by_state == {"measured": 3, "not_measurable": 1, "failed": 0}
    assert ended.exit_code is Exit.OK


# tables


def test_the_data_dictionary_describes_every_table(whole: Path) -> None:
    checks = {
        "string": str,
        "number": float,
        "integer": int,
        "boolean": {"true": True, "false": False}.__getitem__,
    }
    for name in ("scores", "lesions", "failures"):
        schema = json.loads((whole / f"{name}.schema.json").read_text())
        with (whole / f"{name}.csv").open(encoding="utf-8", newline="") as stream:
            header, *rows = csv.reader(stream)
        assert [field["name"] for field in schema["fields"]] == header
        assert all(field["description"] for field in schema["fields"])
        assert rows
        for row in rows:
            for field, cell in zip(schema["fields"], row, strict=True):
                if cell not in schema["missingValues"]:
                    checks[field["type"]](cell)
        key = [header.index(column) for column in schema["primaryKey"]]
        assert len({tuple(row[i] for i in key) for row in rows}) == len(rows)


def test_parquet_and_pandas_hold_the_same_table(whole: Path) -> None:
    typed = parquet.read_table(whole / "scores.parquet").to_pandas()
    schema = json.loads((whole / "scores.schema.json").read_text())
    texts = {field["name"]: str for field in schema["fields"] if field["type"] == "string"}
    read = pd.read_csv(whole / "scores.csv", dtype=texts, index_col=False)
    assert list(typed) == list(read) == [field["name"] for field in schema["fields"]]
    for field in schema["fields"]:
        name = field["name"]
        assert typed[name].isna().tolist() == read[name].isna().tolist(), name
        told = [one for one in zip(typed[name], read[name], strict=True) if not pd.isna(one[0])]
        same = str if field["type"] in ("string", "boolean") else float
        assert all(same(ours) == same(theirs) for ours, theirs in told), name


def test_the_tables_hold_no_time_and_no_path(whole: Path, tree: Path, models: Path) -> None:
    """The same cases, scored once more elsewhere, make the same bytes."""
    again = whole.parent / "again"
    score(plan(tree), again, models)
    for name in ("scores.csv", "lesions.csv", "failures.csv", "scores.parquet"):
        assert (again / name).read_bytes() == (whole / name).read_bytes(), name


def test_run_json_tells_how_it_went(whole: Path) -> None:
    story = json.loads((whole / "run.json").read_text())
    assert (story["measured"], story["not_measurable"], story["failed"]) == (3, 1, 4)
    assert story["models"]["segmenter"]["sha256"]
    assert story["ended"] >= story["began"]
    assert "salt" not in story["settings"]["case"]


# resume


def resumed(tree_plan: Plan, out: Path, models: Path, **more) -> Looker:
    _, seen = score(tree_plan, out, models, resume=True, **more)
    return seen


def why(seen: Looker) -> dict[str, int]:
    assert seen.decision is not None
    return dict(seen.decision.why)


def test_resume_has_nothing_to_do_when_all_is_done(copy: Path, tree: Path, models: Path) -> None:
    before = (copy / "scores.csv").read_bytes()
    seen = resumed(plan(tree), copy, models)
    assert (why(seen), seen.ended) == ({}, [])
    assert (copy / "scores.csv").read_bytes() == before


def test_a_stopped_batch_goes_on_to_the_same_bytes(
    whole: Path, tree: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    ended, _ = score(plan(tree), out, models, watch=Looker(stop_after=3))
    assert (ended.stopped, ended.exit_code) == (True, Exit.INTERRUPTED)
    assert len(table(out / "scores.csv")) == 3
    assert json.loads((out / "run.json").read_text())["stopped"] is True
    assert why(resumed(plan(tree), out, models)) == {"new": 5}
    assert (out / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_changed_input_is_done_again(copy: Path, own_tree: Path, models: Path) -> None:
    for path in (own_tree / "plain").glob("im*"):
        path.touch()
    cohort.study(own_tree / "late", 8)
    seen = resumed(plan(own_tree), copy, models)
    assert seen.decision is not None
    assert why(seen)["new"] == 1
    assert "plain" in [job.case_id for job in seen.decision.todo]


def test_changed_settings_and_models_are_done_again(
    copy: Path, tree: Path, models: Path, tmp_path: Path
) -> None:
    settings = replace(ON_CPU, windows=WindowSettings(candidate_hu=100.0))
    few = plan(tree, "tilted", "clean", "water", "huge_scan.zip")
    assert why(resumed(few, copy, models, settings=settings)) == {"changed settings or version": 4}
    other = oracle_models(tmp_path / "other", centre_hu=220.0)
    assert why(resumed(few, copy, other, settings=settings)) == {"changed model": 4}
    assert why(resumed(few, copy, other, settings=settings)) == {}


def test_a_changed_card_is_a_changed_model(
    copy: Path, tree: Path, models: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(models, tmp_path / "other")
    rewrite_card(other, "segmenter", threshold=0.75)
    few = plan(tree, "tilted", "huge_scan.zip")
    assert why(resumed(few, copy, other)) == {"changed model": 6}
    keys = shared_keys(Work(out=tmp_path, settings=ON_CPU, model=other))
    points = [(artery.value, fraction) for artery, fraction in keypoints()]
    place_locator(other, points, np.zeros((len(points), 3)), role="locator_near", cell_mm=2.0)
    again = shared_keys(Work(out=tmp_path, settings=ON_CPU, model=other))
    assert again.model != keys.model
    keys = again
    (other / "uncertainty.json").write_text("{}")
    assert shared_keys(Work(out=tmp_path, settings=ON_CPU, model=other)).model != keys.model


@pytest.mark.parametrize(
    "naming",
    [
        CaseSettings(id_from=IdFrom.STUDY_UID),
        CaseSettings(id_from=IdFrom.FOLDER, salt="another"),
    ],
)
def test_cases_that_are_named_otherwise_are_refused(
    copy: Path, tree: Path, models: Path, naming: CaseSettings
) -> None:
    before = (copy / "scores.csv").read_bytes()
    with pytest.raises(IacError) as caught:
        resumed(plan_tree(tree, naming), copy, models)
    assert caught.value.word == Word.CONFLICTING_OPTIONS
    assert (copy / "scores.csv").read_bytes() == before


def test_a_part_that_would_name_its_cases_otherwise_is_not_begun(
    tree: Path, models: Path, tmp_path: Path
) -> None:
    few = plan(tree, "water")
    out = tmp_path / "out"
    score(part_of(few, 1, 2), out, models, part=(1, 2))
    with pytest.raises(IacError) as caught:
        score(part_of(replace(few, naming="other"), 2, 2), out, models, part=(2, 2))
    assert caught.value.word == Word.CONFLICTING_OPTIONS
    assert not RunFolder(out, 2, 2).is_begun
    before = RunFolder(out, 1, 2).ledger.read_bytes()
    score(part_of(few, 2, 2), out, models, part=(2, 2))
    with pytest.raises(IacError):
        other = part_of(replace(few, naming="other"), 1, 2)
        score(other, out, models, part=(1, 2), overwrite=True)
    assert RunFolder(out, 1, 2).ledger.read_bytes() == before


def test_a_folder_whose_name_is_no_utf8_gets_all_its_tables(
    tree: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / os.fsdecode(b"t\xe9")
    made = plan(tree, "water")
    score(made, out, models)
    with (out / "scores.parquet").open("rb") as file:
        assert parquet.read_table(file).num_rows == len(made.jobs)


def test_a_ledger_made_anew_knows_how_cases_were_named(
    copy: Path, tree: Path, models: Path
) -> None:
    RunFolder(copy).ledger.unlink()
    with pytest.raises(IacError) as caught:
        resumed(plan_tree(tree, CaseSettings(id_from=IdFrom.STUDY_UID)), copy, models)
    assert caught.value.word == Word.CONFLICTING_OPTIONS
    assert why(resumed(plan(tree), copy, models)) == {}


def test_a_study_with_another_id_in_the_manifest_is_there_once(
    tree: Path, models: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "m.csv"
    listed.write_text(f"case_id,path\na,{tree}/plain\nb,{tree}/clean\n")
    score(read_manifest(listed), tmp_path / "out", models)
    listed.write_text(f"case_id,path\nz,{tree}/plain\nb,{tree}/clean\n")
    assert why(resumed(read_manifest(listed), tmp_path / "out", models)) == {"new": 1}
    assert list(table(tmp_path / "out" / "scores.csv")) == ["b", "z"]
    status = read_status(tmp_path / "out")
    assert (status.counts.planned, status.left) == (2, 0)


def test_a_nifti_file_with_another_name_is_there_once(models: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for number, name in enumerate(("a", "b")):
        cohort.nifti(root / f"{name}.nii.gz", number)
    score(plan(root), out, models)
    (root / "a.nii.gz").rename(root / "c.nii.gz")
    ended, _ = score(plan(root), out, models, resume=True)
    assert (ended.counts.planned, ended.counts.ended) == (2, 2)
    assert set(table(out / "scores.csv")) == {job.case_id for job in plan(root).jobs}


def test_names_that_are_no_utf8_stop_nobody(models: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    cohort.study(root / "good", 1)
    cohort.nifti(root / os.fsdecode(b"caf\xe9.nii.gz"), 2)
    cohort.study(root / os.fsdecode(b"M\xfcller"), 3)
    cohort.escaping(root / os.fsdecode(b"\xfc.zip"))
    for id_from in (IdFrom.HASH, IdFrom.FOLDER):
        made = plan_tree(root, CaseSettings(id_from=id_from))
        ended, _ = score(made, out / id_from, models)
        assert dict(ended.counts.by_state) == {"measured": 3, "not_measurable": 0, "failed": 1}


def test_a_gone_study_whose_files_look_like_anothers_stays(models: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for number, name in enumerate(("a", "b"), start=1):
        cohort.study(root / name, number)
        for path in (root / name).iterdir():
            os.utime(path, (1e9, 1e9))  # as copies of an archive without their times
    score(plan(root), out, models)
    before = (out / "scores.csv").read_bytes()
    shutil.rmtree(root / "a")
    assert why(resumed(plan(root), out, models)) == {}
    assert set(table(out / "scores.csv")) == {"a", "b"}
    assert len((out / "scores.csv").read_bytes()) == len(before)


def test_a_refused_division_holds_no_folder(tree: Path, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    other = RunFolder(out, 1, 3)
    with locked(other):  # as a run that has begun at the same moment
        with pytest.raises(IacError) as caught:
            score(part_of(plan(tree), 1, 2), out, models, part=(1, 2))
        assert caught.value.word == Word.CONFLICTING_OPTIONS
    ended, _ = score(part_of(plan(tree), 1, 2), out, models, part=(1, 2))
    assert ended.counts.planned == len(part_of(plan(tree), 1, 2).jobs)
    with pytest.raises(IacError):
        score(part_of(plan(tree), 1, 3), out, models, part=(1, 3))


def test_without_models_no_batch_is_begun(tree: Path, models: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(IacError) as caught:
        score(plan(tree), out, tmp_path / "none")
    assert caught.value.word == Word.MODEL_NOT_FOUND
    assert not out.exists()


def test_what_was_said_of_a_case_is_part_of_its_input(copy: Path, tree: Path, models: Path) -> None:
    made = plan(tree)
    older = replace(
        made,
        jobs=tuple(
            replace(job, age_years=80.0) if job.case_id == "plain" else job for job in made.jobs
        ),
    )
    assert why(resumed(older, copy, models)) == {"changed input": 1}


def test_a_study_that_is_gone_stays_in_the_tables(copy: Path, tree: Path, models: Path) -> None:
    seen = resumed(plan(tree, "plain"), copy, models)
    assert seen.decision is not None
    assert seen.decision.n_gone == 1
    assert set(table(copy / "scores.csv")) == set(STATES)
    status = read_status(copy)
    assert (status.counts.planned, status.left) == (8, 0)


def failing_disk(folder: Path) -> Path:
    """Files whose reading ends in EIO, as on a network file system that has lost its server."""
    folder.mkdir(parents=True)
    for i in range(3):
        (folder / f"im{i}").symlink_to("/proc/self/mem")  # nothing is mapped at its beginning
    with pytest.raises(OSError, match="Input/output error"):
        (folder / "im0").read_bytes()
    return folder


def test_a_file_system_that_returns_errors_fails_its_cases_until_it_is_back(
    models: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    cohort.study(root / "sound", 1)
    failing_disk(root / "lost")
    cohort.study(root / "partly", 3)
    (root / "partly" / "im012").unlink()
    (root / "partly" / "im012").symlink_to("/proc/self/mem")
    ended, _ = score(plan_tree(root, CaseSettings()), out, models)
    assert ended.counts.by_state == {"measured": 1, "not_measurable": 1, "failed": 1}
    assert ended.counts.failures == {Word.FILE_UNREADABLE: 1}
    for number, name in ((2, "lost"), (3, "partly")):
        shutil.rmtree(root / name)
        cohort.study(root / name, number)
    seen = resumed(plan_tree(root, CaseSettings()), out, models)
    assert why(seen) == {"new": 1, "changed input": 1}
    assert seen.decision is not None
    assert len(seen.decision.forgotten) == 1
    ended, _ = score(plan_tree(root, CaseSettings()), tmp_path / "whole", models)
    assert ended.exit_code is Exit.OK
    assert (out / "scores.csv").read_bytes() == (tmp_path / "whole" / "scores.csv").read_bytes()


def test_failed_cases_are_tried_again_when_asked(copy: Path, own_tree: Path, models: Path) -> None:
    _, seen = score(plan(own_tree), copy, models, retry_failed=True)
    assert seen.decision is not None
    assert why(seen) == {"failed before": 4}
    assert why(resumed(plan(own_tree), copy, models)) == {}


def test_overwrite_forgets(copy: Path, tree: Path, models: Path) -> None:
    ended, seen = score(plan(tree, "clean"), copy, models, overwrite=True)
    assert why(seen) == {"new": 7}
    assert set(table(copy / "scores.csv")) == set(STATES) - {"clean"}
    assert ended.counts.planned == 7


def test_an_earlier_run_is_not_touched_unasked(copy: Path, tree: Path, models: Path) -> None:
    with pytest.raises(IacError) as caught:
        score(plan(tree), copy, models)
    assert refusal(caught) is Word.OUTPUT_EXISTS
    with pytest.raises(IacError) as caught:
        score(plan(tree), copy, models, resume=True, overwrite=True)
    assert refusal(caught) is Word.CONFLICTING_OPTIONS


def test_foreign_files_are_left_alone(tree: Path, models: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for manner in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(IacError) as caught:
            score(plan(tree), tmp_path, models, **manner)
        assert refusal(caught) is Word.OUTPUT_EXISTS
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["thesis.txt"]


def test_somebodys_notes_in_a_cases_folder_fail_that_case_alone(
    copy: Path, own_tree: Path, models: Path
) -> None:
    (copy / "plain" / "notes.txt").write_text("mine")
    (copy / "damaged").mkdir()
    (copy / "damaged" / "notes.txt").write_text("mine")
    for name in ("plain", "damaged"):
        next((own_tree / name).glob("im*")).touch()
    ended, _ = score(plan(own_tree), copy, models, retry_failed=True)
    assert ended.counts.by_state["measured"] == 2
    assert ended.counts.failures["output_exists"] == 1
    assert table(copy / "failures.csv")["damaged"]["code"] == "pixels_truncated"
    for name in ("plain", "damaged"):
        assert (copy / name / "notes.txt").read_text() == "mine"


# damage


def test_a_damaged_ledger_is_moved_away_and_made_anew(
    copy: Path, whole: Path, tree: Path, models: Path
) -> None:
    ledger = RunFolder(copy).ledger
    ledger.write_bytes(ledger.read_bytes()[:5000] + b"\xa5" * 9000)
    for manner in ({"resume": True}, {"retry_failed": True}):
        with pytest.raises(IacError) as caught:
            score(plan(tree), copy, models, **manner)
        assert refusal(caught) is Word.LEDGER_DAMAGED
        assert "log.jsonl" in caught.value.way_out
    with pytest.raises(IacError) as caught:
        read_status(copy)
    assert refusal(caught) is Word.LEDGER_DAMAGED
    ledger.rename(copy / "ledger.old")
    with (copy / "log.jsonl").open("a") as log:
        log.write('{"time": "x", "event": "ended"}\n[1, 2]\n17\nnull\n{"event": "ended", "ca')
    assert why(resumed(plan(tree), copy, models)) == {}
    assert (copy / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_what_a_kill_left_half_built_is_cleared(copy: Path, tree: Path, models: Path) -> None:
    (copy / ".plain.abcdef01.part").mkdir()
    (copy / ".plain.abcdef01.part" / "mask.nii.gz").write_bytes(b"half")
    (copy / ".scores.csv.abcdef01.csv").write_text("half")
    (copy / ".somebody_else.txt").write_text("mine")
    resumed(plan(tree), copy, models)
    hidden = sorted(path.name for path in copy.glob(".*"))
    assert hidden == [".lock", ".somebody_else.txt"]


def test_a_row_that_is_torn_or_missing_in_the_table_comes_back(
    copy: Path, whole: Path, tree: Path, models: Path
) -> None:
    text = (copy / "scores.csv").read_bytes()
    (copy / "scores.csv").write_bytes(text[: len(text) // 2])
    resumed(plan(tree), copy, models)
    assert (copy / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_a_ledger_of_another_layout_is_told(copy: Path, tree: Path, models: Path) -> None:
    with sqlite3.connect(copy / "ledger.sqlite") as connection:
        connection.execute("UPDATE about SET value='0' WHERE name='layout'")
    connection.close()
    with pytest.raises(IacError) as caught:
        resumed(plan(tree), copy, models)
    assert refusal(caught) is Word.LEDGER_DAMAGED


# manifest


def test_columns_of_a_manifest_are_carried(tree: Path, models: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "studies.csv"
    manifest.write_text(
        "case_id,path,sex,age,site,arm\n"
        'a/1,tilted,f,70,"Bern, Ost",=1+1\nb,clean,,,Ulm,-3\nc,vanished,,,Ulm,@x\n',
        encoding="utf-8",
    )
    made = read_manifest(manifest, tree)
    ended, _ = score(made, tmp_path / "out", models)
    assert ended.exit_code is Exit.BATCH_PARTIAL
    first, second, third = table(tmp_path / "out" / "scores.csv").values()
    assert first["case_id"].startswith("a_1-")
    assert (first["site"], first["arm"], first["sex"]) == ("Bern, Ost", "'=1+1", "F")
    assert (second["arm"], third["arm"], third["reasons"]) == ("-3", "'@x", "input_not_found")
    fields = json.loads((tmp_path / "out" / "scores.schema.json").read_text())["fields"]
    assert fields[-1] == {"name": "arm", "type": "string", "description": "from the manifest"}


# parts


def test_parts_put_together_are_the_whole(
    whole: Path, tree: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    made = plan(tree)
    score(part_of(made, 1, 3), out, models, part=(1, 3))
    score(part_of(made, 3, 3), out, models, part=(3, 3), watch=Looker(stop_after=1))
    early = merge([out], tmp_path / "early")
    assert (early.missing, early.left) == (("2-of-3",), len(part_of(made, 3, 3).jobs) - 1)
    with pytest.raises(IacError) as caught:
        score(made, out, models, resume=True)
    assert refusal(caught) is Word.CONFLICTING_OPTIONS
    score(part_of(made, 2, 3), out, models, part=(2, 3))
    score(part_of(made, 3, 3), out, models, part=(3, 3), resume=True)
    status = read_status(out)
    assert (status.n_parts, status.parts_seen, status.left) == (3, 3, 0)
    merged = merge([out], out)
    assert (merged.missing, merged.left, merged.counts.planned) == ((), 0, 8)
    for name in ("scores.csv", "lesions.csv", "failures.csv", "scores.parquet"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_the_same_case_in_two_folders_is_refused(whole: Path, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        merge([whole, copy], tmp_path / "merged")
    assert refusal(caught) is Word.CONFLICTING_OPTIONS


def test_status_of_a_folder_with_a_strange_name(copy: Path, tmp_path: Path) -> None:
    strange = copy.rename(tmp_path / "50% #1?")
    assert read_status(strange).counts.by_state["measured"] == 3
    with pytest.raises(IacError) as caught:
        read_status(tmp_path)
    assert refusal(caught) is Word.INPUT_NOT_FOUND


# a disk that fills up


def test_a_ledger_on_a_full_disk_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    connection = sqlite3.connect(path)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.close()
    ledger._connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(IacError) as caught:
        ledger.plan((), {f"case-{i}": ("x" * 100,) for i in range(5000)})
    assert refusal(caught) is Word.DISK_FULL
    assert ledger.counts().by_state == dict.fromkeys(State, 0)
    ledger.close()
