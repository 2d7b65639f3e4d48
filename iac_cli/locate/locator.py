"""Where the arteries run in one head: the network's key points joined to centre lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.locate.arteries import Arteries
from iac_cli.locate.decode import KeypointsFound, decode
from iac_cli.locate.head import (
    CoarseHead,
    cropped,
    imaged_mm,
    locator_input,
    make_coarse_head,
    make_near_head,
)
from iac_cli.locate.keypoints import NEAR_LOWERED_MM
from iac_cli.settings import LocateSettings

RADIUS_MM = {"ICA": 2.4, "M1": 1.4, "A1": 1.1, "P1": 1.0, "V4": 1.6, "BA": 1.6}
"""Usual lumen radius of each artery; only for pictures and checks, never for a measurement."""

ORIGINS = {
    Artery.M1_R: Artery.ICA_R,
    Artery.M1_L: Artery.ICA_L,
    Artery.A1_R: Artery.ICA_R,
    Artery.A1_L: Artery.ICA_L,
    Artery.P1_R: Artery.BA,
    Artery.P1_L: Artery.BA,
}
"""At whose end an artery begins."""

PLACE_DIGITS, P_DIGITS = 2, 4
"""Digits, of mm and of probabilities, that are kept of what the network finds: the order in which
several threads add up reaches no further, so that results do not depend on their number."""

NEAR_CELLS = (48, 56, 56)
"""Cells of the finer grid (z, y, x), as in its training."""

FARTHEST_MOVE_MM = 15.0
"""How far a point may move between the two grids: somewhat farther than the first one was ever off
on heads that it did not learn (95th percentile of an artery's points: at most 11.4 mm)."""

SIPHON_SURE_FROM = 0.25
"""Fraction of the ICA from which on it must lie inside for its siphon to be measured: the
horizontal petrous part, since near the end of a scan its points are drawn into the siphon."""

FloatArray = NDArray[np.float64]


class Engine(Protocol):
    """The network: a head (1, channels, Z, Y, X) -> maps (1, K, Z, Y, X) and absent (1, K)."""

    def run(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        """Run the network."""


class Card(Protocol):
    """What locating needs of a model card."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def version(self) -> str:
        """The model's version."""

    @property
    def sha256(self) -> str:
        """SHA-256 of the model's file."""

    @property
    def grid_mm(self) -> tuple[float, float, float]:
        """Spacing of the network's grid; a cube."""

    @property
    def hu_windows(self) -> tuple[tuple[float, float], ...]:
        """HU windows of its first channels."""

    @property
    def keypoints(self) -> tuple[tuple[Artery, float], ...]:
        """Its key points in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Locator:
    """A locator network, ready to run."""

    card: Card
    engine: Engine
    near: "Locator | None" = None
    """A second one, which places finely what this one found."""

    @property
    def cards(self) -> tuple[Card, ...]:
        """Its own, and the second one's where there is one."""
        return (self.card,) if self.near is None else (self.card, self.near.card)


@dataclass(frozen=True, slots=True, eq=False)
class Located:
    """A head as the locator saw it, and what it found."""

    head: CoarseHead
    arteries: Arteries
    p_present: NDArray[np.float64]
    """(K,) probability that each key point lies inside the scan."""


def locate_arteries(
    volume: Volume, locator: Locator, settings: LocateSettings | None = None
) -> Arteries:
    """The centre lines in one head, which are covered, and how sure that is."""
    return locate(volume, locator, settings).arteries


def locate(
    volume: Volume,
    locator: Locator,
    settings: LocateSettings | None = None,
    *,
    head: CoarseHead | None = None,
) -> Located:
    """As `locate_arteries`, with the 4 mm head, which the checks judge too and may have made."""
    settings = settings or LocateSettings()
    if head is None:
        head = make_coarse_head(volume, locator.card.grid_mm[0], settings.longest_head_mm)
    head = cropped(head, settings.half_width_mm)
    found = _found(head, locator)
    if locator.near is not None:
        found = placed_finely(volume, found, locator.near, settings)
    return _joined(head, volume.grid, locator, found, settings, imaged_mm(volume))


def locate_in_head(
    head: CoarseHead,
    grid: Grid,
    locator: Locator,
    settings: LocateSettings,
    *,
    ends_mm: tuple[float, float] | None = None,
) -> Located:
    """Run the network on a 4 mm head and join what it finds.

    `ends_mm` are the offsets of the outermost slices that hold an image; None: of all slices.
    """
    head = cropped(head, settings.half_width_mm)
    ends = ends_mm or (float(grid.offsets_mm[0]), float(grid.offsets_mm[-1]))
    return _joined(head, grid, locator, _found(head, locator), settings, ends)


def _found(head: CoarseHead, locator: Locator) -> KeypointsFound:
    """Key points as the network places them, LPS mm."""
    logits, absent = locator.engine.run(locator_input(head, locator.card.hu_windows))
    found = decode(logits[0], absent[0])
    points = np.round(head.to_world(found.cells), PLACE_DIGITS)
    return KeypointsFound(points, np.round(found.p_present, P_DIGITS))


def placed_finely(
    volume: Volume, found: KeypointsFound, near: Locator, settings: LocateSettings
) -> KeypointsFound:
    """Key points in their places on a finer grid around all of them; LPS mm, as `found` has them.

    A point stays where it was found when the second network does not see it, or would move it
    farther than `FARTHEST_MOVE_MM`.
    """
    present = found.p_present >= settings.present_at_least
    if not present.any():
        return found
    middle = found.cells[present].mean(axis=0) - NEAR_LOWERED_MM * volume.grid.normal
    head = make_near_head(volume, middle, near.card.grid_mm[0], NEAR_CELLS)
    fine = _found(head, near)
    moved_mm = np.linalg.norm(fine.cells - found.cells, axis=1)
    seen = fine.p_present >= settings.present_at_least
    taken = present & seen & (moved_mm <= FARTHEST_MOVE_MM)
    return KeypointsFound(np.where(taken[:, None], fine.cells, found.cells), found.p_present)


def _joined(  # noqa: PLR0913 - what one head is joined from
    head: CoarseHead,
    grid: Grid,
    locator: Locator,
    found: KeypointsFound,
    settings: LocateSettings,
    ends_mm: tuple[float, float],
) -> Located:
    p_present = np.where(_inside(found.cells, grid), found.p_present, 0.0)
    sure = _well_inside(found.cells, grid, ends_mm, settings)
    present = KeypointsFound(found.cells, p_present, sure)
    arteries = join_keypoints(present, locator.card.keypoints, settings)
    return Located(head, arteries, p_present)


def _inside(points_mm: FloatArray, grid: Grid) -> NDArray[np.bool_]:
    """(k,) True for points within the scan, half a voxel around it included."""
    index = grid.to_index(points_mm)
    return np.asarray(((index >= -0.5) & (index <= np.array(grid.shape) - 0.5)).all(axis=1))


def _well_inside(
    points_mm: FloatArray, grid: Grid, ends_mm: tuple[float, float], settings: LocateSettings
) -> NDArray[np.bool_]:
    """(k,) True for points that lie inside even if the locator is a cell or so off.

    Near its end a scan draws points that lie beyond it inwards.
    """
    heights = points_mm @ grid.normal
    margins = [
        max(settings.edge_margin_mm, float(extent) / 2.0 + settings.edge_cell_mm)
        for extent in (grid.extents_mm[0], grid.extents_mm[-1])
    ]
    low, high = ends_mm[0] + margins[0], ends_mm[1] - margins[1]
    return np.asarray((heights >= low) & (heights <= high))


def join_keypoints(
    found: KeypointsFound, keypoints: Sequence[tuple[Artery, float]], settings: LocateSettings
) -> Arteries:
    """Centre lines through the present key points; `found.cells` are LPS mm here.

    An artery of which fewer than two points are present has no line; it is covered when all
    are, and none lies so near to the end of the scan that it may lie beyond.
    """
    lines, fractions = {}, {}
    covered, confidence = {}, {}
    siphons: dict[Artery, bool] = {}
    present = found.p_present >= settings.present_at_least
    sure = present if found.well_inside is None else present & found.well_inside
    for artery in Artery:
        own = [k for k, (name, _) in enumerate(keypoints) if name == artery]
        covered[artery] = bool(own) and bool(sure[own].all())
        confidence[artery] = float(found.p_present[own].mean()) if own else 0.0
        if artery in (Artery.ICA_R, Artery.ICA_L):
            upper = [k for k in own if keypoints[k][1] >= SIPHON_SURE_FROM]
            siphons[artery] = bool(upper) and bool(sure[upper].all())
        here = [(k, keypoints[k][1]) for k in own if present[k]]
        parent = _origin(artery, keypoints)
        if here and parent is not None and present[parent]:
            here.insert(0, (parent, 0.0))
        if len(here) < 2:
            continue
        points = found.cells[[k for k, _ in here]]
        knots = np.array([fraction for _, fraction in here])
        line, at = _smooth_line(artery, points, knots, settings.line_step_mm)
        lines[artery], fractions[artery] = line, at
    return Arteries(lines, covered, confidence, fractions=fractions, siphons=siphons)


def _origin(artery: Artery, keypoints: Sequence[tuple[Artery, float]]) -> int | None:
    """The key point of another artery at which this one begins, when it has none there itself."""
    if artery not in ORIGINS or (artery, 0.0) in keypoints:
        return None
    parent = (ORIGINS[artery], 1.0)
    return list(keypoints).index(parent) if parent in keypoints else None


def _smooth_line(
    artery: Artery, points_mm: FloatArray, knots: FloatArray, step_mm: float
) -> tuple[CentreLine, FloatArray]:
    """A Catmull-Rom line through points (k, 3), and the artery's fraction at each of its points."""
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points_mm, axis=0), axis=1))])
    chord += np.arange(len(chord)) * 1e-6  # two points on one place still have an order
    wanted = np.linspace(0.0, chord[-1], max(2, int(np.ceil(chord[-1] / step_mm)) + 1))
    course = catmull_rom(points_mm, chord, wanted)
    radius = RADIUS_MM[artery.value.partition("-")[0]]
    line = CentreLine(artery, course, np.full(len(course), radius))
    return line, np.interp(wanted, chord, knots)


def catmull_rom(points: FloatArray, knots: FloatArray, wanted: FloatArray) -> FloatArray:
    """A smooth curve (m, 3) through points (k, 3) at rising knots (k,), at places (m,)."""
    slopes = np.gradient(points, knots, axis=0) if len(points) > 2 else _chord_slopes(points, knots)
    lower = np.clip(np.searchsorted(knots, wanted, side="right") - 1, 0, len(knots) - 2)
    width = (knots[lower + 1] - knots[lower])[:, None]
    t = (wanted - knots[lower])[:, None] / width
    start, end = points[lower], points[lower + 1]
    rise, fall = slopes[lower] * width, slopes[lower + 1] * width
    return np.asarray(
        (2 * t**3 - 3 * t**2 + 1) * start
        + (t**3 - 2 * t**2 + t) * rise
        + (-2 * t**3 + 3 * t**2) * end
        + (t**3 - t**2) * fall
    )


def _chord_slopes(points: FloatArray, knots: FloatArray) -> FloatArray:
    slope = (points[1] - points[0]) / (knots[1] - knots[0])
    return np.stack([slope, slope])
