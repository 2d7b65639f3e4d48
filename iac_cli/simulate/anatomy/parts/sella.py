"""The sella with the pituitary and dorsum, and the soft tissue beside it."""

import numpy as np

from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Part
from iac_cli.simulate.anatomy.shapes import Block, Ellipsoid, Tube


def sella(m: PartMaker) -> list[Part]:
    """Sella with the pituitary, dorsum, tuberculum."""
    v = m.variety
    lean = float(m.rng.normal(0, 0.5)) + v.dorsum_lean_mm
    dorsum_mm = float(np.clip(m.vary(0.95 * m.build.base_mm, 0.25), 0.6, 1.7)) * v.dorsum_thickness
    tuberculum = (8.0, 0.9 * m.build.base_mm * v.tuberculum_size, 2.8 * v.tuberculum_size)
    return [
        Part(Block(m.one((0, 0.5, -0.6)), (8.3, 6.3, 0.45 * m.build.base_mm), 0.3), m.lamella),
        Part(Block(m.one((0, -8.0, 4.6)), tuberculum, 0.5, -30.0), m.marrow),
        Part(
            Tube(
                m.at((0, 6.6, -2), (0, 6.2 + lean, 5.6 + v.dorsum_height_mm)),
                (dorsum_mm + 0.4, dorsum_mm),
                (6.2 * v.dorsum_width, 1.0, 1.0),
            ),
            m.marrow,
        ),
        Part(Ellipsoid(m.one((0, 0, 4.0)), (7.2, 5.4, 4.0)), 42.0),
        Part(Tube(m.at((0, 0, 7), (0, 3, 13)), (1.2, 1.2)), 38.0),
    ]


def cavernous(m: PartMaker, side: float) -> list[Part]:
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
