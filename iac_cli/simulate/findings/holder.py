"""What the head lies on: an arc of carbon fibre, a flat bed, or a cradle with a cushion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iac_cli.simulate.findings.rates import Rates
from iac_cli.simulate.lattice import Lattice

Field = NDArray[np.float32]

FORMS = ("arc", "flat", "cradle")
AIR_BELOW_HU = -850.0
FOAM_HU, SHELL_HU = -940.0, 40.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A holder behind the head, fixed in the scanner. Lengths in mm."""

    form: str
    behind_mm: float
    """Distance of its upper face behind the patient's origin, in the middle."""
    thick_mm: float

    def lay(self, field: Field, lattice: Lattice) -> None:
        """Paint the holder wherever there is air, in place."""
        v, w = lattice.ticks(1)[:, None], lattice.ticks(2)[None, :]
        inward = self._depth_mm(v, w)
        foam = np.clip(0.5 + np.minimum(inward, self.thick_mm - inward), 0.0, 1.0)
        rim = np.minimum(np.abs(inward), np.abs(inward - self.thick_mm))
        shell = np.clip(0.5 + (0.8 - rim), 0.0, 1.0)
        hu = -1000.0 + foam * (FOAM_HU + 1000.0)
        hu = hu + shell * (SHELL_HU - hu)
        painted = np.where(foam + shell > 0.0, hu, -1000.0).astype(np.float32)
        for plane in field:
            air = plane < AIR_BELOW_HU
            plane[air] = np.maximum(plane, painted)[air]

    def _depth_mm(self, v: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Depth below the upper face at places (column axis, row axis)."""
        if self.form == "flat":
            return np.where(np.abs(w) < 110.0, v - self.behind_mm, -50.0)
        radius = 105.0 if self.form == "arc" else 85.0
        depth = np.hypot(v - (self.behind_mm - radius), w) - radius
        return np.where(v > self.behind_mm - 0.8 * radius, depth, -50.0)


def draw_holder(rates: Rates, rng: np.random.Generator) -> Holder | None:
    """The holder of one scan."""
    drawn, form = rng.random(), str(rng.choice(FORMS))
    behind_mm, thick_mm = float(rng.uniform(96.0, 106.0)), float(rng.uniform(5.0, 14.0))
    if drawn >= rates.holder:
        return None
    return Holder(form, round(behind_mm, 1), round(thick_mm, 1))
