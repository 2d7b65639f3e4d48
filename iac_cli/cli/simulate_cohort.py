"""`iac-seg simulate cohort`: simulated patients with the published burden."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from iac_cli.simulate.anatomy.source import Anatomy
    from iac_cli.simulate.cohort import CohortSettings
    from iac_cli.simulate.scanner import Kernel


def cohort(  # noqa: PLR0913 - the command's options
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", readable=False, metavar="DIR", help="New folder, or one begun."
        ),
    ],
    patients: Annotated[
        int | None, typer.Option(min=1, help="Number of patients; of the exam: the first N.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another cohort.")] = 1,
    reconstructions: Annotated[
        str, typer.Option(metavar="MM,MM,...", help="Slice thicknesses of every patient, mm.")
    ] = "5",
    kernels: Annotated[
        str, typer.Option(metavar="NAME,...", help="Kernels of every patient: soft, sharp.")
    ] = "soft",
    size: Annotated[str, typer.Option(metavar="ROWSxCOLUMNS", help="Matrix.")] = "512x512",
    anatomy: Annotated[
        Path | None,
        typer.Option(
            readable=False,
            metavar="FOLDER|FILE",
            help="Real heads with traced arteries, in place of procedural ones.",
        ),
    ] = None,
    exam: Annotated[
        bool,
        typer.Option("--exam", help="The frozen exam; real heads from the folder of --anatomy."),
    ] = False,
    mimics: Annotated[
        str,
        typer.Option(
            metavar="usual|none|FILE",
            help="How often mimics, variants and artefacts are drawn; FILE: rates as TOML.",
        ),
    ] = "usual",
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Patients at once.")] = 1,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print failures alone.")] = False,
) -> None:
    """Make DIR/P0001, ...: patients with the published burden, each at several reconstructions."""
    from iac_cli.cli.progress import progress
    from iac_cli.cli.speak import answer
    from iac_cli.simulate.cohort import CohortSettings, simulate_cohort
    from iac_cli.simulate.findings.rates import read_rates

    if exam:
        settings, make_anatomy = _exam(anatomy, patients)
    else:
        rows, columns = _matrix(size)
        settings = CohortSettings(
            patients=patients or 0,
            seed=seed,
            reconstructions_mm=_numbers(reconstructions),
            kernels=_kernels(kernels),
            rows=rows,
            columns=columns,
            rates=read_rates(mimics),
        )
        make_anatomy = _maker(anatomy)
    with progress(quiet=quiet) as on_step:

        def on_patient(done: int, total: int) -> None:
            if on_step is not None:
                on_step("patients", done, total)

        simulate_cohort(out, settings, make_anatomy, n_workers=jobs, on_patient=on_patient)
    if not quiet:
        answer(f"{out / 'cohort.csv'}: {settings.patients} patients")


def _maker(anatomy: Path | None) -> "Callable[[int], Anatomy | None]":
    """How a worker makes a patient's head; a bad anatomy is refused here, before any is made."""
    if anatomy is None:
        return no_anatomy
    from iac_cli.cli.anatomy import check_anatomy

    check_anatomy(anatomy)
    return partial(real_head, anatomy)


def _exam(
    anatomy: Path | None, patients: int | None
) -> "tuple[CohortSettings, Callable[[int], Anatomy | None]]":
    """The exam's cohort, or its first patients, and the maker of its heads."""
    from dataclasses import replace

    from iac_cli.cli.anatomy import check_anatomy
    from iac_cli.evaluate.exam import PROCEDURAL, read_exam

    frozen = read_exam()
    settings = replace(frozen.cohort, patients=min(patients or 10**9, frozen.cohort.patients))
    names = {frozen.anatomy_of(number) for number in range(1, settings.patients + 1)}
    for name in sorted(names - {PROCEDURAL}):
        check_anatomy((anatomy or Path()) / f"{name}.json", frozen.labels.get(name))
    return settings, partial(exam_head, anatomy)


def exam_head(anatomy: Path | None, seed: int) -> "Anatomy | None":
    """The head of one patient of the exam."""
    from iac_cli.evaluate.exam import PROCEDURAL, read_exam

    exam = read_exam()
    name = exam.anatomy_of_seed(seed)
    if name == PROCEDURAL:
        return None
    return real_head((anatomy or Path()) / f"{name}.json", seed, exam.labels.get(name))


def no_anatomy(_seed: int) -> None:
    """The procedural head of the seed."""


def real_head(anatomy: Path, seed: int, labels: str | None = None) -> "Anatomy":
    """A real head of the folder, changed by the seed; `labels` as in an anatomy file."""
    from iac_cli.cli.anatomy import read_anatomy
    from iac_cli.simulate.anatomy.real import make_real_head
    from iac_cli.simulate.head import anatomy_stream

    return make_real_head(read_anatomy(anatomy, seed, labels), anatomy_stream(seed))


def _matrix(text: str) -> tuple[int, int]:
    from iac_cli.cli.cmd_simulate import parse_size
    from iac_cli.errors import IacError, Word

    rows, columns, n_slices = parse_size(text)
    if n_slices is not None:
        raise IacError(
            Word.BAD_SETTING,
            "the number of slices of a cohort follows from each head",
            way_out="--size ROWSxCOLUMNS",
        )
    return rows, columns


def _numbers(text: str) -> tuple[float, ...]:
    from iac_cli.errors import IacError, Word

    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError as error:
        raise IacError(
            Word.BAD_SETTING,
            f"thicknesses must read like 1,3,5, got {text!r}",
            way_out="--reconstructions MM,MM,...",
        ) from error


def _kernels(text: str) -> "tuple[Kernel, ...]":
    from iac_cli.errors import IacError, Word
    from iac_cli.simulate.scanner import Kernel

    try:
        return tuple(dict.fromkeys(Kernel(one.strip()) for one in text.split(",")))
    except ValueError as error:
        raise IacError(
            Word.BAD_SETTING, f"unknown kernel in {text!r}", way_out="soft, sharp, or soft,sharp"
        ) from error
