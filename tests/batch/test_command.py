"""`iac-seg batch-score` as a user runs it: a process of its own, stopped, refused, disturbed."""

import csv
import gzip
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from oracle import oracle_models
from PIL import Image

from iac_cli.errors import EXIT_OF, Exit, Word
from tests.batch import cohort
from tests.command import PROGRAM, as_ordinary_user, environment, iac_seg

N_STUDIES, N_HARD = 10, 4


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oracle_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cohort.archive(tmp_path_factory.mktemp("tree") / "in", N_STUDIES, N_HARD)


@pytest.fixture(scope="module")
def whole(tree: Path, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "out"
    run = batch(tree, out, models)
    assert run.returncode == Exit.BATCH_PARTIAL, run.stderr
    return out


def arguments(tree: Path, out: Path, models: Path, *more: str | Path) -> list[str | Path]:
    return ["batch-score", tree, "-o", out, "--model", models, "-d", "cpu", "-j", "2", *more]


def batch(tree: Path, out: Path, models: Path, *more: str | Path, **how):
    return iac_seg(*arguments(tree, out, models, *more), **how)


def start(tree: Path, out: Path, models: Path, *more: str | Path) -> "subprocess.Popen[str]":
    """A batch, begun."""
    return subprocess.Popen(
        [PROGRAM, *map(str, arguments(tree, out, models, *more))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_cases(child: "subprocess.Popen[str]", n: int) -> None:
    """Read what it says until some cases have ended."""
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith(f"[{n}/"):
            return
    raise AssertionError("it ended before")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def hidden(out: Path) -> set[str]:
    return {path.name for path in out.rglob(".*")}


def assert_refused(run: "subprocess.CompletedProcess[str]", word: Word) -> None:
    assert "Traceback" not in run.stdout + run.stderr
    assert run.returncode == EXIT_OF[word], run.stderr
    told = [line for line in run.stderr.splitlines() if line.startswith(f"{word}: ")]
    assert len(told) == 1, run.stderr
    assert "way out: " in run.stderr


def test_the_last_line_and_the_exit_code_agree_with_the_tables(whole: Path) -> None:
    states = [row["status"] for row in rows(whole / "scores.csv")]
    assert len(states) == N_STUDIES
    assert states.count("failed") == len(rows(whole / "failures.csv")) > 0
    events = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == ["run", *["ended"] * N_STUDIES, "finished"]


def test_identity_is_nowhere_in_the_output(whole: Path, tree: Path) -> None:
    """Every file is searched, unpacked: tables, PNG, NIfTI, parquet, the log and the ledger."""
    planted = [*cohort.PLANTED, str(tree), str(tree.parent), "CT_00"]
    n_files = 0
    for path in whole.rglob("*"):
        if not path.is_file():
            continue
        n_files += 1
        raw = path.read_bytes()
        for content in (raw, *unpacked(path, raw)):
            assert not [text for text in planted if text.encode() in content], path.name
        assert not [text for text in planted if text in path.name]
    assert n_files > 5 * (N_STUDIES - N_HARD)


def unpacked(path: Path, raw: bytes) -> Iterator[bytes]:
    """What a file holds in another form."""
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    if raw[:4] == b"\x89PNG":
        with Image.open(path) as picture:
            yield str(picture.info).encode()
    if path.suffix == ".parquet":
        from pyarrow import parquet

        yield str(parquet.read_table(path).to_pydict()).encode()
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as ledger:
            yield "\n".join(ledger.iterdump()).encode()
        ledger.close()


def test_the_screen_names_nobody(tree: Path, models: Path, tmp_path: Path) -> None:
    run = batch(tree, tmp_path / "out", models)
    said = run.stdout + run.stderr
    assert not [text for text in cohort.PLANTED if text in said]
    assert str(tree) not in said
    assert f"{N_STUDIES} cases to score ({N_STUDIES} new)" in run.stderr
    assert run.stdout.startswith("7 measured, ")
    assert f"; exit 8; {tmp_path / 'out' / 'scores.csv'}" in run.stdout


def test_a_dry_run_prints_the_plan_and_does_nothing(tree: Path, tmp_path: Path) -> None:
    run = iac_seg("batch-score", tree, "-o", tmp_path / "out", "--dry-run", "--json")
    assert run.returncode == Exit.OK
    cases = json.loads(run.stdout)["cases"]
    assert len(cases) == N_STUDIES
    assert all(Path(case["path"]).exists() for case in cases)
    assert not (tmp_path / "out").exists()


def test_the_key_says_which_case_is_which_study(tree: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.csv"
    command = ("batch-score", tree, "-o", tmp_path / "out", "--dry-run", "--key", key)
    assert iac_seg(*command).returncode == Exit.OK
    assert all(Path(row["path"]).exists() for row in rows(key))
    assert_refused(iac_seg(*command), Word.OUTPUT_EXISTS)
    inside = (*command[:-1], tmp_path / "out" / "key.csv")
    assert_refused(iac_seg(*inside), Word.CONFLICTING_OPTIONS)
    assert not (tmp_path / "out").exists()


# stopped


@pytest.mark.parametrize(
    ("stop", "code"),
    [(signal.SIGINT, Exit.INTERRUPTED), (signal.SIGTERM, Exit.TERMINATED)],
)
def test_stopped_once_it_ends_its_cases_and_goes_on_later(
    stop: signal.Signals, code: Exit, whole: Path, tree: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    child = start(tree, out, models)
    wait_for_cases(child, 1)
    child.send_signal(stop)
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == code, stderr
    assert "stopping: the running cases are finished" in stderr
    assert f"; exit {int(code)}; " in stdout
    assert hidden(out) == {".lock"}
    ended = {row["case_id"] for row in rows(out / "scores.csv")}
    assert 0 < len(ended) < N_STUDIES
    again = batch(tree, out, models, "--resume")
    assert again.returncode == Exit.BATCH_PARTIAL
    assert f"{len(ended)} done before" in again.stderr
    assert (out / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_stopped_twice_it_ends_at_once(
    whole: Path, tree: Path, models: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    child = start(tree, out, models)
    wait_for_cases(child, 1)
    child.send_signal(signal.SIGINT)
    time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    _, stderr = child.communicate(timeout=20)
    assert child.returncode == Exit.INTERRUPTED, stderr
    assert "Traceback" not in stderr
    assert hidden(out) == {".lock"}
    assert batch(tree, out, models, "--resume").returncode == Exit.BATCH_PARTIAL
    assert (out / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


def test_a_second_run_on_the_folder_is_refused(tree: Path, models: Path, tmp_path: Path) -> None:
    with start(tree, tmp_path / "out", models) as child:
        wait_for_cases(child, 1)
        workers = children(child.pid)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        for more in ([], ["--resume"], ["--overwrite"]):
            assert_refused(batch(tree, tmp_path / "out", models, *more), Word.OUTPUT_LOCKED)
        assert iac_seg("status", tmp_path / "out").stdout.startswith("running: ")
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        child.communicate(timeout=60)
    assert child.returncode == Exit.BATCH_PARTIAL
    assert iac_seg("status", tmp_path / "out").stdout.startswith("not running: 10 of 10 ")


# refused before any work


def test_output_among_the_studies(tree: Path, models: Path) -> None:
    before = sorted(tree.rglob("*"))
    assert_refused(batch(tree, tree / "out", models), Word.OUTPUT_INSIDE_INPUT)
    assert_refused(batch(tree, tree.parent, models), Word.OUTPUT_INSIDE_INPUT)
    assert sorted(tree.rglob("*")) == before


def test_output_that_is_read_only(tree: Path, models: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    run = batch(tree, tmp_path / "out", models, before=as_ordinary_user)
    assert_refused(run, Word.OUTPUT_NOT_WRITABLE)
    assert "cases to score" not in run.stderr
    tmp_path.chmod(0o755)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [("case_id\na\n", "no column 'path'"), ("case_id,path\na,x\na,y\n", "same case_id")],
)
def test_a_bad_manifest(text: str, told: str, models: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(text)
    run = iac_seg("batch-score", "--manifest", tmp_path / "m.csv", "-o", tmp_path / "out")
    assert_refused(run, Word.BAD_CASE_LIST)
    assert told in run.stderr
    assert not (tmp_path / "out").exists()


# disturbed


def test_a_study_that_vanishes_meanwhile_fails_alone(
    whole: Path, tree: Path, models: Path, tmp_path: Path
) -> None:
    moving = Path(shutil.copytree(tree, tmp_path / "in"))
    child = start(moving, tmp_path / "out", models)
    wait_for_cases(child, 1)
    for place in moving.iterdir():
        place.rename(place.with_name("moved_" + place.name))
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == Exit.BATCH_PARTIAL, stderr
    found = rows(tmp_path / "out" / "scores.csv")
    assert [row["case_id"] for row in found] == [
        row["case_id"] for row in rows(whole / "scores.csv")
    ]
    assert "input_not_found" in {row["reasons"] for row in found}
    for place in moving.iterdir():
        place.rename(place.with_name(place.name.removeprefix("moved_")))
    again = batch(moving, tmp_path / "out", models, "--retry-failed")
    assert "failed before" in again.stderr
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)


@pytest.mark.parametrize("size_kb", [60, 170, 300])
def test_a_disk_that_fills_up_loses_nothing(
    size_kb: int, whole: Path, tree: Path, models: Path, small_disk: Path
) -> None:
    """At several moments: while the ledger, a case's folder or a table is written."""
    resize = ["mount", "-o", f"remount,size={size_kb}k", str(small_disk)]
    subprocess.run(resize, check=True)
    out = small_disk / "out"
    run = batch(tree, out, models)
    assert_refused(run, Word.DISK_FULL)
    table = out / "scores.csv"
    if table.exists():
        assert table.read_bytes() in whole_lines(whole / "scores.csv", table)
    grow(small_disk)
    assert batch(tree, out, models, "--resume").returncode == Exit.BATCH_PARTIAL
    assert table.read_bytes() == (whole / "scores.csv").read_bytes()
    assert hidden(out) == {".lock"}


def whole_lines(expected: Path, table: Path) -> list[bytes]:
    """The table's own bytes when every line of it is whole and expected, else nothing."""
    known = set(expected.read_bytes().splitlines(keepends=True))
    raw = table.read_bytes()
    return [raw] if set(raw.splitlines(keepends=True)) <= known else []


def small_files_only() -> None:
    """Let the process write no file of more than 24 KB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (24_000, 24_000))


def test_a_file_may_grow_no_further(whole: Path, tree: Path, models: Path, tmp_path: Path) -> None:
    run = batch(tree, tmp_path / "out", models, before=small_files_only)
    assert run.returncode == Exit.OUTPUT, run.stderr
    assert "Traceback" not in run.stderr
    again = batch(tree, tmp_path / "out", models, "--resume")
    assert again.returncode == Exit.BATCH_PARTIAL, again.stderr
    assert (tmp_path / "out" / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
