"""What passes between a batch and its workers: a case to do, and how it ended. Plain values."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from iac_cli.dicom.reading import Scope
from iac_cli.errors import Exit
from iac_cli.settings import Settings

Cells = tuple[str, ...]
"""A row of a table as text, in the order of its columns."""


class State(StrEnum):
    """How a case ended. Three states: not measurable is neither failed nor zero."""

    MEASURED = "measured"
    NOT_MEASURABLE = "not_measurable"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """One case to be scored."""

    case_id: str
    source: Path
    scope: Scope | None
    fingerprint: str
    """Changes when the files of the source do."""
    series: str | None = None
    """SeriesInstanceUID to score; None lets the rules choose."""
    sex: str | None = None
    age_years: float | None = None
    study_uid: str | None = None
    about: Cells = ()
    """Cells of the columns that the plan adds: patient, day, and a manifest's own columns."""
    given_id: str = ""
    """The case id as a manifest writes it, which may be no plain name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What all cases of a batch share. Travels to every worker once."""

    out: Path
    """Folder that holds a folder for each case."""
    settings: Settings
    model: Path | None = None
    """Folder of other models than those that ship."""
    rules: Path | None = None
    scheme: str | None = None
    """Name of a risk scheme, or path of its file."""
    save_probability: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a case ended, and its rows of the tables."""

    case_id: str
    state: State
    row: Cells
    """A row of scores.csv without the plan's columns."""
    lesions: tuple[Cells, ...] = ()
    code: str = ""
    """Why it failed."""
    message: str = ""
    wall_s: float = 0.0
    stops: Exit | None = None
    """Set where no other case could do better: a full disk, a lost model, a lost device."""
    way_out: str = ""


@dataclass(frozen=True, slots=True)
class Started:
    """A worker took up a case."""

    case_id: str
    worker: int
