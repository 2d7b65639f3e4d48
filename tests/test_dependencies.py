"""What the package brings with it: exactly what the docs list, and nothing under the GPL."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
GPL = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(distribution: metadata.Distribution) -> str:
    """Licence expression, or the classifiers, or the first line of the licence field."""
    about = distribution.metadata
    classifiers = [c for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    first_line = (about.get("License") or "").strip().split("\n")[0]
    return "; ".join(filter(None, [about.get("License-Expression"), *classifiers, first_line]))


def installed_closure(names: list[str]) -> dict[str, metadata.Distribution]:
    """Every distribution that the requirements bring on this machine, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        requirement = Requirement(waiting.pop())
        marker = requirement.marker
        key = canonical(requirement.name)
        if key in found or (marker and not marker.evaluate({"extra": ""})):
            continue
        found[key] = metadata.distribution(requirement.name)
        waiting += found[key].requires or []
    return found


def documented_rows() -> dict[str, list[str]]:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").split("## Extras")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    return {row[0]: row[1:] for row in rows if len(row) == 4 and ">=" in row[1]}


def test_docs_list_exactly_the_dependencies_with_their_bounds() -> None:
    wanted = {}
    for text in project()["dependencies"]:
        requirement = Requirement(text)
        wanted[requirement.name] = set(str(requirement.specifier).split(","))
    assert {name: set(row[0].split(",")) for name, row in documented_rows().items()} == wanted


def test_every_dependency_has_a_lower_and_an_upper_bound() -> None:
    for text in project()["dependencies"]:
        operators = {clause.operator for clause in Requirement(text).specifier}
        assert operators == {">=", "<"}, text


def test_every_dependency_has_a_licence_and_a_reason() -> None:
    for name, (_, licence, reason) in documented_rows().items():
        assert licence, name
        assert len(reason) > 10, name


def test_docs_list_exactly_the_extras() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    extras = text.split("## Extras")[1].split("## Refused")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", extras, re.M)) == set(
        project()["optional-dependencies"]
    )


def test_no_runtime_dependency_is_under_the_gpl() -> None:
    closure = installed_closure(project()["dependencies"])
    assert len(closure) > 20
    under_gpl = {
        name: licence_of(found) for name, found in closure.items() if GPL.search(licence_of(found))
    }
    assert not under_gpl


def test_the_gpl_decoder_is_not_installed() -> None:
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.distribution("pylibjpeg-libjpeg")


@pytest.mark.parametrize(
    ("licence", "is_gpl"),
    [
        ("GPL-3.0-only", True),
        ("License :: OSI Approved :: GNU General Public License v3 (GPLv3)", True),
        ("AGPL-3.0", True),
        ("MIT", False),
        ("Apache-2.0 OR BSD-2-Clause", False),
    ],
)
def test_the_licence_search_finds_the_gpl(licence: str, is_gpl: bool) -> None:
    assert bool(GPL.search(licence)) is is_gpl
