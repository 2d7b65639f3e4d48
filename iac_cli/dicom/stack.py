"""Slices in order: by position along the normal, never by a number in a header.

Judges a group of headers with one orientation and matrix: order, copies, gaps, extents and tilt.
A step is never averaged; each slice keeps its own position and the extent that it stands for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.dicom.header import SliceHeader
from iac_cli.errors import Finding, IacError, Severity, Word
from iac_cli.geometry.grid import Grid, slice_extents_mm

SAME_PLACE_MM = 0.02
"""Slices nearer to each other than this lie at one position."""

STEP_TOLERANCE_MM = 0.1
STEP_TOLERANCE = 0.01
"""Two steps agree within the larger of 0.1 mm and 1 %."""

PERPENDICULAR_TOLERANCE = 1e-2
"""Largest cosine between row and column direction."""

UNIT_TOLERANCE = 2e-2
"""How far the length of a direction may be from 1."""

EXPLAINED_BY_THICKNESS = 1.3
"""A step up to this many slice thicknesses leaves no room for a missing slice."""

ESTABLISHED_STEPS = 3
"""A step that occurs this often in a row is how the scan was planned, not a gap."""

THICKNESS_TOLERANCE = 0.1
"""Relative difference of step and SliceThickness that is worth a finding."""

PIXEL_RANGE_MM = (0.01, 20.0)
"""Pixel sizes outside of this are wrong tags or wrong units."""

TILT_TAG_TOLERANCE_DEG = 1.0

ASIDE_MM = 5.0
"""A slice further than this from the line between its neighbours was not measured there."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Axes:
    """How stored rows and columns become canonical ones: transpose first, then flip."""

    row_axis: FloatArray
    column_axis: FloatArray
    transpose: bool
    flip_rows: bool
    flip_columns: bool

    def canonical(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """A view of stored pixels with rows to posterior and columns to the left."""
        turned = pixels.T if self.transpose else pixels
        return turned[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]


@dataclass(frozen=True, slots=True)
class Gap:
    """A hole between two neighbouring slices of the stack."""

    before: int
    """Index of the slice below the hole."""
    from_mm: float
    to_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """Headers of one stack from below upwards, each at its own place."""

    headers: tuple[SliceHeader, ...]
    axes: Axes
    grid: Grid
    gaps: tuple[Gap, ...]


def axes_of(header: SliceHeader) -> Axes:
    """Canonical in-plane axes, orthonormal. Raises: IacError: geometry_missing."""
    orientation = header.place.orientation
    if orientation is None:
        raise _missing(header, "no ImageOrientationPatient")
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1.0) for length in lengths) > UNIT_TOLERANCE:
        raise _missing(header, "an ImageOrientationPatient that is not made of unit vectors")
    row, column = row / lengths[0], column / lengths[1]
    if abs(float(row @ column)) > PERPENDICULAR_TOLERANCE:
        raise _missing(header, "an ImageOrientationPatient that is not perpendicular")
    column = column - row * float(row @ column)
    return canonical_axes(row, column / np.linalg.norm(column))


def canonical_axes(row: FloatArray, column: FloatArray) -> Axes:
    """Swap and turn in-plane axes so that columns run to the left and rows to posterior."""
    transpose = abs(row[0]) + abs(column[1]) < abs(row[1]) + abs(column[0])
    if transpose:
        row, column = column, row
    flip_columns, flip_rows = bool(row[0] < 0), bool(column[1] < 0)
    row, column = -row if flip_columns else row, -column if flip_rows else column
    return Axes(row + 0.0, column + 0.0, bool(transpose), flip_rows, flip_columns)


def plausible_pixels(pixel_mm: tuple[float, float] | None) -> bool:
    """True for pixel sizes that a CT can have."""
    low, high = PIXEL_RANGE_MM
    return pixel_mm is not None and low <= min(pixel_mm) and max(pixel_mm) <= high


def _missing(header: SliceHeader, what: str) -> IacError:
    return IacError(
        Word.GEOMETRY_MISSING,
        f"{header.label} has {what}",
        way_out="export the series from the archive again with its geometry tags",
    )


def positions_of(headers: Sequence[SliceHeader], axes: Axes) -> FloatArray:
    """Centre of each slice's first canonical voxel, (n, 3) LPS mm.

    Raises: IacError: geometry_missing.
    """
    positions = np.empty((len(headers), 3))
    for i, header in enumerate(headers):
        if header.place.position is None:
            raise _missing(header, "no usable ImagePositionPatient")
        if not plausible_pixels(header.place.pixel_mm):
            raise _missing(header, "no usable PixelSpacing")
        positions[i] = header.place.position
    height, width, row_mm, column_mm = canonical_size(headers[0], axes)
    if axes.flip_columns:
        positions -= axes.row_axis * column_mm * (width - 1)
    if axes.flip_rows:
        positions -= axes.column_axis * row_mm * (height - 1)
    return positions


def canonical_size(header: SliceHeader, axes: Axes) -> tuple[int, int, float, float]:
    """(rows, columns, row spacing mm, column spacing mm) of a canonical slice."""
    rows, columns = header.coding.rows, header.coding.columns
    row_mm, column_mm = header.place.pixel_mm or (0.0, 0.0)
    return (
        (columns, rows, column_mm, row_mm) if axes.transpose else (rows, columns, row_mm, column_mm)
    )


def order(headers: Sequence[SliceHeader], axes: Axes) -> tuple[list[SliceHeader], FloatArray]:
    """Headers from below upwards and their positions (n, 3); equal places stay in input order."""
    positions = positions_of(headers, axes)
    normal = np.cross(axes.row_axis, axes.column_axis)
    ranked = np.argsort(positions @ normal, kind="stable")
    return [headers[i] for i in ranked], positions[ranked]


def same_place(positions: FloatArray, axes: Axes) -> list[tuple[int, ...]]:
    """Groups of indices (into sorted positions) that lie at one place along the normal."""
    normal = np.cross(axes.row_axis, axes.column_axis)
    steps = np.diff(positions @ normal)
    groups: list[list[int]] = [[0]]
    for i, step in enumerate(steps, start=1):
        if step <= SAME_PLACE_MM:
            groups[-1].append(i)
        else:
            groups.append([i])
    return [tuple(g) for g in groups]


def make_stack(
    headers: Sequence[SliceHeader], positions: FloatArray, axes: Axes, *, damaged_mm: FloatArray
) -> Stack:
    """A stack of slices at distinct places.

    `damaged_mm` are the offsets along the normal of slices that had to be left out.
    """
    normal = np.cross(axes.row_axis, axes.column_axis)
    offsets = positions @ normal
    thickness = np.array([h.place.thickness_mm or np.nan for h in headers])
    gaps = find_gaps(offsets, thickness, damaged_mm)
    extents = extents_with_gaps(offsets, thickness, [g.before for g in gaps])
    height, width, row_mm, column_mm = canonical_size(headers[0], axes)
    grid = Grid(
        shape=(len(headers), height, width),
        positions_mm=positions,
        row_axis=axes.row_axis,
        column_axis=axes.column_axis,
        pixel_mm=(row_mm, column_mm),
        extents_mm=extents,
    )
    return Stack(tuple(headers), axes, grid, tuple(gaps))


def check_aside(headers: Sequence[SliceHeader], positions: FloatArray, axes: Axes) -> None:
    """Refuse a lone slice that lies aside of both its neighbours: no scanner moves so.

    A stack that goes on elsewhere, as where a second part was reconstructed about another centre,
    is no such slice. Raises: IacError: mixed_geometry.
    """
    plane = np.stack([axes.row_axis, axes.column_axis])
    heights, shifts = positions @ np.cross(axes.row_axis, axes.column_axis), positions @ plane.T
    for i in range(1, len(headers) - 1):
        share = (heights[i] - heights[i - 1]) / max(heights[i + 1] - heights[i - 1], 1e-9)
        step = shifts[i + 1] - shifts[i - 1]
        aside_mm = float(np.linalg.norm(shifts[i] - shifts[i - 1] - share * step))
        if aside_mm > max(ASIDE_MM, float(np.linalg.norm(step))):
            raise IacError(
                Word.MIXED_GEOMETRY,
                f"{headers[i].label} lies {aside_mm:.1f} mm aside of its two neighbours",
                way_out="export the series from the archive again with its geometry tags",
            )


def extents_with_gaps(
    offsets_mm: FloatArray, thickness_mm: FloatArray, before_gap: Sequence[int]
) -> FloatArray:
    """Extent of each slice, (n,) mm: half the distance to each neighbour, capped beside a gap.

    A slice beside a gap stands for no more than its thickness; where that is unknown, for no more
    than the distance to its other neighbour.
    """
    if len(offsets_mm) < 2:
        return np.where(np.isfinite(thickness_mm), thickness_mm, 1.0)
    extents = slice_extents_mm(offsets_mm)
    steps = np.diff(offsets_mm)
    for below in before_gap:
        for i, other in ((below, below - 1), (below + 1, below + 1)):
            known = float(thickness_mm[i])
            if not np.isfinite(known):
                known = float(steps[other]) if 0 <= other < len(steps) else float(steps[below])
            extents[i] = min(extents[i], known)
    return extents


def _agree(a: float, b: float) -> bool:
    return abs(a - b) <= max(STEP_TOLERANCE_MM, STEP_TOLERANCE * max(abs(a), abs(b)))


def _runs(steps: FloatArray) -> list[tuple[int, int]]:
    """(first, past last) of each run of steps that agree."""
    runs: list[tuple[int, int]] = []
    for i, step in enumerate(steps):
        if runs and _agree(float(steps[runs[-1][0]]), float(step)):
            runs[-1] = (runs[-1][0], i + 1)
        else:
            runs.append((i, i + 1))
    return runs


def find_gaps(
    offsets_mm: FloatArray, thickness_mm: FloatArray, damaged_mm: FloatArray
) -> list[Gap]:
    """Holes in a sorted stack: left-out slices, and steps that are a multiple of their neighbours'.

    A step that the slice thickness explains, or that recurs, is uneven spacing and no hole.
    """
    steps = np.diff(offsets_mm)
    if not len(steps):
        return []
    holes = {i for i in range(len(steps)) if _holds(offsets_mm, i, damaged_mm)}
    runs = _runs(steps)
    for k, (first, past) in enumerate(runs):
        beside = [float(steps[runs[j][0]]) for j in (k - 1, k + 1) if 0 <= j < len(runs)]
        if past - first >= ESTABLISHED_STEPS or not beside:
            continue
        for i in range(first, past):
            if _is_hole(float(steps[i]), beside, _thickness_between(thickness_mm, i)):
                holes.add(i)
    return [Gap(i, float(offsets_mm[i]), float(offsets_mm[i + 1])) for i in sorted(holes)]


def _holds(offsets_mm: FloatArray, i: int, damaged_mm: FloatArray) -> bool:
    inside = (damaged_mm > offsets_mm[i] + SAME_PLACE_MM) & (
        damaged_mm < offsets_mm[i + 1] - SAME_PLACE_MM
    )
    return bool(inside.any())


def _thickness_between(thickness_mm: FloatArray, i: int) -> float:
    return float(thickness_mm[i : i + 2].mean())


def _is_hole(step: float, beside: list[float], thickness: float) -> bool:
    """True for a lone step that is too wide for its neighbours, and that thickness leaves open."""
    if np.isfinite(thickness) and step <= EXPLAINED_BY_THICKNESS * thickness:
        return False
    usual = max(beside)
    multiple = round(step / usual)
    whole = multiple >= 2 and _agree(step, multiple * usual)
    return whole or step > 1.5 * usual


def stack_shape_findings(grid: Grid) -> list[Finding]:
    """Tilt and uneven spacing of a grid."""
    findings = []
    if not grid.straight:
        findings.append(Finding(Word.GANTRY_TILT, _shear(grid)))
    if not grid.evenly_spaced:
        steps = np.diff(grid.offsets_mm)
        what = f"slice steps from {steps.min():.2f} to {steps.max():.2f} mm, each kept in place"
        findings.append(Finding(Word.VARIABLE_SPACING, what))
    return findings


def _shear(grid: Grid) -> str:
    """How the slices are shifted in their planes: as by a tilt, or unevenly."""
    offsets, shifts = grid.offsets_mm - grid.offsets_mm[0], grid.shifts_mm
    by_tilt = offsets[:, None] / offsets[-1] * shifts[-1]
    stray = float(np.abs(shifts - by_tilt).max())
    if stray <= STEP_TOLERANCE_MM:
        return f"gantry tilt {grid.tilt_deg:.1f} degrees, undone"
    widest = float(np.abs(shifts).max())
    return f"slices are shifted in their planes by up to {widest:.1f} mm, each kept in place"


def stack_findings(stack: Stack) -> list[Finding]:
    """What the positions say that a reader of the scores should know."""
    findings = stack_shape_findings(stack.grid) + _tilt_tag(stack)
    findings += _thickness(stack, np.diff(stack.grid.offsets_mm))
    numbers = [h.instance_number for h in stack.headers if h.instance_number is not None]
    ups = np.diff(numbers)
    if len(ups) and not ((ups > 0).all() or (ups < 0).all()):
        what = "instance numbers do not follow the positions; positions were used"
        findings.append(Finding(Word.INSTANCE_ORDER_DISAGREES, what, Severity.INFO))
    for gap in stack.gaps:
        below, above = stack.headers[gap.before], stack.headers[gap.before + 1]
        wide = gap.to_mm - gap.from_mm
        what = f"slices are missing in the {wide:.2f} mm between {below.label} and {above.label}"
        findings.append(Finding(Word.GAPS_FOUND, what))
    return findings


def _tilt_tag(stack: Stack) -> list[Finding]:
    tags = {h.place.tilt_tag_deg for h in stack.headers if h.place.tilt_tag_deg is not None}
    if len(stack.headers) < 2 or len(tags) != 1:
        return []
    tagged, measured = abs(next(iter(tags))), abs(stack.grid.tilt_deg)
    if abs(tagged - measured) <= TILT_TAG_TOLERANCE_DEG:
        return []
    what = f"tilt by positions is {measured:.1f} degrees, tagged {tagged:.1f}; positions were used"
    return [Finding(Word.TILT_TAG_DISAGREES, what)]


def _thickness(stack: Stack, steps: FloatArray) -> list[Finding]:
    """SliceThickness against the step to the nearer neighbour: overlap is usual, gaps are not."""
    known = [(i, h.place.thickness_mm) for i, h in enumerate(stack.headers) if h.place.thickness_mm]
    if not known or not len(steps):
        return []
    nearer = np.minimum(np.concatenate([steps[:1], steps]), np.concatenate([steps, steps[-1:]]))
    off = [(float(nearer[i]), t) for i, t in known if abs(nearer[i] - t) > THICKNESS_TOLERANCE * t]
    if 2 * len(off) < len(known):
        return []
    low, high = min(step for step, _ in off), max(step for step, _ in off)
    apart = f"{low:.2f}" if high - low < 0.005 else f"{low:.2f} to {high:.2f}"
    tagged = sorted({f"{thickness:.2f}" for _, thickness in off})
    what = (
        f"SliceThickness {' and '.join(tagged)} mm, but the slices lie {apart} mm apart in "
        f"{len(off)} of {len(known)} slices; extents follow the positions"
    )
    return [Finding(Word.THICKNESS_DISAGREES, what)]
