"""Along which part of an artery calcification counts."""

import numpy as np
import pytest

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.locate.arteries import Arteries


def straight(artery: Artery, length_mm: float = 100.0, n: int = 11) -> CentreLine:
    points = np.column_stack([np.zeros(n), np.zeros(n), np.linspace(0.0, length_mm, n)])
    return CentreLine(artery, points, np.linspace(1.0, 3.0, n))


def arteries(*lines: CentreLine, **fractions) -> Arteries:
    by_name = {line.artery: line for line in lines}
    sure = {artery: 1.0 for artery in Artery}
    covered = {artery: artery in by_name for artery in Artery}
    parts = {Artery(name.replace("_", "-")): values for name, values in fractions.items()}
    return Arteries(by_name, covered, sure, fractions=parts)


def test_of_the_carotids_the_vertical_canal_does_not_count() -> None:
    right, basilar = straight(Artery.ICA_R), straight(Artery.BA)
    counted = {line.artery: line for line in arteries(right, basilar).counted_lines}
    assert counted[Artery.ICA_R].points_mm[0] == pytest.approx([0.0, 0.0, 22.0])
    assert counted[Artery.ICA_R].radius_mm[0] == pytest.approx(1.44)
    assert counted[Artery.ICA_R].points_mm[1:] == pytest.approx(right.points_mm[3:])
    assert counted[Artery.BA].points_mm == pytest.approx(basilar.points_mm)


def test_a_part_of_a_carotid_is_known_by_its_fractions() -> None:
    upper = arteries(straight(Artery.ICA_L), ICA_L=np.linspace(0.5, 1.0, 11))
    (whole,) = upper.counted_lines
    assert whole.arc_mm[-1] == pytest.approx(100.0)
    middle = arteries(straight(Artery.ICA_L), ICA_L=np.linspace(0.12, 0.32, 11))
    (half,) = middle.counted_lines
    assert half.arc_mm[-1] == pytest.approx(50.0)
    lowest = arteries(straight(Artery.ICA_L), ICA_L=np.linspace(0.0, 0.2, 11))
    assert lowest.counted_lines == ()
