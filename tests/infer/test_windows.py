from itertools import product

import numpy as np
import pytest

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.infer.windows import CELL, plan_windows, voxels_near

SIDES, MARGIN = (16, 48, 48), (1, 4, 4)


def line(points) -> CentreLine:
    return CentreLine(Artery.BA, np.array(points, float), np.ones(len(points)))


def test_voxels_near_a_line_are_those_within_reach_of_it() -> None:
    """Against the distance of every voxel of a tilted stack to the line, one by one."""
    n = 9
    positions = np.array([[0.0, 0.3 * i * 4, i * 4.0] for i in range(n)])
    grid = Grid(
        (n, 50, 40),
        positions,
        np.array([1.0, 0, 0]),
        np.array([0, 1.0, 0]),
        (0.9, 0.8),
        np.full(n, 4.0),
    )
    course = line([[10, 12, 5], [22, 30, 20], [22, 40, 31]])
    near = voxels_near(grid, [course], 6.0)
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), -1).reshape(-1, 3)
    dense = course.resampled(0.01).points_mm
    world = grid.to_world(index)
    distance = np.array([np.linalg.norm(dense - p, axis=1).min() for p in world])
    sure = {tuple(v) for v in index[distance <= 5.97]}
    possible = {tuple(v) for v in index[distance <= 6.0]}
    found = {tuple(v) for v in near}
    assert sure <= found <= possible
    assert (np.diff(np.ravel_multi_index(tuple(near.T), grid.shape)) > 0).all()


def test_line_outside_the_scan_has_no_voxels() -> None:
    grid = Grid.regular((4, 20, 20), spacing_mm=(4, 1, 1))
    assert len(voxels_near(grid, [line([[0, 0, 90], [5, 5, 99]])], 6.0)) == 0
    assert len(voxels_near(grid, [line([[90, 0, 4], [99, 5, 4]])], 6.0)) == 0
    assert len(voxels_near(grid, [], 6.0)) == 0


@pytest.mark.parametrize("seed", range(4))
def test_every_place_lies_inside_the_margin_of_a_window(seed: int) -> None:
    rng = np.random.default_rng(seed)
    course = np.cumsum(rng.normal(0, 1.2, (300, 3)), axis=0)
    places = course[rng.integers(0, 300, 2000)] + rng.normal(0, 4, (2000, 3))
    starts = plan_windows(places, SIDES, MARGIN)
    for corner in product((np.floor, np.ceil), repeat=3):
        voxels = np.stack([rounded(places[:, a]) for a, rounded in enumerate(corner)], axis=1)
        inside = voxels[:, None] - starts - np.array(MARGIN)
        core = np.array(SIDES) - 2 * np.array(MARGIN)
        assert ((inside >= 0) & (inside < core)).all(axis=2).any(axis=1).all()


def test_one_window_covers_what_fits_into_one() -> None:
    core = np.array(SIDES) - 2 * np.array(MARGIN) - np.array(CELL)
    places = np.random.default_rng(0).uniform(0, 1, (500, 3)) * (core - np.array(CELL))
    assert len(plan_windows(places, SIDES, MARGIN)) == 1


def test_no_places_need_no_window() -> None:
    assert len(plan_windows(np.empty((0, 3)), SIDES, MARGIN)) == 0


def test_plan_is_the_same_every_time() -> None:
    places = np.random.default_rng(0).uniform(0, 200, (1000, 3))
    first, second = (plan_windows(places, SIDES, MARGIN) for _ in range(2))
    assert (first == second).all()
