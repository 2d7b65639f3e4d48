"""A cohort is read whole or not at all."""

from pathlib import Path

from iac_cli.errors import Exit
from tests.command import as_ordinary_user, iac_seg


def test_a_closed_folder_among_the_results_is_told(tmp_path: Path) -> None:
    results, closed = tmp_path / "results", tmp_path / "results" / "b"
    (results / "a").mkdir(parents=True)
    (results / "a" / "result.json").write_text("{}", encoding="utf-8")
    closed.mkdir()
    closed.chmod(0)
    try:
        run = iac_seg("export-risk", results, "-o", tmp_path / "r.csv", before=as_ordinary_user)
    finally:
        closed.chmod(0o755)
    assert run.returncode == Exit.NO_USABLE_INPUT
    assert "input_forbidden" in run.stderr
    assert not (tmp_path / "r.csv").exists()
