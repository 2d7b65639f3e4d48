"""`iac-seg train calibrate`: the scaling and the thresholds of a trained segmenter."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping


def register(app: typer.Typer) -> None:
    """Add the command to the `train` group."""
    app.command("calibrate")(calibrate)


def calibrate(  # noqa: PLR0913 - one parameter an option
    run: Annotated[
        Path,
        typer.Argument(
            readable=False, metavar="RUN", help="A finished run, or a folder of exported models."
        ),
    ],
    cohort: Annotated[
        Path | None,
        typer.Option(
            "--data",
            readable=False,
            metavar="DEVELOPMENT",
            help="Cohort, or CSV, of other patients.",
        ),
    ] = None,
    skulls: Annotated[
        Path | None,
        typer.Option(readable=False, help="Cached heads instead: windows are simulated in them."),
    ] = None,
    windows: Annotated[int, typer.Option(min=16, help="How many, with --skulls.")] = 400,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", readable=False, help="JSON to write [default: RUN/calibration.json]."
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", readable=False, help="Folder with another locator."),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print failures alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Fit Platt, temperature and beta scaling, choose one, and the thresholds."""
    import json

    from iac_cli.cli.train_options import check_sources, need_torch

    need_torch()
    from iac_cli.cli.progress import progress
    from iac_cli.cli.results import check_file
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.infer.card import shipped_models
    from iac_cli.report.files import write_text
    from iac_cli.train.calibrate import (
        calibrate_on_cohort,
        calibrate_on_windows,
        write_reliability_plot,
    )

    check_sources([] if cohort is None else [cohort], skulls)
    place = out or run / "calibration.json"
    check_file(place, cohort or skulls or run, overwrite=overwrite)
    with progress(quiet=quiet) as on_step:

        def on_part(done: int, total: int) -> None:
            if on_step is not None:
                on_step("windows" if cohort is None else "series", done, total)

        if cohort is not None:
            fields = calibrate_on_cohort(run, cohort, model or shipped_models(), on_part)
        elif skulls is not None:
            fields = calibrate_on_windows(run, skulls, windows, on_part)
    write_text(place, json.dumps(fields, indent=1) + "\n")
    write_reliability_plot(fields, place.with_suffix(".png"))
    if as_json:
        answer_json(fields)
    elif not quiet:
        answer("\n".join(_told(fields)))
    if not quiet:
        tell(f"written to {place}")


def _point(point: "Mapping[str, Any]") -> str:
    return (
        f"  slices over {point.get('over_mm', 0.0):g} mm: voxel {point['threshold']:.2f}, "
        f"lesion's mean {point['lesion_threshold']:.2f}, "
        f"unbiased volume {point['threshold_unbiased_volume']:.2f}"
    )


def _told(fields: "Mapping[str, Any]") -> list[str]:
    figures = fields["figures"]
    before, after = figures["before"], figures["after"]
    lines = [f"{fields['calibration']['method']} scaling, thresholds"]
    lines += [_point(point) for point in (fields, *fields["thicker_slices"])]
    left_out = figures.get("n_patients_left_out")
    if left_out:
        used = figures["n_patients"]
        lines.append(f"  on {used} patients; {left_out} left out: in another split of the run")
    return lines + [
        f"  {name.replace('_', ' '):<14}{before[name]:>10.5f} ->{after[name]:>10.5f}"
        for name in before
    ]
