"""What follows the skull's vault: blood under it, thick inner table, cut flaps.

These are not solids but rules on whole planes of the coarse lattice, high above the arteries: depth
below the bone is measured in each plane, so that they fit any head, drawn or real.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter

from iac_cli.simulate.findings.frame import Frame
from iac_cli.simulate.findings.mark import Finding
from iac_cli.simulate.findings.rates import Rates
from iac_cli.simulate.lattice import Lattice

Field = NDArray[np.float32]
Float = NDArray[np.float64]

LOWEST_MM = 34.0
"""Nothing here starts below this height of the head's frame: the fine lattice ends lower."""

FADE_MM = 12.0
CENTRE = np.array([0.0, 25.0, 20.0])
"""Middle of the vault in the head's frame."""

BONE_HU = 250.0


@dataclass(frozen=True, slots=True)
class VaultRule:
    """One finding along the vault."""

    kind: str
    """As in `SPANS`; `craniectomy` where the flap is gone."""
    towards: tuple[float, float, float]
    """Unit vector from the vault's middle to the finding's."""
    reach_deg: float
    """Half its extent, as seen from the vault's middle."""
    thick_mm: float
    hu: float


SPANS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "hyperostosis": ((35.0, 60.0), (3.0, 9.0), (700.0, 1200.0)),
    "subdural": ((45.0, 75.0), (4.0, 14.0), (50.0, 78.0)),
    "epidural": ((18.0, 30.0), (8.0, 22.0), (60.0, 78.0)),
    "craniotomy": ((18.0, 30.0), (0.7, 1.4), (30.0, 45.0)),
}
"""Ranges of reach (degrees), thickness (mm; of a craniotomy: half the gap) and HU."""

FLAP_GONE = 0.25
"""Share of craniotomies whose flap was not put back."""


def vault_findings(rates: Rates, rng: np.random.Generator) -> Iterator[tuple[Finding, VaultRule]]:
    """One person's findings along the vault."""
    for kind, spans in SPANS.items():
        if rng.random() >= getattr(rates, kind):
            continue
        rule = _rule(kind, spans, rng)
        facts: dict[str, float | str] = {
            "thick_mm": rule.thick_mm,
            "reach_deg": rule.reach_deg,
            "hu": rule.hu,
        }
        if kind != "hyperostosis":
            facts["side"] = "L" if rule.towards[0] > 0 else "R"
        if kind == "craniotomy" and rng.random() < FLAP_GONE:
            rule = replace(rule, kind="craniectomy")
            facts["flap"] = "gone"
        yield Finding(kind, facts), rule


def _rule(kind: str, spans: tuple[tuple[float, float], ...], rng: np.random.Generator) -> VaultRule:
    side = float(rng.choice((-1.0, 1.0)))
    forward = kind == "hyperostosis"
    aim = np.array([0.0, -1.0, 0.7]) if forward else np.array([side, rng.uniform(-0.7, 0.7), 0.7])
    aim = aim / np.linalg.norm(aim)
    towards = (float(aim[0]), float(aim[1]), float(aim[2]))
    reach_deg, thick_mm, hu = (round(float(rng.uniform(*span)), 1) for span in spans)
    return VaultRule(kind, towards, reach_deg, thick_mm, hu)


def lay_vault(field: Field, lattice: Lattice, rules: list[VaultRule], frame: Frame) -> None:
    """Lay findings over the painted coarse field (normal, column, row), in place."""
    if not rules:
        return
    for k in range(lattice.shape[0]):
        points = lattice.points_mm((slice(k, k + 1), slice(None), slice(None)))[0]
        places = frame.to_head(points)
        high = np.clip((places[..., 2] - LOWEST_MM) / FADE_MM, 0.0, 1.0)
        if not high.any():
            continue
        away = places - CENTRE
        away = away / np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
        depth_mm = _depth_mm(field[k], lattice.spacing_mm[1:])
        for rule in rules:
            degrees = np.degrees(np.arccos(np.clip(away @ np.array(rule.towards), -1.0, 1.0)))
            field[k] = _changed(field[k], rule, (depth_mm, degrees, high))


def _depth_mm(plane: Field, spacing_mm: tuple[float, float]) -> Float:
    """Depth below the inner table in one plane; 0 outside of the skull and within bone."""
    bone = gaussian_filter(plane, 0.7) > BONE_HU
    inside = binary_fill_holes(bone) & ~bone
    return np.asarray(distance_transform_edt(inside, sampling=spacing_mm))


def _changed(plane: Field, rule: VaultRule, at: tuple[Float, Float, Float]) -> Field:
    depth_mm, degrees, high = at
    if rule.kind in ("craniotomy", "craniectomy"):
        bone = (plane > BONE_HU / 2) & (high > 0.0)
        edge_mm = np.abs(degrees - rule.reach_deg) * np.pi / 180.0 * 75.0
        cut = edge_mm < rule.thick_mm if rule.kind == "craniotomy" else degrees < rule.reach_deg
        return np.where(bone & cut, np.float32(rule.hu), plane)
    lens = np.sqrt(np.clip(1.0 - (degrees / rule.reach_deg) ** 2, 0.0, 1.0)) * high
    share = np.clip((rule.thick_mm * lens - depth_mm) / 0.7, 0.0, 1.0) * (depth_mm > 0)
    if rule.kind != "hyperostosis":
        share = share * (plane < 120.0) * (plane > -30.0)
    return np.asarray(plane + share * (np.float32(rule.hu) - plane), dtype=np.float32)
