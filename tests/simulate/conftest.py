"""Two small simulated heads that several tests look at; making one takes some seconds."""

import pytest

from iac_cli.simulate.head import SimulatedHead, simulate_head
from iac_cli.simulate.head_settings import HeadSettings

SMALL = HeadSettings(
    seed=11,
    thickness_mm=3.0,
    tilt_deg=12.0,
    burden_mm3=300.0,
    rows=192,
    columns=192,
    n_slices=36,
    pixel_mm=1.1,
)

STRAIGHT = HeadSettings(
    seed=6, thickness_mm=5.0, burden_mm3=0.0, rows=128, columns=128, pixel_mm=1.7
)


@pytest.fixture(scope="session")
def small_head() -> SimulatedHead:
    """Tilted, 3 mm, much calcium."""
    return simulate_head(SMALL)


@pytest.fixture(scope="session")
def straight_head() -> SimulatedHead:
    """Untilted, 5 mm, no calcium."""
    return simulate_head(STRAIGHT)
