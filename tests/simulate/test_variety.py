"""Skull bases for training: wilder than people around the siphon, with arteries where they were."""

from dataclasses import fields, replace

import numpy as np
import pytest

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.anatomy.procedural import ProceduralHead, draw_head
from iac_cli.simulate.anatomy.variety import ORDINARY, SideVariety, Variety, draw_variety
from iac_cli.simulate.lattice import Lattice

AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
SPINES = [one.name for one in fields(SideVariety) if one.name.endswith("_mm")]


def _head(variety: Variety = ORDINARY) -> ProceduralHead:
    return draw_head(np.random.default_rng(31), variety=variety)


def _around_the_siphons(head: ProceduralHead) -> Lattice:
    points = np.concatenate([head.lines[a].points_mm for a in (Artery.ICA_R, Artery.ICA_L)])
    low, high = (points @ AXES.T).min(axis=0) - 6.0, (points @ AXES.T).max(axis=0) + 6.0
    ranges = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
    return Lattice.spanning(ranges, (1.0, 0.8, 0.8), AXES)


def test_arteries_stay_and_stay_open_whatever_the_bone_beside_them() -> None:
    plain = _head()
    lattice = _around_the_siphons(plain)
    for seed in range(3):
        wild = _head(draw_variety(np.random.default_rng(seed)))
        line = wild.lines[Artery.ICA_L].resampled(1.0)
        assert np.array_equal(
            wild.lines[Artery.ICA_L].points_mm, plain.lines[Artery.ICA_L].points_mm
        )
        hu = wild.painted(lattice)
        cells = (line.points_mm @ AXES.T - lattice.start_mm) / lattice.spacing_mm
        inside = hu[tuple(np.round(cells).astype(int).T)]
        assert np.percentile(inside, 95) < 80.0
        assert float(np.abs(hu - plain.painted(lattice)).max()) > 300.0


@pytest.mark.parametrize("name", SPINES)
def test_a_spine_is_bone_on_its_own_side_alone(name: str) -> None:
    plain = _head()
    lattice = _around_the_siphons(plain)
    spine = replace(ORDINARY, left=replace(SideVariety(), **{name: 1.2}))
    more = _head(spine).painted(lattice) - plain.painted(lattice)
    changed = np.argwhere(np.abs(more) > 50.0)
    assert len(changed) >= 5
    x_mm = lattice.start_mm[2] + changed[:, 2] * lattice.spacing_mm[2]
    assert (x_mm > 0.0).all()
    assert (more > 100.0).sum() >= 5


def test_every_part_of_a_skull_base_differs_between_seeds() -> None:
    drawn = [draw_variety(np.random.default_rng(seed)) for seed in range(40)]
    for one in fields(Variety):
        assert len({getattr(v, one.name) for v in drawn}) > 20
    for one in fields(SideVariety):
        assert len({getattr(v.left, one.name) for v in drawn}) > 1
        assert any(getattr(v.left, one.name) != getattr(v.right, one.name) for v in drawn)
