"""The Slurm array script, run by bash with the variable that Slurm would set."""

import shutil
import signal
import subprocess
import time
from pathlib import Path

import pydicom
import pytest
from oracle import oracle_models

from iac_cli.batch.slurm import Slurm, array_script
from iac_cli.errors import Exit, IacError, Word
from tests.command import SAMPLE, environment, iac_seg

N_PARTS = 3
TABLES = ("scores.csv", "lesions.csv", "failures.csv")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample as four studies, two with half its slices, in folders whose names need quoting."""
    root = tmp_path_factory.mktemp("slurm") / 'it\'s a "tree" of $HOME'
    oracle_models(root.parent / "models")
    for number in range(4):
        study = root / f"study {number}"
        study.mkdir(parents=True)
        for file in sorted(SAMPLE.rglob("*.dcm"))[:: 1 + number % 2]:
            image = pydicom.dcmread(file)
            image.StudyInstanceUID = f"1.2.3.{number}"
            image.save_as(study / file.name)
    return root


def script_of(tree: Path, out: Path, *more: str | Path) -> str:
    model = ("--model", tree.parent / "models")
    options = ("-d", "cpu", "-j", "1", "--id-from", "folder", *model)
    made = iac_seg(
        "slurm-script", tree, "-o", out, "--num-parts", str(N_PARTS), *more, "--", *options
    )
    assert made.returncode == Exit.OK, made.stderr
    return made.stdout


def run_task(script: Path, part: int) -> subprocess.CompletedProcess[str]:
    variables = environment(SLURM_ARRAY_TASK_ID=str(part))
    return subprocess.run(
        ["bash", script], env=variables, capture_output=True, text=True, check=False
    )


def test_parts_of_an_array_merge_to_an_undivided_run(tree: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "the parts' out"
    options = ("-d", "cpu", "-j", "1", "--id-from", "folder", "--model", tree.parent / "models")
    assert iac_seg("batch-score", tree, "-o", whole, *options).returncode in (0, 8)
    script = tmp_path / "job.sh"
    script.write_text(script_of(tree, out), encoding="utf-8")
    for part in (2, 1, 3, 1):  # the first one is queued again
        done = run_task(script, part)
        assert done.returncode in (Exit.OK, Exit.BATCH_PARTIAL), done.stderr
    merge = next(line for line in script.read_text().splitlines() if "--wrap=" in line)
    command = ["bash", "-c", f"printf %s {merge.partition('--wrap=')[2]}"]
    wrapped = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert subprocess.run(["bash", "-c", wrapped], check=False).returncode in (0, 8)
    for table in TABLES:
        assert (out / table).read_bytes() == (whole / table).read_bytes()
    assert len((out / "scores.csv").read_text().splitlines()) == 5


def test_slurms_warning_reaches_the_program(tree: Path, tmp_path: Path) -> None:
    """TERM goes to the batch script's own process alone, as --signal=B:TERM has it."""
    script = tmp_path / "job.sh"
    script.write_text(script_of(tree, tmp_path / "out").replace(f"--num-parts {N_PARTS}", ""))
    text = script.read_text(encoding="utf-8").replace('--part-id "$SLURM_ARRAY_TASK_ID"', "")
    script.write_text(text, encoding="utf-8")
    process = subprocess.Popen(["bash", script], env=environment(), stderr=subprocess.PIPE)
    scores = tmp_path / "out" / "scores.csv"
    until = time.monotonic() + 60
    while not scores.exists() or scores.read_text().count("\n") < 2:
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=60)
    assert process.returncode == Exit.TERMINATED, told
    assert b"stopping" in told


@pytest.mark.parametrize("checker", [["bash", "-n"], ["shellcheck"]])
def test_the_script_is_clean(tree: Path, tmp_path: Path, checker: list[str]) -> None:
    if shutil.which(checker[0]) is None:
        return  # shellcheck is used where it is installed
    script = tmp_path / "job.sh"
    asked = ("--time", "24:00:00", "--mem", "16G", "--cpus", "8", "--partition", "long")
    script.write_text(script_of(tree, tmp_path / "out", *asked), encoding="utf-8")
    subprocess.run([*checker, script], check=True)


def test_what_is_asked_of_slurm_stands_before_the_first_command() -> None:
    asked = Slurm(time="1-00:00:00", mem="16G", cpus=8, gpus=1, partition="gpu,long")
    head, _, rest = array_script("iac-seg", Path("/out"), 9, ["/in"], asked).partition("set -euo")
    wanted = ("array=1-9", "time=1-00:00:00", "mem=16G", "cpus-per-task=8", "gres=gpu:1")
    for one in (*wanted, "partition=gpu,long", "signal=B:TERM@120", "requeue"):
        assert f"#SBATCH --{one}\n" in head
    assert "#SBATCH" not in rest
    assert "--require-gpu" in rest


@pytest.mark.parametrize(
    ("arguments", "out", "asked", "word"),
    [
        (["/in\nrm -r x"], "/out", Slurm(), Word.BAD_SETTING),
        (["/in"], "/out\n#", Slurm(), Word.BAD_SETTING),
        (["/in"], "/out", Slurm(time="1\n2"), Word.BAD_SETTING),
        (["/in"], "/out", Slurm(partition="a b"), Word.BAD_SETTING),
        (["/in", "--part-id", "2"], "/out", Slurm(), Word.CONFLICTING_OPTIONS),
        (["/in", "--out=/x"], "/out", Slurm(), Word.CONFLICTING_OPTIONS),
        (["/in", "-o/x"], "/out", Slurm(), Word.CONFLICTING_OPTIONS),
    ],
)
def test_what_no_script_can_hold_is_refused(arguments, out, asked, word) -> None:
    with pytest.raises(IacError) as caught:
        array_script("iac-seg", Path(out), 2, arguments, asked)
    assert caught.value.word is word


def test_a_manifest_stands_for_the_tree(tmp_path: Path) -> None:
    made = iac_seg(
        "slurm-script", "--manifest", "a b.csv", "-o", "o", "--num-parts", "2", "--", "--scheme",
        "x", cwd=tmp_path,
    )  # fmt: skip
    assert f"batch-score --manifest '{tmp_path}/a b.csv' --scheme x -o" in made.stdout
    assert iac_seg("slurm-script", "-o", "o", "--num-parts", "2").returncode == Exit.USAGE
