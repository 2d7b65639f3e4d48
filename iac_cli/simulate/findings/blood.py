"""Blood where it should not be, or denser than usual: clots in vessels and haemorrhage."""

from collections.abc import Iterator, Mapping

import numpy as np

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.shapes import Array, Coordinates, Ellipsoid, Tube
from iac_cli.simulate.findings.frame import Frame
from iac_cli.simulate.findings.mark import Change, Finding, Mark
from iac_cli.simulate.findings.rates import Rates

SITES = {
    "ganglia": (23.0, 4.0, 25.0),
    "thalamus": (10.0, 21.0, 25.0),
    "frontal": (26.0, -18.0, 44.0),
    "temporal": (44.0, 6.0, 6.0),
    "cerebellum": (20.0, 60.0, -16.0),
}
"""Where bleeding into the brain sits, on the left, in the head's frame (mm)."""

CSF_BELOW_HU, CSF_WIDTH_HU = 24.0, 14.0
NO_FAT_HU = -30.0


def blood_findings(
    rates: Rates,
    rng: np.random.Generator,
    frame: Frame,
    lines: Mapping[Artery, CentreLine],
) -> Iterator[Finding]:
    """One person's clots and haemorrhages, but for those along the vault."""
    if rng.random() < rates.hyperdense_vessel:
        yield _vessel(rng, frame, lines)
    if rng.random() < rates.intracerebral:
        yield _intracerebral(rng)
    for kind, rate, shapes in (
        ("subarachnoid", rates.subarachnoid, _cisterns),
        ("intraventricular", rates.intraventricular, _ventricles),
    ):
        if rng.random() < rate:
            hu = float(rng.uniform(48.0, 72.0))
            marks = tuple(Mark(shape, _in_fluid(hu), False) for shape in shapes(rng))
            yield Finding(kind, {"hu": round(hu)}, marks)


def _vessel(rng: np.random.Generator, frame: Frame, lines: Mapping[Artery, CentreLine]) -> Finding:
    """A clot that fills part of an M1 or the basilar artery."""
    here = [artery for artery in lines if artery.value[:2] in ("M1", "BA")] or list(lines)
    artery = here[int(rng.integers(len(here)))]
    line = lines[artery].resampled(0.8)
    first, last = rng.uniform(0.0, 0.3), rng.uniform(0.6, 1.0)
    share = line.arc_mm / line.arc_mm[-1]
    kept = (share >= first) & (share <= last)
    hu = float(rng.uniform(62.0, 82.0))
    tube = Tube(frame.to_head(line.points_mm[kept]), line.radius_mm[kept] / frame.scale)
    facts = {"artery": artery.value, "hu": round(hu)}
    return Finding("hyperdense_vessel", facts, (Mark(tube, _clot(hu), False),))


def _clot(hu: float) -> Change:
    def change(p: Coordinates, d: Array, old: Array) -> Array:
        return np.where(old < 120.0, np.maximum(old, np.float32(hu)), old)

    return change


def _intracerebral(rng: np.random.Generator) -> Finding:
    """A clot in the brain with a rim of oedema."""
    site = str(rng.choice(list(SITES)))
    side = float(rng.choice((-1.0, 1.0)))
    centre = np.array(SITES[site]) * (side, 1.0, 1.0) + rng.normal(0.0, 2.0, 3)
    radii = rng.uniform(5.0, 17.0) * rng.uniform(0.75, 1.3, 3)
    hu = float(rng.uniform(55.0, 80.0))
    marks = (
        Mark(Ellipsoid(centre, radii + 0.35 * radii.mean()), _in_brain(18.0), False),
        Mark(Ellipsoid(centre, radii), _in_brain(hu), False),
    )
    volume_ml = round(float(4 / 3 * np.pi * np.prod(radii) / 1000.0), 1)
    facts = {"site": site, "side": "L" if side > 0 else "R", "hu": round(hu), "ml": volume_ml}
    return Finding("intracerebral", facts, marks)


def _in_brain(hu: float) -> Change:
    """Brain and fluid take the HU; bone, calcium, air and fat stay."""

    def change(p: Coordinates, d: Array, old: Array) -> Array:
        return np.where((old > NO_FAT_HU) & (old < 90.0), np.float32(hu), old)

    return change


def _in_fluid(hu: float) -> Change:
    """Fluid fills with blood, the more the darker it was."""

    def change(p: Coordinates, d: Array, old: Array) -> Array:
        fluid = np.clip((CSF_BELOW_HU - old) / CSF_WIDTH_HU, 0.0, 1.0) * (old > NO_FAT_HU)
        middle = np.clip(-d / 4.0, 0.0, 1.0)
        return np.asarray(old + fluid * middle * (np.float32(hu) - old), dtype=np.float32)

    return change


def _cisterns(rng: np.random.Generator) -> list[Ellipsoid]:
    """Around the circle of Willis, and more or less of both Sylvian fissures."""
    sides = [
        Ellipsoid((38.0 * side, 2.0, 20.0), rng.uniform(12.0, 22.0, 3)) for side in (1.0, -1.0)
    ]
    return [Ellipsoid((0.0, 4.0, 8.0), rng.uniform((18, 20, 14), (30, 34, 22))), *sides]


def _ventricles(rng: np.random.Generator) -> list[Ellipsoid]:
    """The back horns of both lateral ventricles, and the third."""
    horns = [
        Ellipsoid((22.0 * side, 52.0, 32.0), rng.uniform((8, 14, 8), (12, 22, 14)))
        for side in (1.0, -1.0)
    ]
    return [*horns, Ellipsoid((0.0, 14.0, 24.0), (5.0, 13.0, 11.0))]
