"""Each failure word has an exit code, a line in the docs, a place that raises it, and a test."""

import ast
import re
from pathlib import Path

import pytest

from iac_cli.errors import EXIT_OF, Exit, IacError, Word

ROOT = Path(__file__).parents[1]
FAILURES = sorted(EXIT_OF)
FINDINGS = sorted(set(Word) - set(EXIT_OF))


def words_in(*folders: Path) -> set[str]:
    """Every `Word.NAME` under folders, and every word that is quoted by itself."""
    found = set()
    for folder in folders:
        for path in folder.rglob("*.py"):
            if path.name in ("errors.py", "test_errors.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Attribute) and node.attr in Word.__members__:
                    found.add(Word[node.attr].value)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.add(node.value.rstrip(":"))
    return found


def raised_words(folder: Path) -> set[str]:
    """Every word that the package refers to as `Word.NAME`: the words that it can raise."""
    found = set()
    for path in folder.rglob("*.py"):
        if path.name != "errors.py":
            found |= set(re.findall(r"\bWord\.([A-Z0-9_]+)\b", path.read_text(encoding="utf-8")))
    return found


def documented() -> dict[str, list[str]]:
    """Word -> the cells of its line in docs/errors.md."""
    lines = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`")}


def documented_codes() -> dict[int, str]:
    """Exit code -> its name, as docs/errors.md lists them."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    return {int(code): name for code, name in re.findall(r"^\| (\d+) \| (\w+) \|", text, re.M)}


def test_exit_codes_are_documented_with_their_names() -> None:
    assert documented_codes() == {code.value: code.name.lower() for code in Exit}


def test_docs_hold_no_word_that_does_not_exist() -> None:
    assert set(documented()) == {word.value for word in Word}


def test_failure_exit_codes_are_never_success_or_a_bug() -> None:
    assert not set(EXIT_OF.values()) & {Exit.OK, Exit.INTERNAL, Exit.INTERRUPTED, Exit.TERMINATED}


@pytest.mark.parametrize("word", FAILURES)
def test_failure_has_a_meaning_and_a_way_out_under_its_code(word: Word) -> None:
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    meaning, way_out = documented()[word]
    assert len(meaning) > 10
    assert len(way_out) > 3
    heading = text[: text.index(f"| `{word}` |")].rsplit("### ", 1)[1].splitlines()[0]
    assert heading == f"{EXIT_OF[word].value} {EXIT_OF[word].name.lower()}"


@pytest.mark.parametrize("word", FINDINGS)
def test_finding_has_a_meaning(word: Word) -> None:
    assert len(documented()[word][0]) > 10


def test_every_word_is_used_in_the_package() -> None:
    unused = {word.value for word in Word if word.name not in raised_words(ROOT / "iac_cli")}
    assert not unused, "words that nothing raises: use or remove them"


def test_every_word_is_met_in_a_test() -> None:
    untested = {word.value for word in Word} - words_in(ROOT / "tests")
    assert not untested, "words that no test meets"


def test_error_knows_its_exit_code() -> None:
    error = IacError(Word.TOO_THICK, "steps of 10 mm", way_out="send a thinner reconstruction")
    assert error.exit_code == Exit.NOT_MEASURABLE == 6
    assert str(error) == "steps of 10 mm"


def test_a_finding_has_no_exit_code() -> None:
    with pytest.raises(KeyError):
        _ = IacError(Word.GANTRY_TILT, "18.5 degrees", way_out="none needed").exit_code
