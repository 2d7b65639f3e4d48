"""What `inspect` shows: every series found, each rule's verdict, and why it was or was not used.

Holds no name, date, description or patient id: only UIDs, geometry and scanner facts.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from iac_cli.dicom.rules import Rules, Verdict
from iac_cli.dicom.series import Judged, why_not
from iac_cli.errors import Finding, IacError
from iac_cli.geometry.grid import Grid


@dataclass(frozen=True, slots=True)
class Entry:
    """One series, or one part of a series."""

    series_uid: str | None
    series_number: int | None
    part: str
    n_images: int
    modality: str | None
    image_type: str
    matrix: tuple[int, int]
    """(rows, columns)."""
    pixel_mm: tuple[float, float] | None
    step_mm: float | None
    thickness_mm: float | None
    coverage_mm: float | None
    kernel: str | None
    kernel_class: str
    kvp: float | None
    manufacturer: str | None
    scanner_model: str | None
    used: bool
    reason: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """Every series of a source and the choice between them."""

    series: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    failure: IacError | None = None
    """Why none was chosen."""
    nifti: Grid | None = None
    """The grid of a NIfTI file, which holds no series."""
    names: tuple[str, ...] = ()
    """Names of the files by number; told only to whoever asks, and in no document."""

    def to_json_dict(self) -> dict[str, Any]:
        """The inspection as plain values."""
        document: dict[str, Any] = {
            "series": [asdict(entry) for entry in self.series],
            "findings": [{"code": f.word.value, "message": f.what} for f in self.findings],
            "failure": None,
            "nifti": None,
        }
        if self.failure is not None:
            document["failure"] = {"code": self.failure.word.value, "message": self.failure.what}
        if self.nifti is not None:
            document["nifti"] = grid_facts(self.nifti)
        return document


def grid_facts(grid: Grid) -> dict[str, Any]:
    """A grid in figures for people and programs."""
    steps = np.diff(grid.offsets_mm)
    return {
        "shape": list(grid.shape),
        "pixel_mm": [round(p, 6) for p in grid.pixel_mm],
        "step_mm": [round(float(steps.min()), 4), round(float(steps.max()), 4)]
        if len(steps)
        else None,
        "tilt_deg": round(grid.tilt_deg, 2),
        "evenly_spaced": grid.evenly_spaced,
        "first_voxel_lps_mm": np.round(grid.positions_mm[0], 3).tolist(),
        "last_slice_lps_mm": np.round(grid.positions_mm[-1], 3).tolist(),
        "row_axis": np.round(grid.row_axis, 6).tolist(),
        "column_axis": np.round(grid.column_axis, 6).tolist(),
    }


def entry_of(judged: Judged, chosen: Judged | None, rules: Rules) -> Entry:
    """A judged candidate as an entry."""
    first, facts = judged.candidate.first, judged.facts
    return Entry(
        series_uid=first.series_uid,
        series_number=first.series_number,
        part=judged.candidate.part,
        n_images=len(judged.candidate.headers),
        modality=first.modality,
        image_type="\\".join(facts["image_type"]),
        matrix=(first.coding.rows, first.coding.columns),
        pixel_mm=first.place.pixel_mm,
        step_mm=facts["step_mm"],
        thickness_mm=first.place.thickness_mm,
        coverage_mm=facts["coverage_mm"],
        kernel=first.kernel,
        kernel_class=facts["kernel_class"],
        kvp=first.kvp,
        manufacturer=first.manufacturer,
        scanner_model=first.scanner_model,
        used=judged is chosen,
        reason=_reason(judged, chosen, rules),
        verdicts=judged.verdicts,
    )


def _reason(judged: Judged, chosen: Judged | None, rules: Rules) -> str:
    if judged is chosen:
        return "best of the usable series"
    if chosen is None:
        broken = judged.first_failure
        return f"{broken.word}: {broken.rule}: {broken.what}" if broken else "usable"
    return why_not(judged, chosen, rules)


def lines_of_names(inspection: Inspection) -> list[str]:
    """Which file is meant by each number, as lines of text."""
    return [f"file {i}: {name}" for i, name in enumerate(inspection.names, start=1)]


def lines_of(inspection: Inspection) -> list[str]:
    """The inspection as lines of text."""
    lines = []
    for entry in inspection.series:
        lines += _entry_lines(entry)
    if inspection.nifti is not None:
        facts = grid_facts(inspection.nifti)
        lines.append("NIfTI file: " + ", ".join(f"{k} {v}" for k, v in facts.items()))
    lines += [f"note {f.word}: {f.what}" for f in inspection.findings]
    return lines


def _entry_lines(entry: Entry) -> list[str]:
    number = f"series {entry.series_number}" if entry.series_number is not None else "series"
    part = f" ({entry.part})" if entry.part else ""
    mark = "USED    " if entry.used else "not used"
    size = f"{entry.n_images} images of {entry.matrix[0]} x {entry.matrix[1]}"
    facts = [
        f"step {_mm(entry.step_mm)}",
        f"thickness {_mm(entry.thickness_mm)}",
        f"kernel {entry.kernel or '-'} ({entry.kernel_class})",
        f"{entry.kvp:.0f} kVp" if entry.kvp else "kVp -",
        " ".join(filter(None, (entry.manufacturer, entry.scanner_model))) or "scanner -",
    ]
    lines = [
        f"{mark} {number}{part}: {size}, {', '.join(facts)}",
        f"         {entry.series_uid or 'no UID'}",
        f"         {entry.reason}",
    ]
    lines += [
        f"           {'pass' if v.passed else 'FAIL'}  {v.rule}: {v.what}" for v in entry.verdicts
    ]
    return lines


def _mm(value: float | None) -> str:
    return f"{value:.2f} mm" if value is not None else "-"
