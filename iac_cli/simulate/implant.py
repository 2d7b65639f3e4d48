"""Known calcification in a user's own CT head, on the very slices that were acquired.

What lesions add to a scan is computed on a fine lattice, brought through slice profile and point
spread, and added to the scan's voxels. The scan itself is not resampled, blurred or given noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.anatomy.source import Step
from iac_cli.simulate.calcium import Lesion
from iac_cli.simulate.head import SimulatedHead, calcified_lines
from iac_cli.simulate.head_settings import HeadSettings
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import POINT_SPREADS, Field, Kernel, Scan, digitised
from iac_cli.simulate.truth import excess_image, find_truth
from iac_cli.simulate.two_lattices import fine_lattice

REACH_MM = 6.0
"""Half of a slice profile that the fine lattice has room for, and more for thicker slices: the same
lesions on every scan of a patient with usual slices."""

OUTSIDE_MM = 5.0
"""How far a line may leave the scan: located ones end a little off the arteries' own ends."""

SAME_EXTENT_MM = 0.01
"""Slices whose extents differ by less are acquired together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImplantSettings:
    """What `iac-seg simulate implant` takes."""

    seed: int = 0
    burden_mm3: float = 44.0
    kernel: Kernel = Kernel.SOFT
    """The point spread that the scan's own kernel is taken to have."""
    thickness_mm: float | None = None
    """Slice thickness; None: each slice's extent, from the distances between slices."""


@dataclass(frozen=True, slots=True, eq=False)
class UsersHead:
    """A user's scan in the place of an anatomy: it is there already and is never painted."""

    kind: str
    lines: Mapping[Artery, CentreLine]
    landmarks: Mapping[str, tuple[float, float, float]]
    top_mm: float
    facts: Mapping[str, Any]
    volume: Volume

    def painted(self, lattice: Lattice, on_step: Step | None = None) -> Field:
        """HU of the scan, interpolated, on a lattice; air outside it."""
        painted = np.empty(lattice.shape, dtype=np.float32)
        for k in range(lattice.shape[0]):
            points = lattice.points_mm((slice(k, k + 1), slice(None), slice(None)))[0]
            index = self.volume.grid.to_index(points.reshape(-1, 3))
            found = np.empty(len(index), dtype=np.float32)
            map_coordinates(self.volume.hu, index.T, output=found, order=1, cval=-1024.0)
            painted[k] = found.reshape(points.shape[:2])
            if on_step is not None:
                on_step((k + 1) / lattice.shape[0])
        return painted


def implant(
    volume: Volume,
    lines: Mapping[Artery, CentreLine],
    input_sha256: str,
    settings: ImplantSettings,
    on_step: Step | None = None,
) -> SimulatedHead:
    """The scan with calcification along its arteries, and the truth of what was added.

    `input_sha256` keeps the results of two scans apart. What calcification the scan has of its
    own is not known and in no truth.
    Raises: IacError: arteries_not_located, head_not_covered, bad_setting.
    """
    grid = volume.grid
    asked = _head_settings(grid, settings)
    _check_lines(grid, lines)
    person = UsersHead(
        kind=f"implanted head {input_sha256[:12]}",
        lines=lines,
        landmarks={},
        top_mm=0.0,
        facts={"input_sha256": input_sha256},
        volume=volume,
    )
    extents = _thicknesses(grid, settings)
    fine = fine_lattice(lines, grid, max(REACH_MM, float(extents.max()) / 2 + 1.0))
    lesions = calcified_lines(lines, asked, fine)
    base = person.painted(fine, on_step)
    excess = _added(lesions, base, grid, extents, settings.kernel)
    hu = digitised(np.asarray(volume.hu + excess[0], dtype=np.float32))
    lengths = {artery: float(line.arc_mm[-1]) for artery, line in lines.items()}
    truth = find_truth(hu, lesions, excess, grid, lengths)
    return SimulatedHead(asked, hu, grid, person, tuple(lesions), fine, truth, extents)


def _check_lines(grid: Grid, lines: Mapping[Artery, CentreLine]) -> None:
    """Every artery must lie in the scan, or what is set into it would be in no slice."""
    if not lines:
        raise IacError(
            Word.ARTERIES_NOT_LOCATED,
            "no artery is known along which calcification could be set",
            way_out="give a CT head that covers the skull base, or --lines with traced arteries",
        )
    room = OUTSIDE_MM / np.array([grid.mean_step_mm, *grid.pixel_mm])
    last = np.array(grid.shape) - 1.0
    for artery, line in lines.items():
        index = grid.to_index(line.points_mm)
        if (index < -room).any() or (index > last + room).any():
            raise IacError(
                Word.HEAD_NOT_COVERED,
                f"{artery.value} runs outside the scan",
                way_out="give the lines of this very scan, without arteries that it does not show",
            )


def _head_settings(grid: Grid, settings: ImplantSettings) -> HeadSettings:
    n, rows, columns = grid.shape
    asked = settings.thickness_mm
    thickness = float(np.median(grid.extents_mm)) if asked is None else asked
    if not 0.0 <= settings.burden_mm3 <= 1000.0 or not 0.3 <= thickness <= 20.0:
        raise IacError(
            Word.BAD_SETTING,
            "the burden must lie between 0 and 1000 mm3, the thickness between 0.3 and 20 mm",
            way_out="see 'iac-seg simulate implant --help'",
        )
    return HeadSettings(
        seed=settings.seed,
        thickness_mm=thickness,
        increment_mm=grid.mean_step_mm,
        kernel=settings.kernel,
        burden_mm3=settings.burden_mm3,
        rows=rows,
        columns=columns,
        n_slices=n,
        pixel_mm=grid.pixel_mm[0],
        noise_hu=0.0,
    )


def _thicknesses(grid: Grid, settings: ImplantSettings) -> NDArray[np.float64]:
    """Thickness of each slice, (n,) mm."""
    if settings.thickness_mm is None:
        return np.asarray(grid.extents_mm)
    return np.full(grid.shape[0], settings.thickness_mm)


def _added(
    lesions: list[Lesion],
    base: Field,
    grid: Grid,
    thickness_mm: NDArray[np.float64],
    kernel: Kernel,
) -> tuple[Field, NDArray[np.uint16]]:
    """What the lesions add to each slice, and which adds most: each slice by its own thickness."""
    total = np.zeros(grid.shape, dtype=np.float32)
    owner = np.zeros(grid.shape, dtype=np.uint16)
    for thickness in np.unique(np.round(thickness_mm / SAME_EXTENT_MM) * SAME_EXTENT_MM):
        mine = np.abs(thickness_mm - thickness) <= SAME_EXTENT_MM
        scan = Scan(float(thickness), POINT_SPREADS[kernel], noise_hu=0.0)
        added, own = excess_image(lesions, base, grid, scan)
        total[mine], owner[mine] = added[mine], own[mine]
    return total, owner
