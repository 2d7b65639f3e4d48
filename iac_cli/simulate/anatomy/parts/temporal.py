"""The temporal bone: pyramid, mastoid with its cells, ear, canals and foramina."""

import numpy as np

from iac_cli.simulate.anatomy.layers import AIR_HU, BLOOD_HU
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Paint, Part
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Ellipsoid, Tube, smooth_step


def petrous(m: PartMaker, side: float) -> list[Part]:
    """Petrous pyramid, mastoid with its cells, ear, canals and foramina, in the temporal bone."""
    v = m.variety.of(side)
    x, y, z = v.apex_shift
    ridge = m.at((13.5 + x, 10.0 + y, -8.0 + z), (30, 22.0, -9.0), (54, 36, -13), side=side)
    radii = (m.vary(5.2), m.vary(10.0, 0.08), m.vary(16.0, 0.08))
    capsule = _otic_capsule(m)
    air = m.build.air
    mastoid = m.one((52, 38, -24), side)
    return [
        Part(Tube(ridge, radii, (1.0, 1.0, 0.95)), m.marrow),
        Part(
            Tube(
                m.at((28, 14, -27), (27.5, 12, -20), (20, 7.5, -16), (13.8, 4.8, -12.5), side=side),
                np.array([4.8, 4.8, 4.9, 5.0]) * v.canal_size,
            ),
            m.canal(side),
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


def _otic_capsule(m: PartMaker) -> Paint:
    """The otic capsule: the densest bone of the head."""

    def paint(p: Coordinates, d: Array) -> Array:
        inner = smooth_step(-d - 1.0, 2.5)
        base = m.compact(p, d)
        return np.asarray(base + (np.float32(1950.0) - base) * inner, dtype=np.float32)

    return paint
