"""Metal in a head: coils and clips at aneurysms of the arteries, and crowns of teeth.

What it does to the image beyond its own brightness is in `artefacts`.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Ellipsoid, Tube
from iac_cli.simulate.findings.frame import Frame
from iac_cli.simulate.findings.mark import Change, Finding, Mark, solid
from iac_cli.simulate.findings.rates import Rates

Float = NDArray[np.float64]

COIL_HU, CLIP_HU, CROWN_HU = 9000.0, 7000.0, 8000.0
NECKS = ("ICA-L", "ICA-R", "A1-L", "A1-R", "M1-L", "M1-R", "BA")
"""Arteries at whose ends aneurysms sit."""


def metal_findings(
    rates: Rates,
    rng: np.random.Generator,
    frame: Frame,
    lines: Mapping[Artery, CentreLine],
) -> Iterator[Finding]:
    """One person's coils, clips and crowns."""
    if rng.random() < rates.coil:
        yield _coil(rng, frame, lines)
    if rng.random() < rates.clip:
        yield _clip(rng, frame, lines)
    if rng.random() < rates.dental:
        yield _crowns(rng)


def _neck(
    rng: np.random.Generator, frame: Frame, lines: Mapping[Artery, CentreLine]
) -> tuple[str, Float, float]:
    """An artery's name, the end of its line in the head's frame, and its radius there (mm)."""
    here = [line for artery, line in lines.items() if artery.value in NECKS] or list(lines.values())
    line = here[int(rng.integers(len(here)))]
    end = frame.to_head(line.points_mm[-1])
    return line.artery.value, end, float(line.radius_mm[-1]) / frame.scale


def _direction(rng: np.random.Generator) -> Float:
    """A random direction, rather upwards."""
    drawn = rng.normal(0.0, 1.0, 3) + np.array([0.0, 0.0, 0.6])
    return np.asarray(drawn / np.linalg.norm(drawn))


def _coil(rng: np.random.Generator, frame: Frame, lines: Mapping[Artery, CentreLine]) -> Finding:
    """A ball of wire beside an artery."""
    name, end, radius = _neck(rng, frame, lines)
    ball = rng.uniform(2.5, 6.0)
    centre = end + _direction(rng) * (radius + ball)
    radii = ball * rng.uniform(0.8, 1.1, 3)
    mark = Mark(Ellipsoid(centre, radii), _wire(float(rng.uniform(0.5, 1.0))))
    return Finding("coil", {"artery": name, "radius_mm": round(float(ball), 1)}, (mark,))


def _wire(fill: float) -> Change:
    """Loops of wire with blood between them."""

    def change(p: Coordinates, d: Array, old: Array) -> Array:
        loops = np.sin(3.1 * p[0] + 2.0 * p[1]) + np.sin(2.7 * p[1] - 2.2 * p[2])
        share = np.clip(0.6 + 0.4 * loops, 0.0, 1.0) * np.float32(fill)
        return np.asarray(np.maximum(old, COIL_HU * share), dtype=np.float32)

    return change


def _clip(rng: np.random.Generator, frame: Frame, lines: Mapping[Artery, CentreLine]) -> Finding:
    """Two blades and a spring."""
    name, end, radius = _neck(rng, frame, lines)
    away = _direction(rng)
    across = np.cross(away, [0.0, 1.0, 0.0])
    across = across / max(float(np.linalg.norm(across)), 1e-6)
    root = end + away * (radius + 2.0)
    length = rng.uniform(5.0, 10.0)
    blades = np.stack([root - across * 0.5 * length, root + across * 0.5 * length])
    spring = root + away * 4.0
    marks = (
        Mark(Tube(blades, (0.7, 0.8)), solid(CLIP_HU)),
        Mark(Tube(np.stack([blades[1], spring]), (0.9, 1.4)), solid(CLIP_HU)),
    )
    return Finding("clip", {"artery": name, "length_mm": round(float(length), 1)}, marks)


def _crowns(rng: np.random.Generator) -> Finding:
    """Crowns of upper molars, at the lower end of most scans or below it."""
    height = float(rng.uniform(-62.0, -46.0))
    marks = []
    for side in (1.0, -1.0):
        for y in (-26.0, -36.0, -45.0):
            if rng.random() < 0.5:
                centre = np.array([(24.0 + 0.12 * (y + 26.0)) * side, y, height])
                shape = Ellipsoid(centre + rng.normal(0, 0.7, 3), rng.uniform(2.0, 4.2, 3), 3.0)
                marks.append(Mark(shape, solid(CROWN_HU)))
    facts = {"crowns": len(marks), "height_mm": round(height, 1)}
    return Finding("dental", facts, tuple(marks))
