"""`iac-seg explain`: what a failure word means and what to do."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("explain")(explain)


def explain(
    word: Annotated[str, typer.Argument(help="A code such as contrast_suspected.")],
) -> None:
    """Say what a code in a result or a message means."""
    from iac_cli.cli.speak import answer
    from iac_cli.errors import EXIT_OF, Exit, IacError, Word

    known = {entry.value: entry for entry in Word}
    if word not in known:
        raise IacError(
            Word.UNKNOWN_SETTING,
            f"no such code: {word!r}{_nearest(word, list(known))}",
            way_out="the codes are listed in docs/errors.md",
        )
    code = EXIT_OF.get(known[word], Exit.OK)
    kind = "finding: the case is measured" if code == Exit.OK else f"exit code {int(code)}"
    answer(f"{word} ({kind})\n{_meaning(known[word])}")


def _nearest(word: str, known: list[str]) -> str:
    from difflib import get_close_matches

    found = get_close_matches(word, known, n=1)
    return f" (did you mean {found[0]}?)" if found else ""


def _meaning(word: object) -> str:
    return str(word).replace("_", " ")
