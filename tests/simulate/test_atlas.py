"""The volume of nearest artery points, against every point's distance."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.skull import Skull
from iac_cli.simulate.windows.atlas import EXACT_MM, INDEX_STEP_MM, make_atlas, nearest_point

CPU = torch.device("cpu")
SIDE_MM = 60.0


@pytest.fixture(scope="module")
def looked_up():
    """An atlas of one skull with two lines, cells of it, and their distances to every point."""
    rising = np.array([[z, 20.0, 20.0, 2.0] for z in np.linspace(4.0, 30.0, 9)])
    across = np.array([[30.0, 20.0, x, 1.5] for x in np.linspace(20.0, 35.0, 7)])
    spacing = np.array([2.0, 1.0, 1.0])
    hu = np.zeros((int(SIDE_MM / 2), int(SIDE_MM), int(SIDE_MM)), dtype=np.float16)
    lines = {Artery.ICA_R: rising, Artery.M1_R: across}
    atlas = make_atlas([Skull("two_lines", hu, spacing, lines)], CPU)
    last = int(SIDE_MM / INDEX_STEP_MM) - 1
    cells = np.random.default_rng(1).integers(0, last, (4000, 3)) * INDEX_STEP_MM
    where = torch.as_tensor(cells, dtype=torch.float32)
    index = nearest_point(atlas, torch.zeros(len(where), dtype=torch.long), where).numpy()
    return cdist(cells, atlas.points.place.numpy()), index


def test_within_reach_it_is_the_nearest(looked_up):
    distances, index = looked_up
    near = distances.min(axis=1) < EXACT_MM - 0.01
    assert 300 < near.sum() < len(near)
    taken = np.take_along_axis(distances, index[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(taken[near], distances.min(axis=1)[near], atol=1e-4)


def test_beyond_it_the_distance_is_not_far_off_and_never_within_reach(looked_up):
    distances, index = looked_up
    least = distances.min(axis=1)
    far = least > EXACT_MM + 0.01
    taken = np.take_along_axis(distances, index[:, None], axis=1)[:, 0]
    assert (taken[far] >= EXACT_MM).all()
    assert (taken[far] - least[far]).max() < 3.0
