"""A head that is painted at once: soft tissue with short, straight arteries in it."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from tests.simulate.quick_lines import straight_lines


class QuickHead:
    """An anatomy for tests of everything around it."""

    kind = "real head quick"
    landmarks: Mapping[str, tuple[float, float, float]] = MappingProxyType({})
    top_mm = 20.0

    def __init__(self, seed: int = 0) -> None:
        self.facts = {"seed": seed}
        self.lines = straight_lines(float(seed % 5))

    def painted(self, lattice, on_step=None):
        return np.full(lattice.shape, 40.0, dtype=np.float32)


def quick_head(seed: int) -> QuickHead:
    return QuickHead(seed)
