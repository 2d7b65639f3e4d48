"""Calcification in the walls of arteries: plates, dots and rings, each a known volume.

A lesion lives in its artery's own coordinates: distance along the centre line, angle around it and
distance from the lumen's edge. Its thickness is largest in the middle and falls to nothing at a
ragged rim, as a lens laid on the wall.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.lattice import Lattice

Float = NDArray[np.float64]
Field = NDArray[np.float32]

SUB = (4, 2, 2)
"""Points per cell of the fine lattice along (normal, column axis, row axis)."""

THICKEST_MM = 2.2
WALL_MM = THICKEST_MM / 2
"""No lesion reaches further from the lumen's edge than this."""

PAST_END_MM = 0.25
"""A point this far ahead of its nearest point lies past the line's end."""

HU_RANGE = (130.0, 1500.0)

PLACES: tuple[tuple[str, float, float, float], ...] = (
    ("ICA", 0.22, 0.45, 0.05),
    ("ICA", 0.48, 0.80, 0.47),
    ("ICA", 0.80, 0.97, 0.30),
    ("V4", 0.04, 0.80, 0.11),
    ("BA", 0.10, 0.95, 0.04),
    ("M1", 0.05, 0.80, 0.03),
)
"""Where lesions sit: artery, from and to fraction of its course, share of lesions. Most in the
siphon, few behind the horizontal canal, fewer in the vertebrobasilar arteries."""


@dataclass(frozen=True, slots=True)
class LesionShape:
    """One calcification. Lengths in mm, angles in radians, HU before any blur."""

    artery: Artery
    at_mm: float
    """Distance of its middle along the centre line."""
    angle: float
    length_mm: float
    arc: float
    """How far it reaches around the lumen; 2 pi is a ring."""
    thickness_mm: float
    hu: float
    rag: tuple[float, float, float]
    """Amplitude and phases that make its rim ragged."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesion:
    """A shape painted on a fine lattice: `share` is each cell's part that is calcified."""

    shape: LesionShape
    lattice: Lattice
    share: Field
    block: tuple[slice, slice, slice]
    """Where `lattice` lies within the lattice that it was cut from."""

    @property
    def volume_mm3(self) -> float:
        """True volume."""
        return float(self.share.sum(dtype=np.float64) * self.lattice.cell_mm3)


def sides_of(name: str, lines: Mapping[Artery, CentreLine]) -> list[str]:
    """Sides of which an artery is known; [""] for the one basilar artery."""
    sides = ("",) if name == Artery.BA.value else ("L", "R")
    return [side for side in sides if Artery(f"{name}-{side}".rstrip("-")) in lines]


def draw_shape(
    lines: Mapping[Artery, CentreLine], rng: np.random.Generator, density_hu: float
) -> LesionShape:
    """One lesion in one of the arteries; `density_hu` is the person's typical density."""
    places = [row for row in PLACES if sides_of(row[0], lines)]
    shares = np.array([row[3] for row in places])
    name, low, high, _ = places[int(rng.choice(len(places), p=shares / shares.sum()))]
    sides = sides_of(name, lines)
    artery = Artery(name) if sides == [""] else Artery(f"{name}-{rng.choice(sides)}")
    line = lines[artery]
    middle = int(len(line.radius_mm) / 2)
    radius = float(line.radius_mm[middle])
    kind = rng.choice(3, p=(0.40, 0.50, 0.10))
    arc = (rng.uniform(0.4, 1.1), rng.uniform(0.9, 3.4), 2 * np.pi)[kind]
    length = (rng.uniform(0.8, 2.0), rng.uniform(2.0, 10.0), rng.uniform(1.0, 5.0))[kind]
    thickness = (rng.uniform(0.7, 1.6), rng.uniform(0.6, 1.9), rng.uniform(0.4, 1.2))[kind]
    return LesionShape(
        artery=artery,
        at_mm=float(rng.uniform(low, high) * line.arc_mm[-1]),
        angle=float(rng.uniform(-np.pi, np.pi)),
        length_mm=float(length),
        arc=float(arc),
        thickness_mm=float(min(thickness, THICKEST_MM, 0.9 * radius * 2)),
        hu=float(np.clip(rng.normal(density_hu, 250.0), *HU_RANGE)),
        rag=(
            float(rng.uniform(0.0, 0.25)),
            float(rng.uniform(0, 2 * np.pi)),
            float(rng.uniform(0, 2 * np.pi)),
        ),
    )


def _expected_mm3(shape: LesionShape, radius_mm: float) -> float:
    """Volume of a shape on a straight vessel."""
    width = shape.arc * radius_mm
    if shape.arc >= 2 * np.pi:
        return float(np.pi / 4 * shape.thickness_mm * shape.length_mm * width)
    return float(2 / 3 * np.pi / 4 * shape.thickness_mm * shape.length_mm * width)


def draw_shapes(
    lines: Mapping[Artery, CentreLine], burden_mm3: float, rng: np.random.Generator
) -> list[LesionShape]:
    """Lesions whose volumes add up to about a burden; none for a burden of 0.

    A person's lesions resemble each other in density, and a heavy burden comes in larger lesions.
    """
    density_hu = float(rng.uniform(450.0, 1150.0))
    shapes: list[LesionShape] = []
    total = 0.0
    growth = float(np.clip((burden_mm3 / 60.0) ** 0.33, 0.7, 2.2))
    while total < burden_mm3 * 0.98 and len(shapes) < 400:
        shape = draw_shape(lines, rng, density_hu)
        shape = replace(shape, length_mm=shape.length_mm * growth)
        radius = float(np.median(lines[shape.artery].radius_mm))
        volume = _expected_mm3(shape, radius)
        left = burden_mm3 - total
        if volume > left:
            shape = replace(shape, length_mm=max(0.5, shape.length_mm * left / volume))
            volume = _expected_mm3(shape, radius)
        shapes.append(shape)
        total += volume
    return shapes


class Vessel:
    """An artery's own coordinates at any points near it."""

    def __init__(self, line: CentreLine) -> None:
        self.line = line.resampled(0.1)
        self._arc = self.line.arc_mm
        self._tree = cKDTree(self.line.points_mm)
        tangents = np.gradient(self.line.points_mm, axis=0)
        self._tangents = tangents / np.linalg.norm(tangents, axis=1, keepdims=True)
        self._normals = _turning_normals(self._tangents)

    def coordinates(self, points_mm: Float) -> tuple[Float, Float, Float]:
        """Along (mm), around (radians) and distance from the lumen's edge (mm) of points (k, 3).

        Past either end of the line there is no wall: the distance is infinite.
        """
        gap, index = self._tree.query(points_mm)
        away = points_mm - self.line.points_mm[index]
        normal = self._normals[index]
        second = np.cross(self._tangents[index], normal)
        ahead = (away * self._tangents[index]).sum(axis=1)
        angle = np.arctan2((away * second).sum(axis=1), (away * normal).sum(axis=1))
        edge = np.where(np.abs(ahead) < PAST_END_MM, gap - self.line.radius_mm[index], np.inf)
        return self._arc[index] + ahead, angle, edge

    def near_wall(self, points_mm: Float, reach_mm: float) -> NDArray[np.bool_]:
        """Which points (k, 3) lie within a distance of the lumen's edge."""
        limit = float(self.line.radius_mm.max()) + reach_mm
        answer = self._tree.query(points_mm, distance_upper_bound=limit)
        gap, index = np.asarray(answer[0]), np.asarray(answer[1])
        found = np.isfinite(gap)
        near = np.zeros(len(points_mm), dtype=bool)
        near[found] = np.abs(gap[found] - self.line.radius_mm[index[found]]) <= reach_mm
        return near

    def around(self, shape: LesionShape) -> Float:
        """Points of the centre line within a lesion's length, (k, 3) LPS mm."""
        near = np.abs(self._arc - shape.at_mm) <= shape.length_mm / 2 + 0.5
        return np.asarray(self.line.points_mm[near])

    def reach_mm(self) -> float:
        """Distance from the centre line beyond which there is no wall."""
        return float(self.line.radius_mm.max()) + WALL_MM + 0.3


def _turning_normals(tangents: Float) -> Float:
    """Normals that turn with the line and never twist around it."""
    normals = np.empty_like(tangents)
    start = np.cross(tangents[0], [1.0, 0.0, 0.0])
    normals[0] = start / np.linalg.norm(start)
    for k in range(1, len(tangents)):
        carried = normals[k - 1] - (normals[k - 1] @ tangents[k]) * tangents[k]
        normals[k] = carried / np.linalg.norm(carried)
    return normals


def inside(shape: LesionShape, coordinates: tuple[Float, Float, Float]) -> NDArray[np.bool_]:
    """Whether points in an artery's coordinates are calcified, (k,)."""
    along, angle, edge = coordinates
    turn = np.abs((angle - shape.angle + np.pi) % (2 * np.pi) - np.pi)
    rag = 1.0 + shape.rag[0] * np.sin(3.0 * angle + shape.rag[1]) * np.cos(
        2.0 * (along - shape.at_mm) + shape.rag[2]
    )
    far = ((along - shape.at_mm) / (shape.length_mm / 2)) ** 2
    if shape.arc < 2 * np.pi:
        far = far + (turn / (shape.arc / 2)) ** 2
    thick = shape.thickness_mm * rag / (1 + shape.rag[0]) * np.sqrt(np.clip(1.0 - far, 0.0, None))
    return np.asarray((np.abs(edge) <= thick / 2) & (far < 1.0))


def paint_lesions(
    shapes: list[LesionShape], lines: Mapping[Artery, CentreLine], lattice: Lattice
) -> list[Lesion]:
    """Every shape on the fine lattice. Where two overlap the earlier one stays."""
    taken = np.zeros(lattice.shape, dtype=np.float32)
    vessels = {artery: Vessel(lines[artery]) for artery in {shape.artery for shape in shapes}}
    lesions = []
    for shape in shapes:
        lesion = _paint(shape, vessels[shape.artery], lattice)
        if lesion is None:
            continue
        own = np.clip(lesion.share - taken[lesion.block], 0.0, 1.0)
        lesion = replace(lesion, share=own.astype(np.float32))
        taken[lesion.block] += lesion.share
        if lesion.share.any():
            lesions.append(lesion)
    return lesions


def _paint(shape: LesionShape, vessel: Vessel, lattice: Lattice) -> Lesion | None:
    points = vessel.around(shape)
    block = lattice.block_around(points, vessel.reach_mm()) if len(points) else None
    if block is None:
        return None
    part = lattice.part(block)
    whole = (slice(None), slice(None), slice(None))
    cells = part.points_mm(whole).reshape(-1, 3)
    half_cell = float(np.linalg.norm(lattice.spacing_mm)) / 2
    near = np.flatnonzero(vessel.near_wall(cells, shape.thickness_mm / 2 + half_cell))
    parts = part.part((slice(0, 1),) * 3).subdivided(SUB).points_mm(whole).reshape(-1, 3)
    places = cells[near][:, None, :] + (parts - parts.mean(axis=0))[None]
    hit = inside(shape, vessel.coordinates(places.reshape(-1, 3)))
    share = np.zeros(len(cells), dtype=np.float32)
    share[near] = hit.reshape(len(near), -1).mean(axis=1)
    return Lesion(shape, part, share.reshape(part.shape), block)


def calcified(
    lines: Mapping[Artery, CentreLine],
    burden_mm3: float,
    lattice: Lattice,
    rng: np.random.Generator,
) -> list[Lesion]:
    """Lesions of a person whose true volumes add up to a burden within a few percent."""
    shapes = draw_shapes(lines, burden_mm3, rng)
    lesions = paint_lesions(shapes, lines, lattice)
    for _ in range(3):
        total = sum(lesion.volume_mm3 for lesion in lesions)
        if not lesions or abs(total / burden_mm3 - 1.0) < 0.02:
            break
        shapes = [
            replace(lesion.shape, length_mm=lesion.shape.length_mm * burden_mm3 / total)
            for lesion in lesions
        ]
        lesions = paint_lesions(shapes, lines, lattice)
    return lesions
