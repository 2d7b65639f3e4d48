"""Sheets of dura and the large venous sinuses."""

import numpy as np

from iac_cli.simulate.anatomy.layers import (
    BLOOD_HU,
    DURA_HU,
    VAULT_CENTRE,
    tentorium_height,
    vault_radii,
)
from iac_cli.simulate.anatomy.parts.maker import PartMaker
from iac_cli.simulate.anatomy.parts.part import Paint, Part, Sheet
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Ellipsoid, Tube


def dura(m: PartMaker) -> list[Part]:
    """Falx, tentorium and the large venous sinuses."""

    def falx(p: Coordinates) -> Array:
        below = (tentorium_height(p) - p[2]) * np.float32(0.8)
        arch = np.sqrt((p[1] - 14) ** 2 + (p[2] - 18) ** 2) - np.float32(44.0)
        return np.asarray(np.maximum(np.maximum(np.abs(p[0]) - 0.55, below), -arch), np.float32)

    def tent(p: Coordinates) -> Array:
        leaf = np.abs(p[2] - tentorium_height(p)) * np.float32(0.75) - np.float32(0.55)
        notch = np.sqrt((p[0] / 17.0) ** 2 + ((p[1] - 24.0) / 26.0) ** 2) - 1.0
        return np.asarray(np.maximum(leaf, -notch * np.float32(17.0)), np.float32)

    inside = _inside(m)
    parts = [
        Part(Sheet(falx, (-1.5, -56, 8), (1.5, 100, 97)), DURA_HU, inside),
        Part(Sheet(tent, (-54, 18, -12), (54, 97, 29)), DURA_HU, inside),
        Part(Tube(m.at((0, 52, 24), (0, 98, -1)), (2.0, 2.6)), BLOOD_HU),
    ]
    for side in (1.0, -1.0):
        course = m.at((0, 99, -2), (22, 92, -3), (43, 70, -5), (49, 52, -7), side=side)
        parts += [Part(Tube(course, m.vary(3.2, 0.25)), BLOOD_HU, inside)]
    return parts


def _inside(m: PartMaker) -> Paint:
    """1 well inside the average cavity, so that a sheet never leaves the skull."""
    wide, deep, high = vault_radii(m.build)
    vault = Ellipsoid(VAULT_CENTRE, (wide - 1, deep - 1, high - 1), 2.35)
    below = Ellipsoid((0, 55, -10), (52, 43.5, 34))

    def share(p: Coordinates, d: Array) -> Array:
        gap = np.minimum(vault.distance(p), below.distance(p))
        return np.asarray(np.clip(0.5 - gap, 0.0, 1.0), dtype=np.float32)

    return share
