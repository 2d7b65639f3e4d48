"""The docs tell the truth about the tree: links lead somewhere, commands and pictures exist."""

import ast
import importlib
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from iac_cli import __version__
from tests.command import ROOT, iac_seg

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    ours = [link for link in links if "://" not in link]
    assert not [link for link in ours if not (page.parent / link).exists()]


def test_the_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [page_name(p) for p in PAGES if f"({page_name(p)})" not in readme]
    assert missing == ["README.md"]


def test_the_readme_shows_two_commands() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert len(blocks) == 2
    first, second = blocks
    assert "iac-seg segment sample_data/study" in first
    assert second.splitlines()[-1].endswith("-m pytest")


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = set(re.findall(r"iac-seg ([a-z][a-z-]+)", text))
    listed = iac_seg("--help").stdout
    assert commands
    assert not [command for command in commands if not re.search(rf"^\W*{command}\b", listed, re.M)]


def test_the_version_is_one() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f'version = "{__version__}"' in project
    assert f"version: {__version__}" in citation
    assert f"## {__version__}" in changelog


def taken_from_the_package(script: Path) -> list[tuple[str, str]]:
    """(module, name) of all that a script imports from the package."""
    tree = ast.parse(script.read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    ours = [node for node in found if node.module and node.module.split(".")[0] == "iac_cli"]
    return [(node.module, alias.name) for node in ours for alias in node.names]


@pytest.mark.parametrize(
    "script",
    sorted(
        p for place in ("benchmarks", "containers", "docs") for p in (ROOT / place).rglob("*.py")
    ),
    ids=page_name,
)
def test_what_a_script_takes_from_the_package_is_there(script: Path) -> None:
    """No test runs these scripts; a name that moved would be noticed by a reader alone."""
    for module, name in taken_from_the_package(script):
        found = hasattr(importlib.import_module(module), name)
        assert found or importlib.util.find_spec(f"{module}.{name}"), f"{module} has no {name}"


def tracked_files() -> list[str]:
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return listing.stdout.splitlines()


def test_no_scan_is_in_the_tree_but_the_sample() -> None:
    scans = [f for f in tracked_files() if re.search(r"\.(dcm|nii|nii\.gz|nrrd|mha)$", f)]
    assert not [f for f in scans if not f.startswith("sample_data/")]


def test_the_sample_is_at_most_10_mb() -> None:
    size = sum((ROOT / f).stat().st_size for f in tracked_files() if f.startswith("sample_data/"))
    assert 0 < size <= 10 * 2**20
