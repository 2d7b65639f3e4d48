"""The sphenoid: its body with clivus and wings, the sinus in it, and the clinoid processes."""

import numpy as np

from iac_cli.simulate.anatomy.layers import AIR_HU
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Part, Point
from iac_cli.simulate.anatomy.shapes import Block, Ellipsoid, Tube


def sphenoid(m: PartMaker) -> list[Part]:
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


def sphenoid_air(m: PartMaker) -> list[Part]:
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


def clinoids(m: PartMaker, side: float) -> list[Part]:
    """Lesser wing with the anterior clinoid, optic strut and posterior clinoid; all vary most."""
    v = m.variety.of(side)
    extra = m.build.clinoid_mm
    tip = float(m.rng.normal(0, 1.0))
    x, y, z = v.anterior_clinoid_shift
    wing = m.at(
        (14.4 + x, -2.2 + tip + y, 7.6 + z),
        (16.4, -6.0, 8.6),
        (20.5, -10.0, 9.8),
        (30, -18.0, 11.5),
        (41, -26, 13.5),
        (51, -30, 16),
        side=side,
    )
    radii = np.array([1.1, 1.6, 1.9, 1.1, 1.1, 1.5]) + extra * np.array([1, 1, 1, 0.3, 0.2, 0.2])
    radii[:3] *= v.anterior_clinoid_size
    behind = np.array([2.3, 1.3, 1.4]) + 0.7 * extra
    parts = [
        Part(
            Tube(m.at((19, -16, 9.6), (40, -33, 13.5), side=side), (7.5, 8.0), (1, 1, 0.1)),
            m.lamella,
        ),
        Part(Tube(wing, np.maximum(radii, 0.8), (1.0, 1.0, 0.9)), m.marrow),
        Part(
            Tube(
                m.at((15.4, -8.2, 6.2), (11.4, -11.2, 3.6), side=side),
                m.vary(0.9, 0.2) * v.strut_size,
            ),
            m.lamella,
        ),
        Part(
            Ellipsoid(m.one(_posterior_clinoid(m, side), side), behind * v.posterior_clinoid_size),
            m.marrow,
        ),
        *_processes(m, side),
    ]
    if m.rng.uniform() < 0.12 * m.build.air + 0.05:
        parts.append(Part(Tube(m.at((17.0, -6.8, 8.8), (20, -9.8, 9.8), side=side), 1.1), AIR_HU))
    return parts


def _posterior_clinoid(m: PartMaker, side: float) -> Point:
    """Its middle, which stands on the dorsum."""
    v = m.variety
    x, y, z = v.of(side).posterior_clinoid_shift
    lean, height = 0.6 * v.dorsum_lean_mm, v.dorsum_height_mm
    return 7.6 * v.dorsum_width + x, 5.4 + lean + y, 6.6 + height + z


def _processes(m: PartMaker, side: float) -> list[Part]:
    """Spines and bridges around the siphon that only some skulls have."""
    v = m.variety.of(side)
    x, y, z = v.anterior_clinoid_shift
    tip, behind = (14.0 + x, -2.6 + y, 7.2 + z), _posterior_clinoid(m, side)
    middle = (7.6, -5.0, 3.4)
    courses: list[tuple[float, tuple[Point, ...]]] = [
        (v.petrosal_process_mm, ((6.0, 6.4, 0.5), (9.6, 7.4, -1.6))),
        (v.middle_clinoid_mm, ((6.8, -5.2, 2.6), middle)),
        (v.front_bridge_mm, (middle, (10.8, -4.6, 4.4), tip)),
        (v.long_bridge_mm, (behind, (11.6, 1.6, 8.0 + 0.5 * z), tip)),
        (v.lingula_mm, ((15.6, -2.0, -9.2), (16.2, 3.5, -7.8), (16.0, 6.5, -7.4))),
    ]
    return [
        Part(Tube(m.at(*course, side=side), radius_mm), m.marrow)
        for radius_mm, course in courses
        if radius_mm > 0.0
    ]
