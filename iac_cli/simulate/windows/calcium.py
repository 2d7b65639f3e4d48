"""Calcium in the wall of arteries, in the artery's own coordinates.

Only the voxels near an artery are visited: all of them as one list, all implants side by side.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from iac_cli.simulate import laws
from iac_cli.simulate.windows.atlas import Atlas, nearest_point
from iac_cli.simulate.windows.config import PIXEL_MM, StreamConfig
from iac_cli.simulate.windows.draw import Draw
from iac_cli.simulate.windows.place import Places

SHAPE_BORDERS = (0.35, 0.80)
"""35 % of implants are dots, 45 % arcs and plates, 20 % sheets and rings."""
LENGTH_MM = ((0.7, 2.2), (1.5, 7.0), (3.0, 11.0))
WIDTH_RAD = ((0.3, 0.9), (0.6, 2.4), (2.4, 5.8))
THICK_MM = ((0.5, 1.6), (0.45, 2.2), (0.35, 1.5))
"""Extent along, around and across the wall of dots, arcs and sheets."""

RADIUS = (0.85, 1.25)
"""Of the wall, as a multiple of the traced lumen's."""

MORE_P = 0.42
"""Probability of each further implant in a window that has one."""

REACH_MM = 2.6
"""No implant reaches further than this beyond the widest wall: half the thickest shell, ragged,
and a voxel."""

LONGEST = 2.0
"""No ragged rim makes an implant longer than this multiple."""

RAMP_MM = 0.47
"""An implant's faces are ramped over about one fine voxel, so that thin ones keep their volume."""

RAGGED_KNOTS = (14, 14, 14)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Points in the coordinates of their nearest artery, each (n,)."""

    window: Tensor
    """Number of the window that each belongs to."""
    arc: Tensor
    """mm along the line."""
    line: Tensor
    angle: Tensor
    radial: Tensor
    """mm from the centre line."""
    lumen: Tensor
    """The lumen's radius there, mm."""


@dataclass(frozen=True, slots=True, eq=False)
class Shells:
    """Parts of walls, each (b, k): k of them a window."""

    present: Tensor
    arc: Tensor
    line: Tensor
    angle: Tensor
    radius: Tensor
    length: Tensor
    width: Tensor
    thick: Tensor
    ragged: Tensor
    hu: Tensor


def course_of(atlas: Atlas, head: Tensor, window: Tensor, where: Tensor, jitter: Tensor) -> Course:
    """Artery coordinates of points (n, 3) mm of windows (n,); `jitter` (b, 3) moves the lines."""
    points = atlas.points
    index = nearest_point(atlas, head[window], where)
    offset = where + jitter[window] - points.place[index]
    tangent = points.tangent[index]
    along = (offset * tangent).sum(-1)
    offset = offset - along[:, None] * tangent
    angle = torch.atan2(
        (offset * points.third[index]).sum(-1), (offset * points.across[index]).sum(-1)
    )
    radial = offset.square().sum(-1).sqrt()
    return Course(
        window, points.arc[index] + along, points.line[index], angle, radial, points.radius[index]
    )


def draw_shells(
    draw: Draw, c: StreamConfig, atlas: Atlas, places: Places, present: Tensor
) -> Shells:
    """Shells on the arteries about each window's middle; `present` (b, k) is 1.0 where one is."""
    b, k = present.shape
    spread_mm = 2.0 + 0.15 * PIXEL_MM * (c.window[1] + 2 * c.margin_pixels)
    about = places.centre[:, None] + spread_mm * draw.normal(b, k, 3)
    head = places.head[:, None].expand(b, k)
    chosen = nearest_point(atlas, head.reshape(-1), about.reshape(-1, 3)).reshape(b, k)
    borders = torch.tensor(SHAPE_BORDERS, device=draw.device)
    kind = torch.bucketize(draw.uniform(b, k), borders)
    points = atlas.points
    return Shells(
        present=present,
        arc=points.arc[chosen],
        line=points.line[chosen],
        angle=draw.uniform(b, k, low=-math.pi, high=math.pi),
        radius=points.radius[chosen] * draw.uniform(b, k, low=RADIUS[0], high=RADIUS[1]),
        length=draw.of_kind(kind, LENGTH_MM),
        width=draw.of_kind(kind, WIDTH_RAD),
        thick=draw.of_kind(kind, THICK_MM),
        ragged=draw.uniform(b, k, high=0.45),
        hu=draw.log_uniform(b, k, low=c.implant_hu[0], high=c.implant_hu[1]),
    )


def in_reach(course: Course) -> Tensor:
    """Which points (n,) an implant can reach at all."""
    return course.radial < course.lumen * RADIUS[1] + REACH_MM


def shell_share(shells: Shells, course: Course, ragged: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where shells are: point, shell and share of the point's voxel that it fills, each (pairs,).

    A shell is a box in the artery's coordinates: along, around and across the wall. `ragged` (n,)
    varies its faces. Only pairs of a point and a shell of its window that may meet are visited.
    """
    w = course.window
    span = torch.where(shells.present > 0.0, 0.5 * LONGEST * shells.length + RAMP_MM, -1.0)
    aside = (course.arc[:, None] - shells.arc[w]).abs()
    meets = (aside < span[w]) & (course.line[:, None] == shells.line[w])
    point, k = meets.nonzero().unbind(1)
    flat = w[point] * shells.arc.shape[1] + k

    def of(values: Tensor) -> Tensor:
        return values.reshape(-1)[flat]

    edge = 1.0 + of(shells.ragged) * ragged[point]
    radius = of(shells.radius)
    along = 0.5 * of(shells.length) * edge - aside[point, k]
    turn = course.angle[point] - of(shells.angle)
    turn = torch.remainder(turn + math.pi, 2 * math.pi) - math.pi
    around = (0.5 * of(shells.width) * edge - turn.abs()) * radius
    gap = course.radial[point] - radius
    half = 0.5 * of(shells.thick) * edge.clamp(min=0.3)
    outer = ((half - gap) / RAMP_MM + 0.5).clamp(0.0, 1.0)
    inner = ((-half - gap) / RAMP_MM + 0.5).clamp(0.0, 1.0)
    faces = (along / RAMP_MM + 0.5).clamp(0.0, 1.0) * (around / RAMP_MM + 0.5).clamp(0.0, 1.0)
    return point, flat, (outer - inner) * faces


def shells_hu(shells: Shells, course: Course, ragged: Tensor, below_hu: Tensor) -> Tensor:
    """HU that shells add to points (n,) of `below_hu`; the strongest shell wins. (n,)"""
    point, flat, share = shell_share(shells, course, ragged)
    own = shells.hu.reshape(-1)[flat] * (1.0 + 0.12 * ragged[point])
    added = laws.excess_hu(share, own, below_hu[point])
    return torch.zeros_like(below_hu).scatter_reduce_(0, point, added, "amax")


def calcium_hu(
    draw: Draw, c: StreamConfig, atlas: Atlas, places: Places, seen: tuple[Tensor, Tensor, Tensor]
) -> Tensor:
    """What calcification adds to a tissue, HU (b, f, y, x).

    `seen` holds the tissue (b, f, y, x), the positions of its voxels (b, f, y, x, 3), and which
    of them lie near an artery (b, f, y, x).
    """
    tissue, where, near = seen
    b, *size = tissue.shape
    present = draw.chance(b, c.lesions, p=MORE_P)
    present[:, 0] = True
    present &= draw.chance(b, 1, p=1.0 - c.empty_share)
    shells = draw_shells(draw, c, atlas, places, present.float())
    jitter = c.line_jitter_mm * draw.normal(b, 3)
    rough = draw.smooth(b, RAGGED_KNOTS, (size[0], size[1], size[2]))
    flat = near.reshape(-1).nonzero()[:, 0]
    window = flat // (size[0] * size[1] * size[2])
    course = course_of(atlas, places.head, window, where.reshape(-1, 3)[flat], jitter)
    added = shells_hu(shells, course, rough.reshape(-1)[flat], tissue.reshape(-1)[flat])
    total = torch.zeros_like(tissue).reshape(-1)
    total[flat] = added
    return total.reshape(tissue.shape)
