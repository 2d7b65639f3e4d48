"""`iac-seg explain`: what a failure word means and what to do."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iac_cli.errors import Word


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("explain")(explain)


def explain(
    word: Annotated[str, typer.Argument(help="A code such as contrast_suspected.")],
) -> None:
    """Say what a code in a result or a message means."""
    from iac_cli.cli.speak import answer
    from iac_cli.errors import EXIT_OF

    known = _known(word)
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
    answer("\n".join(lines))


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
    """The cells of the word's row in docs/errors.md, which travels in the package."""
    package = Path(__file__).resolve().parents[1]
    places = (package / "errors.md", package.parent / "docs" / "errors.md")
    text = next((path.read_text(encoding="utf-8") for path in places if path.is_file()), "")
    for line in text.splitlines():
        if line.startswith(f"| `{word}` |"):
            return [cell.strip() for cell in line.strip().strip("|").split("|")][1:]
    return []
