"""`iac-seg evaluate`: how good a model's or anybody's masks are, and `compare`: which is better."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iac_cli.cli import options as o

if TYPE_CHECKING:
    from iac_cli.evaluate.compare import Difference
    from iac_cli.evaluate.evaluation import Evaluation


class Gate(StrEnum):
    """Whether the product's measurability gate works."""

    ON = "on"
    OFF = "off"


class OperatingPoint(StrEnum):
    """Thresholds of a card."""

    DICE = "dice"
    VOLUME = "volume"


class SplitName(StrEnum):
    """Parts of a labelled set that no training saw."""

    DEVELOPMENT = "development"
    INTERVAL = "interval"
    TEST = "test"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(rich_markup_mode=None, invoke_without_command=True)
    group.callback()(evaluate)
    group.command("compare")(compare)
    group.command("intervals")(intervals)
    app.add_typer(group, name="evaluate", help="How good masks are, on scans with known truth.")


def evaluate(  # noqa: PLR0913 - one parameter an option
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", readable=False, metavar="TEST", help="A cohort's folder, or a CSV file."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", readable=False, help="Folder: new, or of the same evaluation."),
    ] = None,
    model: o.ModelFolder = None,
    predictions: Annotated[
        Path | None,
        typer.Option("--predictions", readable=False, metavar="DIR", help="Masks to judge."),
    ] = None,
    labels: o.Labels = None,
    gate: Annotated[
        Gate, typer.Option(help="off: measure what the product refuses, such as a phantom.")
    ] = Gate.ON,
    operating_point: Annotated[
        OperatingPoint, typer.Option(help="Threshold of the card: for Dice, or unbiased volume.")
    ] = OperatingPoint.DICE,
    run: Annotated[
        Path | None,
        typer.Option("--run", readable=False, metavar="RUN", help="Training that knows the split."),
    ] = None,
    split: Annotated[
        SplitName | None, typer.Option("--split", help="Only these patients of the data.")
    ] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Series at once.")] = 1,
    device: o.Device = None,
    threads: o.Threads = None,
    settings_file: o.SettingsFile = None,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Judge a model (the shipped one unless --model is given) or masks, on scans with labels."""
    if context.invoked_subcommand is not None:
        return
    from iac_cli.cli.progress import progress
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.evaluate.evaluation import evaluation_of
    from iac_cli.evaluate.output import write_evaluation
    from iac_cli.evaluate.run import Asked, evaluate, read_note
    from iac_cli.evaluate.test_set import read_test_set

    data, out = _needed(data, "--data TEST"), _needed(out, "-o EVAL")
    if labels is not None:
        _needed(predictions, "--predictions DIR, whose labels --labels names,")
    settings = o.settings_from(settings_file, run={"device": device, "threads": threads})
    asked = Asked(
        model=model,
        predictions=predictions,
        labels=o.labels_of(labels),
        gate=gate is Gate.ON,
        for_volume=operating_point is OperatingPoint.VOLUME,
        settings=settings,
        n_workers=jobs,
    )
    test_set = read_test_set(data, run, split)
    with progress(quiet=quiet) as on_step:

        def on_series(done: int, total: int) -> None:
            if on_step is not None:
                on_step("series", done, total)

        records = evaluate(out, test_set, asked, on_series)
    evaluation = evaluation_of(records)
    write_evaluation(out, records, evaluation, read_note(out))
    if as_json:
        answer_json(evaluation.to_json_dict())
    elif not quiet:
        answer("\n".join(_lines(evaluation)))
    if not quiet:
        tell(f"written to {out}; report.md is for reading")


def _needed(path: Path | None, option: str) -> Path:
    if path is None:
        from iac_cli.errors import IacError, Word

        raise IacError(
            Word.BAD_OPTION, f"{option} is missing", way_out="see 'iac-seg evaluate --help'"
        )
    return path


TOLD = (
    *("dice_mean", "lesion_sensitivity", "lesion_ppv", "icc_drawn", "icc_log_drawn"),
    *("risk_accuracy_drawn", "risk_majority_drawn", "clean_false_mm3_p95", "interval_coverage"),
)
"""Figures that the terminal shows."""


def _lines(evaluation: "Evaluation") -> list[str]:
    lines = [f"{evaluation.n_patients} patients, {evaluation.n_series} series"]
    lines += [f"  not measured: {why} {n}" for why, n in sorted(evaluation.not_measured.items())]
    for name in TOLD:
        one = evaluation.figure(name)
        if one is not None and one.value is not None:
            known = one.low is not None and one.high is not None
            interval = f"   {one.low:.3f} to {one.high:.3f}" if known else ""
            lines.append(f"  {name.replace('_', ' '):<24}{one.value:>8.3f}{interval}")
    return lines


def compare(
    first: Annotated[Path, typer.Argument(readable=False, metavar="EVAL_A", help="The first.")],
    second: Annotated[Path, typer.Argument(readable=False, metavar="EVAL_B", help="The second.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", readable=False, help="JSON file to write.")
    ] = None,
    overwrite: o.Overwrite = False,
    as_json: o.Json = False,
) -> None:
    """Paired differences, second less first, with intervals over patients."""
    import json

    from iac_cli.cli.results import check_file
    from iac_cli.cli.speak import answer, answer_json
    from iac_cli.evaluate.compare import compare, comparison_document, read_evaluation
    from iac_cli.report.files import write_text

    if out is not None:
        check_file(out, first, overwrite=overwrite)
    found = compare(read_evaluation(first), read_evaluation(second))
    document = comparison_document(found)
    if out is not None:
        write_text(out, json.dumps(document, indent=1) + "\n")
    if as_json:
        answer_json(document)
    else:
        answer("\n".join(_difference_lines(found)))


def _difference_lines(found: "list[Difference]") -> list[str]:
    head = f"{'figure':<18}{'of':<12}{'n':>5}{'first':>10}{'second':>10}{'difference':>12}"
    lines = [f"{head}   95 % interval, Wilcoxon's p"]
    for one in found:
        interval = "" if one.low is None else f"   {one.low:.4f} to {one.high:.4f}"
        p = "" if one.wilcoxon_p is None else f", {one.wilcoxon_p:.3g}"
        numbers = f"{one.n:>5}{one.first:>10.4f}{one.second:>10.4f}{one.difference:>12.4f}"
        lines.append(f"{one.name:<18}{one.level:<12}{numbers}{interval}{p}")
    return lines


def intervals(
    source: Annotated[
        Path,
        typer.Argument(
            readable=False, metavar="EVAL", help="A model's evaluation, on patients of its own."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", readable=False, help="File: uncertainty.json beside the models."
        ),
    ],
    made_on: Annotated[
        str, typer.Option("--made-on", metavar="TEXT", help="What the patients are, for the file.")
    ] = "",
    overwrite: o.Overwrite = False,
    as_json: o.Json = False,
) -> None:
    """Make the file from which results take intervals, probabilities and confidences."""
    import json

    from iac_cli.cli.results import check_file
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.evaluate.compare import read_evaluation
    from iac_cli.evaluate.intervals import uncertainty_document
    from iac_cli.evaluate.run import read_note
    from iac_cli.measure.uncertainty import least_errors
    from iac_cli.report.files import write_text

    check_file(out, source, overwrite=overwrite)
    document = uncertainty_document(read_evaluation(source), read_note(source), made_on)
    write_text(out, json.dumps(document, indent=1) + "\n")
    if as_json:
        answer_json(document)
        return
    for name, errors in document["errors"].items():
        few = "" if len(errors) >= least_errors() else "   too few: no interval"
        answer(f"  {name:<18}{len(errors):>6} patients{few}")
    if document["lesion_law"] is None:
        tell("too few lesions for a confidence of each")
    tell(f"written to {out}")
