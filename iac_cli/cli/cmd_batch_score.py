"""`iac-seg batch-score`: an archive of studies, scored; nothing lost when it is stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from iac_cli.cli import options as o

if TYPE_CHECKING:
    from iac_cli.batch.engines import Engine
    from iac_cli.batch.job import Work


class EngineName(StrEnum):
    """Where the work is done."""

    LOCAL = "local"
    RAY = "ray"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("batch-score")(batch_score)


def batch_score(  # noqa: PLR0913 - the command's options
    out: Annotated[
        Path, typer.Option("-o", "--out", readable=False, help="Folder for all results.")
    ],
    studies: Annotated[
        Path | None,
        typer.Argument(readable=False, metavar="[STUDIES_DIR]", help="Tree of studies."),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(readable=False, help="CSV: case_id,path[,sex,age,series,...]."),
    ] = None,
    jobs: Annotated[
        str, typer.Option("-j", "--jobs", metavar="N|auto", help="Cases at once.")
    ] = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an earlier run.")] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Go on, and try failed cases again.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew: forget an earlier run.")
    ] = False,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="This machine's processes, or a Ray cluster.")
    ] = EngineName.LOCAL,
    address: Annotated[
        str | None,
        typer.Option("--address", metavar="auto|HOST:PORT", help="The Ray cluster to join."),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=1, help="Longest time of a case.")
    ] = 600,
    memory_gb: Annotated[
        float, typer.Option("--memory-gb", min=0, help="Most memory of a worker; 0: no limit.")
    ] = 0,
    all_series: Annotated[
        bool, typer.Option("--all-series", help="Score every usable series of a study.")
    ] = False,
    num_parts: Annotated[
        int | None, typer.Option("--num-parts", min=1, help="Divide the batch into N parts.")
    ] = None,
    part_id: Annotated[
        int | None, typer.Option("--part-id", min=1, help="Do this part, from 1.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan (with paths) and do nothing.")
    ] = False,
    key_file: Annotated[
        Path | None,
        typer.Option("--key", readable=False, help="Also write which case is which study (CSV)."),
    ] = None,
    device: o.Device = None,
    backend: o.BackendOption = None,
    require_gpu: o.RequireGpu = False,
    threads: o.Threads = None,
    model: o.ModelFolder = None,
    rules: o.RulesFile = None,
    scheme: o.SchemeName = None,
    id_from: o.IdFromOption = None,
    settings_file: o.SettingsFile = None,
    save_probability: Annotated[
        bool, typer.Option("--save-probability", help="Also write the probability maps.")
    ] = False,
    quiet: o.Quiet = False,
    as_json: o.Json = False,
) -> None:
    """Score every study of an archive; go on where it stopped."""
    from iac_cli.batch.folder import RunFolder
    from iac_cli.batch.job import Work
    from iac_cli.batch.plan import part_of
    from iac_cli.batch.run import Manner
    from iac_cli.cli.batch import check_batch_output, do_batch, make_plan, show_plan, write_key

    flags = {"device": device, "backend": backend, "require_gpu": require_gpu, "threads": threads}
    settings = o.settings_from(settings_file, run=flags, id_from=id_from)
    folder = RunFolder(out, *_part(num_parts, part_id))
    manner = Manner(resume=resume, retry_failed=retry_failed, overwrite=overwrite)
    check_batch_output(folder, manner, studies, manifest)
    plan = make_plan(studies, manifest, settings.case, rules, all_series=all_series, quiet=quiet)
    plan = part_of(plan, folder.part, folder.n_parts) if folder.part else plan
    if key_file is not None:
        write_key(key_file, plan, out, overwrite=overwrite)
    if dry_run:
        show_plan(plan, as_json=as_json)
        return
    work = Work(
        out=out,
        settings=settings,
        model=model,
        rules=rules,
        scheme=scheme,
        save_probability=save_probability,
    )
    limits = Limits(jobs=_n_workers(jobs), timeout_s=timeout_s, memory_gb=memory_gb)
    with _runner(work, engine, address, limits) as runner:
        code = do_batch(plan, folder, runner, manner, quiet=quiet, as_json=as_json)
    raise typer.Exit(code)


def _part(num_parts: int | None, part_id: int | None) -> tuple[int, int]:
    from iac_cli.errors import IacError, Word

    if (num_parts is None) != (part_id is None):
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "--num-parts and --part-id belong together",
            way_out="pass both, or neither",
        )
    if num_parts is None or part_id is None:
        return 0, 0
    if part_id > num_parts:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            f"there is no part {part_id} of {num_parts}",
            way_out="give --part-id from 1 to --num-parts",
        )
    return part_id, num_parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much at once, and how much of it for one case."""

    jobs: int | None
    """Cases at once; None: as many as fit."""
    timeout_s: float
    memory_gb: float


@contextmanager
def _runner(
    work: "Work", engine: EngineName, address: str | None, limits: Limits
) -> "Iterator[tuple[Work, Engine]]":
    """An engine, ready to run, and the work with the cores divided among its workers."""
    from iac_cli.errors import IacError, Word

    if engine is EngineName.LOCAL:
        if address is not None:
            raise IacError(
                Word.CONFLICTING_OPTIONS,
                "--address names a Ray cluster",
                way_out="pass --engine ray too, or leave it out",
            )
        yield _local(work, limits)
        return
    if limits.memory_gb:
        raise IacError(
            Word.CONFLICTING_OPTIONS,
            "--memory-gb is a limit of local workers; Ray watches the memory of its nodes itself",
            way_out="leave it out",
        )
    from iac_cli.batch.engines.ray.cluster import joined, share_of
    from iac_cli.batch.engines.ray.engine import RayEngine

    with joined(address, work.settings.run.device) as cluster:
        share = share_of(cluster, work, limits.jobs)
        yield work, RayEngine(work=work, share=share, timeout_s=limits.timeout_s)


def _local(work: "Work", limits: Limits) -> "tuple[Work, Engine]":
    from dataclasses import replace

    from iac_cli.batch.engines.local import LocalEngine
    from iac_cli.batch.fit import fit_workers, shared_among

    n_workers = limits.jobs or fit_workers(work.settings.run)
    run = shared_among(work.settings.run, n_workers)
    work = replace(work, settings=replace(work.settings, run=run))
    engine = LocalEngine(
        work=work, n_workers=n_workers, timeout_s=limits.timeout_s, memory_gb=limits.memory_gb
    )
    return work, engine


def _n_workers(jobs: str) -> int | None:
    from iac_cli.errors import IacError, Word

    if jobs == "auto":
        return None
    if not jobs.isdigit() or not 1 <= int(jobs) <= 1024:
        raise IacError(
            Word.BAD_SETTING,
            f"-j {jobs!r} is no number of workers",
            way_out="give 1 or more, or auto",
        )
    return int(jobs)
