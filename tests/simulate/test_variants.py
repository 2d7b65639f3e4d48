"""Variants of arteries: thin, wide, winding; the tree hangs together and the truth tells them."""

from dataclasses import fields, replace

import numpy as np
import pytest

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.findings.rates import NONE, Rates
from iac_cli.simulate.variants import draw_variants

ALL = Rates(**{field.name: 1.0 for field in fields(Rates)})


def pair(rates: Rates, seed: int = 4):
    """The same person without and with variants."""
    return (draw_head(np.random.default_rng([seed, 0]), one) for one in (NONE, rates))


@pytest.mark.parametrize(
    ("rate", "prefix", "low", "high"),
    [
        ("hypoplastic_v4", "V4", 0.44, 0.66),
        ("hypoplastic_a1", "A1", 0.39, 0.66),
        ("fetal_pca", "P1", 0.39, 0.66),
        ("ectatic_basilar", "BA", 1.39, 2.01),
        ("ectatic_ica", "ICA", 1.19, 1.46),
    ],
)
def test_one_artery_is_thinner_or_wider(rate: str, prefix: str, low: float, high: float) -> None:
    usual, variant = pair(replace(NONE, **{rate: 1.0}))
    told = variant.facts["variants"]
    assert [name.split("-")[0] for name in told] == [prefix]
    assert usual.facts["variants"] == {}
    for artery, line in variant.lines.items():
        ratio = line.radius_mm / usual.lines[artery].radius_mm
        if artery.value in told:
            assert low <= ratio.min() <= ratio.max() <= high
        else:
            assert np.allclose(ratio, 1.0)


def test_winding_arteries_are_longer_and_keep_their_ends() -> None:
    usual, variant = pair(replace(NONE, tortuous=1.0))
    for name in ("V4-L", "V4-R", "BA"):
        before, after = usual.lines[Artery(name)], variant.lines[Artery(name)]
        assert after.arc_mm[-1] > before.arc_mm[-1]
        assert np.allclose(after.points_mm[[0, -1]], before.points_mm[[0, -1]], atol=1e-6)
    carotid, straight = variant.lines[Artery.ICA_L], usual.lines[Artery.ICA_L]
    in_canal = slice(0, len(straight.points_mm) // 3)
    gap = np.linalg.norm(carotid.points_mm[in_canal] - straight.points_mm[in_canal], axis=1)
    assert gap.max() < 0.6


@pytest.mark.parametrize("rates", [ALL, replace(NONE, ectatic_basilar=1.0)])
def test_branches_still_meet(rates: Rates) -> None:
    head = draw_head(np.random.default_rng([9, 0]), rates)
    for side in "LR":
        end = head.lines[Artery(f"ICA-{side}")].points_mm[-1]
        assert np.allclose(head.lines[Artery(f"M1-{side}")].points_mm[0], end)
        top = head.lines[Artery.BA].points_mm[-1]
        assert np.allclose(head.lines[Artery(f"P1-{side}")].points_mm[0], top)


def test_variants_are_as_frequent_as_their_rates() -> None:
    rates = replace(NONE, fetal_pca=0.2, hypoplastic_v4=0.5)
    drawn = [draw_variants(rates, np.random.default_rng(n)) for n in range(600)]
    fetal = np.mean([any(a.value.startswith("P1") for a in one) for one in drawn])
    thin = np.mean([any(a.value.startswith("V4") for a in one) for one in drawn])
    assert fetal == pytest.approx(0.2, abs=0.065)  # four standard errors
    assert thin == pytest.approx(0.5, abs=0.08)
