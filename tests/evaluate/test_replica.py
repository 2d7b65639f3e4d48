"""A replica's figures against what is put in, and its shape with hard edges."""

import numpy as np
import pytest
from scipy.special import erf

from iac_cli.evaluate.replica import (
    AIR_HU,
    BONE_HU,
    PLASTIC_HU,
    HardReplica,
    cut_grid,
    look_of_replica,
    plastic_patches,
    surroundings,
)
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.scanner import PointSpread, Scan, tilted_grid

PIXEL_MM = 0.5
RADIUS_MM, SHELL_MM, ROD_MM = 40.0, 9.0, 16.0


def replica(blur_mm: float = 0.7) -> Volume:
    """An upright tube of bone with a rod of plastic in it, as a real scanner blurs them."""
    grid = tilted_grid(
        (5, 220, 220), pixel_mm=PIXEL_MM, increment_mm=1.0, tilt_deg=0.0, lowest_mm=-2.0
    )
    at = (np.arange(220) - 109.5) * PIXEL_MM
    away = np.hypot(at[:, None], at[None])

    def within(radius: float) -> np.ndarray:
        return 0.5 * (1.0 - erf((away - radius) / (np.sqrt(2) * blur_mm)))

    plane = AIR_HU + (BONE_HU - AIR_HU) * (within(RADIUS_MM) - within(RADIUS_MM - SHELL_MM))
    plane = plane + (PLASTIC_HU - AIR_HU) * within(ROD_MM)
    return Volume(np.repeat(plane[None], 5, axis=0).astype(np.float32), grid)


@pytest.mark.parametrize("sigma_mm", [0.45, 0.9])
def test_a_scan_of_the_hard_replica_shows_the_scanners_blur_alone(sigma_mm: float) -> None:
    """2.563 standard deviations from 10 to 90 %, whatever blur the source had."""
    thin = replica()
    rows, columns = surroundings(thin.hu > 0.0, 20)
    grid = cut_grid(thin.grid, slice(2, 3), rows, columns)
    spread = PointSpread(sigma_mm, 2.0, 0.0, 1.0, "")
    made = HardReplica(thin).scanned(grid, [Scan(1.0, spread, noise_hu=0.0)], seed=0)[0]
    look = look_of_replica(list(made), grid.pixel_mm, None)
    assert look.edge_mm == pytest.approx(2.563 * sigma_mm, abs=0.2)
    assert look.overshoot == pytest.approx(0.0, abs=0.01)
    inside = made[0][made.shape[1] // 2 - 5 : made.shape[1] // 2 + 5, made.shape[2] // 2]
    assert inside == pytest.approx(PLASTIC_HU, abs=1.0)


def test_edge_enhancement_overshoots() -> None:
    thin = replica()
    grid = cut_grid(thin.grid, slice(2, 3), slice(0, 220), slice(0, 220))
    spread = PointSpread(0.4, 0.9, 0.6, 1.0, "")
    made = HardReplica(thin).scanned(grid, [Scan(1.0, spread, noise_hu=0.0)], seed=0)[0]
    overshoot = look_of_replica(list(made), grid.pixel_mm, None).overshoot
    assert overshoot is not None
    assert overshoot > 0.03


def test_noise_is_measured_in_plastic_alone() -> None:
    rng = np.random.default_rng(0)
    plane = replica().hu[2] + rng.normal(0.0, 8.0, (220, 220)).astype(np.float32)
    patches = plastic_patches(plane, (PIXEL_MM, PIXEL_MM))
    assert 1 <= len(patches) <= 4
    look = look_of_replica([plane], (PIXEL_MM, PIXEL_MM), None)
    assert look.noise_hu == pytest.approx(8.0, rel=0.1)
    # the mean distance from the middle of a unit square is 0.3826: times 1 / pixel
    assert look.noise_frequency_per_mm == pytest.approx(0.3826 / PIXEL_MM, rel=0.05)
    assert not plastic_patches(np.where(plane > 300, plane, AIR_HU), (PIXEL_MM, PIXEL_MM))
