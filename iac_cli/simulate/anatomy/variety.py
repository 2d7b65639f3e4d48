"""How far one skull base departs from the ordinary: for heads that networks train on.

Networks take bone around the siphon for calcification where it differs from what they saw: the
clinoids, the dorsum, the petrosal process, bony bridges, and the carotid canal's wall. Heads of a
training differ there more than people do; ordinary heads have `ORDINARY`.
"""

from dataclasses import dataclass

import numpy as np

Triple = tuple[float, float, float]
STILL: Triple = (0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideVariety:
    """One side. Shifts in mm (x lateral, y posterior, z superior), radii in mm, 0 for none."""

    anterior_clinoid_shift: Triple = STILL
    """Of its tip."""
    anterior_clinoid_size: float = 1.0
    strut_size: float = 1.0
    posterior_clinoid_shift: Triple = STILL
    posterior_clinoid_size: Triple = (1.0, 1.0, 1.0)
    petrosal_process_mm: float = 0.0
    """A spine from the lower dorsum outwards, beneath the petrosphenoid ligament."""
    middle_clinoid_mm: float = 0.0
    """A bump before the sella, beside the siphon's bend."""
    front_bridge_mm: float = 0.0
    """From the middle to the anterior clinoid, around the artery."""
    long_bridge_mm: float = 0.0
    """From the posterior to the anterior clinoid."""
    lingula_mm: float = 0.0
    """A plate beside the artery where it enters the cavernous sinus."""
    apex_shift: Triple = STILL
    """Of the petrous pyramid's tip."""
    canal_size: float = 1.0
    """Thickness of the carotid canal's wall."""
    canal_density: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Variety:
    """One skull base, against an ordinary one of the same build."""

    dorsum_height_mm: float = 0.0
    dorsum_lean_mm: float = 0.0
    dorsum_thickness: float = 1.0
    dorsum_width: float = 1.0
    tuberculum_size: float = 1.0
    marrow_density: float = 1.0
    plate_density: float = 1.0
    left: SideVariety = SideVariety()
    right: SideVariety = SideVariety()

    def of(self, side: float) -> SideVariety:
        """The left side (1.0) or the right one (-1.0)."""
        return self.left if side > 0.0 else self.right


ORDINARY = Variety()


def draw_variety(rng: np.random.Generator) -> Variety:
    """A skull base for training."""
    return Variety(
        dorsum_height_mm=float(np.clip(rng.normal(0.0, 1.6), -3.5, 3.5)),
        dorsum_lean_mm=float(rng.normal(0.0, 1.0)),
        dorsum_thickness=_times(rng, 0.45),
        dorsum_width=float(rng.uniform(0.75, 1.3)),
        tuberculum_size=_times(rng, 0.25),
        marrow_density=_times(rng, 0.35),
        plate_density=_times(rng, 0.3),
        left=_draw_side(rng),
        right=_draw_side(rng),
    )


def _draw_side(rng: np.random.Generator) -> SideVariety:
    return SideVariety(
        anterior_clinoid_shift=_shift(rng, (1.0, 2.2, 0.9)),
        anterior_clinoid_size=_times(rng, 0.25),
        strut_size=_times(rng, 0.35),
        posterior_clinoid_shift=_shift(rng, (1.0, 0.9, 1.3)),
        posterior_clinoid_size=(_times(rng, 0.35), _times(rng, 0.3), _times(rng, 0.35)),
        petrosal_process_mm=_sometimes(rng, 0.6, (0.5, 1.6)),
        middle_clinoid_mm=_sometimes(rng, 0.3, (0.5, 1.4)),
        front_bridge_mm=_sometimes(rng, 0.12, (0.4, 1.0)),
        long_bridge_mm=_sometimes(rng, 0.1, (0.4, 1.0)),
        lingula_mm=_sometimes(rng, 0.6, (0.4, 1.1)),
        apex_shift=_shift(rng, (1.3, 1.3, 1.3)),
        canal_size=_times(rng, 0.15),
        canal_density=_times(rng, 0.35),
    )


def _times(rng: np.random.Generator, spread: float) -> float:
    """A factor around 1, log-normal, cut at two standard deviations."""
    return float(np.exp(spread * np.clip(rng.normal(), -2.0, 2.0)))


def _shift(rng: np.random.Generator, spread_mm: Triple) -> Triple:
    x, y, z = rng.normal(0.0, spread_mm)
    return float(x), float(y), float(z)


def _sometimes(rng: np.random.Generator, share: float, range_mm: tuple[float, float]) -> float:
    drawn, radius = rng.uniform() < share, float(rng.uniform(*range_mm))
    return radius if drawn else 0.0
