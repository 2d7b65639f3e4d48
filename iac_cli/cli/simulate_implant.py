"""`iac-seg simulate implant`: known calcification in a user's own CT head."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iac_cli.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iac_cli.dicom.reading import Reading
    from iac_cli.geometry.lines import Artery, CentreLine


def implant(  # noqa: PLR0913 - the command's options
    source: o.Source,
    out: Annotated[
        Path, typer.Option("-o", "--out", readable=False, metavar="DIR", help="Folder to make.")
    ],
    burden_mm3: Annotated[float, typer.Option(help="True volume to set in, mm3.")] = 44.0,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is other lesions.")] = 0,
    sharp: Annotated[
        bool, typer.Option("--sharp", help="The scan has a sharp kernel, not a soft one.")
    ] = False,
    thickness_mm: Annotated[
        float | None,
        typer.Option(help="Slice thickness, mm [default: from the distances between slices]."),
    ] = None,
    lines: Annotated[
        Path | None,
        typer.Option(
            readable=False, metavar="FILE", help="Traced arteries (JSON); else they are located."
        ),
    ] = None,
    series: o.SeriesUid = None,
    quiet: o.Quiet = False,
) -> None:
    """Make DIR/study, the scan with calcification set in, and DIR/truth, what was set in."""
    from iac_cli.cli.progress import progress
    from iac_cli.cli.speak import answer, tell
    from iac_cli.dicom.read import read_series
    from iac_cli.dicom.reading import ReadSettings
    from iac_cli.report.files import check_apart
    from iac_cli.simulate.implant import ImplantSettings
    from iac_cli.simulate.implant import implant as set_in
    from iac_cli.simulate.scanner import Kernel
    from iac_cli.simulate.study_out import check_folder, write_head

    check_apart(out, source)
    check_folder(out)
    settings = ImplantSettings(
        seed=seed,
        burden_mm3=burden_mm3,
        kernel=Kernel.SHARP if sharp else Kernel.SOFT,
        thickness_mm=thickness_mm,
    )
    with progress(quiet=quiet) as on_step:
        reading = read_series(source, ReadSettings(series=series), on_step=on_step)
        known = _lines(reading, lines)
        made = set_in(reading.volume, known, reading.pixel_sha256, settings)
        write_head(out, made)
    if not quiet:
        truth = made.truth
        answer(
            f"{out}: {len(truth.lesions)} lesions, {truth.true_volume_mm3:.1f} mm3 true, "
            f"{truth.protocol_volume_mm3:.1f} mm3 as drawn"
        )
        tell("note: calcification that the scan had before is in no truth")


def _lines(reading: "Reading", lines: Path | None) -> "Mapping[Artery, CentreLine]":
    """Traced arteries, or located ones that lie wholly inside the scan.

    Raises: IacError: file_unreadable, not_a_head, head_not_covered.
    """
    from iac_cli.cli.anatomy import read_traced
    from iac_cli.errors import IacError, Word
    from iac_cli.infer.card import shipped_models
    from iac_cli.infer.models import load_locator
    from iac_cli.pipeline import locate_case
    from iac_cli.settings import Settings

    if lines is not None:
        return read_traced(lines)
    located = locate_case(reading, load_locator(shipped_models()), Settings())
    for finding in located.findings:
        if finding.word in (Word.NOT_A_HEAD, Word.HEAD_NOT_COVERED, Word.ARTERIES_NOT_LOCATED):
            raise IacError(
                finding.word,
                finding.what,
                way_out="give a CT head that covers the skull base, or traced arteries (--lines)",
            )
    arteries = located.arteries
    if arteries is None:
        return {}
    return {artery: line for artery, line in arteries.lines.items() if arteries.covered[artery]}
