"""Bone beside the carotid siphon: denser clinoids, and spurs that grow towards the artery."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Ellipsoid, Tube, smooth_step
from iac_cli.simulate.findings.calcified import SIDES
from iac_cli.simulate.findings.frame import Frame
from iac_cli.simulate.findings.mark import KEPT_OFF_MM, Change, Finding, Mark, solid
from iac_cli.simulate.findings.rates import Rates

Float = NDArray[np.float64]
Probe = Callable[[Float], Float]
"""HU of the head at LPS points (k, 3)."""

CLINOIDS = {"anterior": (16.2, -5.0, 8.2), "posterior": (7.6, 5.4, 7.0)}
SIPHON_FROM = 0.45
"""Where the siphon starts along the carotid, as a fraction of its course."""

N_DIRECTIONS = 24


def bone_findings(
    rates: Rates,
    rng: np.random.Generator,
    frame: Frame,
    lines: Mapping[Artery, CentreLine],
    probe: Probe,
) -> Iterator[Finding]:
    """One person's dense clinoids and spurs."""
    for side, letter in SIDES:
        if rng.random() < rates.dense_clinoid:
            yield _dense_clinoid(rng, side, letter)
        line = lines.get(Artery(f"ICA-{letter}"))
        if rng.random() < rates.spur and line is not None:
            yield _spur(rng, frame, line, probe)


def _dense_clinoid(rng: np.random.Generator, side: float, letter: str) -> Finding:
    which = str(rng.choice(list(CLINOIDS)))
    centre = np.array(CLINOIDS[which]) * (side, 1.0, 1.0)
    hu = float(rng.uniform(600.0, 1300.0))
    shape = Ellipsoid(centre, rng.uniform((4.0, 5.0, 3.0), (6.0, 7.0, 5.0)))
    facts = {"which": which, "side": letter, "hu": round(hu)}
    return Finding("dense_clinoid", facts, (Mark(shape, _denser(hu)),))


def _denser(hu: float) -> Change:
    """Bone becomes compact, soft tissue stays."""

    def change(p: Coordinates, d: Array, old: Array) -> Array:
        bone = smooth_step(old - np.float32(200.0), 120.0) * np.clip(-d, 0.0, 1.0)
        return np.asarray(old + bone * np.maximum(hu - old, 0.0), dtype=np.float32)

    return change


def _spur(rng: np.random.Generator, frame: Frame, line: CentreLine, probe: Probe) -> Finding:
    """A spur on the siphon's bony side: from just off the wall into the bone that lies nearest."""
    fraction = float(rng.uniform(SIPHON_FROM, 0.95))
    at, ahead = line.at_fractions([fraction, min(1.0, fraction + 0.02)])
    radius = float(np.interp(fraction * line.arc_mm[-1], line.arc_mm, line.radius_mm))
    directions = _around(ahead - at)
    towards = np.concatenate([at + directions * (radius + gap) for gap in (2.0, 3.5)])
    bony = probe(towards).clip(-200.0, 1500.0).reshape(2, -1).sum(axis=0)
    best = directions[int(np.argmax(bony))]
    start = at + best * (radius + KEPT_OFF_MM + rng.uniform(0.3, 1.2))
    end = start + best * rng.uniform(2.0, 4.0)
    along = (ahead - at) / max(float(np.linalg.norm(ahead - at)), 1e-6) * rng.uniform(-2.0, 2.0)
    radii = np.array([rng.uniform(0.4, 0.8), rng.uniform(0.8, 1.4)])
    hu = float(rng.uniform(350.0, 1000.0))
    tube = Tube(frame.to_head(np.stack([start, end + along])), radii)
    facts = {"artery": line.artery.value, "fraction": round(fraction, 2), "hu": round(hu)}
    return Finding("spur", facts, (Mark(tube, solid(hu)),))


def _around(axis: Float) -> Float:
    """Unit vectors around an axis, (k, 3)."""
    axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
    first = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    first = first / np.linalg.norm(first)
    second = np.cross(axis, first)
    turn = np.linspace(0.0, 2 * np.pi, N_DIRECTIONS, endpoint=False)[:, None]
    return np.asarray(np.cos(turn) * first + np.sin(turn) * second)
