"""A scanner for every window: where its slices lie, how thick they are, and how it blurs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from iac_cli.simulate.windows.config import StreamConfig
from iac_cli.simulate.windows.draw import Draw
from iac_cli.simulate.windows.operators import (
    Optics,
    Slices,
    Spread,
    profile_matrix,
    spread_matrix,
)

BEFORE_MM = 7.0
"""How far before and behind a window slices are still made: its border lies between slices."""

THICKNESS_MM = ((0.9, 1.4), (1.5, 3.2), (3.5, 5.2), (5.3, 7.5))
THICKNESS_BORDERS = (0.35, 0.60, 0.88)
"""35 % of windows have thin slices of 1 mm distance, and so on."""

THICKER = (1.4, 2.5)
"""How much thicker and further apart slices become in an uneven window."""

PIXEL_SIZES_MM = ((0.35, 0.55), (0.55, 1.0))
WIDE_MM = (0.45, 1.3)
"""What the wide Gaussian of edge enhancement adds to the narrow one (in quadrature)."""

MOTION_MM = 3.0
MOTION_SHARE = (0.1, 0.5)


@dataclass(frozen=True, slots=True, eq=False)
class Scanner:
    """How a batch is scanned."""

    slices: Slices
    optics: Optics
    spread: Spread
    pixel_mm: Tensor
    """(b,)"""


def draw_slices(draw: Draw, c: StreamConfig, b: int, n_planes: int) -> Slices:
    """Random thickness, step and phase of each window's slices."""
    kind = torch.bucketize(draw.uniform(b), torch.tensor(THICKNESS_BORDERS, device=draw.device))
    kind = kind * (not c.thin_only)
    thin = kind == 0
    thickness = draw.of_kind(kind, THICKNESS_MM)
    ratio = draw.uniform(b)
    overlap, gap = draw.uniform(b, low=0.5), draw.uniform(b, low=1.0, high=1.25)
    factor = torch.where(ratio < 0.2, overlap, torch.where(ratio > 0.85, gap, 1.0))
    step = torch.where(thin, 1.0, (thickness * factor).clamp(min=1.0))
    first = -(BEFORE_MM / step).floor() * step + (draw.uniform(b) - 1.0) * step * (step > 1.0)
    more = draw.amount(b, share=c.uneven_share, low=THICKER[0], high=THICKER[1]).clamp(min=1.0)
    switch = ((draw.uniform(b, high=n_planes - 1.0) - first) / step).ceil()
    k = torch.arange(n_planes + 2 * int(BEFORE_MM) + 1, device=draw.device)[None]
    below = torch.minimum(k, switch[:, None])
    above = k - below
    centre = first[:, None] + step[:, None] * (below + above * more[:, None])
    valid = (centre > -BEFORE_MM - 0.5) & (centre < n_planes - 0.5 + BEFORE_MM)
    grown = torch.where(above > 0, more[:, None], 1.0)
    return Slices(centre, centre.round(), valid, thickness[:, None] * grown)


def draw_scanner(
    draw: Draw, c: StreamConfig, b: int, size: tuple[int, int, int], fine_mm: Tensor
) -> Scanner:
    """Slices and blur of a batch of windows on fine planes at `fine_mm` (f,)."""
    slices = draw_slices(draw, c, b, size[0])
    pixel = draw.of_kind(draw.chance(b, p=c.coarse_pixels_share).long(), PIXEL_SIZES_MM)
    sigma = draw.uniform(b, low=c.psf_sigma_mm[0], high=c.psf_sigma_mm[1])
    narrow = (sigma.square() + pixel.square() / 12.0).sqrt()
    wide = (narrow.square() + draw.uniform(b, low=WIDE_MM[0], high=WIDE_MM[1]).square()).sqrt()
    spread = Spread(narrow, wide, draw.amount(b, share=0.5, low=0.0, high=c.sharpen))
    share = draw.amount(b, share=c.motion_share, low=MOTION_SHARE[0], high=MOTION_SHARE[1])
    ghosts = [(share, draw.uniform(b, low=-MOTION_MM, high=MOTION_MM)) for _ in range(2)]
    matrices = [
        tuple(
            spread_matrix(width, c.margin_pixels, n, ghost)
            for n, ghost in zip(size[1:], ghosts, strict=True)
        )
        for width in (spread.narrow_mm, spread.wide_mm)
    ]
    slope = draw.uniform(b, low=c.slope_mm[0], high=c.slope_mm[1])
    profile = profile_matrix(slices, slope, fine_mm)
    (rows, columns), (wide_rows, wide_columns) = matrices
    optics = Optics(profile, (rows, columns), (wide_rows, wide_columns), spread.edge)
    return Scanner(slices, optics, spread, pixel)
