"""What a scanner adds to the picture: noise, shading, bands, streaks, wrong scale, cut values.

Slices are (b, s, y, x), HU. Nothing here touches a label but by what the picture shows.
"""

import math

import torch
from torch import Tensor

from iac_cli.simulate import laws
from iac_cli.simulate.windows.config import PIXEL_MM, StreamConfig
from iac_cli.simulate.windows.draw import Draw, per_window
from iac_cli.simulate.windows.operators import Spread
from iac_cli.simulate.windows.slices import Scanner

NOISE_PIXEL = 0.35
"""A pixel's part in the blur of noise: it is interpolated from the scan's own pixels."""

STREAK_ANGLES = 256
STREAK_AWAY_MM = (16.0, 90.0)
AIR_HU = -1024.0


def unit_noise(white: Tensor, spread: Spread) -> Tensor:
    """White noise (b, s, y, x) coloured by a kernel as `laws.noise_amplitude` says, variance 1."""
    y, x = white.shape[-2:]
    fy = torch.fft.fftfreq(y, PIXEL_MM, device=white.device)
    fx = torch.fft.rfftfreq(x, PIXEL_MM, device=white.device)
    radial = torch.hypot(fy[:, None], fx[None])[None]
    narrow, wide, edge = (v[:, None, None] for v in (spread.narrow_mm, spread.wide_mm, spread.edge))
    amplitude: Tensor = laws.noise_amplitude(radial, narrow, wide, edge)
    twice = torch.full_like(fx, 2.0)
    twice[0] = 1.0
    if x % 2 == 0:
        twice[-1] = 1.0
    power = (amplitude.square() * twice).sum(dim=(-2, -1), keepdim=True) / (y * x)
    shaped = torch.fft.rfft2(white) * (amplitude / power.sqrt())[:, None]
    noise: Tensor = torch.fft.irfft2(shaped, s=(y, x))
    return noise


def noise_hu(draw: Draw, c: StreamConfig, shape: torch.Size, scanner: Scanner) -> Tensor:
    """Noise of each window's dose, coloured by its kernel, uneven in space."""
    b, s, y, x = shape
    blur = (scanner.spread.narrow_mm.square() + (NOISE_PIXEL * scanner.pixel_mm).square()).sqrt()
    blur = blur * draw.uniform(b, low=0.75, high=1.25)
    spread = Spread(blur, (blur.square() + 0.5).sqrt(), scanner.spread.edge)
    level = draw.log_uniform(b, low=c.noise_hu[0], high=c.noise_hu[1])
    uneven = draw.smooth(b, (3, 3, 3), (s, y, x)).clamp_(-1.5, 2.0).mul_(c.uneven_noise).add_(1.0)
    return unit_noise(draw.normal(b, s, y, x), spread).mul_(per_window(level)).mul_(uneven)


def band_hu(draw: Draw, c: StreamConfig, clean: Tensor) -> Tensor:
    """A dark band from side to side, as between the petrous bones; in soft tissue alone."""
    b, s, y, x = clean.shape
    depth = draw.amount(b, share=c.band_share, low=5.0, high=40.0)
    slope, middle = 0.25 * draw.normal(b), draw.uniform(b, low=0.0, high=float(y))
    width = draw.uniform(b, low=3.0, high=14.0)
    rows = torch.arange(y, device=clean.device)[None, :, None]
    columns = torch.arange(x, device=clean.device)[None, None] - x / 2
    gap = rows - middle[:, None, None] - slope[:, None, None] * columns
    ridge = torch.exp(-0.5 * (gap / width[:, None, None]) ** 2)
    along = torch.arange(s, device=clean.device)[None] - draw.uniform(b, high=float(s))[:, None]
    fading = torch.exp(-0.5 * (along / draw.uniform(b, low=3.0, high=12.0)[:, None]) ** 2)
    dark = -per_window(depth) * fading[:, :, None, None] * ridge[:, None]
    return dark * ((clean > -200.0) & (clean < 200.0))


def streak_hu(draw: Draw, c: StreamConfig, shape: torch.Size) -> Tensor:
    """Streaks that fan out from metal or teeth outside the window."""
    b, s, y, x = shape
    strength = draw.amount(b, share=c.streak_share, low=8.0, high=60.0)
    direction = draw.uniform(b, high=2 * math.pi)
    away = draw.uniform(b, low=STREAK_AWAY_MM[0], high=STREAK_AWAY_MM[1])
    rows = (torch.arange(y, device=draw.device) - y / 2)[None, :, None] * PIXEL_MM
    columns = (torch.arange(x, device=draw.device) - x / 2)[None, None] * PIXEL_MM
    down = rows + (away * direction.sin())[:, None, None]
    across = columns + (away * direction.cos())[:, None, None]
    turn = torch.atan2(down, across) - direction[:, None, None]
    turn = torch.remainder(turn + math.pi, 2 * math.pi) - math.pi  # a window spans a few radians
    spread = (away / (0.7 * y * PIXEL_MM))[:, None, None]
    place = (turn * spread * 0.25 + 0.5).clamp(0.0, 1.0) * (STREAK_ANGLES - 1)
    table = draw.normal(b, 1, STREAK_ANGLES // 3)
    table = torch.nn.functional.interpolate(table, size=STREAK_ANGLES, mode="linear")[:, 0]
    rays = table.gather(1, place.round().long().reshape(b, -1)).reshape(b, 1, y, x)
    nearness = (away[:, None, None] / torch.hypot(down, across).clamp(min=1.0)).clamp(max=2.0)
    rays = rays * nearness[:, None]
    along = torch.arange(s, device=draw.device)[None] - draw.uniform(b, high=float(s))[:, None]
    fading = torch.exp(-0.5 * (along / draw.uniform(b, low=1.0, high=6.0)[:, None]) ** 2)
    return per_window(strength) * fading[:, :, None, None] * rays


def cut_values(draw: Draw, c: StreamConfig, hu: Tensor) -> Tensor:
    """Rounded and clipped as scanners and exports do, with padding outside the field of view."""
    b, _, y, x = hu.shape
    clips = draw.chance(b, p=c.clip_share)
    top = torch.where(clips, draw.uniform(b, low=900.0, high=2500.0), float(laws.HIGHEST_HU))
    bottom = torch.where(clips, draw.uniform(b, low=-1024.0, high=-200.0), float(laws.LOWEST_HU))
    hu = torch.minimum(torch.maximum(hu.round(), per_window(bottom)), per_window(top))
    pads = draw.chance(b, p=c.padding_share)
    direction = draw.uniform(b, high=2 * math.pi)
    cut = draw.uniform(b, low=-0.1, high=0.6) * y
    rows = (torch.arange(y, device=hu.device) - y / 2)[None, :, None]
    columns = (torch.arange(x, device=hu.device) - x / 2)[None, None]
    ahead = rows * direction.sin()[:, None, None] + columns * direction.cos()[:, None, None]
    outside = (ahead > cut[:, None, None]) & pads[:, None, None]
    return torch.where(outside[:, None], AIR_HU, hu)


def scanned(draw: Draw, c: StreamConfig, clean: Tensor, scanner: Scanner) -> Tensor:
    """What the scanner stores of a noise-free picture."""
    b, s, y, x = clean.shape
    gain = 1.0 + c.gain_spread * draw.normal(b, 1, 1, 1)
    shade = draw.uniform(b, 1, 1, 1, high=c.shading_hu)
    hu = torch.addcmul(c.offset_hu * draw.normal(b, 1, 1, 1), clean, gain)
    hu = hu.add_(noise_hu(draw, c, clean.shape, scanner))
    hu = hu.addcmul_(draw.smooth(b, (3, 4, 4), (s, y, x)), shade)
    if c.band_share > 0.0:
        hu = hu.add_(band_hu(draw, c, clean))
    if c.streak_share > 0.0:
        hu = hu.add_(streak_hu(draw, c, clean.shape))
    return cut_values(draw, c, hu)
