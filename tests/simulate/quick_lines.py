"""Short, straight arteries, far from everything."""

import numpy as np

from iac_cli.geometry.lines import Artery, CentreLine

SIDES_MM = {
    Artery.ICA_L: 15.0,
    Artery.ICA_R: -15.0,
    Artery.M1_L: 25.0,
    Artery.V4_R: -8.0,
    Artery.BA: 0.0,
}


def straight_lines(y_mm: float = 0.0) -> dict[Artery, CentreLine]:
    z = np.linspace(-12.0, 12.0, 49)
    return {
        artery: CentreLine(
            artery, np.column_stack([np.full(49, x), np.full(49, y_mm), z]), np.full(49, 2.0)
        )
        for artery, x in SIDES_MM.items()
    }
