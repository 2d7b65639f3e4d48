"""The wheel holds all that the program needs, and works installed elsewhere without a network."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.command import ROOT, SAMPLE, environment

RUN_BLOCKED = """
import sys
from pathlib import Path
import iac_cli

def refuse(event, arguments):
    if event == "socket.__new__" and arguments[1] != 1:
        raise SystemExit("NETWORK")

sys.addaudithook(refuse)
sys.modules["requests"] = None  # as in tests/test_no_network.py
assert str(Path(iac_cli.__file__).resolve()).startswith(sys.argv.pop(1)), iac_cli.__file__
from iac_cli.cli.exits import main
sys.exit(main())
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network by the build backend that is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-q", "-w", folder, ROOT], check=True, timeout=120)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def members(wheel: Path) -> set[str]:
    with ZipFile(wheel) as package:
        return set(package.namelist())


def test_every_module_and_data_file_is_in_the_wheel(members: set[str]) -> None:
    ours = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "iac_cli").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert not ours - members


@pytest.mark.parametrize(
    "pattern", ["rules.toml", "schemes/", "schema.json", "py.typed", "licenses/LICENSE"]
)
def test_data_files_are_in_the_wheel(pattern: str, members: set[str]) -> None:
    assert [name for name in members if pattern in name]


def test_the_networks_and_their_cards_are_in_the_wheel(members: set[str]) -> None:
    for name in ("segmenter", "locator", "locator_near"):
        assert {f"iac_cli/models/{name}.onnx", f"iac_cli/models/{name}.json"} <= members


def test_no_scan_and_no_test_is_in_the_wheel(members: set[str]) -> None:
    assert not [n for n in members if n.startswith("tests/") or n.endswith((".dcm", ".nii.gz"))]


def test_the_wheel_is_small_enough_to_send(wheel: Path) -> None:
    assert wheel.stat().st_size < 60 * 2**20


def test_the_wheel_works_elsewhere_and_offline(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "-q"]
    subprocess.run([*install, "--target", home, wheel], check=True, timeout=120)
    run = subprocess.run(
        [
            *(sys.executable, "-c", RUN_BLOCKED, str(home.resolve())),
            *("segment", str(SAMPLE), "-o", str(tmp_path / "out")),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(home), HOME="/nonexistent"),
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "out" / "result.json").is_file()
