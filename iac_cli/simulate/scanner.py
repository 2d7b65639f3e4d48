"""The scanner: a painted head becomes slices of pixels, and what blurs them is physical.

A slice is the head averaged over the slice profile, each pixel the slice averaged over the point
spread. On a lattice that is aligned with the gantry both are integrals over cells along one axis,
so they are three small matrices, exact for every thickness, increment and tilt. Nothing here knows
what a calcification is; noise, beam hardening and rounding are added last.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft2, rfft2
from scipy.ndimage import gaussian_filter, uniform_filter1d

from iac_cli.geometry.grid import Grid
from iac_cli.simulate import laws
from iac_cli.simulate.lattice import Lattice
from iac_cli.simulate.laws import HIGHEST_HU, LOWEST_HU

Float = NDArray[np.float64]
Field = NDArray[np.float32]

REACH_SIGMAS = 4.0
"""How far a blur reaches before it counts as zero."""


class Kernel(StrEnum):
    """Reconstruction kernels by their effect."""

    SOFT = "soft"
    SHARP = "sharp"


@dataclass(frozen=True, slots=True)
class PointSpread:
    """In-plane blur of unit gain: (1 + edge) narrow Gaussians minus `edge` wide ones."""

    narrow_mm: float
    """Standard deviation of the narrow Gaussian."""
    wide_mm: float
    edge: float
    noise_gain: float
    """Noise against the soft kernel."""
    name: str
    """What ConvolutionKernel says."""

    @property
    def reach_mm(self) -> float:
        """Distance beyond which the blur is zero."""
        return REACH_SIGMAS * (self.wide_mm if self.edge else self.narrow_mm)


POINT_SPREADS = {
    Kernel.SOFT: PointSpread(0.42, 0.9, 0.0, 1.0, "SOFT SIM"),
    Kernel.SHARP: PointSpread(0.30, 0.75, 0.75, 3.6, "SHARP SIM"),
}


@dataclass(frozen=True, slots=True)
class Scan:
    """How a head is scanned. Lengths in mm."""

    thickness_mm: float
    spread: PointSpread
    slope_mm: float = 0.25
    """Standard deviation that rounds the edges of the box-shaped slice profile."""
    noise_hu: float = 3.5
    """Noise in the middle of a 5 mm slice with the soft kernel."""
    hardening_hu: float = 6.0
    """Depth of the dark band between thick bones."""

    @property
    def reach_mm(self) -> float:
        """Half the length of the slice profile."""
        return self.thickness_mm / 2 + REACH_SIGMAS * self.slope_mm


class Slices(Protocol):
    """Where parallel slices lie in the head: a grid, or one whose slices were moved."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(slice, row, column)."""

    @property
    def positions_mm(self) -> Float:
        """Centre of each slice's first pixel, (n, 3) LPS mm."""

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """(row spacing, column spacing)."""

    @property
    def offsets_mm(self) -> Float:
        """Place of each slice along the normal, (n,) mm."""


def tilted_grid(
    shape: tuple[int, int, int],
    *,
    pixel_mm: float,
    increment_mm: float,
    tilt_deg: float,
    lowest_mm: float,
) -> Grid:
    """The stack of a gantry tilted about the left-right axis, centred on the table's axis.

    Positive tilt lifts the anterior edge. Slices step along the table, so that their distance along
    the normal is `increment_mm`; the first slice cuts the table's axis at height `lowest_mm`.
    """
    cos, sin = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    row, column = np.array([1.0, 0.0, 0.0]), np.array([0.0, cos, -sin])
    heights = lowest_mm + np.arange(shape[0]) * increment_mm / cos
    centres = heights[:, None] * np.array([0.0, 0.0, 1.0])
    corner = -(shape[2] - 1) / 2 * pixel_mm * row - (shape[1] - 1) / 2 * pixel_mm * column
    return Grid(
        shape=shape,
        positions_mm=centres + corner,
        row_axis=row,
        column_axis=column,
        pixel_mm=(pixel_mm, pixel_mm),
        extents_mm=np.full(shape[0], increment_mm),
    )


def gantry_axes(grid: Grid) -> Float:
    """(3, 3): slice normal, column axis and row axis of a grid, the axes of its lattices."""
    return np.stack([grid.normal, grid.column_axis, grid.row_axis])


def profile_weights(ticks_mm: Float, at_mm: Float, scan: Scan) -> Float:
    """Share of each cell along the normal in each slice, (slices, cells)."""
    cell_mm = float(ticks_mm[1] - ticks_mm[0]) if len(ticks_mm) > 1 else 1.0
    gap = ticks_mm[None, :] - at_mm[:, None]
    return np.asarray(laws.profile_share(gap, cell_mm, scan.thickness_mm, scan.slope_mm))


def spread_weights(ticks_mm: Float, at_mm: Float, sigma_mm: float) -> Field:
    """Share of each cell along one in-plane axis in each pixel, (pixels, cells) float32."""
    gap = ticks_mm[None, :] - at_mm[:, None]
    cell_mm = float(ticks_mm[1] - ticks_mm[0])
    return np.asarray(laws.spread_share(gap, cell_mm, sigma_mm), dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """The part of a grid that a lattice reaches: slices, rows and columns."""

    slices: slice
    rows: slice
    columns: slice

    @property
    def cut(self) -> tuple[slice, slice, slice]:
        """As an index."""
        return self.slices, self.rows, self.columns


def reached(grid: Slices, lattice: Lattice, scan: Scan) -> Window:
    """The slices, rows and columns whose profile or point spread touches a lattice."""
    offsets = grid.offsets_mm
    u = lattice.ticks(0)
    near = (offsets > u[0] - scan.reach_mm) & (offsets < u[-1] + scan.reach_mm)
    kept = np.flatnonzero(near)
    if not len(kept):
        return Window(slice(0, 0), slice(0, 0), slice(0, 0))
    starts = grid.positions_mm[kept]
    cuts = []
    for axis, step, n in (
        (1, grid.pixel_mm[0], grid.shape[1]),
        (2, grid.pixel_mm[1], grid.shape[2]),
    ):
        ticks = lattice.ticks(axis)
        first = starts @ lattice.axes[axis]
        low = (ticks[0] - scan.spread.reach_mm - first.max()) / step
        high = (ticks[-1] + scan.spread.reach_mm - first.min()) / step
        cuts.append(slice(int(np.clip(np.floor(low), 0, n)), int(np.clip(np.ceil(high) + 1, 0, n))))
    return Window(slice(int(kept[0]), int(kept[-1]) + 1), cuts[0], cuts[1])


def acquire(field: Field, lattice: Lattice, grid: Slices, scan: Scan) -> tuple[Field, Window]:
    """The blurred image of a field that is zero outside its lattice, and where it lies in the grid.

    Linear in `field`: an excess gives the excess of the image. Returns (slices, rows, columns)
    of the window.
    """
    window = reached(grid, lattice, scan)
    n_slices = window.slices.stop - window.slices.start
    shape = (
        n_slices,
        window.rows.stop - window.rows.start,
        window.columns.stop - window.columns.start,
    )
    image = np.zeros(shape, dtype=np.float32)
    if 0 in shape:
        return image, window
    at = grid.positions_mm[window.slices]
    weights = profile_weights(lattice.ticks(0), at @ lattice.axes[0], scan).astype(np.float32)
    for k in range(n_slices):
        touched = np.flatnonzero(np.abs(weights[k]) > 1e-7)
        if not len(touched):
            continue
        cells = slice(int(touched[0]), int(touched[-1]) + 1)
        plane = np.tensordot(weights[k, cells], field[cells], axes=1)
        rows = at[k] @ lattice.axes[1] + grid.pixel_mm[0] * np.arange(
            *window.rows.indices(grid.shape[1])
        )
        columns = at[k] @ lattice.axes[2] + grid.pixel_mm[1] * np.arange(
            *window.columns.indices(grid.shape[2])
        )
        image[k] = _sampled(plane, lattice, (rows, columns), scan.spread)
    return image, window


def _sampled(
    plane: Field, lattice: Lattice, pixels: tuple[Float, Float], spread: PointSpread
) -> Field:
    """One plane of the lattice through the point spread at pixel centres."""

    def through(sigma_mm: float) -> Field:
        down = spread_weights(lattice.ticks(1), pixels[0], sigma_mm)
        across = spread_weights(lattice.ticks(2), pixels[1], sigma_mm)
        return np.asarray(down @ plane @ across.T, dtype=np.float32)

    image = through(spread.narrow_mm)
    if spread.edge:
        image = laws.with_edge(image, through(spread.wide_mm), spread.edge)
    return np.asarray(image, dtype=np.float32)


def noise_like(hu: Field, grid: Grid, scan: Scan, rng: np.random.Generator) -> Field:
    """Noise of a scan of `hu`: correlated in plane, stronger where much bone lies in the way."""
    noise = np.empty(hu.shape, dtype=np.float32)
    shape_filter = _noise_filter(hu.shape[1:], grid.pixel_mm[0], scan.spread)
    level = laws.noise_level(scan.noise_hu, scan.spread.noise_gain, scan.thickness_mm)
    for k in range(hu.shape[0]):
        white = rng.standard_normal(hu.shape[1:], dtype=np.float32)
        plane = irfft2(rfft2(white) * shape_filter, s=white.shape)
        noise[k] = plane * (level * _noise_map(hu[k], grid.pixel_mm[0]))
    return noise


def _noise_filter(shape: tuple[int, ...], pixel_mm: float, spread: PointSpread) -> Field:
    """Amplitude of the noise by frequency, of unit variance: a ramp ended by the kernel."""
    fy = np.fft.fftfreq(shape[0], pixel_mm)[:, None]
    fx = np.fft.rfftfreq(shape[1], pixel_mm)[None, :]
    f = np.hypot(fy, fx)
    amplitude = laws.noise_amplitude(f, spread.narrow_mm, spread.wide_mm, spread.edge)
    two_sided = np.concatenate([amplitude, amplitude[:, 1 : (shape[1] + 1) // 2]], axis=1)
    return np.asarray(amplitude / np.sqrt((two_sided**2).mean()), dtype=np.float32)


def _paths_mm(hu: Field, pixel_mm: float) -> tuple[Field, Field]:
    """Bone along rows and along columns, mm of excess: (rows, 1) and (1, columns)."""
    bone = np.clip(hu - 300.0, 0.0, None) / 1000.0
    along_rows = uniform_filter1d(bone.sum(axis=1) * pixel_mm, max(3, int(4 / pixel_mm)))
    along_columns = uniform_filter1d(bone.sum(axis=0) * pixel_mm, max(3, int(4 / pixel_mm)))
    return along_rows[:, None], along_columns[None, :]


def _noise_map(hu: Field, pixel_mm: float) -> Field:
    """Noise against that in the middle of the brain, by place."""
    across, down = _paths_mm(hu, pixel_mm)
    inside = (hu > -500).mean()
    less_in_air = np.clip(0.35 + 0.65 * gaussian_filter((hu > -500).astype(np.float32), 6.0), 0, 1)
    thick = 0.55 + 0.45 * np.sqrt(min(1.0, inside / 0.45))
    return np.asarray(
        thick * less_in_air * np.exp(0.008 * (across - 15) + 0.004 * (down - 15)), dtype=np.float32
    )


def hardening(hu: Field, grid: Grid, scan: Scan) -> Field:
    """Dark bands between thick bones that lie on one line from left to right, HU, not positive."""
    band = np.zeros(hu.shape, dtype=np.float32)
    pixel_mm = grid.pixel_mm[0]
    for k in range(hu.shape[0]):
        bone = np.clip(hu[k] - 300.0, 0.0, 1500.0) / 1000.0 * pixel_mm
        bone = uniform_filter1d(bone, max(3, int(3 / pixel_mm)), axis=0)
        before = np.cumsum(bone, axis=1)
        between = np.minimum(before, before[:, -1:] - before)
        soft = (hu[k] > -200) & (hu[k] < 200)
        deep = np.clip((between - 14.0) / 12.0, 0.0, 2.0)
        band[k] = -scan.hardening_hu * gaussian_filter(deep, 2.0 / pixel_mm) * soft
    return band


def digitised(hu: Field) -> NDArray[np.int16]:
    """HU as a scanner stores them: whole numbers between -1024 and 3071."""
    return np.clip(np.rint(hu), LOWEST_HU, HIGHEST_HU).astype(np.int16)
