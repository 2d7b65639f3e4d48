"""Shortcuts of painting leave out nothing: blocks hold every cell, textures are trilinear."""

import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial.transform import Rotation

from iac_cli.simulate.anatomy.extent import plane_blocks
from iac_cli.simulate.anatomy.shapes import Ellipsoid, Tube
from iac_cli.simulate.anatomy.texture import EDGE, PERIOD, Texture
from iac_cli.simulate.lattice import Lattice

MARGIN_MM = 1.0


@pytest.mark.parametrize("flat", [(1.0, 1.0, 1.0), (0.5, 1.0, 2.5)])
@pytest.mark.parametrize("tilt_deg", [0.0, 25.0])
def test_the_blocks_of_a_tube_hold_all_its_cells(
    flat: tuple[float, float, float], tilt_deg: float
) -> None:
    rng = np.random.default_rng(3)
    axes = np.eye(3)[::-1] @ Rotation.from_euler("x", tilt_deg, degrees=True).as_matrix().T
    lattice = Lattice.spanning(((-30, 30), (-30, 30), (-30, 30)), (2.0, 1.0, 1.0), axes)
    points = lattice.points_mm((slice(None),) * 3)
    places = tuple(points[..., i].astype(np.float32) for i in range(3))
    for _ in range(8):
        tube = Tube(rng.uniform(-22, 22, (4, 3)), rng.uniform(1.0, 4.0, 4), flat)
        inside = tube.distance(places) < 0.0
        blocks = plane_blocks(lattice, tube, lambda p: p, 1.0, MARGIN_MM)
        held = np.zeros(lattice.shape, dtype=bool)
        for k, block in blocks.items():
            held[k][block] = True
        assert inside.any()
        assert not (inside & ~held).any()
        assert held.sum() < 0.7 * held.size


def test_a_shape_outside_the_lattice_has_no_blocks() -> None:
    lattice = Lattice.spanning(((0, 10), (0, 10), (0, 10)), (1.0, 1.0, 1.0), np.eye(3)[::-1])
    far = Tube(((50, 50, 50), (60, 60, 60)), (1.0, 1.0))
    for shape in (far, Ellipsoid((50, 50, 50), (2, 2, 2))):
        assert plane_blocks(lattice, shape, lambda p: p, 1.0, MARGIN_MM) == {}


def test_a_texture_is_linear_between_its_cells_and_periodic() -> None:
    rng = np.random.default_rng(0)
    texture = Texture(rng)
    block = texture._flat.reshape(EDGE, EDGE, EDGE)[:PERIOD, :PERIOD, :PERIOD]
    at = rng.uniform(-200, 200, (3, 500)).astype(np.float32)
    expected = map_coordinates(block, at, order=1, mode="grid-wrap")
    got = texture.at((at[0], at[1], at[2]), 4.0)
    assert np.allclose(got, expected, atol=1e-4)
    assert abs(float(block.mean())) < 1e-3
    assert float(block.std()) == pytest.approx(1.0, abs=1e-3)
