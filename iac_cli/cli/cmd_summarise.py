"""`iac-seg summarise`: the cohort on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iac_cli.report.summary import Summary


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("summarise")(summarise)


def summarise(  # noqa: PLR0913 - one parameter an option
    source: Annotated[
        Path,
        typer.Argument(
            readable=False,
            metavar="SCORES_OR_FOLDER",
            help="The folder of a batch or of results, or a scores.csv.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", readable=False, help="The HTML file to write.")
    ],
    scheme: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A shipped scheme, or a TOML file of your own.")
    ] = "presence",
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    with_ids: Annotated[
        bool, typer.Option("--with-ids", help="Name cases by their ids on the page.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Show a cohort on one page that needs no network: burdens, groups, flags, cases to review."""
    from iac_cli.cli.results import check_file
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.measure.scheme import load_scheme
    from iac_cli.report.cohort import repeated_ids
    from iac_cli.report.files import write_text
    from iac_cli.report.page import cohort_page
    from iac_cli.report.scored import read_scored
    from iac_cli.report.summary import summarise as numbers_of

    check_file(out, source, overwrite=overwrite)
    chosen = load_scheme(scheme)
    scored = read_scored(source)
    summary = numbers_of(scored, chosen)
    write_text(out, cohort_page(summary, folder=scored.folder, with_ids=with_ids))
    counts = _counts(summary)
    if as_json:
        answer_json(counts)
        return
    for name, n in counts.items():
        answer(f"  {name.replace('_', ' '):<16}{n:>10}")
    if repeated := repeated_ids(scored):
        tell(f"warning: {len(repeated)} case ids occur more than once")
    if with_ids:
        tell("warning: the page holds case ids; they can identify a patient")
    tell(f"written to {out}")


def _counts(summary: "Summary") -> dict[str, int]:
    """What became of the cases, and what the page could be filled with."""
    totals = summary.totals
    return {
        "cases": totals.n,
        "measured": totals.n_measured,
        "not_measurable": totals.n_not_measurable,
        "failed": totals.n_failed,
        "patients_shown": totals.n_counted,
        "to_review": len(summary.review),
        "test_retest_pairs": len(summary.retest.pairs),
        "changes": len(summary.change.pairs),
    }
