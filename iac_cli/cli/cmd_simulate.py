"""`iac-seg simulate`: simulated DICOM heads with known calcification."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iac_cli.cli.simulate_cohort import cohort
from iac_cli.cli.simulate_implant import implant

if TYPE_CHECKING:
    from iac_cli.simulate.dicom_out import Compression
    from iac_cli.simulate.head import SimulatedHead
    from iac_cli.simulate.head_settings import HeadSettings


class KernelName(StrEnum):
    """The kernels that can be asked for."""

    SOFT = "soft"
    SHARP = "sharp"


class CompressionName(StrEnum):
    """How pixels are stored; all without loss."""

    NONE = "none"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(
        help="Simulated CT heads with exactly known calcification.",
        no_args_is_help=True,
        rich_markup_mode=None,
    )
    group.command("head")(head)
    group.command("cohort")(cohort)
    group.command("implant")(implant)
    group.callback()(_simulate)
    app.add_typer(group, name="simulate")


def _simulate() -> None:
    """Simulated CT heads with exactly known calcification. Test tools with them, not patients."""


def head(  # noqa: PLR0913 - each parameter is an option of the command line
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", readable=False, metavar="DIR", help="Folder to make: new, or empty."
        ),
    ],
    seed: Annotated[int, typer.Option(help="Another seed is another person.")] = 0,
    thickness_mm: Annotated[float, typer.Option(help="Slice thickness, mm.")] = 5.0,
    increment_mm: Annotated[
        float | None, typer.Option(help="Distance between slices, mm [default: the thickness].")
    ] = None,
    kernel: Annotated[KernelName, typer.Option(help="Reconstruction kernel.")] = KernelName.SOFT,
    tilt_deg: Annotated[
        float, typer.Option(help="Gantry tilt, degrees; positive lifts the face's edge.")
    ] = 0.0,
    burden_mm3: Annotated[
        float, typer.Option(help="True volume of arterial calcification, mm3.")
    ] = 44.0,
    size: Annotated[
        str,
        typer.Option(
            metavar="ROWSxCOLUMNS[xSLICES]",
            help="Matrix; slices are as many as the whole head needs unless given.",
        ),
    ] = "512x512",
    pixel_mm: Annotated[
        float | None, typer.Option(help="Pixel size, mm [default: a field of view of 230 mm].")
    ] = None,
    noise_hu: Annotated[
        float, typer.Option(help="Noise of a 5 mm slice with the soft kernel, HU.")
    ] = 3.5,
    anatomy: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="FOLDER|FILE",
            help="Real heads with traced arteries, in place of the procedural one.",
        ),
    ] = None,
    mimics: Annotated[
        str,
        typer.Option(
            metavar="usual|none|FILE",
            help="How often mimics, variants and artefacts are drawn; FILE: rates as TOML.",
        ),
    ] = "usual",
    compression: Annotated[
        CompressionName, typer.Option(help="How pixels are stored.")
    ] = CompressionName.NONE,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print failures alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Make DIR/study, a CT head with known calcification, and DIR/truth, what is known of it."""
    from iac_cli.simulate.dicom_out import Compression
    from iac_cli.simulate.findings.rates import read_rates
    from iac_cli.simulate.head_settings import HeadSettings, check_settings
    from iac_cli.simulate.scanner import Kernel
    from iac_cli.simulate.study_out import check_folder

    rows, columns, n_slices = parse_size(size)
    settings = HeadSettings(
        seed=seed,
        thickness_mm=thickness_mm,
        increment_mm=increment_mm,
        kernel=Kernel(kernel.value),
        tilt_deg=tilt_deg,
        burden_mm3=burden_mm3,
        rows=rows,
        columns=columns,
        n_slices=n_slices,
        pixel_mm=pixel_mm,
        noise_hu=noise_hu,
        rates=read_rates(mimics),
    )
    check_settings(settings)
    check_folder(out)
    simulated = _make(out, settings, anatomy, Compression(compression.value), quiet=quiet)
    _report(out, simulated, quiet=quiet, as_json=as_json)


def _make(
    out: Path,
    settings: "HeadSettings",
    anatomy: Path | None,
    compression: "Compression",
    *,
    quiet: bool,
) -> "SimulatedHead":
    """Simulate and write, with progress on stderr."""
    from iac_cli.cli.anatomy import read_anatomy
    from iac_cli.cli.progress import progress
    from iac_cli.simulate.anatomy.real import make_real_head
    from iac_cli.simulate.head import anatomy_stream, simulate_head
    from iac_cli.simulate.study_out import write_head

    head = None
    if anatomy is not None:
        source = read_anatomy(anatomy, settings.seed)
        head = make_real_head(source, anatomy_stream(settings.seed))
    with progress(quiet=quiet) as on_step:

        def show(stage: str, done: float) -> None:
            if on_step is not None:
                on_step(stage, round(100 * done), 100)

        simulated = simulate_head(settings, show, head)
        write_head(out, simulated, compression=compression, on_step=show)
    return simulated


def _report(out: Path, simulated: "SimulatedHead", *, quiet: bool, as_json: bool) -> None:
    """Say what was made."""
    from iac_cli.cli.speak import answer, answer_json
    from iac_cli.simulate.truth_out import truth_dict

    truth = simulated.truth
    if as_json:
        answer_json(truth_dict(simulated))
    elif not quiet:
        answer(
            f"{out}: {simulated.grid.shape[0]} slices, {len(truth.lesions)} lesions, "
            f"{truth.true_volume_mm3:.1f} mm3 true, {truth.protocol_volume_mm3:.1f} mm3 as drawn, "
            f"Agatston {truth.agatston:.1f}"
        )


def parse_size(text: str) -> tuple[int, int, int | None]:
    """ "512x512" or "512x512x160" as numbers.

    Raises: IacError: bad_setting.
    """
    from iac_cli.errors import IacError, Word

    parts = text.lower().split("x")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        raise IacError(
            Word.BAD_SETTING,
            f"the size must read like 512x512 or 512x512x32, got {text!r}",
            way_out="--size ROWSxCOLUMNS or ROWSxCOLUMNSxSLICES",
        )
    numbers = [int(part) for part in parts]
    return numbers[0], numbers[1], numbers[2] if len(numbers) == 3 else None
