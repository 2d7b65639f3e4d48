"""Options that several commands share, and how they become settings."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from iac_cli.pipeline import CaseOptions
    from iac_cli.settings import Settings

MODEL = "Models"
INPUT = "Input"
CASE = "Case"


class BackendName(StrEnum):
    """Runtimes that --backend takes."""

    AUTO = "auto"
    ONNX = "onnx"
    TORCH = "torch"
    OPENVINO = "openvino"


class IdSource(StrEnum):
    """Sources that --id-from takes."""

    HASH = "hash"
    FOLDER = "folder"
    STUDY_UID = "study-uid"
    PATIENT_ID = "patient-id"


class Sex(StrEnum):
    """Sexes that --sex takes: the published cohorts' two."""

    F = "F"
    M = "M"


Source = Annotated[
    Path, typer.Argument(readable=False, metavar="INPUT", help="DICOM folder, zip, or NIfTI in HU.")
]
Out = Annotated[Path, typer.Option("-o", "--out", readable=False, help="Folder for the result.")]
Device = Annotated[str | None, typer.Option("-d", "--device", help="auto, cpu or cuda[:N].")]
BackendOption = Annotated[BackendName | None, typer.Option("--backend", help="Runtime.")]
RequireGpu = Annotated[bool, typer.Option("--require-gpu", help="Fail (exit 5) without a GPU.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
ModelFolder = Annotated[
    Path | None, typer.Option("--model", readable=False, help="Folder of other models.")
]
SeriesUid = Annotated[str | None, typer.Option("--series", help="SeriesInstanceUID to use.")]
RulesFile = Annotated[
    Path | None, typer.Option("--rules", readable=False, help="Series selection rules (TOML).")
]
SchemeName = Annotated[str | None, typer.Option("--scheme", help="Risk scheme: name or TOML file.")]
SexOption = Annotated[Sex | None, typer.Option("--sex", help="F or M, for risk by sex.")]
AgeOption = Annotated[float | None, typer.Option("--age", min=0, max=130, help="Years.")]
Labels = Annotated[
    str | None, typer.Option("--labels", help="Labels of a mask that count, as 1,2, or 'all'.")
]
CaseId = Annotated[str | None, typer.Option("--case-id", help="Name of the case in outputs.")]
IdFromOption = Annotated[
    IdSource | None, typer.Option("--id-from", help="What a case id is made from.")
]
SettingsFile = Annotated[
    Path | None, typer.Option("--settings", readable=False, help="Settings (TOML).")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an earlier result.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print failures alone.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Print notes and timings too.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")]


def settings_from(
    file: Path | None, *, run: dict[str, Any] | None = None, id_from: str | None = None
) -> "Settings":
    """Defaults, the settings file, the environment, then the flags that were given."""
    from iac_cli.settings import Backend, IdFrom, read_settings, with_flags

    settings = read_settings(file)
    flags = dict(run or {})
    if flags.get("backend") is not None:
        flags["backend"] = Backend(flags["backend"])
    if not flags.get("require_gpu"):
        flags.pop("require_gpu", None)
    settings = with_flags(settings, "run", **flags)
    return with_flags(settings, "case", id_from=id_from and IdFrom(id_from))


def case_options(
    *,
    series: str | None,
    rules: Path | None,
    scheme: str | None,
    sex: Sex | None,
    age: float | None,
    case_id: str | None,
    **more: Any,
) -> "CaseOptions":
    """What was said about one case."""
    from iac_cli.dicom.reading import ReadSettings
    from iac_cli.measure.scheme import load_scheme
    from iac_cli.pipeline import CaseOptions

    return CaseOptions(
        read=ReadSettings(rules=rules, series=series),
        scheme=load_scheme(scheme) if scheme else None,
        sex=sex and sex.value,
        age_years=age,
        case_id=case_id,
        **more,
    )


def labels_of(text: str | None) -> tuple[int, ...] | None:
    """The labels that were named; () for all, None when nothing was said."""
    from iac_cli.errors import IacError, Word

    if text is None or text.strip().lower() == "all":
        return None if text is None else ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise IacError(
            Word.BAD_OPTION,
            "--labels takes whole numbers from 1, with commas between them, or 'all'",
            way_out="as in --labels 1,2",
        )
    return tuple(int(part) for part in parts)
