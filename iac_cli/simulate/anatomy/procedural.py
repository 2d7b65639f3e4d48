"""The procedural head: a person drawn from a seed, painted at any points of the patient.

Needs no data. Nothing here depends on the grid: the same head painted on a coarse and on a fine
lattice is the same head.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.build import Build, Wobble, draw_build
from iac_cli.simulate.anatomy.extent import plane_blocks
from iac_cli.simulate.anatomy.layers import Layers
from iac_cli.simulate.anatomy.parts.everything import make_parts
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Part
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Tube
from iac_cli.simulate.anatomy.source import Step
from iac_cli.simulate.anatomy.texture import Roughness
from iac_cli.simulate.anatomy.variety import ORDINARY, Variety
from iac_cli.simulate.arteries import Tree, make_tree
from iac_cli.simulate.findings.rates import USUAL, Rates
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.variants import draw_variants

Float = NDArray[np.float64]

HEAD_CENTRE = np.array([0.0, 19.0, 22.0])
"""The place of the head's frame that lies in the patient's origin, mm."""

VERTEX_ABOVE_MM = 84.0
"""Height of the vertex above the patient's origin for a head of scale 1."""

LUMEN_HU, WALL_HU = (40.0, 50.0), 40.0
ROUGH_MM = 2.5
"""Room for the displacement that makes bone rough, and for soft edges."""

PIECE = 3
"""Segments of a vessel that are painted together."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """How a head lies in the scanner: LPS = rotation @ (head - centre) * scale."""

    rotation: Float
    scale: float

    def to_world(self, points: Float) -> Float:
        """Head's frame (k, 3) -> LPS mm."""
        return np.asarray((points - HEAD_CENTRE) * self.scale @ self.rotation.T)

    def to_head(self, points: Float) -> Float:
        """LPS mm (..., 3) -> head's frame."""
        return np.asarray(points @ self.rotation / self.scale + HEAD_CENTRE)


@dataclass(frozen=True, slots=True, eq=False)
class ProceduralHead:
    """One person: layers, parts, arteries and pose."""

    build: Build
    pose: Pose
    layers: Layers
    roughness: Roughness
    parts: tuple[Part, ...]
    tree: Tree
    lumen_hu: float
    landmarks: dict[str, tuple[float, float, float]]

    @property
    def kind(self) -> str:
        """What made it."""
        return "procedural head"

    @property
    def lines(self) -> Mapping[Artery, CentreLine]:
        """Every artery."""
        return self.tree.lines

    @property
    def top_mm(self) -> float:
        """Height of the vertex above the patient's origin."""
        return VERTEX_ABOVE_MM * self.pose.scale

    @property
    def facts(self) -> Mapping[str, Any]:
        """The person's build, and the variants of their arteries."""
        build = {name: round(value, 4) for name, value in asdict(self.build).items()}
        return build | {"variants": dict(self.tree.variants)}

    def painted(self, lattice: Lattice, on_step: Step | None = None) -> Array:
        """HU of the head on a lattice, (normal, column, row) float32."""
        field = np.empty(lattice.shape, dtype=np.float32)
        blur = float(np.cbrt(lattice.cell_mm3)) / self.pose.scale
        vessels = self._vessels()
        parts = (*self.parts, *vessels)
        bounds = [
            plane_blocks(lattice, part.shape, self.pose.to_world, self.pose.scale, blur + ROUGH_MM)
            for part in parts
        ]
        n = lattice.shape[0]
        for k in range(n):
            points = self.pose.to_head(
                lattice.points_mm((slice(k, k + 1), slice(None), slice(None)))[0]
            )
            p = tuple(np.ascontiguousarray(points[..., i], dtype=np.float32) for i in range(3))
            bone = self.roughness.moved((p[0], p[1], p[2]))
            hu = self.layers.hu(bone, blur)
            for index, (part, bound) in enumerate(zip(parts, bounds, strict=True)):
                if k in bound:
                    at = (p[0], p[1], p[2]) if index >= len(self.parts) else bone
                    _paint(hu, at, part, bound[k], blur)
            field[k] = hu
            if on_step is not None:
                on_step((k + 1) / n)
        return field

    def _vessels(self) -> list[Part]:
        """Walls and lumens of all courses as parts, in the head's frame."""
        courses = [_with_end(line.points_mm, line.radius_mm) for line in self.tree.lines.values()]
        courses += list(self.tree.beyond)
        walls, lumens = [], []
        for points, radii in courses:
            inside, width = self.pose.to_head(points), radii / self.pose.scale
            for first in range(0, len(width) - 1, PIECE):
                piece = slice(first, first + PIECE + 1)
                walls.append(Part(Tube(inside[piece], width[piece] + 0.55), WALL_HU))
                lumens.append(Part(Tube(inside[piece], width[piece]), self.lumen_hu))
        return walls + lumens


def draw_head(
    rng: np.random.Generator, rates: Rates = USUAL, variety: Variety = ORDINARY
) -> ProceduralHead:
    """A person and how they lie, from a generator; `rates` of the variants of their arteries."""
    build = draw_build(rng)
    wobble = Wobble(rng)
    roll, yaw, pitch = np.radians(rng.normal(0.0, (2.0, 3.0, 4.0)))
    pose = Pose(_rotation(roll, yaw, pitch), build.scale)
    layers = Layers(build, rng)
    maker = PartMaker(build, wobble, rng, variety)
    parts = tuple(make_parts(maker))
    variants = draw_variants(rates, rng)
    tree = make_tree(lambda points: pose.to_world(wobble.moved(points)), build.scale, rng, variants)
    lumen = float(rng.uniform(*LUMEN_HU))
    return ProceduralHead(
        build, pose, layers, Roughness(rng), parts, tree, lumen, _landmarks(maker, pose)
    )


LANDMARKS = {
    "anterior_clinoid_tip": ((14.4, -2.2, 7.6), True),
    "posterior_clinoid": ((7.6, 5.4, 8.3), True),
    "dorsum_sellae_mid": ((0.0, 6.4, 7.0), False),
    "sella_floor": ((0.0, 0.0, 0.0), False),
    "basion": ((0.0, 17.0, -37.0), False),
    "opisthion": ((0.0, 56.0, -43.0), False),
    "carotid_canal_entrance": ((28.0, 14.0, -29.0), True),
    "petrous_apex": ((13.5, 10.5, -6.0), True),
    "internal_acoustic_meatus": ((21.0, 20.5, -11.5), True),
    "crista_galli_tip": ((0.0, -45.0, 27.0), False),
    "inion": ((0.0, 104.0, -10.0), False),
}
"""Places in the head's frame and whether there is one on each side."""


def _landmarks(maker: PartMaker, pose: Pose) -> dict[str, tuple[float, float, float]]:
    found = {}
    for name, (place, paired) in LANDMARKS.items():
        for side, letter in ((-1.0, "_R"), (1.0, "_L")) if paired else ((1.0, ""),):
            x, y, z = pose.to_world(maker.at(place, side=side))[0]
            found[name + letter] = (float(x), float(y), float(z))
    return found


def _with_end(points: Float, radii: Float) -> tuple[Float, Float]:
    """Every third point of a line and its last one: enough for a tube."""
    keep = np.unique(np.append(np.arange(0, len(points), 3), len(points) - 1))
    return points[keep], radii[keep]


def _paint(
    hu: Array, p: Coordinates, part: Part, bound: tuple[slice, slice], blur_mm: float
) -> None:
    """Paint a part over its block of one plane, in place."""
    q = (p[0][bound], p[1][bound], p[2][bound])
    d = part.shape.distance(q)
    near = d < 0.5 * blur_mm
    if not near.any():
        return
    q, d = (q[0][near], q[1][near], q[2][near]), d[near]
    share = np.clip(0.5 - d / np.float32(blur_mm), 0.0, 1.0)
    if part.share is not None:
        share = share * part.share(q, d)
    value = part.hu(q, d) if callable(part.hu) else np.float32(part.hu)
    view = hu[bound]
    old = view[near]
    view[near] = old + share * (value - old)


def _rotation(roll: float, yaw: float, pitch: float) -> Float:
    """Rotation by roll (about y), yaw (about z) and pitch (about x), radians."""
    cr, sr, cy, sy, cp, sp = (
        np.cos(roll),
        np.sin(roll),
        np.cos(yaw),
        np.sin(yaw),
        np.cos(pitch),
        np.sin(pitch),
    )
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_y = np.array([[cr, 0, sr], [0, 1, 0], [-sr, 0, cr]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    return np.asarray(about_z @ about_y @ about_x)
