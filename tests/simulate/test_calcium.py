"""Calcification: known volumes, and nothing outside of a wall."""

import numpy as np
import pytest

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.calcium import (
    WALL_MM,
    LesionShape,
    calcified,
    draw_shapes,
    paint_lesions,
)
from iac_cli.simulate.lattice import Lattice

RADIUS_MM = 2.0


@pytest.fixture(scope="module")
def straight() -> dict[Artery, CentreLine]:
    z = np.linspace(-15, 15, 61)
    points = np.stack([np.zeros_like(z), np.zeros_like(z), z], axis=1)
    return {
        artery: CentreLine(artery, points + (12.0 * i, 0, 0), np.full(len(z), RADIUS_MM))
        for i, artery in enumerate(Artery)
    }


@pytest.fixture(scope="module")
def lattice() -> Lattice:
    axes = np.array([[0.0, 0, 1], [0, 1, 0], [1, 0, 0]])
    ranges = ((-17.0, 17.0), (-5.0, 5.0), (-5.0, 126.0))
    return Lattice.spanning(ranges, (0.5, 0.25, 0.25), axes)


def shape(**changes: object) -> LesionShape:
    values: dict[str, object] = {
        "artery": Artery.ICA_R,
        "at_mm": 15.0,
        "angle": 0.3,
        "length_mm": 5.0,
        "arc": 2 * np.pi,
        "thickness_mm": 1.0,
        "hu": 800.0,
        "rag": (0.0, 0.0, 0.0),
    }
    return LesionShape(**(values | changes))  # type: ignore[arg-type]


def test_a_ring_has_its_analytic_volume(straight: dict, lattice: Lattice) -> None:
    """An ellipse of 5 x 1 mm turned around a circle of 2 mm: its area times 2 pi 2 mm (Pappus)."""
    (lesion,) = paint_lesions([shape()], straight, lattice)
    area = np.pi / 4 * 5.0 * 1.0
    assert lesion.volume_mm3 == pytest.approx(area * 2 * np.pi * RADIUS_MM, rel=0.02)


def test_a_lens_has_its_analytic_volume(straight: dict, lattice: Lattice) -> None:
    """Half an ellipsoid's shape laid on the wall: 2/3 of an elliptic cylinder."""
    (lesion,) = paint_lesions([shape(arc=1.4, thickness_mm=1.2)], straight, lattice)
    ellipse = np.pi / 4 * 5.0 * 1.4 * RADIUS_MM
    assert lesion.volume_mm3 == pytest.approx(2 / 3 * 1.2 * ellipse, rel=0.03)


def test_overlapping_lesions_share_no_space(straight: dict, lattice: Lattice) -> None:
    alone = paint_lesions([shape()], straight, lattice)[0].volume_mm3
    twice = paint_lesions([shape(), shape(hu=400.0)], straight, lattice)
    assert sum(lesion.volume_mm3 for lesion in twice) == pytest.approx(alone)


@pytest.mark.parametrize("burden_mm3", [7.0, 44.0, 400.0])
def test_volumes_add_up_to_the_burden(burden_mm3: float, straight: dict, lattice: Lattice) -> None:
    lesions = calcified(straight, burden_mm3, lattice, np.random.default_rng(5))
    assert sum(lesion.volume_mm3 for lesion in lesions) == pytest.approx(burden_mm3, rel=0.03)
    assert all(130 <= lesion.shape.hu <= 1500 for lesion in lesions)


def test_no_burden_no_lesions(straight: dict, lattice: Lattice) -> None:
    assert calcified(straight, 0.0, lattice, np.random.default_rng(5)) == []


def test_no_lesion_lies_outside_a_wall(straight: dict, lattice: Lattice) -> None:
    cell = float(np.linalg.norm(lattice.spacing_mm)) / 2
    for lesion in calcified(straight, 300.0, lattice, np.random.default_rng(1)):
        centre = straight[lesion.shape.artery].points_mm[0][:2]
        where = np.argwhere(lesion.share > 0)
        points = lesion.lattice.points_mm((slice(None),) * 3)[tuple(where.T)]
        away = np.linalg.norm(points[:, :2] - centre, axis=1)
        assert np.abs(away - RADIUS_MM).max() <= WALL_MM + cell


def test_people_differ_and_the_same_seed_does_not(straight: dict) -> None:
    first = draw_shapes(straight, 80.0, np.random.default_rng(3))
    assert first == draw_shapes(straight, 80.0, np.random.default_rng(3))
    assert first != draw_shapes(straight, 80.0, np.random.default_rng(4))
