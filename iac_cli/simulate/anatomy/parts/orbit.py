"""An orbit with its eye."""

import numpy as np

from iac_cli.simulate.anatomy.layers import FAT_HU, ORBIT_APEX, ORBIT_CENTRE, ORBIT_RADII
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Part
from iac_cli.simulate.anatomy.shapes import Ellipsoid, Tube


def orbit(m: PartMaker, side: float) -> list[Part]:
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
