"""One simulated CT head: drawn, calcified, scanned, with its truth.

The whole head is painted on a coarse lattice and the skull base around the arteries on a fine one
(0.25 mm in plane, 0.5 mm along the axis); their images are blended at the fine lattice's rim.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.anatomy.source import Anatomy
from iac_cli.simulate.calcium import Lesion, calcified
from iac_cli.simulate.field_of_view import (
    USUAL_FOV_MM,
    check_field_of_view,
    check_skull_inside,
)
from iac_cli.simulate.findings.artefacts import Artefacts, added_hu, moved
from iac_cli.simulate.findings.person import Afflicted, afflicted
from iac_cli.simulate.findings.rates import USUAL, Rates
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import (
    POINT_SPREADS,
    Field,
    Kernel,
    Scan,
    Slices,
    acquire,
    digitised,
    gantry_axes,
    hardening,
    noise_like,
    tilted_grid,
)
from iac_cli.simulate.truth import Truth, excess_image, find_truth

Float = NDArray[np.float64]
Progress = Callable[[str, float], None]

FINE_MM = (0.5, 0.25, 0.25)
"""Cells of the fine lattice along (normal, column axis, row axis)."""

COARSE_MM = (1.0, 0.7, 0.7)
FINE_MARGIN_MM = 6.0
"""Distance from the arteries to the fine lattice's blended rim."""

RIM_MM = 3.0
"""Width over which the fine image fades into the coarse one."""

HEAD_REACH_MM = (85.0, 108.0, 112.0)
"""Half sizes of the painted space along (row axis, column axis, normal), head and holder."""

BASE_BELOW_MM = 8.0
"""How far below the lowest artery that counts a scan starts."""

STREAMS = {"anatomy": 0, "calcium": 1, "noise": 2, "findings": 3}
"""Each draws from the seed on its own, so that changing one leaves the others as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSettings:
    """What `iac-seg simulate head` takes."""

    seed: int = 0
    thickness_mm: float = 5.0
    increment_mm: float | None = None
    """Distance between slices along their normal; None: the thickness."""
    kernel: Kernel = Kernel.SOFT
    tilt_deg: float = 0.0
    burden_mm3: float = 44.0
    """True volume of all arterial calcification; the default is the published median."""
    vertebrobasilar_mm3: float | None = None
    """True volume in the vertebral and basilar arteries; `burden_mm3` is then that of all others.
    None: a common share of the whole."""
    rows: int = 512
    columns: int = 512
    n_slices: int | None = None
    """None: from below the skull base to above the vertex."""
    pixel_mm: float | None = None
    """None: a field of view of 230 mm."""
    noise_hu: float = 3.5
    """Noise of a 5 mm slice with the soft kernel; 0: none."""
    rates: Rates = USUAL
    """How often variants of arteries, mimics and artefacts are drawn."""

    @property
    def step_mm(self) -> float:
        """Distance between slices along their normal."""
        return self.thickness_mm if self.increment_mm is None else self.increment_mm

    @property
    def pixel(self) -> float:
        """Edge of a pixel, mm."""
        return USUAL_FOV_MM / max(self.columns, 1) if self.pixel_mm is None else self.pixel_mm

    @property
    def fov_mm(self) -> float:
        """Shorter edge of the picture, mm."""
        return self.pixel * min(self.rows, self.columns)


def check_settings(settings: HeadSettings) -> None:
    """Refuse what no scanner can do. Raises: IacError: bad_setting."""
    bounds = (
        ("thickness", settings.thickness_mm, 0.3, 20.0, "mm"),
        ("increment", settings.step_mm, 0.2, 20.0, "mm"),
        ("tilt", settings.tilt_deg, -30.0, 30.0, "degrees"),
        ("burden", settings.burden_mm3, 0.0, 1000.0, "mm3"),
        ("vertebrobasilar burden", settings.vertebrobasilar_mm3 or 0.0, 0.0, 1000.0, "mm3"),
        ("number of rows", settings.rows, 64, 1024, "pixels"),
        ("number of columns", settings.columns, 64, 1024, "pixels"),
        ("pixel size", settings.pixel, 0.1, 4.0, "mm"),
        ("noise", settings.noise_hu, 0.0, 200.0, "HU"),
        ("seed", settings.seed, 0, 2**63 - 1, ""),
    )
    for name, value, low, high, unit in bounds:
        if not low <= value <= high:
            raise IacError(
                Word.BAD_SETTING,
                f"the {name} must lie between {low:g} and {high:g} {unit}, got {value:g}".strip(),
                way_out="see 'iac-seg simulate head --help'",
            )
    check_field_of_view(settings.fov_mm)


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedHead:
    """A scan with everything that is known about it."""

    settings: HeadSettings
    hu: NDArray[np.int16]
    """(slice, row, column)."""
    grid: Grid
    anatomy: Anatomy
    lesions: tuple[Lesion, ...]
    fine: Lattice
    """The lattice that the lesions were painted on."""
    truth: Truth
    thickness_mm: Float | None = None
    """Of each slice, where they differ; None: as set."""
    told: Mapping[str, Any] = field(default_factory=dict)
    """Findings and artefacts, as plain values."""


def make_grid(settings: HeadSettings, head: Anatomy) -> Grid:
    """The stack that covers the arteries and, unless told otherwise, the vertex.

    Raises: IacError: bad_setting, when the slices asked for do not cover the arteries.
    """
    tilt = np.radians(settings.tilt_deg)
    normal = np.array([0.0, np.sin(tilt), np.cos(tilt)])
    points = np.concatenate([line.points_mm for line in head.lines.values()])
    heights = points @ normal
    lowest = heights.min() - BASE_BELOW_MM - settings.thickness_mm / 2
    top = head.top_mm + 3.0
    step = settings.step_mm
    n = settings.n_slices or int(np.ceil((top - lowest) / step)) + 1
    if n < 3 or lowest + (n - 1) * step < heights.max() + settings.thickness_mm / 2:
        needed = int(np.ceil((heights.max() + settings.thickness_mm / 2 - lowest) / step)) + 1
        raise IacError(
            Word.BAD_SETTING,
            f"{n} slices do not cover the arteries of this head: it needs {max(needed, 3)}",
            way_out="ask for more slices, or leave their number out to cover the whole head",
        )
    return tilted_grid(
        (n, settings.rows, settings.columns),
        pixel_mm=settings.pixel,
        increment_mm=step,
        tilt_deg=settings.tilt_deg,
        lowest_mm=float(lowest / np.cos(tilt)),
    )


def simulate_head(
    settings: HeadSettings, on_step: Progress | None = None, anatomy: Anatomy | None = None
) -> SimulatedHead:
    """Calcify and scan one head: that of `anatomy`, else a procedural one drawn from the seed.

    The same settings and anatomy give the same voxels.
    Raises: IacError: bad_setting.
    """
    return simulate_patient([settings], on_step, anatomy)[0]


def simulate_patient(
    settings: Sequence[HeadSettings],
    on_step: Progress | None = None,
    anatomy: Anatomy | None = None,
) -> tuple[SimulatedHead, ...]:
    """Several reconstructions of one patient: the same head with the same calcification.

    They share seed, burden and tilt. Raises: IacError: bad_setting.
    """
    first = settings[0]
    for one in settings:
        check_settings(one)
        if person_of(one) != person_of(first):
            raise ValueError("reconstructions of one patient share seed, burden and tilt")
    tell = on_step or (lambda name, done: None)
    plain: Anatomy = anatomy or draw_head(anatomy_stream(first.seed), first.rates)
    head = afflicted(plain, first.rates, _stream(first.seed, "findings"))
    grids = [make_grid(one, head) for one in settings]
    scans = [_scan(one, head.artefacts) for one in settings]
    rooms = [head.artefacts.between.room_mm(grid.shape[0]) for grid in grids]
    coarse, fine = make_lattices(head, grids, scans, max(rooms))
    lesions = calcified_lines(head.lines, first, fine)
    base = head.painted(fine, lambda done: tell("painting the skull base", done))
    whole = head.painted(coarse, lambda done: tell("painting the head", done))
    painted = _Painted(head, lesions, (whole, coarse), (base, fine))
    made = []
    for k, one in enumerate(settings):
        tell("scanning", k / len(settings))
        made.append(_scanned(painted, one, grids[k], scans[k]))
    tell("scanning", 1.0)
    return tuple(made)


def _scan(settings: HeadSettings, artefacts: Artefacts) -> Scan:
    return Scan(
        settings.thickness_mm,
        POINT_SPREADS[settings.kernel],
        noise_hu=settings.noise_hu,
        hardening_hu=artefacts.hardening_hu,
    )


def person_of(settings: HeadSettings) -> tuple[object, ...]:
    """What must be equal in all reconstructions of one patient."""
    both = (settings.burden_mm3, settings.vertebrobasilar_mm3)
    return (settings.seed, *both, settings.tilt_deg, settings.rates)


def calcified_lines(
    lines: Mapping[Artery, CentreLine], settings: HeadSettings, fine: Lattice
) -> list[Lesion]:
    """The calcification of one person, painted on the fine lattice."""
    rng = _stream(settings.seed, "calcium")
    if settings.vertebrobasilar_mm3 is None:
        return calcified(lines, settings.burden_mm3, fine, rng)
    posterior = {a: line for a, line in lines.items() if a.value[:2] in ("V4", "BA")}
    anterior = {a: line for a, line in lines.items() if a not in posterior}
    lesions = calcified(anterior, settings.burden_mm3, fine, rng)
    if posterior:
        lesions += calcified(posterior, settings.vertebrobasilar_mm3, fine, rng)
    return lesions


@dataclass(frozen=True, slots=True, eq=False)
class _Painted:
    """A calcified head before any scanner: its fields on the coarse and the fine lattice."""

    head: Afflicted
    lesions: list[Lesion]
    whole: tuple[Field, Lattice]
    base: tuple[Field, Lattice]


def _scanned(painted: _Painted, settings: HeadSettings, grid: Grid, scan: Scan) -> SimulatedHead:
    artefacts = painted.head.artefacts
    seen = artefacts.between.seen(grid)
    clean = _blended(painted.whole, painted.base, seen, scan)
    excess = excess_image(painted.lesions, painted.base[0], seen, scan)
    check_skull_inside(clean, settings.fov_mm)
    for image in (clean, *excess):
        artefacts.between.turn(image)
    for image in (clean, excess[0]):
        moved(image, artefacts, grid.pixel_mm[0])
    clean += hardening(clean, grid, scan)
    for k in range(len(clean)):
        clean[k] += added_hu(clean[k], artefacts, grid.pixel_mm[0], k)
    clean += excess[0]
    if settings.noise_hu > 0:
        clean += noise_like(clean, grid, scan, _stream(settings.seed, "noise"))
    hu = digitised(clean)
    head = painted.head
    lengths = {artery: float(line.arc_mm[-1]) for artery, line in head.lines.items()}
    truth = find_truth(hu, painted.lesions, excess, grid, lengths)
    return SimulatedHead(
        settings,
        hu,
        grid,
        head.head,
        tuple(painted.lesions),
        painted.base[1],
        truth,
        told=head.told,
    )


def make_lattices(
    head: Anatomy, grids: Sequence[Grid], scans: Sequence[Scan], room_mm: float = 0.0
) -> tuple[Lattice, Lattice]:
    """The coarse lattice over the scanned part of the head and the fine one over its arteries.

    `room_mm`: how far slices may lie outside their stack when the head moves between them.
    """
    axes = gantry_axes(grids[0])
    reach_mm = max(scan.reach_mm for scan in scans)
    fine = fine_lattice(head.lines, grids[0], reach_mm)
    lowest = min(float(grid.offsets_mm[0]) for grid in grids)
    highest = max(float(grid.offsets_mm[-1]) for grid in grids)
    across, down, _ = HEAD_REACH_MM
    coarse = Lattice.spanning(
        (
            (lowest - reach_mm - room_mm, highest + reach_mm + room_mm),
            (-down, down + 14.0),
            (-max(across, 108.0), max(across, 108.0)),
        ),
        COARSE_MM,
        axes,
    )
    return coarse, fine


def fine_lattice(lines: Mapping[Artery, CentreLine], grid: Grid, reach_mm: float) -> Lattice:
    """The lattice over the arteries, with room for half a slice profile and the blended rim."""
    axes = gantry_axes(grid)
    local = np.concatenate([line.points_mm for line in lines.values()]) @ axes.T
    margin = FINE_MARGIN_MM + RIM_MM + np.array([reach_mm, 0.0, 0.0])
    low, high = local.min(axis=0) - margin, local.max(axis=0) + margin
    return Lattice.spanning(
        ((low[0], high[0]), (low[1], high[1]), (low[2], high[2])), FINE_MM, axes
    )


def _blended(
    whole: tuple[Field, Lattice], base: tuple[Field, Lattice], grid: Slices, scan: Scan
) -> Field:
    """The noise-free scan, HU: the coarse image with the fine one faded into it."""
    painted, lattice = whole
    image = np.full(grid.shape, -1000.0, dtype=np.float32)
    part, window = acquire(painted + np.float32(1000.0), lattice, grid, scan)
    image[window.cut] += part
    painted, lattice = base
    part, window = acquire(painted + np.float32(1000.0), lattice, grid, scan)
    part -= np.float32(1000.0)
    at = grid.positions_mm[window.slices]
    along = _fade(at @ lattice.axes[0], lattice.ticks(0), scan.reach_mm)
    for k in range(part.shape[0]):
        rows = at[k] @ lattice.axes[1] + grid.pixel_mm[0] * np.arange(grid.shape[1])
        columns = at[k] @ lattice.axes[2] + grid.pixel_mm[1] * np.arange(grid.shape[2])
        down = _fade(rows[window.rows], lattice.ticks(1), scan.spread.reach_mm)
        across = _fade(columns[window.columns], lattice.ticks(2), scan.spread.reach_mm)
        weight = (along[k] * down[:, None] * across[None, :]).astype(np.float32)
        view = image[window.slices.start + k][window.rows, window.columns]
        view += weight * (part[k] - view)
    return image


def _fade(at_mm: Float, ticks_mm: Float, reach_mm: float) -> Float:
    """1 well inside a lattice's axis, 0 where a blur of that reach would leave it."""
    inside = np.minimum(at_mm - ticks_mm[0], ticks_mm[-1] - at_mm) - reach_mm
    return np.asarray(np.clip(inside / RIM_MM, 0.0, 1.0))


def anatomy_stream(seed: int) -> np.random.Generator:
    """The random numbers that a head is made from."""
    return _stream(seed, "anatomy")


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, STREAMS[name]])
