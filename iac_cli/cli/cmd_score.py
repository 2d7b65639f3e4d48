"""`iac-seg score`: score a given or corrected mask, without asking the segmenter."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iac_cli.cli import options as o

if TYPE_CHECKING:
    from iac_cli.locate.locator import Locator
    from iac_cli.settings import RunSettings


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("score")(score)


def score(  # noqa: PLR0913 - the command's options
    mask: Annotated[
        Path,
        typer.Argument(readable=False, metavar="MASK", help="mask.nii.gz or mask_native.nii.gz."),
    ],
    ct: Annotated[
        Path, typer.Option("--ct", readable=False, metavar="INPUT", help="The scan it belongs to.")
    ],
    out: o.Out,
    keep_all_voxels: Annotated[
        bool, typer.Option("--keep-all-voxels", help="Count voxels below 130 HU and single ones.")
    ] = False,
    labels: o.Labels = None,
    model: o.ModelFolder = None,
    series: o.SeriesUid = None,
    rules: o.RulesFile = None,
    scheme: o.SchemeName = None,
    sex: o.SexOption = None,
    age: o.AgeOption = None,
    case_id: o.CaseId = None,
    id_from: o.IdFromOption = None,
    threads: o.Threads = None,
    settings_file: o.SettingsFile = None,
    overwrite: o.Overwrite = False,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
    as_json: o.Json = False,
) -> None:
    """Score a mask on its scan. On an unedited mask the numbers are those of `segment`."""
    from dataclasses import replace

    from iac_cli.cli.progress import progress
    from iac_cli.cli.results import finish
    from iac_cli.pipeline import score_mask
    from iac_cli.report.files import check_output

    check_output(out, overwrite=overwrite, inputs=[ct, mask])
    settings = o.settings_from(
        settings_file, run={"device": "cpu", "threads": threads}, id_from=id_from
    )
    about = o.case_options(
        series=series,
        rules=rules,
        scheme=scheme,
        sex=sex,
        age=age,
        case_id=case_id,
        keep_all_voxels=keep_all_voxels,
    )
    about = replace(about, labels=o.labels_of(labels))
    locator = _locator(model, settings.run)
    with progress(quiet=quiet) as on_step:
        output = score_mask(mask, ct, locator, settings, about, on_step=on_step)
    code = finish(output, out, overwrite=overwrite, as_json=as_json, quiet=quiet, verbose=verbose)
    raise typer.Exit(code)


def _locator(folder: Path | None, settings: "RunSettings") -> "Locator | None":
    """The locator, which names lesions; a package without models can still score a mask."""
    from iac_cli.errors import IacError, Word
    from iac_cli.infer.card import shipped_models
    from iac_cli.infer.models import load_locator

    try:
        return load_locator(folder or shipped_models(), settings)
    except IacError as error:
        if folder is not None or error.word != Word.MODEL_NOT_FOUND:
            raise
        return None
