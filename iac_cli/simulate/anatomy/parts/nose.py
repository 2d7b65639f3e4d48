"""Nasal cavity and the sinuses around it."""

import numpy as np

from iac_cli.simulate.anatomy.layers import AIR_HU
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Part
from iac_cli.simulate.anatomy.shapes import Block, Ellipsoid, Tube


def nose(m: PartMaker) -> list[Part]:
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
