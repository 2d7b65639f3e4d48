"""A skull replica's scans beside simulated scans of the same replica, measured in the same way.

The replica is bone-like plastic of one density in air, with softer plastic in it. Its shape is
taken from a thin scan and given hard edges again, so that what the simulator makes of it shows the
simulator's own blur and noise, not the real scanner's.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_opening, map_coordinates, uniform_filter

from iac_cli.evaluate.realism import (
    PATCH_MM,
    Float,
    detrended,
    edge_share,
    mean_frequency,
    skin_rays,
    through_plane_width,
    width_of,
)
from iac_cli.evaluate.realism_curves import frequency_bins, radial_power
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.scanner import Field, Scan, acquire, digitised, gantry_axes, noise_like

SURFACE_HU = (300.0, 1600.0)
"""What lies under the replica's outer surface."""

PLASTIC_HU, PLASTIC_RANGE_HU = 95.0, (40.0, 150.0)
EVEN_HU = 12.0
"""Largest difference between the halves of a patch of even plastic."""

BONE_HU, AIR_HU, HALF_HU = 700.0, -1000.0, -150.0
CELL_MM = (0.5, 0.3, 0.3)
ROOM_MM = 8.0
THIN_MM = 2.0
"""The replica is a shell: through thicker slices its vertex is not measured."""

PLANES = 6
"""Slices that are measured."""


@dataclass(frozen=True, slots=True)
class ReplicaLook:
    """Figures and curves of one series; None or empty where it does not allow them."""

    edge_mm: float | None
    """Rise of the outer surface in plane, 10 to 90 %."""
    overshoot: float | None
    """How far the edge response rises above 1, as an edge-enhancing kernel's does."""
    through_plane_mm: float | None
    noise_hu: float | None
    """Median standard deviation of patches of plastic after a quadratic trend is taken out."""
    noise_frequency_per_mm: float | None
    edge: list[float]
    """Median edge response in steps of 0.1 mm from 4 mm inside."""
    frequency_per_mm: list[float]
    noise_power: list[float]
    """HU2 mm2."""

    def to_json_dict(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)


def measured_planes(n_slices: int) -> list[int]:
    """The slices that are measured, spread over the stack."""
    return list(range(0, n_slices, max(1, n_slices // PLANES)))


def look_of_replica(
    planes: Sequence[Field], pixel_mm: tuple[float, float], vertex: Volume | None
) -> ReplicaLook:
    """Measure slices of a replica, HU; `vertex` is a stack that shows its top."""
    rays = [ray for plane in planes for ray in skin_rays(plane, pixel_mm)]
    edges = [share for ray in rays if (share := edge_share(ray, SURFACE_HU)) is not None]
    widths = [width for share in edges if (width := width_of(share)) is not None]
    middle = np.median(edges, axis=0) if edges else np.array([])
    patches = [patch for plane in planes for patch in plastic_patches(plane, pixel_mm)]
    power = radial_power(patches, pixel_mm) if patches else np.array([])
    known = np.isfinite(power)
    bins = frequency_bins()
    return ReplicaLook(
        edge_mm=float(np.median(widths)) if widths else None,
        overshoot=float(max(0.0, middle.max() - 1.0)) if len(middle) else None,
        through_plane_mm=None if vertex is None else through_plane_width(vertex),
        noise_hu=float(np.median([p.std() for p in patches])) if patches else None,
        noise_frequency_per_mm=(
            float(np.median([mean_frequency(p, pixel_mm) for p in patches])) if patches else None
        ),
        edge=[float(v) for v in middle],
        frequency_per_mm=[float(v) for v in ((bins[1:] + bins[:-1]) / 2)[: len(power)][known]],
        noise_power=[float(v) for v in power[known]],
    )


def plastic_patches(plane: Field, pixel_mm: tuple[float, float]) -> list[Float]:
    """Noise of square patches that lie wholly in even plastic, without overlap."""
    rows, columns = (max(8, round(PATCH_MM / p)) for p in pixel_mm)
    smooth = uniform_filter(plane, 5)
    inside = (smooth > PLASTIC_RANGE_HU[0]) & (smooth < PLASTIC_RANGE_HU[1])
    found: list[Float] = []
    taken = np.zeros(plane.shape, dtype=bool)
    for top in range(0, plane.shape[0] - rows + 1, 4):
        for left in range(0, plane.shape[1] - columns + 1, 4):
            place = (slice(top, top + rows), slice(left, left + columns))
            if taken[place].any() or not inside[place].all():
                continue
            patch = plane[place].astype(np.float64)
            halves = (
                patch[: rows // 2].mean() - patch[rows // 2 :].mean(),
                patch[:, : columns // 2].mean() - patch[:, columns // 2 :].mean(),
            )
            if max(abs(float(v)) for v in halves) < EVEN_HU:
                taken[place] = True
                found.append(detrended(patch))
    return found


class HardReplica:
    """The replica with hard edges, painted on any lattice."""

    def __init__(self, thin: Volume) -> None:
        self.thin = thin
        low, high = PLASTIC_RANGE_HU
        plastic = (thin.hu > low) & (thin.hu < high)
        core = np.stack([binary_opening(plane, iterations=4) for plane in plastic])
        self.plastic = binary_dilation(core, iterations=1)

    def painted(self, lattice: Lattice) -> Field:
        """HU above air, (normal, column, row): zero outside the replica."""
        field = np.zeros(lattice.shape, dtype=np.float32)
        for k in range(lattice.shape[0]):
            points = lattice.points_mm((slice(k, k + 1), slice(None), slice(None)))[0]
            index = self.thin.grid.to_index(points.reshape(-1, 3)).T
            hu = map_coordinates(self.thin.hu, index, order=1, cval=AIR_HU)
            soft = map_coordinates(self.plastic, index, order=0, cval=0)
            hard = np.where(hu > HALF_HU, BONE_HU - AIR_HU, 0.0)
            hard = np.where(soft, PLASTIC_HU - AIR_HU, hard)
            field[k] = hard.reshape(points.shape[:2])
        return field

    def scanned(self, grid: Grid, scans: Sequence[Scan], seed: int) -> list[Field]:
        """A few neighbouring slices by several scanners: HU, (slice, row, column) each."""
        reach = max(scan.reach_mm for scan in scans) + 1.0
        axes = gantry_axes(grid)
        corners = np.array(
            [[s, r, c] for s in (0, -1) for r in (0, -1) for c in (0, -1)]
        ) % np.array(grid.shape)
        local = grid.to_world(corners) @ axes.T
        low, high = local.min(axis=0), local.max(axis=0)
        spans = (
            (low[0] - reach, high[0] + reach),
            (low[1] - ROOM_MM, high[1] + ROOM_MM),
            (low[2] - ROOM_MM, high[2] + ROOM_MM),
        )
        lattice = Lattice.spanning(spans, CELL_MM, axes)
        field = self.painted(lattice)
        made = []
        for scan in scans:
            image = np.full(grid.shape, AIR_HU, dtype=np.float32)
            part, window = acquire(field, lattice, grid, scan)
            image[window.cut] += part
            if scan.noise_hu:
                rng = np.random.default_rng(seed)
                image += noise_like(image, grid, scan, rng)
            made.append(digitised(image).astype(np.float32))
        return made


def cut_grid(grid: Grid, slices: slice, rows: slice, columns: slice) -> Grid:
    """A part of a stack as a stack of its own."""
    start = rows.start * grid.pixel_mm[0] * grid.column_axis
    start = start + columns.start * grid.pixel_mm[1] * grid.row_axis
    positions: NDArray[np.float64] = grid.positions_mm[slices] + start
    return Grid(
        shape=(len(positions), rows.stop - rows.start, columns.stop - columns.start),
        positions_mm=positions,
        row_axis=grid.row_axis,
        column_axis=grid.column_axis,
        pixel_mm=grid.pixel_mm,
        extents_mm=grid.extents_mm[slices],
    )


def surroundings(solid: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Rows and columns of what is solid in (slice, row, column), with a margin."""
    spans = []
    for axis in (1, 2):
        other = tuple(k for k in (0, 1, 2) if k != axis)
        at = np.flatnonzero(solid.any(axis=other))
        spans.append(slice(max(0, at[0] - margin), min(solid.shape[axis], at[-1] + 1 + margin)))
    return spans[0], spans[1]
