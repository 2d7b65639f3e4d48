"""A small made head-like scan with lesions, arteries and scores, for the report's tests."""

import numpy as np

from iac_cli.dicom.reading import Identity, Reading, Series
from iac_cli.errors import Finding, Severity, Word
from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.locate.arteries import Arteries
from iac_cli.measure.lesions import Found, find_lesions
from iac_cli.measure.risk import load_scheme, risk_of
from iac_cli.measure.scores import Scores, score
from iac_cli.report.case import CaseImages
from iac_cli.report.result import Case, Made, MaskInfo, ModelInfo, Provider, Result

SHAPE = (12, 60, 64)
PIXEL_MM = (0.9, 0.8)


def stack(*, tilt: bool = False, uneven: bool = False) -> Grid:
    """A stack of 12 slices; tilted by 18.5 degrees, or with a step that changes, when asked."""
    steps = np.array([2.5] * 5 + ([1.1] if uneven else [2.5]) + [5.0 if uneven else 2.5] * 5)
    offsets = np.concatenate([[0.0], np.cumsum(steps)])
    angle = np.radians(18.5 if tilt else 0.0)
    column = np.array([0.0, np.cos(angle), np.sin(angle)])
    row = np.array([1.0, 0.0, 0.0])
    normal = np.cross(row, column)
    along = np.array([0.0, 0.0, 1.0])  # the table moves along z, whatever the gantry does
    positions = np.array([-25.0, -27.0, -11.0]) + offsets[:, None] * along / (along @ normal)
    return Grid(
        shape=SHAPE,
        positions_mm=positions,
        row_axis=row,
        column_axis=column,
        pixel_mm=PIXEL_MM,
        extents_mm=slice_extents_mm(offsets),
    )


def volume_on(grid: Grid) -> Volume:
    """Brain with a few bright blocks of the sizes of lesions."""
    hu = np.full(SHAPE, 40.0, dtype=np.float32)
    hu[3, 20:23, 20:23] = 180
    hu[3, 21, 21] = 350
    hu[4:6, 20:22, 40:43] = 420
    hu[8, 30, 30:32] = 150
    hu[10, 50, 10] = 500  # one voxel alone
    return Volume(hu, grid)


def arteries_on(grid: Grid, absent: tuple[Artery, ...] = ()) -> Arteries:
    """Two straight ICAs and a basilar artery through the blocks; the rest lies far away."""
    courses = {
        Artery.ICA_R: [(0, 21, 21), (5, 21, 21)],
        Artery.ICA_L: [(0, 21, 41), (7, 21, 41)],
        Artery.BA: [(6, 30, 31), (11, 30, 31)],
    }
    lines = {
        artery: CentreLine(artery, grid.to_world(np.array(ends, float)), np.array([2.0, 2.0]))
        for artery, ends in courses.items()
    }
    covered = {artery: artery not in absent for artery in Artery}
    return Arteries(lines, covered, {artery: 1.0 for artery in Artery})


def reading_of(volume: Volume, **tags: object) -> Reading:
    n = volume.grid.shape[0]
    facts: dict = {
        "kind": "dicom",
        "study_uid": "1.2.3",
        "series_uid": "1.2.3.4",
        "manufacturer": "Maker",
        "kernel": "H31s",
        "kvp": 120.0,
        "sex": "F",
        "age_years": 71.0,
        "thickness_mm": 2.5,
        "sop_instance_uids": tuple(f"1.2.3.4.{k}" for k in range(n)),
    }
    findings = (
        Finding(Word.SHARP_KERNEL, "kernel H60"),
        Finding(Word.PADDING_MASKED, "padding set to air", Severity.INFO),
        Finding(Word.SHARP_KERNEL, "kernel H60"),
    )
    identity = Identity(patient_id="SECRET^NAME", folder="SECRET_FOLDER")
    return Reading(volume, Series(**(facts | tags)), identity, findings, "ab" * 32)


def scored(
    grid: Grid, absent: tuple[Artery, ...] = (), *, likely: bool = True
) -> tuple[Volume, Arteries, Found, Scores]:
    volume = volume_on(grid)
    arteries = arteries_on(grid, absent)
    mask = Mask(volume.hu > 100, grid)
    found = find_lesions(volume, mask, places=arteries.places)
    return (
        volume,
        arteries,
        found,
        score(found, volume, arteries, 120.0, likely=mask if likely else None),
    )


def made(**changes: object) -> Made:
    facts: dict = {
        "model": ModelInfo("segmenter", "1.0", "cd" * 32),
        "locator": ModelInfo("locator", "1.0", "ef" * 32),
        "provider": Provider("onnx", "CPUExecutionProvider", "cpu"),
        "versions": {"iac-cli": "0.1.0", "numpy": "2.0"},
        "settings": {"threshold": 0.4},
        "timings": {"read": 0.123456, "infer": 1.5},
    }
    return Made(**(facts | changes))


def case_of(
    grid: Grid, absent: tuple[Artery, ...] = (), scheme: str = "presence", case_id: str = "case-1"
) -> tuple[Result, CaseImages]:
    volume, arteries, found, scores = scored(grid, absent)
    risk = risk_of(scores, load_scheme(scheme), "F", 71)
    case = Case(case_id, reading_of(volume), made=made())
    images = CaseImages(volume, found, tuple(arteries.lines.values()))
    return Result.of(case, scores, risk), images


def supplied_mask_case(grid: Grid) -> Result:
    """A case of a supplied mask without known arteries."""
    volume = volume_on(grid)
    found = find_lesions(volume, Mask(volume.hu > 30, grid))
    scores = score(found, volume, None, None)
    nothing = made(model=None, locator=None, provider=None, mask=MaskInfo.of(found.left_out))
    return Result.of(Case("case-2", reading_of(volume), made=nothing), scores, None)
