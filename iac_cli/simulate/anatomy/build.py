"""What differs from person to person: sizes, thicknesses, densities, and air in the skull."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One person's head. Lengths in mm of the head's own frame, densities in HU."""

    scale: float
    """Size of the whole head; 1 is an adult of 147 mm skull width."""
    width: float
    """Width of the vault against the average."""
    skull_mm: float
    """Thickness of the vault."""
    scalp_mm: float
    atrophy: float
    """0 is a full brain, 1 marked widening of sulci and ventricles."""
    cortical_hu: float
    diploe_hu: float
    air: float
    """0 is a skull with few air cells, 1 one with many."""
    sphenoid_air: float
    """How far the sphenoid sinus reaches: 0 only in front of the sella, 1 into the clivus."""
    clinoid_mm: float
    """Extra thickness of the clinoid processes."""
    base_mm: float
    """Thickness of the plates of the skull base."""
    base_density: float
    """Density of those plates against the vault's compact bone: they are finely porous."""


def draw_build(rng: np.random.Generator) -> Build:
    """A person, from adult ranges."""
    return Build(
        scale=float(rng.uniform(0.95, 1.04)),
        width=float(rng.uniform(0.96, 1.05)),
        skull_mm=float(rng.uniform(5.5, 8.5)),
        scalp_mm=float(rng.uniform(4.5, 7.5)),
        atrophy=float(rng.uniform(0.15, 0.9)),
        cortical_hu=float(rng.uniform(1250, 1700)),
        diploe_hu=float(rng.uniform(450, 800)),
        air=float(rng.uniform(0.35, 1.0)),
        sphenoid_air=float(
            rng.uniform(0.1, 0.35) if rng.uniform() < 0.12 else rng.uniform(0.55, 1.05)
        ),
        clinoid_mm=float(rng.uniform(-0.4, 0.5)),
        base_mm=float(rng.uniform(0.7, 1.5)),
        base_density=float(rng.uniform(0.25, 0.52)),
    )


class Wobble:
    """A smooth displacement of landmarks and arteries, so that bone and artery move together."""

    def __init__(self, rng: np.random.Generator, size_mm: float = 1.1) -> None:
        self._waves = rng.normal(0.0, 1.0 / 55.0, (3, 4, 3))
        self._phases = rng.uniform(0, 2 * np.pi, (3, 4))
        self._size_mm = size_mm

    def moved(self, points: Float) -> Float:
        """Points (k, 3) of the head's frame, displaced."""
        phases = np.einsum("kj,awj->kaw", points, self._waves) + self._phases
        return np.asarray(points + self._size_mm * np.sin(phases).sum(axis=2) / np.sqrt(2.0))
