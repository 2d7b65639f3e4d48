"""`iac-seg segment`: from a head series to mask, scores and risk group."""

from typing import Annotated

import typer

from iac_cli.cli import options as o


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("segment")(segment)


def segment(  # noqa: PLR0913 - the command's options
    source: o.Source,
    out: o.Out,
    device: o.Device = None,
    backend: o.BackendOption = None,
    require_gpu: o.RequireGpu = False,
    threads: o.Threads = None,
    model: o.ModelFolder = None,
    series: o.SeriesUid = None,
    rules: o.RulesFile = None,
    scheme: o.SchemeName = None,
    sex: o.SexOption = None,
    age: o.AgeOption = None,
    case_id: o.CaseId = None,
    id_from: o.IdFromOption = None,
    settings_file: o.SettingsFile = None,
    overwrite: o.Overwrite = False,
    save_probability: Annotated[
        bool, typer.Option("--save-probability", help="Also write the probability map.")
    ] = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    as_json: o.Json = False,
) -> None:
    """Segment and score the calcification of one head."""
    from iac_cli.cli.progress import progress
    from iac_cli.cli.results import finish
    from iac_cli.infer.models import load_models
    from iac_cli.pipeline import segment_case
    from iac_cli.report.files import check_output

    check_output(out, overwrite=overwrite, inputs=[source])
    flags = {
        "device": device,
        "backend": backend,
        "require_gpu": require_gpu,
        "threads": threads,
    }
    settings = o.settings_from(settings_file, run=flags, id_from=id_from)
    about = o.case_options(
        series=series,
        rules=rules,
        scheme=scheme,
        sex=sex,
        age=age,
        case_id=case_id,
        save_probability=save_probability,
    )
    models = load_models(model, settings.run)
    with progress(quiet=quiet) as on_step:
        output = segment_case(source, models, settings, about, on_step=on_step)
    code = finish(output, out, overwrite=overwrite, as_json=as_json, quiet=quiet, verbose=verbose)
    raise typer.Exit(code)
