"""One simulated CT head: drawn, calcified, scanned, with its truth."""

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
from iac_cli.simulate.field_of_view import check_skull_inside
from iac_cli.simulate.findings.artefacts import Artefacts, added_hu, moved
from iac_cli.simulate.findings.person import Afflicted, afflicted
from iac_cli.simulate.head_settings import HeadSettings, check_settings, person_of
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import (
    POINT_SPREADS,
    Field,
    Scan,
    digitised,
    hardening,
    noise_like,
    tilted_grid,
)
from iac_cli.simulate.truth import Truth, excess_image, find_truth
from iac_cli.simulate.two_lattices import blended, make_lattices

Float = NDArray[np.float64]
Progress = Callable[[str, float], None]

BASE_BELOW_MM = 8.0
"""How far below the lowest artery that counts a scan starts."""

STREAMS = {"anatomy": 0, "calcium": 1, "noise": 2, "findings": 3}
"""Each draws from the seed on its own, so that changing one leaves the others as they are."""


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
    clean = blended(painted.whole, painted.base, seen, scan)
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


def anatomy_stream(seed: int) -> np.random.Generator:
    """The random numbers that a head is made from."""
    return _stream(seed, "anatomy")


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, STREAMS[name]])
