"""How a case's result is told on the command line: a table, or one JSON document."""

from pathlib import Path
from typing import TYPE_CHECKING

from iac_cli.cli.speak import answer, answer_json, tell
from iac_cli.errors import Exit

if TYPE_CHECKING:
    from iac_cli.pipeline import CaseOutput
    from iac_cli.report.result import Result

NUMBERS = (
    ("volume", "volume_mm3", "mm3"),
    ("  of it ICA", "ica_volume_mm3", "mm3"),
    ("  of it siphon", "siphon_volume_mm3", "mm3"),
    ("Agatston", "agatston", ""),
    ("lesions", "n_lesions", ""),
)
"""Label, name in the result, unit."""


def finish(
    output: "CaseOutput", out: Path, *, overwrite: bool, as_json: bool, quiet: bool, verbose: bool
) -> int:
    """Write a case's folder, tell its result and answer the exit code."""
    from iac_cli.report.case import write_case
    from iac_cli.report.result import Status

    result = output.result
    write_case(out, result, output.images, overwrite=overwrite)
    if as_json:
        answer_json(result.to_json_dict())
    elif not quiet:
        answer("\n".join(table(result)))
    if quiet:
        for reason in result.reasons:
            tell(f"{reason.code}: {reason.message}")
    else:
        for line in remarks(result, verbose=verbose):
            tell(line)
        tell(f"written to {out}")
    return Exit.OK if result.status is Status.MEASURED else Exit.NOT_MEASURABLE


KEPT_TABLES = ("scores.csv", "lesions.csv", "failures.csv")
KEPT_KINDS = (".json", ".jsonl", ".sqlite", ".parquet", ".gz", ".png")
"""What lies in a folder of results under such a name is never written over, whatever is told."""


def check_file(out: Path, source: Path, *, overwrite: bool) -> None:
    """Refuse a file to be written before any work: a folder, the input, or one that is there."""
    from iac_cli.errors import IacError, Word

    exists = check_no_folder(out)
    if exists and source.exists() and _is_input(out, source):
        raise IacError(
            Word.OUTPUT_INSIDE_INPUT,
            f"{out.name!r} is the input, or a part of it",
            way_out="name another file; results are never written over",
        )
    if exists and not overwrite:
        raise IacError(
            Word.OUTPUT_EXISTS,
            f"{out.name!r} exists",
            way_out="pass --overwrite, or choose another name",
        )


def check_no_folder(out: Path) -> bool:
    """Refuse a folder where a file is to be written; whether something is there.

    Raises: IacError: output_not_writable.
    """
    from iac_cli.errors import IacError, Word
    from iac_cli.report.files import told_as_output

    with told_as_output(out):
        if out.is_dir():
            raise IacError(
                Word.OUTPUT_NOT_WRITABLE, f"{out.name!r} is a folder", way_out="name a file in it"
            )
        return out.exists()


def _is_input(out: Path, source: Path) -> bool:
    """Whether a file is what is read, or a result in the folder that is read."""
    if not source.is_dir():
        return out.samefile(source)
    kept = out.name in KEPT_TABLES or out.suffix in KEPT_KINDS
    return kept and source.resolve() in out.resolve().parents


def table(result: "Result") -> list[str]:
    """The result's lines: totals, then every artery of which something is known."""
    lines = [f"case {result.case_id}: {result.status.value.replace('_', ' ')}"]
    lines += [f"  {reason.code}: {reason.message}" for reason in result.reasons]
    if result.scores is None or result.reasons:
        return lines
    for label, name, unit in NUMBERS:
        lines.append(f"  {label:<16}{_number(getattr(result.scores, name)):>10} {unit}".rstrip())
    if result.risk is not None and result.risk.group is not None:
        lines.append(f"  {'risk group':<16}{result.risk.group:>10} ({result.risk.scheme})")
    lines.append(f"  {'artery':<16}{'mm3':>10}{'Agatston':>12}{'lesions':>10}")
    for one in result.scores.arteries:
        if one.covered:
            numbers = f"{_number(one.volume_mm3):>10}{_number(one.agatston):>12}"
            lines.append(f"  {one.artery.value:<16}{numbers}{_number(one.n_lesions):>10}")
        elif one.covered is not None:
            lines.append(f"  {one.artery.value:<16}{'outside the scan':>10}")
    return lines


def remarks(result: "Result", *, verbose: bool) -> list[str]:
    """Where it ran and the warnings; with notes and timings when asked for."""
    lines = [f"warning: {warning.code}: {warning.message}" for warning in result.warnings]
    provider = result.made.provider
    if provider is not None:
        lines.insert(0, f"ran on {provider.name} ({provider.device}, {provider.backend})")
    if verbose:
        lines += [f"note: {note.code}: {note.message}" for note in result.notes]
        times = ", ".join(
            f"{stage} {wall_s:.2f} s" for stage, wall_s in result.made.timings.items()
        )
        lines.append(f"timings: {times}")
    return lines


def _number(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"
