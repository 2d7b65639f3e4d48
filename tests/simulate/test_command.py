"""`iac-seg simulate head` from the outside."""

import subprocess
import sys
from pathlib import Path

import pytest

from iac_cli.cli.cmd_simulate import parse_size
from iac_cli.errors import IacError, Word


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from iac_cli.cli.exits import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-c", code, "simulate", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_study_and_its_truth_appear(tmp_path: Path) -> None:
    out = tmp_path / "head"
    result = run(
        "head", "-o", str(out), "--size", "64x64x20", "--pixel-mm", "3.2", "--compression", "rle"
    )
    assert result.returncode == 0, result.stderr
    assert len(list((out / "study").iterdir())) == 20
    assert {path.name for path in (out / "truth").iterdir()} == {
        "labels.nii.gz",
        "labels_fine.nii.gz",
        "lesions.nii.gz",
        "lesions.csv",
        "arteries.json",
        "truth.json",
    }
    assert "20 slices" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--thickness-mm", "0"), "thickness"),
        (("--pixel-mm", "0.2"), "field of view"),
        (("--size", "large"), "size"),
        (("--size", "512x512x4"), "4 slices"),
        (("--mimics", "gone.toml"), "file of rates"),
    ],
)
def test_bad_input_has_one_clear_line(
    arguments: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    result = run("head", "-o", str(tmp_path / "out"), *arguments)
    assert result.returncode == (3 if "--mimics" in arguments else 2)
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_sizes_read_as_written() -> None:
    assert parse_size("512x512") == (512, 512, None)
    assert parse_size("320x400x28") == (320, 400, 28)
    with pytest.raises(IacError) as caught:
        parse_size("512")
    assert caught.value.word == Word.BAD_SETTING
