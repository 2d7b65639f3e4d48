"""What reading a series yields: the volume in HU, where it came from, and what was noticed."""

from dataclasses import dataclass, field
from pathlib import Path

from iac_cli.errors import Finding, IacError
from iac_cli.geometry.volume import Volume


@dataclass(frozen=True, slots=True)
class Scope:
    """A part of a source: one study, in the folders that hold its files."""

    folders: tuple[Path, ...]
    """Folders whose own files are read, but none of the folders below; empty: the whole source."""
    study_uid: str | None = None
    """StudyInstanceUID, empty for images that carry none; None takes every study."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """What a user may decide about reading."""

    rules: Path | None = None
    """A rules file in place of the built-in one."""
    series: str | None = None
    """SeriesInstanceUID to use; None lets the rules choose."""
    scope: Scope | None = None
    """The part of the source that is meant; None takes all of it."""
    max_voxels: int = 1 << 29
    """A volume with more voxels is refused; 4 bytes each."""


@dataclass(frozen=True, slots=True)
class Series:
    """The facts of a series that results carry. A tag that is absent or a placeholder is None.

    No name, patient id or date is kept here; UIDs are kept and documented as such.
    """

    kind: str
    """"dicom" or "nifti"."""
    study_uid: str | None = None
    series_uid: str | None = None
    frame_of_reference_uid: str | None = None
    manufacturer: str | None = None
    scanner_model: str | None = None
    kernel: str | None = None
    kvp: float | None = None
    sex: str | None = None
    """"M", "F" or None."""
    age_years: float | None = None
    thickness_mm: float | None = None
    """SliceThickness as tagged; the measured increments are in the grid."""
    sop_instance_uids: tuple[str, ...] = ()
    """One for each slice of the volume, in its order; empty for NIfTI."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a case id may be made from. Never printed, logged or written unless asked for."""

    patient_id: str | None = field(default=None, repr=False)
    study_uid: str | None = field(default=None, repr=False)
    folder: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One series, read: `volume` has increasing indices towards superior, posterior and left."""

    volume: Volume
    series: Series
    identity: Identity
    findings: tuple[Finding, ...]
    pixel_sha256: str
    """SHA-256 of the HU, slice by slice, and of the geometry, as hexadecimal digits."""
    gaps_mm: tuple[tuple[float, float], ...] = ()
    """Offsets (from, to) along the normal between which slices are missing or damaged."""


class RefusedSeriesError(IacError):
    """A refusal once the study was known: `identity` can still name the case."""

    def __init__(self, error: IacError, identity: Identity, series: Series) -> None:
        super().__init__(error.word, error.what, way_out=error.way_out)
        self.names = error.names
        self.identity = identity
        self.series = series
        """What the series share that came nearest to being used."""
