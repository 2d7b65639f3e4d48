"""The house rules as tests: who imports whom, and what stays out of library code."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "iac_cli"

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "toml_file": {"errors"},
    "settings": {"toml_file", "errors"},
    "geometry": {"errors"},
    "dicom": {"geometry", "settings", "toml_file", "errors"},
    "locate": {"geometry", "infer", "settings", "errors"},
    "infer": {"geometry", "locate", "train", "settings", "errors"},
    "measure": {"geometry", "settings", "toml_file", "errors"},
    "report": {"geometry", "dicom.reading", "dicom.nifti", "measure", "errors"},
    "pipeline": {
        "dicom",
        "geometry",
        "locate",
        "infer",
        "measure",
        "report",
        "settings",
        "sureness",
        "made",
        "errors",
    },
    "made": {"infer", "locate", "report.result", "settings"},
    "sureness": {"infer", "measure", "report.result"},
    "batch": {"pipeline", "dicom", "infer", "measure", "report", "settings", "errors"},
    "simulate": {"geometry", "locate.keypoints", "report", "toml_file", "errors"},
    "train": {
        "dicom",
        "geometry",
        "locate",
        "infer",
        "measure",
        "report.files",
        "simulate",
        "settings",
        "toml_file",
        "errors",
    },
    "evaluate": {
        "dicom",
        "geometry",
        "locate",
        "infer",
        "measure",
        "pipeline",
        "report",
        "simulate",
        "train",
        "settings",
        "toml_file",
        "errors",
    },
}
"""Who may import whom among our own rooms. `cli` and the public `__init__` may import everything.

A room stands for all its modules; `room.module` for that one alone. Inside a room everything may
import everything. Measuring knows no model and no DICOM; simulating knows no reader; nothing but
`cli` knows the command line.
"""

HEAVY = (
    "torch",
    "onnxruntime",
    "openvino",
    "matplotlib",
    "pandas",
    "scipy",
    "pydicom",
    "SimpleITK",
)
"""What `iac-seg --help` must not import."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The room that a module belongs to: its folder or, at the top, its own name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported_names(path: Path) -> Iterator[str]:
    """Dotted names that a module imports, at any depth in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "iac_cli":
                yield from (f"iac_cli.{alias.name}" for alias in node.names)
            elif node.module:
                yield node.module


def imported_modules(path: Path) -> set[str]:
    """Our own modules that a module imports, as `room` or `room.module`."""
    ours = {n.split(".", 1)[1] for n in imported_names(path) if n.startswith("iac_cli.")}
    return {".".join(name.split(".")[:2]) for name in ours} - {"__version__"}


def is_allowed(module: str, rooms: set[str]) -> bool:
    """Whether a module is one of the rooms, or lies in one of them."""
    return module in rooms or module.split(".")[0] in rooms


def calls(path: Path) -> Iterator[str]:
    """Dotted text of every function called or raised in a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def names(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


@pytest.mark.parametrize("module", MODULES, ids=names)
def test_rooms_import_upwards_only(module: Path) -> None:
    room = room_of(module)
    if room in ("cli", "__init__"):
        return
    assert room in MAY_IMPORT, f"{room} is no room of the house"
    allowed = MAY_IMPORT[room] | {room}
    assert not {name for name in imported_modules(module) if not is_allowed(name, allowed)}


@pytest.mark.parametrize("module", MODULES, ids=names)
def test_nothing_but_settings_reads_the_environment(module: Path) -> None:
    if names(module) not in ("settings.py", "cli/start.py"):  # start sets what libraries read
        tree = ast.parse(module.read_text(encoding="utf-8"))
        words = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        words |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert not words & {"environ", "getenv", "putenv"}


@pytest.mark.parametrize("module", MODULES, ids=names)
def test_only_the_command_line_prints_and_exits(module: Path) -> None:
    if room_of(module) == "cli":
        return
    forbidden = {"print", "sys.exit", "exit", "quit", "os._exit", "typer.Exit", "typer.echo"}
    assert not forbidden & set(calls(module))
    assert "SystemExit" not in module.read_text(encoding="utf-8")


@pytest.mark.parametrize("module", MODULES, ids=names)
def test_no_global_state_and_no_edited_interpreter(module: Path) -> None:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]
    assert "warnings.filterwarnings" not in set(calls(module))
    if room_of(module) != "cli":
        assert "logging.basicConfig" not in set(calls(module))


@pytest.mark.parametrize("module", MODULES, ids=names)
def test_input_is_never_checked_by_assert(module: Path) -> None:
    """An assertion vanishes under -O; only one that narrows a type may stand."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    asserted = [ast.unparse(n.test) for n in ast.walk(tree) if isinstance(n, ast.Assert)]
    narrows = re.compile(r".* is not None|isinstance\(.*\)")
    assert not [test for test in asserted if not narrows.fullmatch(test)]


@pytest.mark.parametrize("module", MODULES, ids=names)
def test_nothing_speaks_to_the_network(module: Path) -> None:
    forbidden = {"socket", "http", "urllib", "requests", "httpx", "ftplib", "smtplib"}
    assert not {name.split(".")[0] for name in imported_names(module)} & forbidden


def loaded_after(statement: str) -> set[str]:
    """Top-level modules in `sys.modules` of a fresh interpreter after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{n.split('.')[0] for n in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


def test_command_line_starts_light() -> None:
    loaded = loaded_after("import iac_cli.cli.app")
    assert not loaded & set(HEAVY)
    assert "numpy" not in loaded


def test_public_package_imports_nothing_heavy() -> None:
    assert not loaded_after("import iac_cli") & set(HEAVY)


@pytest.mark.parametrize("room", ["dicom.read", "measure", "report", "infer", "pipeline"])
def test_inference_rooms_never_import_torch(room: str) -> None:
    assert "torch" not in loaded_after(f"import iac_cli.{room}")
