"""`iac-seg locate`: where the arteries run, as a file and a picture to look at and correct."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iac_cli.cli import options as o

if TYPE_CHECKING:
    from iac_cli.geometry.volume import Volume
    from iac_cli.locate.arteries import Arteries
    from iac_cli.pipeline import Located


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("locate")(locate)


def locate(  # noqa: PLR0913 - one parameter an option
    source: o.Source,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", readable=False, help="JSON to write; the picture beside it."),
    ],
    with_image: Annotated[
        bool,
        typer.Option(
            "--with-image", help="Name the scan's path in it, as simulate --anatomy needs."
        ),
    ] = False,
    series: o.SeriesUid = None,
    model: o.ModelFolder = None,
    device: o.Device = None,
    settings_file: o.SettingsFile = None,
    overwrite: o.Overwrite = False,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Write the centre lines of the arteries, what of each is covered, and a picture of both."""
    import json

    from iac_cli.cli.results import check_file
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.dicom.read import read_series
    from iac_cli.dicom.reading import ReadSettings
    from iac_cli.infer.card import shipped_models
    from iac_cli.infer.models import load_locator
    from iac_cli.locate.lines_file import lines_document
    from iac_cli.pipeline import locate_case
    from iac_cli.report.files import write_text, written_whole

    picture = out.with_suffix(".png")
    for path in (out, picture):
        check_file(path, source, overwrite=overwrite)
    settings = o.settings_from(settings_file, run={"device": device})
    locator = load_locator(model or shipped_models(), settings.run)
    reading = read_series(source, ReadSettings(series=series))
    located = locate_case(reading, locator, settings)
    arteries = _found(located)
    image = _path_from(out, source) if with_image else None
    document = lines_document(arteries, locator, image)
    with written_whole(picture) as building:
        building.write_bytes(_picture(reading.volume, arteries))
    write_text(out, json.dumps(document, indent=1) + "\n")
    if as_json:
        answer_json(document)
    elif not quiet:
        answer("\n".join(_table(document)))
    if not quiet:
        for finding in located.findings:
            tell(f"warning: {finding.word}: {finding.what}")
        if with_image:
            tell("warning: the file holds the scan's path, which can identify a patient")
        tell(f"written to {out} and {picture.name}")


def _found(located: "Located") -> "Arteries":
    """The arteries. Raises: IacError: the word that says why there are none."""
    from iac_cli.errors import IacError, Word

    if located.arteries is not None and located.arteries.lines:
        return located.arteries
    first = next(iter(located.findings), None)
    raise IacError(
        first.word if first else Word.HEAD_NOT_COVERED,
        first.what if first else "no artery lies inside the scan",
        way_out="give a CT head that covers the skull base",
    )


def _picture(volume: "Volume", arteries: "Arteries") -> bytes:
    """The slices with the centre lines as dots, without any lesion; no face shows."""
    import numpy as np

    from iac_cli.geometry.volume import Mask
    from iac_cli.measure.lesions import find_lesions
    from iac_cli.report.preview import preview_png

    nothing = find_lesions(volume, Mask(np.zeros(volume.grid.shape, dtype=bool), volume.grid))
    return preview_png(volume, nothing, list(arteries.lines.values()))


def _path_from(out: Path, source: Path) -> str:
    import os

    return os.path.relpath(source.resolve(), out.resolve().parent)


def _table(document: dict[str, Any]) -> list[str]:
    lines = [f"  {'artery':<8}{'covered':>9}{'confidence':>12}{'mm':>8}"]
    for name, one in document["arteries"].items():
        covered = "yes" if one["covered"] else "no"
        length = "-" if one["length_mm"] is None else f"{one['length_mm']:.0f}"
        lines.append(f"  {name:<8}{covered:>9}{one['confidence']:>12.2f}{length:>8}")
    return lines
