"""`iac-seg export-risk`: risk groups of scored cases again, without segmenting."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iac_cli.measure.scheme import Cuts
    from iac_cli.report.cohort import Grouping
    from iac_cli.report.scored import Scored


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
            help="A scores.csv, or the folder of a batch or of results.",
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
    from iac_cli.cli.results import check_file
    from iac_cli.measure.scheme import load_scheme
    from iac_cli.report.cohort import group_cohort, risk_csv
    from iac_cli.report.files import write_text
    from iac_cli.report.scored import read_cases

    check_file(out, source, overwrite=overwrite)
    chosen = load_scheme(scheme)
    scored = read_cases(source)
    grouping = group_cohort(scored, chosen, by_sex=by is By.SEX)
    write_text(out, risk_csv(scored, grouping))
    _report(scored, grouping, as_json=as_json)


def _report(scored: "Scored", grouping: "Grouping", *, as_json: bool) -> None:
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.report.cohort import repeated_ids

    repeated = repeated_ids(scored)
    if repeated:
        tell(f"warning: {len(repeated)} case ids occur more than once, {repeated[0]!r} for one")
    if as_json:
        answer_json(_document(scored, grouping))
        return
    scheme, sizes = grouping.scheme, grouping.sizes
    without = sizes.pop("")
    answer(f"{scheme.title} ({scheme.name} {scheme.version}, by {scheme.score})")
    width = max(len(name) for name in (*sizes, "no group"))
    for name, n in (*sizes.items(), ("no group", without)):
        answer(f"  {name:<{width}}  {n}")
    for line in _told_limits(grouping):
        answer(line)
    for name, one in grouping.limits.items():
        if one.up_to is not None and len(set(one.up_to)) < len(one.up_to):
            tell(f"warning: equal cut-points for {name}: a group between them stays empty")
    if any(one.low is not None for one in grouping.placed):
        answer(f"{grouping.n_crossing} cases have an interval that reaches another group")
    if not scheme.validated_intracranially:
        answer("Not validated for intracranial arteries; research use only.")


def _told_limits(grouping: "Grouping") -> list[str]:
    """A line for each cut-point, with its interval where it comes from the cohort."""
    scheme = grouping.scheme
    lines = [f"  {_whom(cuts)}: up to {_listed(cuts.up_to)}" for cuts in scheme.cuts]
    for name, one in grouping.limits.items():
        whom = f"{name}, {one.n} patients or cases"
        if one.up_to is None:
            lines.append(f"  {whom}: none ({one.why})")
            continue
        for group, at, low, high in zip(
            scheme.groups[:-1], one.up_to, one.low, one.high, strict=True
        ):
            lines.append(
                f"  {whom}: {group} up to {at:.4g} (95 % interval {low:.4g} to {high:.4g})"
            )
    return ["cut-points:", *lines]


def _whom(cuts: "Cuts") -> str:
    ages = [
        f"{word} {years:g}"
        for word, years in (("from", cuts.age_from), ("below", cuts.age_below))
        if years is not None
    ]
    return ", ".join([cuts.sex or "all", *ages])


def _listed(numbers: "tuple[float, ...]") -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _document(scored: "Scored", grouping: "Grouping") -> dict[str, object]:
    scheme, sizes = grouping.scheme, grouping.sizes
    without = sizes.pop("")
    given = [{"for": _whom(cuts), "up_to": cuts.up_to} for cuts in scheme.cuts]
    taken = [
        {"for": name, "n": one.n, "up_to": one.up_to, "low": one.low, "high": one.high}
        for name, one in grouping.limits.items()
    ]
    return {
        "scheme": scheme.name,
        "version": scheme.version,
        "validated_intracranially": scheme.validated_intracranially,
        "score": scheme.score,
        "cases": len(scored),
        "groups": sizes,
        "without_group": without,
        "cut_points": given or taken,
        "reaching_another_group": grouping.n_crossing,
    }
