"""What every source of anatomy offers: a head that can be painted, and where its arteries run.

A procedural person and a real scan are the same to the scanner and to the calcium.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.lattice import Lattice

Step = Callable[[float], None]
"""Told the share that is done, [0, 1]."""


class Anatomy(Protocol):
    """One head, as it lies in the scanner. The patient's origin is inside it; LPS mm."""

    @property
    def kind(self) -> str:
        """What made it, for tags and truth: `procedural head`, or `real head` and its name."""

    @property
    def lines(self) -> Mapping[Artery, CentreLine]:
        """Arteries that count. One that the source does not show is absent."""

    @property
    def landmarks(self) -> Mapping[str, tuple[float, float, float]]:
        """Named places, LPS mm."""

    @property
    def top_mm(self) -> float:
        """Height of the vertex above the patient's origin."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the truth tells of this person, as plain values."""

    def painted(self, lattice: Lattice, on_step: Step | None = None) -> NDArray[np.float32]:
        """HU of the head without calcification, on a lattice (normal, column, row)."""
