"""The back of the skull base: foramen magnum with the cord, condyles, the upper neck bones."""

from iac_cli.simulate.anatomy.layers import CSF_HU, MUSCLE_HU
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Part
from iac_cli.simulate.anatomy.shapes import Ellipsoid, Ring, Tube


def occiput(m: PartMaker) -> list[Part]:
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
