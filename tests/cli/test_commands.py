"""The command line as a user meets it: options, outputs, exit codes."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import heads
import pytest
from command import PROGRAM, environment, iac_seg
from oracle import oracle_models

from iac_cli.cli.app import build_app
from iac_cli.cli.commands import COMMANDS
from iac_cli.cli.exits import exit_code_of, main
from iac_cli.cli.speak import harmless
from iac_cli.dicom.nifti import write_nifti
from iac_cli.errors import EXIT_OF, Exit, IacError, Word


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and one head as NIfTI."""
    made = tmp_path_factory.mktemp("cli")
    oracle_models(made / "models")
    volume = heads.with_ball(heads.head(), [-12, -20, -12], 3.0, 600.0)
    write_nifti(made / "head.nii.gz", volume.hu, volume.grid)
    bald = heads.head(brain_hu=-1000.0)
    write_nifti(made / "bald.nii.gz", bald.hu, bald.grid)
    return made


def segment(folder: Path, out: Path, *more: str | Path, source: str = "head.nii.gz"):
    return iac_seg(
        "segment", folder / source, "-o", out, "--model", folder / "models", "-d", "cpu", *more
    )


def test_segment_writes_and_tells(folder: Path, tmp_path: Path) -> None:
    run = segment(folder, tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert "measured" in run.stdout
    assert "ICA-R" in run.stdout
    assert "CPUExecutionProvider" in run.stderr
    assert "\x1b" not in run.stdout + run.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"result.json", "mask.nii.gz", "lesions.csv", "scores.csv", "preview.png"}


def test_json_is_one_document(folder: Path, tmp_path: Path) -> None:
    run = segment(folder, tmp_path / "out", "--json", "--case-id", "c1")
    document = json.loads(run.stdout)
    assert document == json.loads((tmp_path / "out" / "result.json").read_text())
    assert document["case_id"] == "c1"
    failed = segment(folder, tmp_path / "out", "--json")
    assert json.loads(failed.stdout)["code"] == "output_exists"
    assert failed.returncode == 7


def test_quiet_says_nothing(folder: Path, tmp_path: Path) -> None:
    run = segment(folder, tmp_path / "out", "-q")
    assert (run.stdout, run.stderr, run.returncode) == ("", "", 0)


def test_verbose_tells_timings(folder: Path, tmp_path: Path) -> None:
    assert "timings: read" in segment(folder, tmp_path / "out", "-v").stderr


def test_not_measurable_is_written_and_exits_6(folder: Path, tmp_path: Path) -> None:
    run = segment(folder, tmp_path / "out", source="bald.nii.gz")
    assert run.returncode == 6
    assert "not_a_head" in run.stdout
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["status"] == "not_measurable"
    assert result["volume_mm3"] is None
    quiet = segment(folder, tmp_path / "quiet", "-q", source="bald.nii.gz")
    assert (quiet.returncode, quiet.stdout) == (6, "")
    assert quiet.stderr.startswith("not_a_head: ")


def test_overwrite_replaces(folder: Path, tmp_path: Path) -> None:
    assert segment(folder, tmp_path / "out").returncode == 0
    assert segment(folder, tmp_path / "out").returncode == 7
    assert segment(folder, tmp_path / "out", "--overwrite").returncode == 0


def test_score_of_the_mask_gives_the_same_table(folder: Path, tmp_path: Path) -> None:
    first = segment(folder, tmp_path / "out")
    mask, scan = tmp_path / "out" / "mask.nii.gz", folder / "head.nii.gz"
    options = ("--ct", scan, "-o", tmp_path / "again", "--model", folder / "models")
    second = iac_seg("score", mask, *options)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (["--require-gpu", "-d", "cpu"], 2, "conflicting_options"),
        (["-d", "tpu"], 2, "bad_setting"),
        (["--backend", "tensorflow"], 2, "backend"),
        (["--sex", "X"], 2, "sex"),
        (["--age", "-1"], 2, "age"),
        (["--scheme", "no such scheme"], None, "scheme"),
        (["--id-from", "patient-id"], 2, "bad_setting"),
    ],
)
def test_wrong_options(folder: Path, tmp_path: Path, options, code, word) -> None:
    run = segment(folder, tmp_path / "out", *options)
    assert run.returncode == code or (code is None and run.returncode in (2, 3))
    assert word in run.stderr
    assert "Traceback" not in run.stderr
    assert not (tmp_path / "out").exists()


def test_settings_come_from_file_and_environment(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[checks]\nlumen_hu = 20.0\n")
    file = ("--settings", tmp_path / "s.toml")
    assert segment(folder, tmp_path / "a", *file).returncode == 6  # plain blood is "contrast" now
    (tmp_path / "s.toml").write_text("[checks]\nlumen_hv = 20.0\n")
    run = segment(folder, tmp_path / "b", *file)
    assert run.returncode == 2
    assert "did you mean lumen_hu" in run.stderr
    run = iac_seg("segment", folder / "head.nii.gz", "-o", tmp_path / "c", IAC_SEG_RUN_DEVICE="tpu")
    assert run.returncode == 2


def test_closed_pipe_loses_nothing(folder: Path, tmp_path: Path) -> None:
    """The reader goes away before the first line: the files are whole, the code stays true."""
    reading, writing = os.pipe()
    os.close(reading)
    arguments = ["segment", folder / "head.nii.gz", "-o", tmp_path / "out"]
    run = subprocess.run(
        [PROGRAM, *map(str, arguments), "--model", str(folder / "models"), "-d", "cpu"],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
        timeout=60,
    )
    os.close(writing)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out" / "result.json").is_file()
    assert b"Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("redirections", "code"),
    [(">&-", 0), (">&- 2>&-", 0), ("<&- >&- 2>&-", 0), ("2>/dev/full", 0), (">/dev/full", 7)],
)
def test_outputs_that_cannot_be_written(
    folder: Path, tmp_path: Path, redirections: str, code: int
) -> None:
    """The files are whole in any case; a full disk under stdout is told."""
    line = f'"$0" segment "$1/head.nii.gz" -o "$2" --model "$1/models" -d cpu --json {redirections}'
    run = subprocess.run(
        ["sh", "-c", line, PROGRAM, str(folder), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert run.returncode == code, run.stderr
    assert "Traceback" not in run.stderr + run.stdout
    assert json.loads((tmp_path / "out" / "result.json").read_text())["status"] == "measured"
    assert ("disk_full: standard output cannot be written" in run.stderr) == (code == 7)


@pytest.mark.parametrize("command", ["--help", "segment --help", "explain 6", "segment --json"])
def test_a_full_disk_under_stdout_leaves_no_traceback(command: str) -> None:
    run = subprocess.run(
        ["sh", "-c", f'"$0" {command} >/dev/full', PROGRAM],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=60,
    )
    assert run.returncode == (Exit.USAGE if "json" in command else Exit.OUTPUT), run.stderr
    assert "Traceback" not in run.stderr
    assert "Exception" not in run.stderr


def test_ctrl_c_while_the_program_loads_shows_no_traceback() -> None:
    code = (
        "import os, signal, sys\n"
        "class Loading:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'iac_cli.cli.exits':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Loading())\n"
        "from iac_cli.cli.start import main\n"
        "main()\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert run.returncode == Exit.INTERRUPTED
    assert run.stderr == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_leave_nothing_behind(folder: Path, tmp_path: Path, number, code: int) -> None:
    arguments = ["segment", folder / "head.nii.gz", "-o", tmp_path / "out", "-d", "cpu"]
    process = subprocess.Popen(
        [PROGRAM, *map(str, arguments), "--model", str(folder / "models")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stderr is not None
    process.stderr.readline()  # the first stage has begun
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert b"Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_bug_leaves_a_log_without_values(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run() -> int:
        secret = "JANE DOE"
        return 1 // (len(secret) - 8)

    assert exit_code_of(run) == Exit.INTERNAL
    (log,) = tmp_path.glob("iac-seg-*.log")
    assert "ZeroDivisionError" in log.read_text()
    assert str(log) in capsys.readouterr().err


def test_bug_leaves_a_log_without_the_scans_paths(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def run() -> int:
        try:
            return (tmp_path / "DOE_JANE" / "im1").open().fileno()
        except OSError as error:
            raise ValueError("a bug") from error

    assert exit_code_of(run) == Exit.INTERNAL
    (log,) = tmp_path.glob("iac-seg-*.log")
    assert "FileNotFoundError" in log.read_text()
    assert f"{tmp_path}/DOE_JANE" not in log.read_text()


def test_failures_end_with_their_code(capsys) -> None:
    def fail(error: BaseException):
        def run() -> int:
            raise error

        return run

    known = IacError(Word.NO_DICOM, "3 files, none is DICOM", way_out="point elsewhere")
    assert exit_code_of(fail(known)) == 3
    assert (
        capsys.readouterr().err == "no_dicom: 3 files, none is DICOM\n  way out: point elsewhere\n"
    )
    assert exit_code_of(fail(OSError(28, "full"))) == 7
    assert exit_code_of(fail(PermissionError(13, "no", "/scans/DOE_JANE/im1"))) == 3
    said = capsys.readouterr().err
    assert "\ninput_forbidden: " in said
    assert "DOE" not in said
    assert exit_code_of(fail(MemoryError())) == 10
    assert Word.OUT_OF_MEMORY in capsys.readouterr().err
    assert exit_code_of(fail(known), as_json=True) == 3
    assert json.loads(capsys.readouterr().out)["code"] == "no_dicom"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_a_library_swallowed_while_loading_is_no_bug(
    number, capsys, monkeypatch
) -> None:
    def load_and_fail(_arguments: list[str]) -> int:
        with suppress(BaseException):
            os.kill(os.getpid(), number)
            time.sleep(5.0)
        raise AttributeError("module 'half_loaded' has no attribute 'InvalidProtobuf'")

    monkeypatch.setattr("iac_cli.cli.app.run_app", load_and_fail)
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["doctor"]) == 128 + number
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    assert capsys.readouterr().err == "stopped: nothing half-written was left behind\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_comes_in_a_destructor_is_no_lost_one(number: int) -> None:
    """Python prints and drops what a destructor raises."""
    program = f"""
import os, time
import iac_cli.cli.app as app
from iac_cli.cli.exits import main

class Busy:
    def __del__(self):
        os.kill(os.getpid(), {int(number)})
        for _ in range(1000):
            pass

def work(_arguments):
    Busy()
    time.sleep(20.0)
    return 0

app.run_app = work
raise SystemExit(main(["doctor"]))
"""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=15, check=False
    )
    assert run.returncode == 128 + number
    assert run.stderr == "stopped: nothing half-written was left behind\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_in_the_middle_of_a_line_is_told_and_obeyed(number: int) -> None:
    """The handler may not enter the stream that is just being written."""
    program = """
from iac_cli.cli.exits import gentle_stop
from iac_cli.cli.speak import tell

with gentle_stop("stopping") as asked:
    while not asked():
        tell("at work " * 20)
raise SystemExit(asked())
"""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stderr=subprocess.PIPE, env=environment()
    )
    assert child.stderr is not None
    for _ in range(200):
        child.stderr.readline()
    child.send_signal(number)
    said = child.communicate(timeout=30)[1]
    assert child.returncode == 128 + number, said[-1000:]
    assert b"Error" not in said


def test_control_characters_never_reach_a_terminal() -> None:
    assert harmless("a\x1b[31mb\u202ec\td") == "a\ufffd[31mb\ufffdc\td"


def test_explain_tells_meaning_and_way_out() -> None:
    run = iac_seg("explain", "contrast_suspected")
    assert run.returncode == 0
    assert "exit code 6" in run.stdout
    assert "way out" in run.stdout
    unknown = iac_seg("explain", "contrast_suspectd")
    assert unknown.returncode == 2
    assert "did you mean contrast_suspected" in unknown.stderr


@pytest.mark.parametrize("code", Exit)
def test_explain_tells_an_exit_code_and_its_words(code: Exit) -> None:
    run = iac_seg("explain", str(int(code)))
    assert run.returncode == 0, run.stderr
    first, *rest = run.stdout.splitlines()
    assert first == f"exit code {int(code)}, {code.name.lower()}"
    assert len(rest) >= 2
    told = {line.split(":")[0].strip() for line in rest}
    assert told & set(EXIT_OF) == {word for word, its in EXIT_OF.items() if its is code}


def test_explain_as_json() -> None:
    word = json.loads(iac_seg("explain", "contrast_suspected", "--json").stdout)
    assert (word["code"], word["exit_code"]) == ("contrast_suspected", 6)
    assert word["meaning"]
    assert word["way_out"]
    code = json.loads(iac_seg("explain", "6", "--json").stdout)
    assert code["name"] == "not_measurable"
    assert "contrast_suspected" in code["codes"]


def test_explain_knows_no_other_number() -> None:
    run = iac_seg("explain", "137")
    assert run.returncode == Exit.USAGE
    assert "never ends with 137" in run.stderr


def test_doctor_finds_broken_models(folder: Path, tmp_path: Path) -> None:
    well = iac_seg("doctor", "--model", folder / "models", "-d", "cpu", "--json")
    document = json.loads(well.stdout)
    assert well.returncode == 0, well.stdout
    assert document["ok"]
    assert {"self-test", "JPEG lossless", "segmenter"} <= {c["name"] for c in document["checks"]}
    broken = oracle_models(tmp_path / "models")
    with (broken / "segmenter.onnx").open("ab") as stream:
        stream.write(b"\0")
    run = iac_seg("doctor", "--model", broken, "-d", "cpu")
    assert run.returncode == 9
    assert "model_checksum_mismatch" in run.stdout
    assert "fix:" in run.stdout


def test_help_is_light_and_complete() -> None:
    code = (
        "import sys\nfrom iac_cli.cli.exits import main\n"
        "assert main(['segment', '--help']) == 0\n"
        "heavy = {'numpy', 'rich', 'torch', 'onnxruntime', 'pydicom', 'scipy', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    for option in ("--device", "--backend", "--require-gpu", "--series", "--rules", "--scheme"):
        assert option in run.stdout


def test_top_help_is_what_typer_prints(capsys) -> None:
    with pytest.raises(SystemExit):
        build_app()(args=["--help"], prog_name="iac-seg")
    by_typer = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.split() == by_typer.split()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(command: str) -> None:
    run = iac_seg(command, "--help")
    assert run.returncode == 0
    assert f"iac-seg {command}" in run.stdout


def test_help_answers_at_once() -> None:
    """Under 6 times a bare interpreter, in processor time: the best of a few tries of each."""

    def seconds(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, stdout=subprocess.DEVNULL, env=environment(), check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    seconds(PROGRAM, "--help")  # compiled files are written
    bare, ours = [], []
    for _ in range(12):
        bare.append(seconds(sys.executable, "-c", "pass"))
        ours.append(seconds(PROGRAM, "--help"))
    assert min(ours) < 6 * min(bare)


def test_version_and_no_arguments() -> None:
    assert iac_seg("--version").stdout.startswith("iac-seg 0.")
    assert main([]) == 2


def test_a_wrong_choice_is_told_in_words_for_people(tmp_path: Path) -> None:
    run = iac_seg("segment", tmp_path, "-o", tmp_path / "out", "--sex", "X")
    assert run.returncode == Exit.USAGE
    assert "'X' is not one of 'F', 'M'" in run.stderr
    assert "error" not in run.stderr
