"""The parts that break the layers: skull base, orbits, sinuses, air cells, sinuses of the dura.

Each part is painted over what lies below it, in order. Places are in the head's frame (mm, x left,
y posterior, z superior, origin on the sella's floor) and pass through the person's wobble.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.simulate.anatomy.build import Build, Wobble
from iac_cli.simulate.anatomy.layers import (
    AIR_HU,
    BLOOD_HU,
    CSF_HU,
    DURA_HU,
    FAT_HU,
    MUSCLE_HU,
    ORBIT_APEX,
    ORBIT_CENTRE,
    ORBIT_RADII,
    VAULT_CENTRE,
    tentorium_height,
    vault_radii,
)
from iac_cli.simulate.anatomy.shapes import (
    Array,
    Block,
    Coordinates,
    Ellipsoid,
    Ring,
    Shape,
    Tube,
    smooth_step,
)
from iac_cli.simulate.anatomy.texture import Texture

Float = NDArray[np.float64]
Paint = Callable[[Coordinates, Array], Array]
Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A shape with its HU, a number or a function of place and depth; `share` thins it out."""

    shape: Shape
    hu: float | Paint
    share: Paint | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Sheet:
    """A thin curved surface within a box, given by its own distance."""

    gap: Callable[[Coordinates], Array]
    low: Point
    high: Point

    def distance(self, p: Coordinates) -> Array:
        """Signed distance, mm."""
        return self.gap(p)

    def box(self) -> tuple[Float, Float]:
        """Lowest and highest corner, mm."""
        return np.array(self.low), np.array(self.high)


class PartMaker:
    """Makes one person's parts: knows the build, the wobble and the textures."""

    def __init__(self, build: Build, wobble: Wobble, rng: np.random.Generator) -> None:
        self.build = build
        self.wobble = wobble
        self.rng = rng
        self.grain = Texture(rng)
        self.cells = Texture(rng)

    def at(self, *points: Point, side: float = 1.0) -> Float:
        """Places on one side (1 left, -1 right), moved by the wobble, (k, 3)."""
        return self.wobble.moved(np.array(points, dtype=np.float64) * np.array([side, 1.0, 1.0]))

    def one(self, point: Point, side: float = 1.0) -> Float:
        """One place, (3,)."""
        return np.asarray(self.at(point, side=side)[0])

    def vary(self, value: float, share: float = 0.12) -> float:
        """A size that differs between people and sides by about `share`."""
        return float(value * np.clip(self.rng.normal(1.0, share), 0.6, 1.5))

    def compact(self, p: Coordinates, d: Array) -> Array:
        """Bone that is dense at its surface and spongy within."""
        core = smooth_step(-d - 1.3, 1.2)
        sponge = 0.75 * self.build.diploe_hu * (1.0 + 0.35 * self.grain.at(p, 5.0))
        wave = 0.08 * self.grain.at(p, 9.0, shift=4.0) + 0.1 * self.grain.at(p, 3.0, shift=8.0)
        table = self.build.cortical_hu * 0.8 * (1.0 + wave)
        return np.asarray(table + (sponge - table) * core, dtype=np.float32)

    def lamella(self, p: Coordinates, d: Array) -> Array:
        """A thin plate of finely porous bone, denser in some places than in others."""
        table = self.build.cortical_hu * self.build.base_density
        wave = 1.0 + 0.25 * self.grain.at(p, 7.0, shift=6.0)
        return np.asarray(table * np.clip(wave, 0.4, 1.6), dtype=np.float32)

    def canal(self, p: Coordinates, d: Array) -> Array:
        """The denser wall of the carotid canal."""
        return np.asarray(1.25 * self.lamella(p, d), dtype=np.float32)

    def marrow(self, p: Coordinates, d: Array) -> Array:
        """Bone with a thin cortex and a fatty core."""
        core = smooth_step(-d - 0.55 * self.build.base_mm, 0.6)
        sponge = 0.42 * self.build.diploe_hu * (1.0 + 0.45 * self.grain.at(p, 4.0, shift=2.0))
        table = self.lamella(p, d)
        return np.asarray(table + (sponge - table) * core, dtype=np.float32)

    def honeycomb(self, cell_mm: float, fill: float) -> Paint:
        """Air cells with thin bony walls: the share of a place that is air."""

        def share(p: Coordinates, d: Array) -> Array:
            wall = np.minimum(
                np.abs(self.cells.at(p, cell_mm)), np.abs(self.cells.at(p, cell_mm, shift=7.0))
            )
            air = np.clip((wall - 0.16) * 6.0, 0.0, 1.0)
            rest = self.cells.at(p, cell_mm * 3.0, shift=13.0)
            open_cells = smooth_step(rest - np.float32(1.4 - 3.2 * fill), 0.8)
            return np.asarray(air * open_cells, dtype=np.float32)

        return share


def make_parts(maker: PartMaker) -> list[Part]:
    """All parts of one head, in the order of painting."""
    parts = [*_occiput(maker), *_sphenoid(maker), *_nose(maker)]
    for side in (1.0, -1.0):
        parts += [*_orbit(maker, side), *_face(maker, side), *_petrous(maker, side)]
    parts += [*_sphenoid_air(maker), *_sella(maker)]
    for side in (1.0, -1.0):
        parts += [*_cavernous(maker, side), *_clinoids(maker, side)]
    return [*parts, *_dura(maker)]


def _occiput(m: PartMaker) -> list[Part]:
    """Foramen magnum with the cord, condyles, the upper neck bones."""
    parts = [
        Part(Tube(m.at((0, 35.5, -43), (0, 38, -80)), (15.4, 12.8), (0.98, 1.18, 0.4)), CSF_HU + 5),
        Part(Tube(m.at((0, 33, -32), (0, 37, -80)), (7.5, 5.6), (1.1, 0.85, 1.0)), 33.0),
        Part(Ring(m.one((0, 34, -54)), (19.5, 21.0), 3.0), m.marrow),
        Part(Ellipsoid(m.one((0, 17.5, -52)), (5.0, 5.0, 11)), m.marrow),
    ]
    for side in (1.0, -1.0):
        parts += [
            Part(Ellipsoid(m.one((19.0, 24, -42), side), (5.5, 10, 6)), m.marrow),
            Part(Ellipsoid(m.one((20, 25, -54), side), (8, 10, 6.5)), m.marrow),
            Part(Tube(m.at((22, 28, -55), (37, 30, -56), side=side), (5.0, 3.5)), m.marrow),
            Part(Tube(m.at((8, 24, -38), (19, 14, -41), side=side), (1.6, 1.8)), MUSCLE_HU - 10),
        ]
    return parts


def _sphenoid(m: PartMaker) -> list[Part]:
    """Body of the sphenoid and clivus, solid; air and sella come later."""
    clivus_mm = m.vary(3.5, 0.2)
    parts = [
        Part(Block(m.one((0, -15, -6)), (13.0, 10, 15.0), 3.0), m.marrow),
        Part(Block(m.one((0, -1.5, -9.5)), (9.5, 8.0, 8.4), 2.5), m.marrow),
        Part(
            Tube(
                m.at((0, 5.5, -6), (0, 10.0, -22), (0, 13.5, -34)),
                (clivus_mm, clivus_mm, 3.0),
                (2.7, 1.0, 1.0),
            ),
            m.marrow,
        ),
    ]
    for side in (1.0, -1.0):
        parts += [
            Part(
                Tube(m.at((17, -16, -12), (15, -15, -44), side=side), 0.8, (1.0, 5.0, 1.0)),
                m.lamella,
            ),
            Part(
                Tube(
                    m.at((18, -20, -2), (30, -27, 1), (44, -38, 6), side=side),
                    (1.6, m.vary(2.2), 3.2),
                    (1.0, 1.0, 3.2),
                ),
                m.marrow,
            ),
            Part(
                Tube(m.at((19, -6, -14), (32, 0, -18), side=side), (1.3, 1.2), (1, 3.5, 1)),
                m.marrow,
            ),
        ]
    return parts


def _nose(m: PartMaker) -> list[Part]:
    """Nasal cavity with septum and turbinates, ethmoid cells, frontal sinus, nasopharynx."""
    width = m.vary(10.5, 0.06)
    bend = float(m.rng.normal(0, 0.8))
    cells = m.at((0, -25, 1), (0, -42, 1.5), (0, -58, 4))
    cavity = m.at((0, -20, -25), (0, -45, -24), (0, -66, -24))
    parts = [
        Part(Tube(cells, np.array([width, width, width - 2.0]) + 0.8, (1, 1, 1.15)), m.lamella),
        Part(Tube(cavity, (12.1, 14.1, 12.1), (0.92, 1.0, 1.6)), m.lamella),
        Part(Tube(cavity + (0, -3, 0), (11.2, 13.2, 11.0), (0.92, 1.0, 1.6)), AIR_HU),
        Part(Tube(m.at((0, -66, -24), (0, -84, -30)), (9.5, 6.0), (0.8, 0.6, 1.2)), AIR_HU),
        Part(Tube(cells, (width, width, width - 2.0), (1, 1, 1.1)), AIR_HU, m.honeycomb(9.5, 0.95)),
        Part(Block(m.one((bend, -46, -20)), (1.0, 30, 24), 0.6), 300.0),
        Part(Ellipsoid(m.one((0, -3, -40)), (10, 8, 14)), AIR_HU),
        Part(Tube(m.at((0, -60, 16), (0, -67, 2), (0, -73, -8)), (6, 5.0, 3.5)), m.compact),
        Part(Tube(m.at((0, -49, 12), (0, -45, 25)), (2.2, 1.3), (1.0, 3.0, 1.0)), m.compact),
        Part(Tube(m.at((0, -64, -52), (0, -22, -50)), (20, 18), (1.2, 0.6, 0.22)), m.compact),
    ]
    for side in (1.0, -1.0):
        parts += _turbinates(m, side)
    return parts


def _turbinates(m: PartMaker, side: float) -> list[Part]:
    """Turbinates of one side and its half of the frontal sinus."""
    parts = [
        Part(
            Tube(
                m.at((6.4, -62, -34), (7.2, -40, -33), (6.4, -24, -32), side=side),
                (2.6, m.vary(4.4), 2.6),
                (0.75, 1, 1.5),
            ),
            55.0,
        ),
        Part(Tube(m.at((7.0, -58, -36), (7.0, -28, -35), side=side), 0.8, (0.6, 1, 3.0)), 350.0),
        Part(
            Tube(
                m.at((5.4, -56, -19), (6.2, -40, -18), (5.8, -26, -18), side=side),
                (2.0, m.vary(2.9), 2.0),
                (0.8, 1, 1.7),
            ),
            55.0,
        ),
    ]
    if m.rng.uniform() < 0.35 + 0.6 * m.build.air:
        reach = m.vary(12.0 * (0.5 + m.build.air), 0.2)
        course = m.at(
            (3, -60.5, 27), (4 + 0.5 * reach, -59.5, 27), (5 + reach, -55.5, 28), side=side
        )
        parts += [
            Part(Tube(course, (7.0, 7.0, 5.6), (1.0, 1.0, 1.9)), m.compact),
            Part(Tube(course, (4.6, 4.4, 3.0), (1.0, 1.0, 2.5)), AIR_HU),
        ]
    return parts


def _orbit(m: PartMaker, side: float) -> list[Part]:
    """Bony walls, fat, globe with lens, muscles and optic nerve."""
    centre, apex = m.at(ORBIT_CENTRE, ORBIT_APEX, side=side)
    ends = np.stack([centre, apex])
    globe = m.one((32, -53, 7), side)
    eye = m.vary(12.0, 0.04)
    parts = [
        Part(Tube(ends, np.array(ORBIT_RADII) + np.array([1.4, 0.8])), m.lamella),
        Part(
            Tube(
                m.at(
                    (47, -50, -12),
                    (49, -49, 5),
                    (45, -54, 20),
                    (32, -64, 27),
                    (14, -66, 22),
                    side=side,
                ),
                (4.5, 4.0, 4.2, 4.0, 4.5),
            ),
            m.compact,
        ),
        Part(
            Tube(m.at((46, -50, -12), (34, -60, -14), (18, -62, -8), side=side), (4.5, 3.2, 3.0)),
            m.compact,
        ),
        Part(Tube(ends, ORBIT_RADII), FAT_HU),
        Part(Ellipsoid(centre + (0, -8, 0), (19, 9.5, 18)), FAT_HU),
        Part(Ellipsoid(centre + (0, -16.0, -1), (14, 3.0, 12)), 40.0),
        Part(
            Tube(np.stack([globe + (0, 10, 0), 0.5 * (globe + apex), apex]), (2.0, 1.9, 1.9)), 38.0
        ),
    ]
    for dx, dz in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        belly = 0.45 * globe + 0.55 * apex + (dx * 8.0, 0, dz * 8.0)
        front = globe + (dx * 11.5, 0, dz * 11.5)
        flat = (0.6, 1, 1.6) if dx else (1.6, 1, 0.6)
        parts.append(Part(Tube(np.stack([front, belly, apex]), (1.2, 2.6, 1.4), flat), 55.0))
    return [
        *parts,
        Part(Ellipsoid(globe, (eye, eye, eye)), 52.0),
        Part(Ellipsoid(globe, (eye - 1.4, eye - 1.4, eye - 1.4)), 12.0),
        Part(Ellipsoid(globe + (0, -7.5, 0), (4.4, 2.1, 4.4)), 78.0),
    ]


def _face(m: PartMaker, side: float) -> list[Part]:
    """Maxillary sinus, zygoma and arch, jaw joint, fat and muscle of the face, ear."""
    sinus = np.array([m.vary(9.5), m.vary(12.5), m.vary(9.0)])
    axis = m.at((23, -52, -25), (29, -42, -26), (35, -32, -27), side=side)
    return [
        Part(Ellipsoid(m.one((41, -18, -36), side), (9, 13, 20)), FAT_HU + 10),
        Part(Ellipsoid(m.one((24, -2, -48), side), (7, 8, 20)), FAT_HU + 15),
        Part(Tube(axis, sinus + 1.0, (1, 1, 1.3)), m.lamella),
        Part(Tube(axis, sinus, (1, 1, 1.3)), AIR_HU),
        Part(
            Tube(
                m.at((44, -50, -16), (54, -40, -19), (63, -18, -20), (63, 6, -19), side=side),
                (5.0, 3.2, 2.2, 2.6),
                (1.0, 1.0, 1.6),
            ),
            m.compact,
        ),
        Part(
            Tube(
                m.at((50, 7, -24), (48, 4, -36), (46, 0, -70), side=side),
                (5.2, 3.4, 3.2),
                (1.4, 1.0, 1.0),
            ),
            m.marrow,
        ),
        Part(
            Tube(m.at((52, -12, -24), (47, -6, -70), side=side), (2.2, 2.6), (1, 2.6, 1)), m.compact
        ),
        Part(
            Tube(m.at((36, -6, -20), (34, -8, -60), side=side), (8.0, 8.0), (0.9, 1, 1)), MUSCLE_HU
        ),
        Part(
            Tube(
                m.at((65, 20, -22), (71, 34, -6), (75, 40, 2), side=side),
                (4.0, 2.6, 1.8),
                (0.9, 1.0, 5.0),
            ),
            15.0,
        ),
    ]


def _petrous(m: PartMaker, side: float) -> list[Part]:
    """Petrous pyramid, mastoid with its cells, ear, canals and foramina, in the temporal bone."""
    ridge = m.at((13.5, 10.0, -8.0), (30, 22.0, -9.0), (54, 36, -13), side=side)
    radii = (m.vary(5.2), m.vary(10.0, 0.08), m.vary(16.0, 0.08))
    capsule = self_dense(m)
    air = m.build.air
    mastoid = m.one((52, 38, -24), side)
    return [
        Part(Tube(ridge, radii, (1.0, 1.0, 0.95)), m.marrow),
        Part(
            Tube(
                m.at((28, 14, -27), (27.5, 12, -20), (20, 7.5, -16), (13.8, 4.8, -12.5), side=side),
                (4.8, 4.8, 4.9, 5.0),
            ),
            m.canal,
        ),
        Part(Ellipsoid(mastoid, (11.5, 15.5, 21)), m.marrow),
        Part(Ellipsoid(m.one((31, 24, -9), side), (m.vary(7.4), m.vary(6.4), 5.6)), capsule),
        Part(Tube(m.at((20, 20, -11.5), (29, 23.5, -11), side=side), (2.9, 2.1)), 14.0),
        Part(Ellipsoid(m.one((28, 18.5, -12), side), (2.2, 2.2, 2.0)), 250.0),
        Part(Tube(m.at((33, 27, -8), (34, 24, -5), side=side), 0.9), 90.0),
        Part(
            Tube(m.at((38, 18, -17), (40, 24, -11), (44, 27, -9), side=side), (2.6, 3.4, 3.6)),
            AIR_HU,
        ),
        Part(
            Tube(m.at((39, 21, -18), (56, 22.5, -18), (82, 24, -17), side=side), (3.6, 3.4, 4.6)),
            AIR_HU,
        ),
        Part(
            Ellipsoid(mastoid + (0, 1, 3), (9.5, 13.5, 18)),
            AIR_HU,
            m.honeycomb(5.5, 0.25 + 0.75 * air),
        ),
        Part(
            Ellipsoid(m.one((43, 31, -9), side), (9, 6, 5)),
            AIR_HU,
            m.honeycomb(5.0, 0.1 + 0.7 * air),
        ),
        Part(
            Tube(m.at((21, 25, -22), (24, 24, -34), (25, 23, -60), side=side), (4.2, 4.8, 5.0)),
            BLOOD_HU - 8,
        ),
        Part(
            Tube(
                m.at((42, 52, -4), (41, 45, -16), (33, 37, -24), (23, 26, -23), side=side),
                (4.2, 4.2, 4.0, 4.0),
            ),
            BLOOD_HU,
        ),
        Part(
            Ellipsoid(m.one((22, 11.5, -8.5), side), (4.5, 3.0, 2.6)),
            AIR_HU,
            m.honeycomb(5.0, max(0.0, 1.3 * air - 0.6)),
        ),
    ]


def self_dense(m: PartMaker) -> Paint:
    """The otic capsule: the densest bone of the head."""

    def paint(p: Coordinates, d: Array) -> Array:
        inner = smooth_step(-d - 1.0, 2.5)
        base = m.compact(p, d)
        return np.asarray(base + (np.float32(1950.0) - base) * inner, dtype=np.float32)

    return paint


def _sphenoid_air(m: PartMaker) -> list[Part]:
    """The sphenoid sinus with its septum, from presellar to postsellar."""
    reach = m.build.sphenoid_air
    back = -12.0 + 17.0 * reach
    wall = float(np.clip(m.vary(0.75 * m.build.base_mm, 0.25), 0.4, 1.4))
    half_y = (back + 23.0) / 2.0
    septum = m.one((float(m.rng.normal(0, 2.0)), (back - 25) / 2, -6))
    front = Block(m.one((0, -15.5, -6.0)), (12.4 - wall, 8.0, 12.0 - wall), 5.0)
    parts = [Part(front, AIR_HU)]
    for side in (1.0, -1.0):
        parts += _sinus_half(m, side, back, wall)
    parts.append(Part(Block(septum, (0.4, half_y + 1, 13), 0.3), m.lamella))
    recesses = [side for side in (1.0, -1.0) if m.rng.uniform() < 0.5 * reach]
    return [
        *parts,
        *(Part(Ellipsoid(m.one((14.5, -13, -13), side), (6, 7, 5)), AIR_HU) for side in recesses),
    ]


def _sinus_half(m: PartMaker, side: float, back: float, wall: float) -> list[Part]:
    """The sinus of one side: a chamber in front of the sella and one below it, never equal."""
    back = back + float(m.rng.normal(0.0, 1.5))
    front = np.array([m.vary(7.4) - wall, m.vary(8.6), m.vary(13.0)])
    deep = np.array([6.2 - wall, (back + 23.0) / 2.0, m.vary(8.4, 0.06) - wall])
    return [
        Part(Ellipsoid(m.one((6.2, -15.5, -7.5), side), front, 2.8), AIR_HU),
        Part(Ellipsoid(m.one((4.6, back - deep[1], -10.0), side), deep, 2.8), AIR_HU),
    ]


def _sella(m: PartMaker) -> list[Part]:
    """Sella with the pituitary, dorsum, tuberculum."""
    lean = float(m.rng.normal(0, 0.5))
    dorsum_mm = float(np.clip(m.vary(0.95 * m.build.base_mm, 0.25), 0.6, 1.7))
    return [
        Part(Block(m.one((0, 0.5, -0.6)), (8.3, 6.3, 0.45 * m.build.base_mm), 0.3), m.lamella),
        Part(Block(m.one((0, -8.0, 4.6)), (8.0, 0.9 * m.build.base_mm, 2.8), 0.5, -30.0), m.marrow),
        Part(
            Tube(
                m.at((0, 6.6, -2), (0, 6.2 + lean, 5.6)),
                (dorsum_mm + 0.4, dorsum_mm),
                (6.2, 1.0, 1.0),
            ),
            m.marrow,
        ),
        Part(Ellipsoid(m.one((0, 0, 4.0)), (7.2, 5.4, 4.0)), 42.0),
        Part(Tube(m.at((0, 0, 7), (0, 3, 13)), (1.2, 1.2)), 38.0),
    ]


def _cavernous(m: PartMaker, side: float) -> list[Part]:
    """Soft tissue beside the sella, trigeminal cave, foramen lacerum and optic canal."""
    return [
        Part(
            Tube(
                m.at((12.6, -7.0, 0.5), (12.4, -1.0, -1.5), (12.6, 4.0, -5.5), side=side),
                (3.9, 4.6, 4.2),
                (0.9, 1.0, 1.15),
            ),
            46.0,
        ),
        Part(Ellipsoid(m.one((17.0, 8.0, -5.5), side), (3.6, 5.0, 3.2)), 18.0),
        Part(Ellipsoid(m.one((12.5, 2.2, -13.5), side), (2.9, 2.9, 2.8)), 48.0),
        Part(
            Tube(
                m.at((6.5, -4.5, 9.5), (9.8, -11.0, 8.0), (13.5, -16, 6.8), side=side),
                (2.1, 2.0, 2.0),
            ),
            36.0,
        ),
        Part(Tube(m.at((20.5, -8, -9.0), (20.0, -16, -7.5), side=side), 1.5), 30.0),
        Part(Ellipsoid(m.one((24.0, 5.0, -19.0), side), (2.2, 3.0, 4.0)), 50.0),
    ]


def _clinoids(m: PartMaker, side: float) -> list[Part]:
    """Lesser wing with the anterior clinoid, optic strut and posterior clinoid; all vary most."""
    extra = m.build.clinoid_mm
    tip = float(m.rng.normal(0, 1.0))
    wing = m.at(
        (14.4, -2.2 + tip, 7.6),
        (16.4, -6.0, 8.6),
        (20.5, -10.0, 9.8),
        (30, -18.0, 11.5),
        (41, -26, 13.5),
        (51, -30, 16),
        side=side,
    )
    radii = np.array([1.1, 1.6, 1.9, 1.1, 1.1, 1.5]) + extra * np.array([1, 1, 1, 0.3, 0.2, 0.2])
    parts = [
        Part(
            Tube(m.at((19, -16, 9.6), (40, -33, 13.5), side=side), (7.5, 8.0), (1, 1, 0.1)),
            m.lamella,
        ),
        Part(Tube(wing, np.maximum(radii, 0.8), (1.0, 1.0, 0.9)), m.marrow),
        Part(
            Tube(m.at((15.4, -8.2, 6.2), (11.4, -11.2, 3.6), side=side), m.vary(0.9, 0.2)),
            m.lamella,
        ),
        Part(
            Ellipsoid(m.one((7.6, 5.4, 6.6), side), np.array([2.3, 1.3, 1.4]) + 0.7 * extra),
            m.marrow,
        ),
    ]
    if m.rng.uniform() < 0.12 * m.build.air + 0.05:
        parts.append(Part(Tube(m.at((17.0, -6.8, 8.8), (20, -9.8, 9.8), side=side), 1.1), AIR_HU))
    return parts


def _dura(m: PartMaker) -> list[Part]:
    """Falx, tentorium and the large venous sinuses."""

    def falx(p: Coordinates) -> Array:
        below = (tentorium_height(p) - p[2]) * np.float32(0.8)
        arch = np.sqrt((p[1] - 14) ** 2 + (p[2] - 18) ** 2) - np.float32(44.0)
        return np.asarray(np.maximum(np.maximum(np.abs(p[0]) - 0.55, below), -arch), np.float32)

    def tent(p: Coordinates) -> Array:
        leaf = np.abs(p[2] - tentorium_height(p)) * np.float32(0.75) - np.float32(0.55)
        notch = np.sqrt((p[0] / 17.0) ** 2 + ((p[1] - 24.0) / 26.0) ** 2) - 1.0
        return np.asarray(np.maximum(leaf, -notch * np.float32(17.0)), np.float32)

    inside = smooth_inside(m)
    parts = [
        Part(Sheet(falx, (-1.5, -56, 8), (1.5, 100, 97)), DURA_HU, inside),
        Part(Sheet(tent, (-54, 18, -12), (54, 97, 29)), DURA_HU, inside),
        Part(Tube(m.at((0, 52, 24), (0, 98, -1)), (2.0, 2.6)), BLOOD_HU),
    ]
    for side in (1.0, -1.0):
        course = m.at((0, 99, -2), (22, 92, -3), (43, 70, -5), (49, 52, -7), side=side)
        parts += [Part(Tube(course, m.vary(3.2, 0.25)), BLOOD_HU, inside)]
    return parts


def smooth_inside(m: PartMaker) -> Paint:
    """1 well inside the average cavity, so that a sheet never leaves the skull."""
    wide, deep, high = vault_radii(m.build)
    vault = Ellipsoid(VAULT_CENTRE, (wide - 1, deep - 1, high - 1), 2.35)
    below = Ellipsoid((0, 55, -10), (52, 43.5, 34))

    def share(p: Coordinates, d: Array) -> Array:
        gap = np.minimum(vault.distance(p), below.distance(p))
        return np.asarray(np.clip(0.5 - gap, 0.0, 1.0), dtype=np.float32)

    return share
