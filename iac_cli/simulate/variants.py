"""Variants of arteries: thin, wide or winding ones, drawn by their rates.

Both ends of an artery stay where they are, so that the tree hangs together, and a winding carotid
keeps to its canal: only what lies in soft tissue winds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.findings.rates import Rates

Float = NDArray[np.float64]

FREE_FROM = {"ICA": 0.55, "V4": 0.1, "BA": 0.1}
"""Share of an artery's control points after which it may wind; others never do."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How an artery differs from the usual."""

    kind: str = "usual"
    wider: float = 1.0
    """Factor of its radius."""
    aside_mm: tuple[float, float] = (0.0, 0.0)
    """Size of its bends along (x, y) of the head's frame."""
    free_from: float = 0.0

    def winding(self, points: Float) -> Float:
        """Control points (k, 3) of the left side, with bends; the ends stay."""
        t = np.linspace(0.0, 1.0, len(points))
        u = np.clip((t - self.free_from) / (1.0 - self.free_from), 0.0, 1.0)
        across, deep = self.aside_mm
        bends = np.column_stack([across * np.sin(2 * np.pi * u), deep * np.sin(np.pi * u), 0.0 * u])
        return np.asarray(points + bends)


def draw_variants(rates: Rates, rng: np.random.Generator) -> dict[Artery, Variant]:
    """One person's unusual arteries. Two variants of one artery: the later one counts."""
    found: dict[Artery, Variant] = {}
    for kind, rate, where, wider in (
        ("hypoplastic", rates.hypoplastic_v4, (Artery.V4_L, Artery.V4_R), (0.45, 0.65)),
        ("hypoplastic", rates.hypoplastic_a1, (Artery.A1_L, Artery.A1_R), (0.4, 0.65)),
        ("fetal", rates.fetal_pca, (Artery.P1_L, Artery.P1_R), (0.4, 0.65)),
        ("ectatic", rates.ectatic_basilar, (Artery.BA,), (1.4, 2.0)),
        ("ectatic", rates.ectatic_ica, (Artery.ICA_L, Artery.ICA_R), (1.2, 1.45)),
    ):
        drawn, artery = rng.random(), where[int(rng.integers(len(where)))]
        factor = float(rng.uniform(*wider))
        if drawn < rate:
            found[artery] = Variant(kind, factor)
    drawn = rng.random()
    across, deep = rng.uniform(1.2, 3.0, 2) * rng.choice((-1.0, 1.0), 2)
    if drawn < rates.tortuous:
        found |= _winding(float(across), float(deep), found)
    return found


def _winding(
    across_mm: float, deep_mm: float, found: dict[Artery, Variant]
) -> dict[Artery, Variant]:
    """All long arteries of a person wind; the basilar backwards, away from the clivus."""
    winding = {}
    for artery in Artery:
        name = artery.value.partition("-")[0]
        if name not in FREE_FROM:
            continue
        before = found.get(artery, Variant())
        sizes = {
            "ICA": (0.4 * abs(across_mm), 0.0),
            "V4": (0.0, abs(deep_mm)),
            "BA": (across_mm, abs(deep_mm)),
        }
        kind = "tortuous" if before.kind == "usual" else f"{before.kind}, tortuous"
        winding[artery] = Variant(kind, before.wider, sizes[name], FREE_FROM[name])
    return winding
