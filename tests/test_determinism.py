"""Two runs on the CPU write the same bytes; only the timings in `result.json` may differ."""

import json
from pathlib import Path

import pytest

from tests.command import SAMPLE, iac_seg


def run_once(out: Path, *options: str) -> dict[str, bytes]:
    """Every file of one run by its name, `result.json` without its timings."""
    run = iac_seg("segment", SAMPLE, "-o", out, "--device", "cpu", *options)
    assert run.returncode == 0, run.stderr
    files = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    text = files["result.json"].decode("utf-8")
    assert list(json.loads(text))[-1] == "timings", "timings stand last, away from the numbers"
    before, key, _ = text.rpartition('"timings"')
    assert key
    return files | {"result.json": before.encode("utf-8")}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return run_once(tmp_path_factory.mktemp("first") / "out", "--save-probability")


def test_the_outputs_are_all_there(first: dict[str, bytes]) -> None:
    assert {"result.json", "mask.nii.gz", "lesions.csv", "scores.csv", "preview.png"} <= set(first)
    assert json.loads(first["result.json"].rstrip().rstrip(b",") + b"}")["n_lesions"] > 0


def test_a_second_run_writes_the_same_bytes(first: dict[str, bytes], tmp_path: Path) -> None:
    second = run_once(tmp_path / "elsewhere" / "out", "--save-probability")
    assert set(second) == set(first)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_number_of_threads_changes_no_score(first: dict[str, bytes], tmp_path: Path) -> None:
    other = run_once(tmp_path / "out", "--threads", "2", "--save-probability")
    for name in ("mask.nii.gz", "lesions.csv", "scores.csv"):
        assert other[name] == first[name], name
