"""The arteries of the procedural head: where they run, how wide they are, and one person's variant.

Control points are in the head's own frame: mm, x to the left, y posterior, z superior, origin on
the floor of the sella. They were set by hand to the proportions of adult heads: through the carotid
canal, over the foramen lacerum, along the sella's side, under the anterior clinoid and up.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.variants import Variant

Float = NDArray[np.float64]

COURSES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "ICA": (
        (28.0, 14.0, -29.0),
        (28.3, 13.3, -25.5),
        (28.0, 12.6, -22.0),
        (26.2, 11.2, -18.9),
        (23.0, 9.2, -17.3),
        (19.0, 6.3, -15.8),
        (15.5, 3.9, -14.2),
        (12.9, 2.8, -11.8),
        (11.7, 2.6, -8.6),
        (11.9, 2.4, -5.2),
        (12.5, 0.2, -2.3),
        (12.9, -3.0, -0.9),
        (12.7, -6.3, 0.5),
        (11.8, -8.3, 2.9),
        (10.6, -7.4, 5.6),
        (9.7, -4.8, 7.3),
        (10.0, -1.9, 9.1),
        (11.2, -0.1, 11.4),
        (13.0, 0.6, 14.0),
    ),
    "M1": ((13.0, 0.6, 14.0), (18.5, -1.6, 14.7), (24.3, -3.6, 14.1), (30.2, -4.6, 14.8)),
    "A1": ((13.0, 0.6, 14.0), (7.4, -1.4, 15.8), (2.0, -4.2, 16.6)),
    "V4": (
        (10.8, 31.6, -43.5),
        (8.9, 28.4, -38.2),
        (6.5, 25.0, -33.2),
        (3.5, 21.6, -28.2),
        (0.2, 18.9, -23.0),
    ),
    "BA": (
        (0.2, 18.9, -23.0),
        (0.8, 16.4, -16.0),
        (0.6, 14.5, -8.5),
        (0.0, 13.6, -0.8),
        (0.0, 13.2, 6.4),
    ),
    "P1": ((0.0, 13.2, 6.4), (4.2, 13.8, 7.3), (8.4, 15.4, 8.1), (12.2, 18.6, 8.7)),
}
"""The left side's control points; the right side mirrors them."""

BEYOND: dict[str, tuple[tuple[tuple[float, float, float], float], ...]] = {
    "neck ICA": (
        ((28.0, 14.0, -29.0), 2.5),
        ((28.5, 13.0, -38.0), 2.5),
        ((27.0, 12.0, -60.0), 2.6),
    ),
    "neck VA": (
        ((10.8, 31.6, -43.5), 1.6),
        ((17.0, 35.0, -46.5), 1.7),
        ((24.0, 31.0, -50.0), 1.7),
        ((24.5, 24.0, -62.0), 1.8),
    ),
    "M2": (
        ((30.2, -4.6, 14.8), 1.2),
        ((36.0, -1.0, 18.0), 1.1),
        ((40.0, 8.0, 25.0), 1.0),
        ((42.0, 22.0, 31.0), 0.9),
    ),
    "A2": (
        ((2.0, -4.2, 16.6), 1.0),
        ((1.4, -14.0, 22.0), 1.0),
        ((1.4, -21.0, 33.0), 0.9),
        ((1.4, -14.0, 46.0), 0.9),
    ),
    "P2": (((12.2, 18.6, 8.7), 1.1), ((18.0, 28.0, 10.0), 1.0), ((14.0, 40.0, 14.0), 0.9)),
}
"""Courses that are painted and neither labelled nor calcified, with radii in mm."""

RADII_MM: dict[str, tuple[float, ...]] = {
    "ICA": (2.5, 2.5, 2.4, 2.35, 2.2, 2.1, 1.9),
    "M1": (1.45, 1.35, 1.25),
    "A1": (1.15, 1.05),
    "V4": (1.6, 1.55, 1.5),
    "BA": (1.65, 1.6, 1.55),
    "P1": (1.1, 1.05),
}
"""Lumen radius along each artery at even fractions of its course."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """A head's arteries: centre lines that count, and painted courses that do not, LPS mm."""

    lines: dict[Artery, CentreLine]
    beyond: tuple[tuple[Float, Float], ...]
    """(points (k, 3), radii (k,)) of each further course."""
    variants: dict[str, str]
    """Arteries that are unusual, and how."""


def make_tree(
    place: Callable[[Float], Float],
    scale: float,
    rng: np.random.Generator,
    variants: Mapping[Artery, Variant],
) -> Tree:
    """One person's arteries; `place` takes points of the head's frame (k, 3) to LPS mm.

    `scale` is the head's size, which also widens the arteries. Radii vary by person and by side;
    one vertebral artery is usually the larger.
    """
    common = float(np.clip(rng.normal(1.0, 0.10), 0.8, 1.3)) * scale
    dominant = rng.uniform(-0.25, 0.25)
    lines: dict[Artery, CentreLine] = {}
    for artery in Artery:
        name, _, side = artery.value.partition("-")
        factor = common * float(np.clip(rng.normal(1.0, 0.06), 0.85, 1.15))
        if name == "V4":
            factor *= 1.0 + (dominant if side == "L" else -dominant)
        variant = variants.get(artery, Variant())
        factor *= variant.wider
        winding = variant.winding(np.array(COURSES[name], dtype=np.float64))
        points, radii = _spline(place(_sided(winding, side)), RADII_MM[name])
        lines[artery] = CentreLine(artery, points, radii * factor)
    beyond = tuple(
        _extension(row, side, place, common) for row in BEYOND.values() for side in ("L", "R")
    )
    told = {artery.value: variant.kind for artery, variant in variants.items()}
    return Tree(lines, beyond, told)


def _extension(
    row: tuple[tuple[tuple[float, float, float], float], ...],
    side: str,
    place: Callable[[Float], Float],
    factor: float,
) -> tuple[Float, Float]:
    points = place(_sided(np.array([point for point, _ in row]), side))
    radii = np.array([radius for _, radius in row])
    knots = np.linspace(0, 1, len(radii))
    fine = np.linspace(0, 1, 4 * len(radii))
    curve = np.asarray(CubicSpline(knots, points, axis=0)(fine))
    return curve, np.interp(fine, knots, radii) * factor


def _sided(points: Float, side: str) -> Float:
    mirror = np.array([-1.0 if side == "R" else 1.0, 1.0, 1.0])
    return np.asarray(points * mirror)


def _spline(points: Float, radii: tuple[float, ...]) -> tuple[Float, Float]:
    """A smooth curve through control points, a point about every 0.5 mm, with its radii."""
    chord = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    n = max(3, int(np.ceil(chord[-1] / 0.5)) + 1)
    curve = np.asarray(CubicSpline(chord, points, axis=0)(np.linspace(0, chord[-1], n)))
    fractions = np.linspace(0, 1, n)
    return curve, np.interp(fractions, np.linspace(0, 1, len(radii)), radii)


def course(artery: Artery, fractions: Float) -> Float:
    """Places of the standard course at fractions of its length, (k, 3) mm of the head's frame."""
    name, _, side = artery.value.partition("-")
    points, radii = _spline(_sided(np.array(COURSES[name]), side), RADII_MM[name])
    return CentreLine(artery, points, radii).at_fractions(fractions)
