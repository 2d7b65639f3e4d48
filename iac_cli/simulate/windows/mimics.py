"""What is bright and no calcification of an artery: it is seen in the window and never labelled.

All of it is made on every second voxel along each axis, as HU that is added to what is there.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from iac_cli.simulate import laws
from iac_cli.simulate.windows.atlas import Atlas
from iac_cli.simulate.windows.calcium import Course, course_of, draw_shells, shells_hu
from iac_cli.simulate.windows.config import StreamConfig
from iac_cli.simulate.windows.draw import Draw, per_window
from iac_cli.simulate.windows.place import Places
from iac_cli.simulate.windows.tissue import bone_nearby

NEAR_MM = 6.0
"""How far from an artery's edge bone counts as near it."""

WALL_MM = 0.7
"""Bars of bone keep this distance from a lumen."""

ALONE_MM = 5.0
"""Blobs keep this distance from an artery's edge."""

RAMP_MM = 0.9
"""Faces are ramped over about one voxel."""

DURA_AWAY_MM = (3.0, 7.0)


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """Every second voxel of a batch, (b, f, y, x) each."""

    hu: Tensor
    where: Tensor
    """(b, f, y, x, 3) mm of the head."""
    course: Course
    """Of all voxels, flat."""
    outside_mm: Tensor
    """Distance from the nearest lumen's edge; negative within it."""

    @property
    def places(self) -> Tensor:
        """(b, voxels, 3) mm of the head."""
        return self.where.reshape(len(self.hu), -1, 3)


def coarse_of(
    draw: Draw, c: StreamConfig, atlas: Atlas, places: Places, seen: tuple[Tensor, Tensor]
) -> Coarse:
    """Every second voxel: `seen` holds HU (b, f, y, x) and positions (b, f, y, x, 3)."""
    hu, where = seen
    b = len(hu)
    window = torch.arange(b, device=hu.device).repeat_interleave(hu[0].numel())
    jitter = c.line_jitter_mm * draw.normal(b, 3)
    course = course_of(atlas, places.head, window, where.reshape(-1, 3), jitter)
    return Coarse(hu, where, course, (course.radial - course.lumen).reshape(hu.shape))


def near_artery(coarse: Coarse) -> Tensor:
    """1 at an artery, 0 from some mm away."""
    return (1.0 - coarse.outside_mm / NEAR_MM).clamp(0.0, 1.0)


def added_hu(draw: Draw, c: StreamConfig, atlas: Atlas, places: Places, coarse: Coarse) -> Tensor:
    """HU that spurs, bars, folds, blobs, bleeding and dense blood add, (b, f, y, x)."""
    b, *size = coarse.hu.shape
    lumps = draw.smooth(b, (9, 10, 10), (size[0], size[1], size[2]))
    extra = _spurs(draw, c, coarse, lumps)
    extra = extra + _dense_vessel(draw, c, coarse)
    extra = extra + _bleeding(draw, c, coarse, lumps)
    bright = torch.maximum(_bars(draw, c, coarse), _blobs(draw, c, coarse, lumps))
    return torch.maximum(extra, torch.maximum(bright, _dura(draw, c, atlas, places, coarse, lumps)))


def _spurs(draw: Draw, c: StreamConfig, coarse: Coarse, lumps: Tensor) -> Tensor:
    """Bone thickens where bone already is, by an artery twice as much: clinoids, dorsum sellae,
    petrous apex and canal walls are what a network takes for calcification."""
    amount = draw.amount(len(lumps), share=c.spur_share, low=0.0, high=c.spur_hu)
    lump = ((lumps - 0.8) * 1.2).clamp(0.0, 1.0)
    return per_window(amount) * lump * bone_nearby(coarse.hu) * (0.7 + near_artery(coarse))


def _dense_vessel(draw: Draw, c: StreamConfig, coarse: Coarse) -> Tensor:
    """Blood that is denser than usual, or clotted."""
    amount = draw.amount(len(coarse.hu), share=c.dense_vessel_share, low=8.0, high=50.0)
    return per_window(amount) * (0.5 - coarse.outside_mm / RAMP_MM).clamp(0.0, 1.0)


def _anchors(draw: Draw, coarse: Coarse, allowed: Tensor) -> tuple[Tensor, Tensor]:
    """A voxel a window out of those allowed (b, f, y, x): its place (b, 3) mm, and whether any."""
    chosen, some = draw.one_of(allowed.reshape(len(allowed), -1))
    places = coarse.places
    return places[torch.arange(len(places), device=places.device), chosen], some


def _away(coarse: Coarse, place: Tensor) -> Tensor:
    """From a place a window (b, 3) to each voxel, (b, f, y, x, 3) mm."""
    return coarse.where - place[:, None, None, None]


def _over(below_hu: Tensor, share: Tensor, hu: Tensor) -> Tensor:
    added: Tensor = laws.excess_hu(share, hu, below_hu)
    return added


def _bars(draw: Draw, c: StreamConfig, coarse: Coarse) -> Tensor:
    """A bar of bone that starts at a bone by an artery: bridges of clinoids, ossified ligaments."""
    b = len(coarse.hu)
    start, some = _anchors(draw, coarse, (coarse.hu > 250.0) & (coarse.outside_mm < 10.0))
    ahead = torch.nn.functional.normalize(draw.normal(b, 3), dim=1)
    length = draw.uniform(b, low=2.0, high=13.0)
    radius = draw.uniform(b, low=0.5, high=1.9)
    away = _away(coarse, start)
    along = (away * ahead[:, None, None, None]).sum(-1)
    on_axis = torch.minimum(along.clamp(min=0.0), per_window(length))
    gap = (away - on_axis[..., None] * ahead[:, None, None, None]).square().sum(-1).sqrt()
    share = ((per_window(radius) - gap) / RAMP_MM + 0.5).clamp(0.0, 1.0)
    share = share * ((coarse.outside_mm - WALL_MM) / RAMP_MM).clamp(0.0, 1.0)
    hu = per_window(draw.uniform(b, low=250.0, high=1100.0))
    present = draw.chance(b, p=c.bar_share) * some
    return _over(coarse.hu, share * per_window(present), hu)


def _blobs(draw: Draw, c: StreamConfig, coarse: Coarse, lumps: Tensor) -> Tensor:
    """A calcified blob in soft tissue, away from arteries: plexus, pineal gland, falx."""
    b = len(coarse.hu)
    soft = (coarse.hu > -10.0) & (coarse.hu < 90.0) & (coarse.outside_mm > ALONE_MM)
    middle, some = _anchors(draw, coarse, soft)
    sizes = draw.uniform(b, 3, low=0.8, high=4.0)
    away = _away(coarse, middle) / sizes[:, None, None, None]
    depth = (1.0 + 0.3 * lumps - away.square().sum(-1).sqrt()) * per_window(sizes.mean(1))
    share = (depth / RAMP_MM + 0.5).clamp(0.0, 1.0)
    share = share * ((coarse.outside_mm - ALONE_MM + 1.0) / RAMP_MM).clamp(0.0, 1.0)
    hu = per_window(draw.log_uniform(b, low=110.0, high=700.0))
    present = draw.chance(b, p=c.blob_share) * some
    return _over(coarse.hu, share * per_window(present), hu)


def _bleeding(draw: Draw, c: StreamConfig, coarse: Coarse, lumps: Tensor) -> Tensor:
    """Blood outside the vessels: 55 to 90 HU, in soft tissue alone."""
    b = len(coarse.hu)
    soft = (coarse.hu > -10.0) & (coarse.hu < 90.0)
    middle, some = _anchors(draw, coarse, soft)
    sizes = draw.uniform(b, 3, low=3.0, high=14.0)
    away = (_away(coarse, middle) / sizes[:, None, None, None]).square().sum(-1).sqrt()
    share = ((1.0 + 0.4 * lumps - away) * 4.0 + 0.5).clamp(0.0, 1.0) * soft
    hu = per_window(draw.uniform(b, low=55.0, high=90.0))
    present = draw.chance(b, p=c.bleed_share) * some
    return _over(coarse.hu, share * per_window(present), hu)


def _dura(
    draw: Draw, c: StreamConfig, atlas: Atlas, places: Places, coarse: Coarse, lumps: Tensor
) -> Tensor:
    """A calcified fold of dura some mm beside an artery."""
    b = len(coarse.hu)
    present = draw.chance(b, 1, p=c.dura_share).float()
    fold = draw_shells(draw, c, atlas, places, present)
    away = draw.uniform(b, 1, low=DURA_AWAY_MM[0], high=DURA_AWAY_MM[1])
    fold = replace(fold, radius=fold.radius + away, width=fold.width * 0.4)
    added = shells_hu(fold, coarse.course, lumps.reshape(-1), coarse.hu.reshape(-1))
    return added.reshape(coarse.hu.shape)
