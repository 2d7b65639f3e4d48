"""How a scanner turns a fine HU field into slices: the laws as batched matrices.

Everything is separable but for edge enhancement, which is the difference of two separable blurs.
The same matrices carry tissue, calcium and labels, so partial volume is physical: what one voxel
gains another loses. At a window's border, where cells are missing, rows are scaled to sum to one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from iac_cli.simulate import laws
from iac_cli.simulate.windows.config import PIXEL_MM


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Where a batch's slices lie: all (b, s), in mm of the window's planes (plane i at i mm)."""

    centre_mm: Tensor
    plane: Tensor
    """The whole plane to which each slice is snapped."""
    valid: Tensor
    thickness_mm: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A batch's in-plane blur, all (b,), as `laws.transfer` takes it."""

    narrow_mm: Tensor
    wide_mm: Tensor
    edge: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Optics:
    """A batch's scanner as matrices."""

    profile: Tensor
    """(b, s, f)."""
    narrow: tuple[Tensor, Tensor]
    """Rows (b, y, fine y) and columns (b, x, fine x) of the narrow Gaussian."""
    wide: tuple[Tensor, Tensor]
    edge: Tensor
    """(b,)"""


def spread_matrix(
    sigma_mm: Tensor, margin: int, n: int, ghost: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Rows that sample a line of n + 2 * margin fine pixels at the n inner ones: (b, n, n + 2m).

    `ghost` (b,) each, a share and a distance in mm: so much of the picture is seen displaced.
    """
    fine = torch.arange(n + 2 * margin, device=sigma_mm.device, dtype=torch.float32)
    centre = torch.arange(n, device=sigma_mm.device, dtype=torch.float32) + margin
    gap = ((fine[None] - centre[:, None]) * PIXEL_MM)[None]
    sigma = sigma_mm[:, None, None]
    rows = _unit_rows(laws.spread_share(gap, PIXEL_MM, sigma))
    if ghost is None:
        return rows
    share, away = (value[:, None, None] for value in ghost)
    moved = _unit_rows(laws.spread_share(gap - away, PIXEL_MM, sigma))
    return torch.lerp(rows, moved, share)


def _unit_rows(matrix: Tensor) -> Tensor:
    return matrix / matrix.sum(dim=-1, keepdim=True).clamp(min=1e-6)


def smoothed_in_plane(field: Tensor, sigma: float) -> Tensor:
    """A field (b, f, y, x) under a Gaussian of `sigma` pixels along both in-plane axes."""
    wide = torch.full((1,), sigma * PIXEL_MM, device=field.device)
    rows, columns = (spread_matrix(wide, 0, n)[0] for n in field.shape[2:])
    return rows @ (field @ columns.T)


def profile_matrix(slices: Slices, slope_mm: Tensor, fine_mm: Tensor) -> Tensor:
    """Slice profiles on fine planes at `fine_mm` (f,): (b, s, f)."""
    cell_mm = float(fine_mm[1] - fine_mm[0])
    gap = fine_mm[None, None] - slices.centre_mm[..., None]
    thickness = slices.thickness_mm[..., None]
    share: Tensor = laws.profile_share(gap, cell_mm, thickness, slope_mm[:, None, None])
    return _unit_rows(share.clamp(min=0.0))


def plane_matrix(slices: Slices, n_planes: int) -> Tensor:
    """Slices to the window's planes, linear between snapped neighbours: (b, n_planes, s)."""
    far = 1e6
    plane = torch.where(slices.valid, slices.plane, far)
    wanted = torch.arange(n_planes, device=plane.device, dtype=plane.dtype)[None, :, None]
    below = torch.where(plane[:, None] <= wanted, plane[:, None], -far)  # (b, p, s)
    above = torch.where(plane[:, None] >= wanted, plane[:, None], far)
    low, i_low = below.max(dim=-1)
    high, i_high = above.min(dim=-1)
    i_low = torch.where(low > -far, i_low, i_high)
    i_high = torch.where(high < far, i_high, i_low)
    low = torch.where(low > -far, low, high)
    high = torch.where(high < far, high, low)
    fraction = ((wanted[..., 0] - low) / (high - low).clamp(min=1e-6)).clamp(0.0, 1.0)
    matrix = torch.zeros(*low.shape, plane.shape[-1], device=plane.device)
    matrix.scatter_add_(2, i_low[..., None], (1.0 - fraction)[..., None])
    matrix.scatter_add_(2, i_high[..., None], fraction[..., None])
    return matrix


def slice_planes(slices: Slices, n_planes: int) -> Tensor:
    """Which slice sits on which plane: (b, n_planes, s) of 0 and 1."""
    wanted = torch.arange(n_planes, device=slices.plane.device, dtype=slices.plane.dtype)
    on_plane = slices.plane[:, None] == wanted[None, :, None]
    return (on_plane & slices.valid[:, None]).float()


def acquire(field: Tensor, optics: Optics) -> Tensor:
    """Fine field (b, f, y, x) -> slices (b, s, rows, columns)."""
    b, f, y, x = field.shape
    stacked = (optics.profile @ field.reshape(b, f, y * x)).reshape(b, -1, y, x)

    def through(matrices: tuple[Tensor, Tensor]) -> Tensor:
        rows, columns = matrices
        s = stacked.shape[1]
        across = stacked.reshape(b, s * y, x) @ columns.transpose(-1, -2)
        return rows[:, None] @ across.reshape(b, s, y, -1)

    edge = optics.edge[:, None, None, None]
    seen: Tensor = laws.with_edge(through(optics.narrow), through(optics.wide), edge)
    return seen


def on_planes(matrix: Tensor, slices: Tensor) -> Tensor:
    """Slices (b, s, y, x) -> planes (b, p, y, x) by a (b, p, s) matrix."""
    b, s, y, x = slices.shape
    return (matrix @ slices.reshape(b, s, y * x)).reshape(b, -1, y, x)


def _box_matrix(n: int, size: int, device: torch.device) -> Tensor:
    """(n, n): mean over `size` neighbours, the ends going on beyond the border."""
    reach = torch.arange(size, device=device) - size // 2
    index = (torch.arange(n, device=device)[:, None] + reach).clamp(0, n - 1)
    matrix = torch.zeros(n, n, device=device)
    return matrix.scatter_add_(1, index, torch.full(index.shape, 1.0 / size, device=device))


def local_background(hu: Tensor) -> Tensor:
    """Mean of the soft tissue around each voxel within its slice (b, s, y, x), HU."""
    size = laws.background_size(PIXEL_MM)
    rows, columns = (_box_matrix(n, size, hu.device) for n in hu.shape[2:])
    soft: Tensor = laws.is_soft(hu)
    both = torch.stack([soft.float(), torch.where(soft, hu, 0.0)])
    weight, values = rows @ (both @ columns.T)
    mean: Tensor = values / weight.clamp(min=1e-3)
    return torch.where(weight > laws.LEAST_SOFT_SHARE, mean, laws.FALLBACK_BACKGROUND_HU)


def protocol_label(hu: Tensor, calcium_hu: Tensor, real: Tensor | None = None) -> Tensor:
    """What the published protocol would draw on acquired slices (b, s, y, x): bool.

    A voxel counts at HU >= 130 when calcium gives at least half of its excess over the tissue
    around it, or a reader drew it (`real` >= 0.5); single voxels are dropped (26-neighbourhood
    over neighbouring slices).
    """
    drawn: Tensor = laws.is_drawn(hu, calcium_hu, local_background(hu - calcium_hu))
    if real is not None:
        drawn = drawn | ((real >= 0.5) & (hu >= laws.THRESHOLD_HU))
    count = functional.avg_pool3d(drawn[:, None].float(), 3, 1, 1, divisor_override=1)[:, 0]
    return drawn & (count > 1.5)


def chosen(optics: Optics, windows: Tensor) -> Optics:
    """The scanner of some windows (k,) of a batch."""
    rows, columns = optics.narrow
    wide_rows, wide_columns = optics.wide
    return Optics(
        optics.profile[windows],
        (rows[windows], columns[windows]),
        (wide_rows[windows], wide_columns[windows]),
        optics.edge[windows],
    )
