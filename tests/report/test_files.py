"""Whole or nothing: what a reader of the output folder can ever see."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from iac_cli.errors import IacError, Word
from iac_cli.report import files
from iac_cli.report.files import (
    CASE_FILES,
    check_output,
    folder_written_whole,
    write_text,
    written_whole,
)

ROOT = Path(__file__).parents[2]


def fill(folder: Path, text: str, names: frozenset[str] = CASE_FILES) -> None:
    for name in sorted(names):
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_folder(out: Path, text: str, **options: bool) -> None:
    with folder_written_whole(out, **options) as building:
        fill(building, text)


def refusal(run, *arguments: object, **options: object) -> IacError:
    with pytest.raises(IacError) as refused:
        run(*arguments, **options)
    return refused.value


def test_a_folder_appears_with_all_its_files_and_nothing_beside_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "new" / "out", "a")
    assert contents(tmp_path / "new" / "out") == dict.fromkeys(CASE_FILES, "a")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    check_output(tmp_path / "out")
    write_folder(tmp_path / "out", "a")
    assert set(contents(tmp_path / "out")) == CASE_FILES


def test_the_folder_is_readable_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_folder(tmp_path / "out", "a")
        write_text(tmp_path / "risk.csv", "a")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "risk.csv").stat().st_mode & 0o777 == 0o640


def test_an_existing_result_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(out, "old")
    for run in (check_output, lambda path: write_folder(path, "new")):
        error = refusal(run, out)
        assert error.word is Word.OUTPUT_EXISTS
        assert "--overwrite" in error.way_out
    assert set(contents(out).values()) == {"old"}
    check_output(out, overwrite=True)
    with folder_written_whole(out, overwrite=True) as building:
        fill(building, "new", frozenset({"result.json"}))
    assert contents(out) == {"result.json": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_that_are_not_ours_are_never_deleted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(out, "old")
    (out / "thesis.docx").write_text("mine")
    for run in (check_output, lambda path, overwrite: write_folder(path, "new", overwrite=True)):
        assert refusal(run, out, overwrite=True).word is Word.OUTPUT_EXISTS
    assert contents(out)["thesis.docx"] == "mine"


def test_an_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    assert refusal(check_output, tmp_path / "out").word is Word.OUTPUT_NOT_WRITABLE
    assert refusal(check_output, tmp_path / "out" / "deeper").word is Word.OUTPUT_NOT_WRITABLE
    assert refusal(write_folder, tmp_path / "out", "a").word is Word.OUTPUT_NOT_WRITABLE
    assert (tmp_path / "out").read_text() == "x"


def test_a_check_leaves_no_folder_behind(tmp_path: Path) -> None:
    check_output(tmp_path / "deep" / "er" / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_mount_point_cannot_be_replaced() -> None:
    error = refusal(check_output, Path("/proc"))
    assert error.word is Word.OUTPUT_NOT_WRITABLE
    assert "inside" in error.way_out


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real")
    write_folder(tmp_path / "out", "a")
    assert (tmp_path / "out").is_symlink()
    assert set(contents(tmp_path / "real")) == CASE_FILES


@pytest.mark.parametrize("inside", [".", "sub", "sub/deeper"])
def test_an_output_inside_the_input_is_refused(tmp_path: Path, inside: str) -> None:
    scan = tmp_path / "scan"
    scan.mkdir()
    error = refusal(check_output, scan / inside, inputs=[scan])
    assert error.word is Word.OUTPUT_INSIDE_INPUT
    assert list(scan.iterdir()) == []


def test_an_input_inside_the_output_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    scan = tmp_path / "out" / "scan.nii.gz"
    scan.write_text("x")
    error = refusal(check_output, tmp_path / "out", overwrite=True, inputs=[scan])
    assert error.word is Word.OUTPUT_INSIDE_INPUT


def test_an_output_beside_the_input_is_fine(tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    check_output(tmp_path / "scan_out", inputs=[tmp_path / "scan", tmp_path / "mask.nii.gz"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scan"]


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (errno.ENOSPC, Word.DISK_FULL),
        (errno.EDQUOT, Word.DISK_FULL),
        (errno.EROFS, Word.OUTPUT_NOT_WRITABLE),
        (errno.EACCES, Word.OUTPUT_NOT_WRITABLE),
        (errno.ENAMETOOLONG, Word.OUTPUT_NOT_WRITABLE),
    ],
)
def test_a_failure_of_the_disk_leaves_the_old_result(
    tmp_path: Path, number: int, word: Word
) -> None:
    out = tmp_path / "out"
    write_folder(out, "old")

    def fail_half_way() -> None:
        with folder_written_whole(out, overwrite=True) as building:
            (building / "result.json").write_text("new")
            raise OSError(number, os.strerror(number))

    error = refusal(fail_half_way)
    assert error.word is word
    assert str(tmp_path) not in error.what
    assert set(contents(out).values()) == {"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_is_noticed_before_the_work(tmp_path: Path, monkeypatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert refusal(check_output, tmp_path / "out").word is Word.DISK_FULL
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_whatever_stops_a_run_leaves_nothing(tmp_path: Path, stop: type[BaseException]) -> None:
    def interrupted() -> None:
        with folder_written_whole(tmp_path / "out") as building:
            (building / "result.json").write_text("half")
            raise stop

    with pytest.raises(stop):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_without_an_exchange_of_folders_two_renames_do(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    out = tmp_path / "out"
    write_folder(out, "old")
    write_folder(out, "new", overwrite=True)
    assert set(contents(out).values()) == {"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_a_killed_run_left_is_cleared_and_a_living_one_is_not(tmp_path: Path) -> None:
    (tmp_path / ".out.dead.part").mkdir()
    (tmp_path / ".out.dead.part" / "mask.nii.gz").write_text("half")
    (tmp_path / ".other.dead.part").mkdir()
    with folder_written_whole(tmp_path / "out") as first:
        fill(first, "first")
        with folder_written_whole(tmp_path / "out2") as second:
            fill(second, "second")
        assert first.is_dir()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [".other.dead.part", "out", "out2"]


def test_the_later_of_two_runs_does_not_replace_the_earlier_unasked(tmp_path: Path) -> None:
    def second() -> None:
        with folder_written_whole(tmp_path / "out") as building:
            fill(building, "second")
            write_folder(tmp_path / "elsewhere", "first")
            (tmp_path / "elsewhere").rename(tmp_path / "out")

    assert refusal(second).word is Word.OUTPUT_EXISTS
    assert set(contents(tmp_path / "out").values()) == {"first"}


REPLACE_FOREVER = """
import sys
from pathlib import Path
from iac_cli.report.files import CASE_FILES, folder_written_whole
out = Path(sys.argv[1])
for number in range(10**6):
    with folder_written_whole(out, overwrite=True) as building:
        for name in CASE_FILES:
            (building / name).write_text(f"{number} " * 2000)
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_result(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(out, "-1 " * 2000)
    for delay_s in (0.0, 0.003, 0.007, 0.011, 0.017, 0.023):
        with subprocess.Popen(
            [sys.executable, "-c", REPLACE_FOREVER, str(out)], cwd=ROOT, stdout=subprocess.PIPE
        ) as run:
            run.stdout.readline()
            time.sleep(delay_s)
            run.send_signal(signal.SIGKILL)
        seen = contents(out)
        assert set(seen) == CASE_FILES
        assert len(set(seen.values())) == 1, "files of two runs"
    write_folder(out, "last", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "risk.csv"
    write_text(path, "a,b\n")
    write_text(path, "c,d\r\n")
    assert path.read_bytes() == b"c,d\r\n"

    def half() -> None:
        with written_whole(path) as building:
            building.write_text("half")
            raise OSError(errno.ENOSPC, "full")

    assert refusal(half).word is Word.DISK_FULL
    assert path.read_bytes() == b"c,d\r\n"
    assert [one.name for one in path.parent.iterdir()] == ["risk.csv"]
    assert refusal(write_text, path / "below", "x").word is Word.OUTPUT_NOT_WRITABLE
