"""Cheek, jaw joint and ear of one side."""

import numpy as np

from iac_cli.simulate.anatomy.layers import AIR_HU, FAT_HU, MUSCLE_HU
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Part
from iac_cli.simulate.anatomy.shapes import Ellipsoid, Tube


def face(m: PartMaker, side: float) -> list[Part]:
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
