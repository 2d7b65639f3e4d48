"""`iac-seg convert`: the series as this tool sees it, as a NIfTI file on a regular grid."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from iac_cli.dicom.reading import Reading
    from iac_cli.dicom.second import Opinion
    from iac_cli.geometry.volume import Volume


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("convert")(convert)


def convert(  # noqa: PLR0913 - one parameter an option
    source: Annotated[
        Path,
        typer.Argument(
            readable=False, metavar="INPUT", help="A DICOM folder or file, a zip, or NIfTI."
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", readable=False, help="The .nii.gz file to write.")
    ],
    series: Annotated[str | None, typer.Option(help="SeriesInstanceUID to use.")] = None,
    rules: Annotated[
        Path | None, typer.Option(readable=False, help="A rules file of your own.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is there.")] = False,
    second: Annotated[
        bool, typer.Option(help="Compare with dicom2nifti where it accepts the series.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write the series in HU on its native grid; a tilted or uneven one on a regular grid."""
    from iac_cli.dicom.read import read_series
    from iac_cli.dicom.reading import ReadSettings

    _check_out(out, source, overwrite=overwrite)
    reading = read_series(source, ReadSettings(rules=rules, series=series))
    volume = _regular(reading)
    opinion = _second_opinion(source, reading) if second else None
    _write(out, volume)
    _report(reading, volume, opinion, as_json=as_json)


def _check_out(out: Path, source: Path, *, overwrite: bool) -> None:
    """Refuse an output path before any work."""
    from iac_cli.cli.results import check_no_folder
    from iac_cli.errors import IacError, Word

    if not out.name.endswith((".nii.gz", ".nii")):
        raise IacError(
            Word.BAD_SETTING, f"{out.name!r} does not end in .nii.gz", way_out="name it so"
        )
    if check_no_folder(out) and not overwrite:
        raise IacError(
            Word.OUTPUT_EXISTS,
            f"{out.name!r} exists",
            way_out="pass --overwrite, or choose another name",
        )
    if source.is_dir() and source.resolve() in out.resolve().parents:
        raise IacError(
            Word.OUTPUT_INSIDE_INPUT,
            f"{out.name!r} would lie among the scan's files",
            way_out="choose a place outside the input",
        )


def _regular(reading: "Reading") -> "Volume":
    """The volume on a regular grid, rounded to whole HU where it had to be resampled."""
    import numpy as np

    from iac_cli.geometry.resample import regular_grid, resample_to
    from iac_cli.geometry.volume import Volume

    grid = regular_grid(reading.volume.grid)
    if grid is reading.volume.grid:
        return reading.volume
    return Volume(np.round(resample_to(reading.volume, grid).hu), grid)


def _second_opinion(source: Path, reading: "Reading") -> "Opinion":
    from iac_cli.dicom.second import second_opinion

    return second_opinion(source, reading)


def _write(out: Path, volume: "Volume") -> None:
    import gzip

    from iac_cli.dicom.nifti import nifti_bytes
    from iac_cli.report.files import written_whole

    content = nifti_bytes(volume.hu, volume.grid, level=1)
    with written_whole(out) as building:
        building.write_bytes(content if out.name.endswith(".gz") else gzip.decompress(content))


def _report(
    reading: "Reading", volume: "Volume", opinion: "Opinion | None", *, as_json: bool
) -> None:
    """Say what was written, on which grid, and what was noticed."""
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.dicom.inspection import grid_facts

    findings = list(reading.findings)
    if opinion is not None and opinion.finding is not None:
        findings.append(opinion.finding)
    second = opinion.why if opinion is not None else "not asked"
    resampled = volume is not reading.volume
    if as_json:
        answer_json(
            {
                "series_uid": reading.series.series_uid,
                "pixel_sha256": reading.pixel_sha256,
                "native_grid": grid_facts(reading.volume.grid),
                "written_grid": grid_facts(volume.grid),
                "resampled": resampled,
                "second_reader": second,
                "findings": [{"code": f.word.value, "message": f.what} for f in findings],
            }
        )
        return
    for finding in findings:
        tell(f"{finding.word}: {finding.what}")
    how = "resampled to a regular grid" if resampled else "on its native grid"
    shape = " x ".join(map(str, volume.grid.shape))
    answer(f"{shape} voxels, {how}\nsecond reader (dicom2nifti): {second}")
