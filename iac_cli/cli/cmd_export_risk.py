"""`iac-seg export-risk`: risk groups of scored cases again, without segmenting."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iac_cli.measure.scheme import Scheme
    from iac_cli.report.cohort import CohortCase, Grouped


class By(StrEnum):
    """What a cohort may be split by."""

    SEX = "sex"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("export-risk")(export_risk)


def export_risk(  # noqa: PLR0913 - one parameter an option
    source: Annotated[
        Path,
        typer.Argument(
            readable=False,
            metavar="SCORES_OR_FOLDER",
            help="A scores.csv, or a folder of results (result.json).",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", readable=False, help="The CSV file to write.")
    ],
    scheme: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A shipped scheme, or a TOML file of your own.")
    ] = "presence",
    by: Annotated[By | None, typer.Option(help="Take quantiles of each sex by itself.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Group scored cases by a risk scheme. No scheme is validated for intracranial arteries."""
    from iac_cli.measure.scheme import load_scheme
    from iac_cli.report.cohort import group_cohort, read_cohort, risk_csv
    from iac_cli.report.files import write_text

    _check_out(out, source, overwrite=overwrite)
    chosen = load_scheme(scheme)
    cases = read_cohort(source)
    grouped = group_cohort(cases, chosen, by_sex=by is By.SEX)
    write_text(out, risk_csv(grouped, chosen))
    _report(cases, grouped, chosen, as_json=as_json)


def _check_out(out: Path, source: Path, *, overwrite: bool) -> None:
    """Refuse an output path before any work."""
    from iac_cli.errors import IacError, Word

    if out.is_dir():
        raise IacError(
            Word.OUTPUT_NOT_WRITABLE, f"{out.name!r} is a folder", way_out="name a file in it"
        )
    if out.exists() and source.exists() and out.samefile(source):
        raise IacError(
            Word.OUTPUT_INSIDE_INPUT,
            f"{out.name!r} is the input",
            way_out="name another file; the scores are never written over",
        )
    if out.exists() and not overwrite:
        raise IacError(
            Word.OUTPUT_EXISTS,
            f"{out.name!r} exists",
            way_out="pass --overwrite, or choose another name",
        )


def _report(
    cases: "Sequence[CohortCase]", grouped: "Sequence[Grouped]", scheme: "Scheme", *, as_json: bool
) -> None:
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.report.cohort import group_sizes, repeated_ids

    repeated = repeated_ids(cases)
    if repeated:
        tell(f"warning: {len(repeated)} case ids occur more than once, {repeated[0]!r} for one")
    sizes = group_sizes(grouped, scheme)
    without = sizes.pop("")
    if as_json:
        answer_json(
            {
                "scheme": scheme.name,
                "version": scheme.version,
                "validated_intracranially": scheme.validated_intracranially,
                "score": scheme.score,
                "cases": len(cases),
                "groups": sizes,
                "without_group": without,
            }
        )
        return
    answer(f"{scheme.title} ({scheme.name} {scheme.version}, by {scheme.score})")
    width = max(len(name) for name in (*sizes, "no group"))
    for name, n in (*sizes.items(), ("no group", without)):
        answer(f"  {name:<{width}}  {n}")
    if not scheme.validated_intracranially:
        answer("Not validated for intracranial arteries; research use only.")
