"""What is kept of one evaluated series: counts and volumes from which every figure follows."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA = 1
"""Layout of a case's record."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Voxels of a mask against those of its truth."""

    both: int
    only_mask: int
    only_truth: int

    @property
    def dice(self) -> float | None:
        """Overlap [0, 1]; None when both are empty."""
        total = 2 * self.both + self.only_mask + self.only_truth
        return 2 * self.both / total if total else None


@dataclass(frozen=True, slots=True)
class LesionSeen:
    """A lesion of the truth, or of the mask, and how much of it the other side has."""

    volume_mm3: float
    share: float
    """Of its voxels, those that the other side has too; [0, 1]."""
    artery: str | None = None
    confidence: float | None = None
    """As the result states it; of the mask's lesions alone."""
    mean_p: float | None = None
    """Mean calibrated probability of its voxels; of a model's lesions alone."""


@dataclass(frozen=True, slots=True)
class ArterySeen:
    """One artery: volumes and overlap, each side by its own names."""

    volume_mm3: float
    drawn_mm3: float
    overlap: Overlap


@dataclass(frozen=True, slots=True)
class Bins:
    """Candidate voxels in bins of probability, equal width: sums, which add over series."""

    n: tuple[int, ...]
    stated: tuple[float, ...]
    """Sum of the stated probability."""
    calcified: tuple[int, ...]
    squared: float
    """Sum of (probability - label) squared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One series. Numbers are None where nothing was measured."""

    case: str
    patient: str
    reconstruction: str
    thickness_mm: float | None = None
    kernel: str | None = None
    noise_hu: float | None = None
    anatomy: str | None = None
    study_day: float | None = None
    measured: bool
    reasons: tuple[str, ...] = ()
    true_volume_mm3: float | None = None
    drawn_mm3: float | None = None
    """Volume of the labels on the scan's own slices; None where the scan could not be read."""
    drawn_agatston: float | None = None
    volume_mm3: float | None = None
    low_mm3: float | None = None
    high_mm3: float | None = None
    agatston: float | None = None
    overlap: Overlap | None = None
    arteries: Mapping[str, ArterySeen] | None = None
    """None where the labels do not tell arteries apart."""
    true_lesions: tuple[LesionSeen, ...] = ()
    lesions: tuple[LesionSeen, ...] = ()
    bins: Bins | None = None
    """None for supplied masks, which have no probability."""
    schema: int = field(default=SCHEMA)

    @property
    def dice(self) -> float | None:
        """Overlap with the labels, [0, 1]; None when both are empty or nothing was measured."""
        return None if self.overlap is None else self.overlap.dice

    def to_json(self) -> str:
        """As text that `from_json` reads."""
        return json.dumps(asdict(self), allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Record":
        """Raises: ValueError, KeyError, TypeError: the text is no record."""
        values: dict[str, Any] = json.loads(text)
        if values["schema"] != SCHEMA:
            raise ValueError("a record of another version")
        values["reasons"] = tuple(values["reasons"])
        for name in ("true_lesions", "lesions"):
            values[name] = tuple(LesionSeen(**one) for one in values[name])
        if values["overlap"] is not None:
            values["overlap"] = Overlap(**values["overlap"])
        if values["arteries"] is not None:
            values["arteries"] = {
                name: ArterySeen(**{**one, "overlap": Overlap(**one["overlap"])})
                for name, one in values["arteries"].items()
            }
        if values["bins"] is not None:
            kept = values["bins"]
            lists = {name: tuple(kept[name]) for name in ("n", "stated", "calcified")}
            values["bins"] = Bins(**lists, squared=kept["squared"])
        return cls(**values)
