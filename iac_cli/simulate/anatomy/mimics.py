"""Calcifications that are no arterial calcium: painted like any part, never labelled."""

import numpy as np

from iac_cli.simulate.anatomy.parts import Part, PartMaker
from iac_cli.simulate.anatomy.shapes import Ellipsoid, Tube


def make_mimics(m: PartMaker) -> list[Part]:
    """Pineal, choroid plexus, petroclinoid ligament and falx, each with its adult frequency."""
    rng = m.rng
    parts: list[Part] = []
    if rng.uniform() < 0.85:
        parts += _cluster(m, (0.0, 37.0, 19.5), n=int(rng.integers(2, 6)), spread_mm=1.6)
    for side in (1.0, -1.0):
        if rng.uniform() < 0.8:
            place = (20.5 * side, 47.0, 34.0)
            parts += _cluster(m, place, n=int(rng.integers(3, 9)), spread_mm=2.6)
        if rng.uniform() < 0.45:
            start, end = rng.uniform(0.0, 0.4), rng.uniform(0.5, 1.0)
            ends = m.at((8.0, 5.8, 6.4), (14.0, 11.5, -2.8), side=side)
            line = ends[0] + np.array([[start], [end]]) * (ends[1] - ends[0])
            parts.append(Part(Tube(line, (0.7, 0.7)), float(rng.uniform(250, 700))))
        if rng.uniform() < 0.12:
            parts += _cluster(m, (19.0 * side, 3.0, 23.0), n=4, spread_mm=2.2)
    if rng.uniform() < 0.25:
        y, z = rng.uniform(-35, -5), rng.uniform(62, 80)
        ends = np.array([[0.0, y, z], [0.0, y + rng.uniform(4, 14), z + 3.0]])
        parts.append(Part(Tube(ends, (1.1, 0.8), (0.8, 1, 2.0)), float(rng.uniform(300, 800))))
    return parts


def _cluster(
    m: PartMaker, place: tuple[float, float, float], *, n: int, spread_mm: float
) -> list[Part]:
    """A few grains around a place."""
    parts = []
    for _ in range(n):
        centre = m.one(place) + m.rng.normal(0.0, spread_mm, 3) * np.array([0.6, 1.0, 1.0])
        radii = m.rng.uniform(0.6, 1.6, 3)
        parts.append(Part(Ellipsoid(centre, radii), float(m.rng.uniform(180, 900))))
    return parts
