"""Is this a head? A shell of compact bone around something that has the density of brain.

Judged on the 4 mm head, section by section: bone closes a ring (openings of the skull base and the
border of a small field of view are bridged), and what it encloses is looked at. An abdomen or a
chest closes no ring of bone around fat-free soft tissue; a knee encloses nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.errors import Finding, Word
from iac_cli.locate.head import TISSUE_HU, CoarseHead
from iac_cli.settings import CheckSettings

CLOSING_CELLS = 3
"""Openings of a ring up to twice this wide are bridged."""

FAT_HU = (-200.0, -20.0)
"""HU of fat, of which there is almost none inside a skull."""

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Skull:
    """What bone encloses in a 4 mm head."""

    cavity: BoolArray
    """(z, y, x) cells inside a ring of bone in their section."""
    cavity_cm3: float
    median_hu: float | None
    """Median HU of the cavity's cells; None without a cavity."""
    fat_share: float
    """Share of the cavity's cells with the density of fat."""


def find_skull(head: CoarseHead, settings: CheckSettings) -> Skull:
    """The cranial cavity: sections that enclose enough, by a border that is mostly bone."""
    cell_cm2 = (head.cell_mm / 10.0) ** 2
    cavity = np.stack([_enclosed(section, cell_cm2, settings) for section in head.hu])
    inside = head.hu[cavity]
    if not len(inside):
        return Skull(cavity, 0.0, None, 0.0)
    fat = float(((inside > FAT_HU[0]) & (inside < FAT_HU[1])).mean())
    cm3 = len(inside) * cell_cm2 * head.cell_mm / 10.0
    return Skull(cavity, cm3, float(np.median(inside)), fat)


def _enclosed(hu: NDArray[np.float32], cell_cm2: float, settings: CheckSettings) -> BoolArray:
    """(y, x) cells of one section inside a ring of bone."""
    from scipy import ndimage

    bone = hu >= settings.bone_hu
    if bone.sum() * cell_cm2 < 1.0:
        return np.zeros(hu.shape, dtype=bool)
    edge = np.ones(hu.shape, dtype=bool)
    edge[1:-1, 1:-1] = False
    width = CLOSING_CELLS + 1
    ring = np.pad(bone | (edge & (hu > TISSUE_HU)), width)
    closed = ndimage.binary_closing(ring, iterations=CLOSING_CELLS)
    filled = ndimage.binary_fill_holes(closed)[width:-width, width:-width]
    labels, n = ndimage.label(filled & ~bone & ~edge)
    enclosed = np.zeros(hu.shape, dtype=bool)
    for k in range(1, n + 1):
        part = labels == k
        rim = ndimage.binary_dilation(part) & ~part & ~edge
        large = part.sum() * cell_cm2 >= settings.cavity_cm2
        if large and rim.any() and bone[rim].mean() >= settings.cavity_bone_share:
            enclosed |= part
    return enclosed


def judge_skull(skull: Skull, settings: CheckSettings) -> Finding | None:
    """Why this is no head that could be measured, or what is odd about it; None otherwise."""
    if skull.median_hu is None or skull.cavity_cm3 < settings.cavity_cm3:
        return _no_head(
            f"no skull was found: bone encloses {skull.cavity_cm3:.0f} cm3, "
            f"of a head at least {settings.cavity_cm3:.0f} cm3"
        )
    low, high = settings.brain_hu
    if skull.median_hu < TISSUE_HU:
        return _no_head(
            f"a skull without a brain: its cavity holds air (median {skull.median_hu:.0f} HU), "
            "as in a dry skull or a replica"
        )
    if not low <= skull.median_hu <= high:
        return _no_head(
            f"what bone encloses has a median of {skull.median_hu:.0f} HU, "
            f"a brain has {low:.0f} to {high:.0f}"
        )
    if skull.fat_share > settings.fat_share:
        what = f"{skull.fat_share:.0%} of what bone encloses is fat: no head, or too little of one"
        return _no_head(what)
    usual_low, usual_high = settings.usual_brain_hu
    if not usual_low <= skull.median_hu <= usual_high:
        what = f"the brain's median is {skull.median_hu:.0f} HU: the HU scale may be shifted"
        return Finding(Word.BRAIN_HU_UNUSUAL, what)
    return None


def _no_head(what: str) -> Finding:
    return Finding(Word.NOT_A_HEAD, what)
