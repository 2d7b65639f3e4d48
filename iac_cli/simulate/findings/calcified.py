"""Calcifications that lie in no artery: glands, plexus, dura and ligaments."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from iac_cli.simulate.anatomy.layers import tentorium_height
from iac_cli.simulate.anatomy.shapes import Ellipsoid, Tube
from iac_cli.simulate.findings.mark import Finding, Mark, solid
from iac_cli.simulate.findings.rates import Rates

Place = tuple[float, float, float]
SIDES = ((1.0, "L"), (-1.0, "R"))


def calcified_findings(rates: Rates, rng: np.random.Generator) -> Iterator[Finding]:
    """One person's calcifications outside of arteries."""
    if rng.random() < rates.pineal:
        yield _grains("pineal", (0.0, 37.0, 19.5), (int(rng.integers(2, 7)), 1.7), rng)
    if rng.random() < rates.habenula:
        yield _grains("habenula", (0.0, 33.0, 21.5), (int(rng.integers(1, 4)), 0.8), rng)
    if rng.random() < rates.falx:
        yield _falx(rng)
    for side, letter in SIDES:
        if rng.random() < rates.choroid_plexus:
            place = (20.5 * side, 47.0, 34.0)
            yield _grains("choroid_plexus", place, (int(rng.integers(3, 9)), 2.6), rng, letter)
        if rng.random() < rates.basal_ganglia:
            place = (19.0 * side, 3.0, 23.0)
            yield _grains("basal_ganglia", place, (int(rng.integers(2, 7)), 2.4), rng, letter)
        if rng.random() < rates.petroclinoid:
            ends = ((8.0, 5.8, 6.4), (14.0, 11.5, -2.8))
            yield _ligament("petroclinoid", ends, side, letter, rng)
        if rng.random() < rates.interclinoid:
            ends = ((14.2, -2.0, 7.9), (7.8, 5.2, 8.2))
            yield _ligament("interclinoid", ends, side, letter, rng)
        if rng.random() < 0.5 * rates.tentorium:
            yield _tentorium(side, letter, rng)


def _facts(place: Place, letter: str = "", **more: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {"at_mm": [round(float(value), 1) for value in place], **more}
    return facts | ({"side": letter} if letter else {})


def _grains(
    kind: str,
    place: Place,
    many: tuple[int, float],
    rng: np.random.Generator,
    letter: str = "",
) -> Finding:
    """A few grains around a place: their number and spread (mm)."""
    n, spread_mm = many
    marks = []
    for _ in range(n):
        centre = np.array(place) + rng.normal(0.0, spread_mm, 3) * np.array([0.6, 1.0, 1.0])
        shape = Ellipsoid(centre, rng.uniform(0.6, 1.6, 3))
        marks.append(Mark(shape, solid(float(rng.uniform(180.0, 900.0)))))
    return Finding(kind, _facts(place, letter, n_grains=n), tuple(marks))


def _ligament(
    kind: str, ends: tuple[Place, Place], side: float, letter: str, rng: np.random.Generator
) -> Finding:
    """Part of a ligament between two places of the left side."""
    first, last = np.array(ends) * np.array([side, 1.0, 1.0])
    start, end = rng.uniform(0.0, 0.4), rng.uniform(0.5, 1.0)
    line = first + np.array([[start], [end]]) * (last - first)
    hu = float(rng.uniform(250.0, 700.0))
    radius = float(rng.uniform(0.5, 0.9))
    middle = line.mean(axis=0)
    facts = _facts((middle[0], middle[1], middle[2]), letter, hu=round(hu))
    return Finding(kind, facts, (Mark(Tube(line, (radius, radius)), solid(hu)),))


def _falx(rng: np.random.Generator) -> Finding:
    """A plaque on the falx, high above the skull base."""
    y, z = rng.uniform(-35.0, 0.0), rng.uniform(62.0, 80.0)
    ends = np.array([[0.0, y, z], [0.0, y + rng.uniform(4.0, 14.0), z + 3.0]])
    hu = float(rng.uniform(300.0, 800.0))
    mark = Mark(Tube(ends, (1.1, 0.8), (0.8, 1.0, 2.0)), solid(hu))
    return Finding("falx", _facts((0.0, y, z), hu=round(hu)), (mark,))


def _tentorium(side: float, letter: str, rng: np.random.Generator) -> Finding:
    """A short bar along the tentorium's free edge."""
    x, y = 17.0 * side, rng.uniform(20.0, 40.0)
    step = np.array([rng.uniform(1.0, 4.0) * side, rng.uniform(3.0, 8.0)])
    places = []
    for share in (0.0, 0.5, 1.0):
        at = np.array([x, y]) + share * step
        across, deep = at[:1].astype(np.float32), at[1:].astype(np.float32)
        places.append([at[0], at[1], float(tentorium_height((across, deep, across))[0])])
    hu = float(rng.uniform(200.0, 600.0))
    mark = Mark(Tube(np.array(places), (0.7, 0.9, 0.6)), solid(hu))
    return Finding("tentorium", _facts((x, y, places[0][2]), letter, hu=round(hu)), (mark,))
