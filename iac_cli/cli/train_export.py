"""`iac-seg train export`: a model file with card, checksum and parity report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from iac_cli.cli import train_options as options

if TYPE_CHECKING:
    from iac_cli.train.parity import Parity


def register(app: typer.Typer) -> None:
    """Add the command to the `train` group."""
    app.command("export")(export)


def export(
    run: Annotated[Path, typer.Argument(readable=False, metavar="RUN", help="A finished run.")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", readable=False, metavar="FOLDER", help="Model folder, for --model."
        ),
    ],
    facts: Annotated[
        Path | None,
        typer.Option(readable=False, help="JSON with more of the card: version, licence, limits."),
    ] = None,
    uncalibrated: Annotated[
        bool, typer.Option(help="Export without a calibration; the card says so.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print failures alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write FOLDER/segmenter.onnx with its card, once ONNX Runtime agrees with PyTorch."""
    from dataclasses import asdict

    options.need_torch()
    from iac_cli.cli.speak import answer, answer_json, tell
    from iac_cli.train.export import export_run, facts_of

    card = facts_of(run, _read_facts(facts), uncalibrated=uncalibrated)
    parity = export_run(run, out, card)
    if not quiet:
        for limit in card.get("limits", []):
            tell(f"the card says: {limit}")
    if as_json:
        answer_json(asdict(parity))
    elif not quiet:
        answer(_told(parity))


def _told(parity: "Parity") -> str:
    return (
        f"exported; on {parity.n_windows} windows ({parity.windows}) ONNX Runtime and PyTorch "
        f"differ by at most {parity.largest_difference:.1e}, masks in {parity.voxels_that_differ} "
        f"of {parity.voxels_in_either_mask} voxels"
    )


def _read_facts(path: Path | None) -> dict[str, Any]:
    """Raises: IacError: input_not_found, bad_setting."""
    import json

    from iac_cli.errors import IacError, Word

    if path is None:
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND, "the file of facts cannot be read", way_out="check its path"
        ) from error
    except ValueError as error:
        raise IacError(
            Word.BAD_SETTING, "the file of facts is no JSON", way_out="see docs/training.md"
        ) from error
    if not isinstance(values, dict):
        raise IacError(
            Word.BAD_SETTING, "the file of facts is no JSON object", way_out="see docs/training.md"
        )
    return values
