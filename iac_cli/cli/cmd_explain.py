"""`iac-seg explain`: what a failure word or an exit code means and what to do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iac_cli.cli import options as o

if TYPE_CHECKING:
    from iac_cli.errors import Exit, Word


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("explain")(explain)


def explain(
    word: Annotated[
        str, typer.Argument(help="A code such as contrast_suspected, or an exit code.")
    ],
    as_json: o.Json = False,
) -> None:
    """Say what a code in a result or a message means, or an exit code."""
    from iac_cli.cli.speak import answer, answer_json

    if as_json:
        answer_json(_exit_facts(_known_exit(word)) if word.isdecimal() else _facts(_known(word)))
        return
    answer("\n".join(_of_exit(_known_exit(word)) if word.isdecimal() else _of_word(_known(word))))


def _facts(known: "Word") -> dict[str, object]:
    """What is known of a word; a finding has neither an exit code nor a way out."""
    from iac_cli.errors import EXIT_OF

    code = EXIT_OF.get(known)
    meaning = [*_documented(known.value), None, None]
    return {
        "code": known.value,
        "exit_code": None if code is None else int(code),
        "meaning": meaning[0],
        "way_out": meaning[1],
    }


def _exit_facts(code: "Exit") -> dict[str, object]:
    from iac_cli.errors import EXIT_OF

    cells = _row(f"| {int(code)} |")
    return {
        "exit_code": int(code),
        "name": code.name.lower(),
        "meaning": cells[1] if cells else None,
        "codes": [word.value for word, its in EXIT_OF.items() if its is code],
    }


def _of_word(known: "Word") -> list[str]:
    from iac_cli.errors import EXIT_OF

    code = EXIT_OF.get(known)
    if code is None:
        kind = "a finding: the case is measured"
    else:
        kind = f"exit code {int(code)}, {code.name.lower()}"
    lines = [f"{known.value} ({kind})"]
    meaning = _documented(known.value)
    if meaning:
        lines.append(f"  {meaning[0]}")
    if len(meaning) > 1:
        lines.append(f"  way out: {meaning[1]}")
    return lines


def _of_exit(code: "Exit") -> list[str]:
    """The code's meaning, then each word that ends with it."""
    from iac_cli.errors import EXIT_OF

    lines = [f"exit code {int(code)}, {code.name.lower()}"]
    cells = _row(f"| {int(code)} |")
    if cells:
        lines += [f"  {cells[1]}", f"  does trying again help? {cells[2].replace('–', 'no need')}"]
    words = [word.value for word, its in EXIT_OF.items() if its is code]
    lines += [f"    {word}: {(_documented(word) or [''])[0]}" for word in words]
    return lines


def _known_exit(number: str) -> "Exit":
    from iac_cli.errors import Exit, IacError, Word

    known = {str(int(code)): code for code in Exit}
    if number in known:
        return known[number]
    raise IacError(
        Word.BAD_SETTING,
        f"iac-seg never ends with {number} by itself; its exit codes are {', '.join(known)}",
        way_out="docs/errors.md explains all codes",
    )


def _known(word: str) -> "Word":
    from difflib import get_close_matches

    from iac_cli.errors import IacError, Word

    known = {entry.value: entry for entry in Word}
    if word in known:
        return known[word]
    nearest = get_close_matches(word, list(known), n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    raise IacError(
        Word.BAD_SETTING,
        f"no such code: {word!r}{hint}",
        way_out="docs/errors.md lists all codes",
    )


def _documented(word: str) -> list[str]:
    """What docs/errors.md says of a word: its meaning and, of a failure, the way out."""
    return _row(f"| `{word}` |")


def _row(start: str) -> list[str]:
    """The later cells of the first row with this start in docs/errors.md, which travels along."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "errors.md", package.parent / "docs" / "errors.md")
    text = next((path.read_text(encoding="utf-8") for path in places if path.is_file()), "")
    for line in text.splitlines():
        if line.startswith(start):
            return [cell.strip() for cell in line.strip().strip("|").split("|")][1:]
    return []
