"""A head with what else it shows: an anatomy like any other, with its findings and artefacts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.simulate.anatomy.source import Anatomy, Step
from iac_cli.simulate.findings.artefacts import Artefacts, draw_artefacts
from iac_cli.simulate.findings.blood import blood_findings
from iac_cli.simulate.findings.bone import bone_findings
from iac_cli.simulate.findings.calcified import calcified_findings
from iac_cli.simulate.findings.frame import Frame, frame_of
from iac_cli.simulate.findings.holder import Holder, draw_holder
from iac_cli.simulate.findings.mark import Finding, Mark, Walls, lay
from iac_cli.simulate.findings.metal import metal_findings
from iac_cli.simulate.findings.rates import Rates
from iac_cli.simulate.findings.vault import VaultRule, lay_vault, vault_findings
from iac_cli.simulate.lattice import Lattice

Float = NDArray[np.float64]
Field = NDArray[np.float32]

PROBE_MM = 1.0
"""Cells in which a head is asked for its HU at single places."""


@dataclass(frozen=True, slots=True, eq=False)
class Afflicted:
    """A head and its findings; painted as one."""

    head: Anatomy
    frame: Frame
    findings: tuple[Finding, ...]
    vault: tuple[VaultRule, ...]
    holder: Holder | None
    artefacts: Artefacts

    @property
    def kind(self) -> str:
        """Of the head."""
        return self.head.kind

    @property
    def lines(self) -> Mapping[Artery, CentreLine]:
        """Of the head."""
        return self.head.lines

    @property
    def landmarks(self) -> Mapping[str, tuple[float, float, float]]:
        """Of the head."""
        return self.head.landmarks

    @property
    def top_mm(self) -> float:
        """Of the head."""
        return self.head.top_mm

    @property
    def facts(self) -> Mapping[str, Any]:
        """Of the head."""
        return self.head.facts

    @property
    def told(self) -> dict[str, Any]:
        """Findings and artefacts as plain values, for the truth."""
        rows = [{"kind": one.kind, **one.facts} for one in self.findings]
        if self.holder is not None:
            rows.append({"kind": "holder", "form": self.holder.form})
        return {"findings": rows, "artefacts": self.artefacts.facts}

    def painted(self, lattice: Lattice, on_step: Step | None = None) -> Field:
        """HU of the head with its findings on a lattice, (normal, column, row) float32."""
        field = self.head.painted(lattice, on_step)
        marks: list[Mark] = [mark for one in self.findings for mark in one.marks]
        if marks:
            lay(field, lattice, marks, self.frame, Walls(self.lines))
        lay_vault(field, lattice, list(self.vault), self.frame)
        if self.holder is not None:
            self.holder.lay(field, lattice)
        return field


def afflicted(head: Anatomy, rates: Rates, rng: np.random.Generator) -> Afflicted:
    """The head with findings drawn at these rates."""
    frame = frame_of(head.lines)
    artefacts = draw_artefacts(rates, rng)
    holder = draw_holder(rates, rng)
    findings = list(calcified_findings(rates, rng))
    findings += blood_findings(rates, rng, frame, head.lines)
    findings += metal_findings(rates, rng, frame, head.lines)
    vault = list(vault_findings(rates, rng))
    findings += [finding for finding, _ in vault]

    findings += bone_findings(rates, rng, frame, head.lines, partial(_hu_at, head))
    return Afflicted(
        head, frame, tuple(findings), tuple(rule for _, rule in vault), holder, artefacts
    )


def _hu_at(head: Anatomy, points_mm: Float) -> Float:
    """HU of the head at points (k, 3) that lie close together, LPS mm."""
    axes = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    local = points_mm @ axes.T
    low, high = local.min(axis=0) - 2 * PROBE_MM, local.max(axis=0) + 2 * PROBE_MM
    spans = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
    lattice = Lattice.spanning(spans, (PROBE_MM,) * 3, axes)
    index = (local - np.array(lattice.start_mm)) / PROBE_MM
    return np.asarray(map_coordinates(head.painted(lattice), index.T, order=1, mode="nearest"))
