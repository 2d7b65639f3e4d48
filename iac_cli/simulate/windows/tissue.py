"""Another head's tissue from a sampled one: other sharpness, bone, air cells, mimics.

What varies slowly is worked out on every second voxel along each axis and grown once.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from iac_cli.simulate.windows.config import StreamConfig
from iac_cli.simulate.windows.draw import Draw, grown, per_window
from iac_cli.simulate.windows.operators import smoothed_in_plane

SHARPENED_PIXELS = 1.8
"""Standard deviation of the blur whose difference is the detail that is added."""

GAIN_CLAMP = (0.4, 1.9)
CELL_HU = -850.0
MUCOSA_HU = 40.0
BONE_FROM_HU = 100.0
EDGE_HU = (180.0, 260.0)
"""Middle and half-width of the HU at which bone meets tissue."""

Size = tuple[int, int, int]


def half_size(size: Size) -> Size:
    """The size of a volume of which every second voxel along each axis is kept, ends included."""
    z, y, x = ((n + 1) // 2 for n in size)
    return z, y, x


def every_second(volume: Tensor) -> Tensor:
    """(b, f, y, x, ...) at the places of a half-size volume; the ends stay the ends."""
    for axis, n in enumerate(half_size((volume.shape[1], volume.shape[2], volume.shape[3])), 1):
        steps = torch.linspace(0, volume.shape[axis] - 1, n, device=volume.device)
        volume = volume.index_select(axis, steps.round().long())
    return volume


def another_sharpness(draw: Draw, c: StreamConfig, hu: Tensor) -> Tensor:
    """The source sharpened or softened in plane, (b, f, y, x)."""
    low, high = c.source_sharpen
    if low == high == 0.0:
        return hu
    amount = per_window(draw.uniform(len(hu), low=low, high=high))
    return torch.lerp(smoothed_in_plane(hu, SHARPENED_PIXELS), hu, 1.0 + amount)


def another_bone(draw: Draw, c: StreamConfig, hu: Tensor, coarse: tuple[Tensor, Tensor]) -> Tensor:
    """Denser or fainter bone, other edges, opened and filled cells, (b, f, y, x).

    `coarse` holds, on every second voxel, how near an artery is [0, 1], and HU that mimics and
    spurs add to all that is not air.
    """
    near, extra = coarse
    b, f, y, x = hu.shape
    half = half_size((f, y, x))
    fine = draw.smooth(b, (9, 10, 10), half)
    spread = 0.5 * math.log(c.bone_gain[1] / c.bone_gain[0])
    broad = 0.6 * draw.smooth(b, (4, 5, 5), half) + draw.normal(b, 1, 1, 1)
    log_gain = spread * broad + c.near_gain * 0.5 * near * fine
    tube = draw.uniform(b, 1, 1, 1, low=c.tube_gain[0], high=c.tube_gain[1])
    gain = log_gain.exp().clamp(*GAIN_CLAMP) * tube - 1.0
    edge = draw.uniform(b, 1, 1, 1) * c.bone_edge_hu * draw.smooth(b, (5, 6, 6), half)
    cells = draw.smooth(b, (8, 9, 9), half)
    layers = grown(torch.stack([gain, edge, cells, extra], dim=1), (f, y, x))
    gain, edge, cells, extra = layers.unbind(1)
    rim = (1.0 - (hu - EDGE_HU[0]).abs() / EDGE_HU[1]).clamp_(min=0.0)
    changed = torch.addcmul(hu, (hu - BONE_FROM_HU).clamp_(min=0.0), gain)
    changed = changed.addcmul_(rim, edge)
    changed = _another_air(draw, c, changed, cells)
    return changed.addcmul_(extra, (hu > -20.0).float())


def _another_air(draw: Draw, c: StreamConfig, hu: Tensor, cells: Tensor) -> Tensor:
    """In some windows, air cells inside bone, or mucosa where cells were."""
    b = len(hu)
    opens = draw.chance(b, p=c.cells_share)
    cut = per_window(torch.where(opens, draw.uniform(b, low=1.2, high=2.6), 99.0))
    opened = ((cells - cut) * 3.0).clamp_(0.0, 1.0) * (hu > 180.0)
    hu = torch.lerp(hu, torch.full_like(hu, CELL_HU), opened)
    filled = per_window(draw.chance(b, p=c.filled_share)) & (hu < -300.0) & (cells < 0.0)
    return torch.where(filled, MUCOSA_HU + 25.0 * cells, hu)


def bone_nearby(hu: Tensor) -> Tensor:
    """How much bone lies about each voxel of a half-size volume, [0, 1] (b, f, y, x)."""
    bone = ((hu - 150.0) / 100.0).clamp(0.0, 1.0)
    return functional.avg_pool3d(bone[:, None], 3, 1, 1)[:, 0].mul_(4.0).clamp_(max=1.0)
