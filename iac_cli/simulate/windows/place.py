"""Where every voxel of a window lies in its head, and in another one that lends a part.

Places are given by knots, between which everything is linear: turning, scaling and the displacement
of a few knots cost nothing, and one interpolation makes the rest.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from iac_cli.simulate.windows.atlas import FRACTIONS, Atlas, nearest_point
from iac_cli.simulate.windows.config import PIXEL_MM, PLANE_MM, StreamConfig
from iac_cli.simulate.windows.draw import Draw, grown

WARP_KNOTS = (4, 4, 4)
SHIFT_KNOTS = (10, 10, 10)
"""Knots of the displacement of bone; a multiple of the warp's intervals, so that both agree."""

STEEPEST_COSINE = 0.64
"""Two heads whose arteries run in directions further apart than this are not turned to match."""

Size = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where a batch lies. Knots are (b, 3, kz, ky, kx) in mm (z, y, x) of a head."""

    head: Tensor
    """(b,) number of the head."""
    knots: Tensor
    """Of the arteries."""
    tissue: Tensor
    """Of everything else: the same, but for a small displacement of bone."""
    centre: Tensor
    """(b, 3) mm: the window's middle."""
    partner: Tensor
    """(b,) number of the head that lends a part."""
    lent: Tensor
    """Knots in the partner."""
    mixed: Tensor
    """(b,) whether a part is lent at all."""


def fine_axes(config: StreamConfig, size: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Fine positions along z, y, x in mm of the window's planes and pixels."""
    c = config
    planes = torch.arange(-c.margin_mm, (size[0] - 1) * PLANE_MM + c.margin_mm + 1e-6, c.fine_mm)
    y, x = ((torch.arange(n + 2 * c.margin_pixels) - c.margin_pixels) * PIXEL_MM for n in size[1:])
    return planes, y, x


def inner(config: StreamConfig, fine: Tensor, size: Size) -> Tensor:
    """The fine voxels (b, f, y, x, ...) that sit on the window's own: (b, z, y, x, ...)."""
    c = config
    first, step = round(c.margin_mm / c.fine_mm), round(PLANE_MM / c.fine_mm)
    m = c.margin_pixels
    planes = fine[:, first : first + step * size[0] : step]
    return planes[:, :, m : m + size[1], m : m + size[2]]


def draw_places(
    draw: Draw, config: StreamConfig, atlas: Atlas, head: Tensor, shares: Tensor, size: Size
) -> Places:
    """Windows of heads (b,); `shares` (heads,) says how often a head lends a part."""
    c, b = config, len(head)
    ends = [(float(axis[0]), float(axis[-1])) for axis in fine_axes(c, size)]
    middle = [(n - 1) * s / 2 for n, s in zip(size, (PLANE_MM, PIXEL_MM, PIXEL_MM), strict=True)]
    axes = [
        torch.linspace(low - m, high - m, k, device=draw.device)
        for (low, high), m, k in zip(ends, middle, WARP_KNOTS, strict=True)
    ]
    local = torch.stack(torch.meshgrid(*axes, indexing="ij"))  # (3, 4, 4, 4)
    turned = torch.einsum("bij,jzyx->bizyx", _affine(draw, c, b), local)
    warp = draw.uniform(b, 1, 1, 1, 1) * c.warp_mm * draw.normal(b, 3, *WARP_KNOTS)
    centre = _centres(draw, c, atlas, head)
    knots = grown(centre[:, :, None, None, None] + turned + warp, SHIFT_KNOTS)
    shift = draw.uniform(b, 1, 1, 1, 1) * c.bone_shift_mm * draw.normal(b, 3, *SHIFT_KNOTS)
    partner, lent, mixed = _lent(draw, c, atlas, (head, knots + shift, centre), shares)
    return Places(head, knots, knots + shift, centre, partner, lent, mixed)


def _affine(draw: Draw, c: StreamConfig, b: int) -> Tensor:
    """Rotation, tilt, scale and mirror: (b, 3, 3) in (z, y, x)."""
    angle = draw.uniform(b, 3, low=-c.rotation_deg, high=c.rotation_deg)
    tilt = draw.amount(b, share=c.tilt_share, low=-c.tilt_deg, high=c.tilt_deg)
    angle = torch.deg2rad(torch.cat([angle, tilt[:, None]], dim=1))
    cosine, sine = angle.cos(), angle.sin()
    total = torch.eye(3, device=draw.device).expand(b, 3, 3)
    for axis, (i, j) in enumerate(((1, 2), (0, 2), (0, 1), (0, 1))):
        turn = torch.eye(3, device=draw.device).repeat(b, 1, 1)
        turn[:, i, i] = turn[:, j, j] = cosine[:, axis]
        turn[:, i, j], turn[:, j, i] = -sine[:, axis], sine[:, axis]
        total = total @ turn if axis == 3 else turn @ total
    scale = draw.uniform(b, 3, low=c.scale[0], high=c.scale[1])
    scale[:, 2] *= torch.where(draw.chance(b, p=c.mirror_share), -1.0, 1.0)
    return total * scale[:, None, :]


def _centres(draw: Draw, c: StreamConfig, atlas: Atlas, head: Tensor) -> Tensor:
    """Window centres in their heads, (b, 3) mm."""
    b = len(head)
    wanted = head.double() + draw.uniform(b).double()
    chosen = torch.searchsorted(atlas.cumulated, wanted).clamp(max=len(atlas.cumulated) - 1)
    along = atlas.points.place[chosen] + c.jitter_mm * draw.normal(b, 3)
    low, high = atlas.low[head], atlas.high[head]
    anywhere = low + (high - low) * draw.uniform(b, 3)
    return torch.where(draw.chance(b, 1, p=c.away_share), anywhere, along)


def _lent(
    draw: Draw,
    c: StreamConfig,
    atlas: Atlas,
    own: tuple[Tensor, Tensor, Tensor],
    shares: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Another head laid on the same place of the same artery: its number, knots, and whether."""
    head, knots, centre = own
    others = shares.repeat(len(head), 1)
    others[torch.arange(len(head), device=draw.device), head] = 0.0
    alone = others.sum(dim=1) <= 0.0
    partner = torch.where(alone, head, draw.choose(others + 1e-9 * alone[:, None]))
    here = nearest_point(atlas, head, centre)
    step = (atlas.points.fraction[here] * (FRACTIONS - 1)).round().long()
    there = atlas.at_fraction[partner, atlas.points.artery[here], step]
    mixed = draw.chance(len(head), p=c.mix_share) & ~alone & (there >= 0)
    there = torch.where(there >= 0, there, here)
    turn = _turn(atlas.points.tangent[here], atlas.points.tangent[there])
    away = knots - atlas.points.place[here][:, :, None, None, None]
    lent = torch.einsum("bij,bjzyx->bizyx", turn, away)
    return partner, lent + atlas.points.place[there][:, :, None, None, None], mixed


def _turn(start: Tensor, end: Tensor) -> Tensor:
    """The shortest rotation (b, 3, 3) that takes directions (b, 3) to others, if it is small."""
    cosine = (start * end).sum(-1)
    axis = torch.linalg.cross(start, end, dim=-1)
    zero = torch.zeros_like(cosine)
    x, y, z = axis.unbind(-1)
    rows = [torch.stack(row, -1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    skew = torch.stack(rows, dim=1)
    unit = torch.eye(3, device=start.device).expand(len(start), 3, 3)
    turn = unit + skew + skew @ skew / (1.0 + cosine).clamp(min=0.1)[:, None, None]
    return torch.where((cosine > STEEPEST_COSINE)[:, None, None], turn, unit)
