"""How a scanner turns a fine HU field into slices, as batched linear operators.

Everything is separable: a matrix along each in-plane axis (point spread, pixel aperture, edge
enhancement) and one along the slice normal (slice profile). The same matrices carry tissue,
calcium and labels, so partial volume is physical: what one voxel gains another loses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

PROFILE_EDGE_MM = 0.6
"""Width of a slice profile's slopes: a trapezoid of full width at half maximum = thickness."""

TISSUE_HU = 40.0
"""Local background of a calcification: blood, dura and brain."""


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Where a batch's slices lie: all (b, s), in mm of the window's planes (plane i at i mm)."""

    centre_mm: Tensor
    plane: Tensor
    """The whole plane to which each slice is snapped."""
    valid: Tensor
    thickness_mm: Tensor
    """(b,)"""
    step_mm: Tensor
    """(b,)"""


def in_plane_matrix(sigma: Tensor, sharpen: Tensor, wide: Tensor, margin: int, n: int) -> Tensor:
    """Rows that sample a line of n + 2 * margin fine pixels at the n inner ones: (b, n, n + 2m).

    A Gaussian of `sigma` pixels plus `sharpen` times its difference from a Gaussian of `wide`
    pixels; each row sums to one (unit gain). All arguments (b,).
    """
    fine = torch.arange(n + 2 * margin, device=sigma.device, dtype=torch.float32)
    centre = torch.arange(n, device=sigma.device, dtype=torch.float32) + margin
    squared = (fine[None] - centre[:, None]) ** 2  # (n, n + 2m)
    narrow = _unit_rows(torch.exp(-0.5 * squared / sigma[:, None, None] ** 2))
    broad = torch.sqrt(sigma**2 + wide**2)
    blurred = _unit_rows(torch.exp(-0.5 * squared / broad[:, None, None] ** 2))
    return narrow + sharpen[:, None, None] * (narrow - blurred)


def _unit_rows(matrix: Tensor) -> Tensor:
    return matrix / matrix.sum(dim=-1, keepdim=True)


def smoothed_in_plane(field: Tensor, sigma: float) -> Tensor:
    """A field (b, f, y, x) under a Gaussian of `sigma` pixels along both in-plane axes."""
    wide, none = torch.full((1,), sigma, device=field.device), torch.zeros(1, device=field.device)
    rows, columns = (in_plane_matrix(wide, none, wide, 0, n) for n in field.shape[2:])
    return rows @ field @ columns.transpose(-1, -2)


def noise_matrix(sigma: Tensor, sharpen: Tensor, n: int) -> Tensor:
    """Rows that colour white noise along one axis, unit variance out: (b, n, n)."""
    coloured = in_plane_matrix(sigma, sharpen, 1.5 * torch.ones_like(sigma), 0, n)
    return coloured / coloured.square().sum(dim=-1, keepdim=True).sqrt()


def profile_matrix(slices: Slices, fine_mm: Tensor) -> Tensor:
    """Slice profiles on fine planes at `fine_mm` (f,): (b, s, f), rows sum to one where valid."""
    gap = (fine_mm[None, None] - slices.centre_mm[..., None]).abs()
    half = 0.5 * slices.thickness_mm[:, None, None]
    rows = ((half - gap) / PROFILE_EDGE_MM + 0.5).clamp(0.0, 1.0)
    return rows / rows.sum(dim=-1, keepdim=True).clamp(min=1e-6)


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


def acquire(field: Tensor, profile: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Fine field (b, f, y, x) -> slices (b, s, rows, columns)."""
    b, f, y, x = field.shape
    stacked = (profile @ field.reshape(b, f, y * x)).reshape(b, -1, y, x)
    return rows[:, None] @ stacked @ columns[:, None].transpose(-1, -2)


def on_planes(matrix: Tensor, slices: Tensor) -> Tensor:
    """Slices (b, s, y, x) -> planes (b, p, y, x) by a (b, p, s) matrix."""
    b, s, y, x = slices.shape
    return (matrix @ slices.reshape(b, s, y * x)).reshape(b, -1, y, x)


def protocol_label(hu: Tensor, calcium_hu: Tensor, real: Tensor) -> Tensor:
    """What the published protocol would draw on acquired slices (b, s, y, x): bool.

    A voxel counts at HU >= 130 when calcium gives at least half of its excess over tissue, or a
    reader drew it; single voxels are dropped (26-neighbourhood over neighbouring slices).
    """
    share = calcium_hu >= 0.5 * (hu - TISSUE_HU)
    drawn = (hu >= 130.0) & (share | (real >= 0.5))
    count = torch.nn.functional.avg_pool3d(
        drawn[:, None].float(), 3, stride=1, padding=1, divisor_override=1
    )[:, 0]
    return drawn & (count > 1.5)
