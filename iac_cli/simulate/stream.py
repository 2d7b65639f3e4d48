"""Endless batches of labelled training windows, made from a few real heads.

One batch is a chain of batched torch operations that runs the same on a CPU and on a GPU: pick a
place along an artery, warp the head around it, vary its bone, set calcium into the artery's wall
in the artery's own coordinates, acquire slices as a scanner does, and label them by the published
protocol. No file, no DICOM: see `skull.py` for how a head gets here.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from iac_cli.simulate import acquire
from iac_cli.simulate.field import (
    Field,
    distance_to_artery,
    make_field,
    nearest_point,
    sample,
)
from iac_cli.simulate.skull import Skull

PLANE_MM = 1.0
PIXEL_MM = 0.44
"""The network's grid: 1 x 0.44 x 0.44 mm."""


SHAPE_BORDERS = (0.35, 0.80)
"""35 % of implants are dots, 45 % arcs and plates, 20 % sheets and rings."""
LENGTH_MM = ((0.7, 2.2), (1.5, 7.0), (3.0, 11.0))
WIDTH_RAD = ((0.3, 0.9), (0.6, 2.4), (2.4, 5.8))
THICK_MM = ((0.5, 1.6), (0.45, 2.2), (0.35, 1.5))
"""Extent along, around and across the wall of dots, arcs and sheets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """What the stream varies, and how much. Ranges are (low, high), uniform unless said."""

    window: tuple[int, int, int] = (16, 48, 48)
    fine_mm: float = 0.5
    """Step of the fine planes along the slice normal; in plane the network's pixels serve."""
    margin_mm: float = 8.0
    margin_pixels: int = 8
    lesions: int = 6
    """Implants a window at most."""
    empty_share: float = 0.25
    away_share: float = 0.15
    """Windows placed anywhere in the skull base instead of along an artery."""
    jitter_mm: float = 5.0
    rotation_deg: float = 22.0
    scale: tuple[float, float] = (0.88, 1.14)
    warp_mm: float = 2.5
    line_jitter_mm: float = 0.8
    bone_gain: tuple[float, float] = (0.65, 1.45)
    bone_edge_hu: float = 170.0
    psf_sigma_mm: tuple[float, float] = (0.28, 0.75)
    sharpen: float = 0.9
    noise_hu: tuple[float, float] = (2.0, 20.0)
    """Log-uniform."""
    implant_hu: tuple[float, float] = (220.0, 1600.0)
    """Log-uniform."""
    dura_share: float = 0.15
    """Windows with a calcified fold of dura beside the artery, which is not labelled."""


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """A batch on the network's grid, all (b, z, y, x)."""

    hu: Tensor
    label: Tensor
    """1.0 where the protocol draws calcification."""
    weight: Tensor
    """1.0 on acquired slice planes where the label counts, else 0.0."""
    distance_mm: Tensor
    """Distance to the nearest artery's centre line, in the source head."""


class WindowStream:
    """Draws windows from heads. The same seed on the same device gives the same windows."""

    def __init__(
        self,
        skulls: dict[str, Skull],
        shares: dict[str, float],
        config: StreamConfig,
        *,
        device: torch.device,
        seed: int,
    ) -> None:
        self.config = config
        self.device = device
        self.random = torch.Generator(device=device).manual_seed(seed)
        self._fields = {name: make_field(skull, device) for name, skull in skulls.items()}
        total = sum(shares[name] for name in skulls)
        self._shares = {name: shares[name] / total for name in skulls}

    def batch(self, n: int, window: tuple[int, int, int] | None = None) -> Windows:
        """The next `n` windows, from all heads in proportion to their shares."""
        size = window or self.config.window
        counts = self._counts(n)
        parts = [self._from_head(self._fields[k], c, size) for k, c in counts.items() if c]
        order = torch.randperm(n, generator=self.random, device=self.device)
        return Windows(*(torch.cat([part[i] for part in parts])[order] for i in range(4)))

    def _counts(self, n: int) -> dict[str, int]:
        """How many windows each head gives; remainders are drawn."""
        share = torch.tensor(list(self._shares.values()), device=self.device)
        drawn = torch.multinomial(share, n, replacement=True, generator=self.random)
        counted = torch.bincount(drawn, minlength=len(share)).tolist()
        return dict(zip(self._shares, counted, strict=True))

    # random numbers, all on the stream's device

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand(*shape, generator=self.random, device=self.device)
        return low + (high - low) * drawn

    def _log_uniform(self, *shape: int, low: float, high: float) -> Tensor:
        return torch.exp(self._uniform(*shape, low=math.log(low), high=math.log(high)))

    def _of_kind(self, kind: Tensor, ranges: tuple[tuple[float, float], ...]) -> Tensor:
        """One number a window, uniform in the range of its kind: (b,)."""
        chosen = torch.tensor(ranges, device=self.device)[kind]
        low, high = chosen[:, 0], chosen[:, 1]
        return low + (high - low) * self._uniform(len(kind))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.random, device=self.device)

    def _chance(self, *shape: int, p: float) -> Tensor:
        return self._uniform(*shape) < p

    def _smooth(self, b: int, cells: tuple[int, int, int], size: tuple[int, ...]) -> Tensor:
        """A smooth random field (b, *size) of about unit variance, `cells` knots an axis."""
        coarse = self._normal(b, 1, *cells)
        grown = functional.interpolate(coarse, size=size, mode="trilinear", align_corners=True)
        return 1.4 * grown[:, 0]

    # one head's windows

    def _from_head(
        self, head: Field, b: int, size: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        where = self._places(head, b, size)  # (b, f, y, x, 3) source mm
        volumes = sample(head, where)
        tissue = self._vary(volumes[:, 0])
        tissue, calcium = self._implants(head, where, tissue)
        window = self._acquire(tissue, calcium, volumes[:, 1:], size)
        return *window, distance_to_artery(head, self._inner(where, size))

    def _inner(self, fine: Tensor, size: tuple[int, int, int]) -> Tensor:
        """The fine voxels (b, f, y, x, ...) that sit on the window's own: (b, z, y, x, ...)."""
        c = self.config
        first, step = round(c.margin_mm / c.fine_mm), round(PLANE_MM / c.fine_mm)
        m = c.margin_pixels
        planes = fine[:, first : first + step * size[0] : step]
        return planes[:, :, m : m + size[1], m : m + size[2]]

    def _fine_axes(self, size: tuple[int, int, int]) -> tuple[Tensor, Tensor, Tensor]:
        """Fine positions along z, y, x in mm of the window's planes and pixels."""
        c = self.config
        planes = torch.arange(-c.margin_mm, size[0] - 1 + c.margin_mm + 1e-6, c.fine_mm)
        sides = [
            (torch.arange(n + 2 * c.margin_pixels) - c.margin_pixels) * PIXEL_MM for n in size[1:]
        ]
        return tuple(axis.to(self.device) for axis in (planes, *sides))  # type: ignore[return-value]

    def _places(self, head: Field, b: int, size: tuple[int, int, int]) -> Tensor:
        """Where each fine voxel of each window lies in the source head: (b, f, y, x, 3) mm."""
        c = self.config
        axes = self._fine_axes(size)
        middle = torch.tensor(
            [(n - 1) * s / 2 for n, s in zip(size, (1.0, PIXEL_MM, PIXEL_MM), strict=True)],
            device=self.device,
        )
        local = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1) - middle
        turned = torch.einsum("bij,zyxj->bzyxi", self._affine(b), local)
        shape = local.shape[:3]
        warp = torch.stack([self._smooth(b, (4, 4, 4), shape) for _ in range(3)], dim=-1)
        amplitude = self._uniform(b, 1, 1, 1, 1) * c.warp_mm / 1.4
        return self._centres(head, b)[:, None, None, None] + turned + amplitude * warp

    def _affine(self, b: int) -> Tensor:
        """Rotation, scale and mirror: (b, 3, 3) in (z, y, x)."""
        c = self.config
        angle = torch.deg2rad(self._uniform(b, 3, low=-c.rotation_deg, high=c.rotation_deg))
        cosine, sine = angle.cos(), angle.sin()
        total = torch.eye(3, device=self.device).expand(b, 3, 3)
        for axis, (i, j) in enumerate(((1, 2), (0, 2), (0, 1))):
            turn = torch.eye(3, device=self.device).repeat(b, 1, 1)
            turn[:, i, i] = turn[:, j, j] = cosine[:, axis]
            turn[:, i, j], turn[:, j, i] = -sine[:, axis], sine[:, axis]
            total = turn @ total
        scale = self._uniform(b, 3, low=c.scale[0], high=c.scale[1])
        scale[:, 2] *= torch.where(self._chance(b, p=0.5), -1.0, 1.0)
        return total * scale[:, None, :]

    def _centres(self, head: Field, b: int) -> Tensor:
        """Window centres in the source head, (b, 3) mm."""
        c = self.config
        chosen = torch.multinomial(head.share, b, replacement=True, generator=self.random)
        along = head.point[chosen] + c.jitter_mm * self._normal(b, 3)
        low, high = head.point.min(0).values - 12.0, head.point.max(0).values + 12.0
        anywhere = low + (high - low) * self._uniform(b, 3)
        return torch.where(self._chance(b, 1, p=c.away_share), anywhere, along)

    def _vary(self, hu: Tensor) -> Tensor:
        """Another head's tissue: sharper or softer source, other bone density, edges and cells."""
        c = self.config
        b, f, y, x = hu.shape
        blurred = acquire.smoothed_in_plane(hu, 1.8)
        hu = hu + self._uniform(b, 1, 1, 1, low=-0.3, high=1.6) * (hu - blurred)
        shape = (f, y, x)
        spread = 0.5 * math.log(c.bone_gain[1] / c.bone_gain[0])
        local = 0.6 * self._smooth(b, (4, 5, 5), shape)
        gain = torch.exp(spread * (local + self._normal(b, 1, 1, 1)))
        gain = gain.clamp(*c.bone_gain)
        hu = torch.where(hu > 100.0, 100.0 + (hu - 100.0) * gain, hu)
        edge = torch.exp(-(((hu - 180.0) / 160.0) ** 2))
        hu = hu + self._uniform(b, 1, 1, 1) * c.bone_edge_hu * edge * self._smooth(
            b, (5, 6, 6), shape
        )
        hu = self._pneumatise(hu)
        return self._overgrow(hu)

    def _pneumatise(self, hu: Tensor) -> Tensor:
        """In some windows, air cells inside bone, or bone and mucosa where cells were."""
        b, *shape = hu.shape
        cells = self._smooth(b, (8, 9, 9), tuple(shape))
        cut = torch.where(self._chance(b, p=0.25), self._uniform(b, low=1.2, high=2.6), 99.0)
        opened = ((cells - cut[:, None, None, None]) * 3.0).clamp(0.0, 1.0) * (hu > 180.0)
        hu = hu + opened * (-850.0 - hu)
        fill = self._chance(b, 1, 1, 1, p=0.15) * (hu < -300.0) * (cells < 0.0)
        return torch.where(fill, 40.0 + 25.0 * cells, hu)

    def _overgrow(self, hu: Tensor) -> Tensor:
        """Unlabelled spurs: bone thickens where bone already is."""
        b, *shape = hu.shape
        lumps = self._smooth(b, (7, 8, 8), tuple(shape))
        near = functional.avg_pool3d(((hu - 150.0) / 100.0).clamp(0.0, 1.0)[:, None], 5, 1, 2)[:, 0]
        amount = torch.where(self._chance(b, p=0.5), self._uniform(b, high=600.0), 0.0)
        grown = ((lumps - 0.8) * 1.2).clamp(0.0, 1.0) * (near * 4.0).clamp(0.0, 1.0)
        soft = (hu > -20.0).float()
        return hu + amount[:, None, None, None] * grown * soft

    # calcium in the artery's coordinates

    def _implants(self, head: Field, where: Tensor, tissue: Tensor) -> tuple[Tensor, Tensor]:
        """Tissue, and what calcification adds to it, both HU (b, f, y, x)."""
        c = self.config
        b = len(where)
        index = nearest_point(head, where)
        offset = where + c.line_jitter_mm * self._normal(b, 1, 1, 1, 3) - head.point[index]
        tangent, across = head.tangent[index], head.across[index]
        along = (offset * tangent).sum(-1)
        offset = offset - along[..., None] * tangent
        radial = offset.square().sum(-1).sqrt()
        third = torch.linalg.cross(tangent, across, dim=-1)
        angle = torch.atan2((offset * third).sum(-1), (offset * across).sum(-1))
        ragged = self._smooth(b, (14, 14, 14), tuple(tissue.shape[1:]))
        arc, line = head.arc[index] + along, head.line[index]
        total = self._add_dura(head, where, tissue, (arc, line, angle, radial, ragged))
        base = total
        for k in range(c.lesions):
            lesion = self._lesion(head, where, first=k == 0)
            share = _shell(lesion, arc, line, angle, radial, ragged)
            total = total + share * _excess(lesion, ragged, total)
        return base, total - base

    def _add_dura(
        self, head: Field, where: Tensor, tissue: Tensor, course: tuple[Tensor, ...]
    ) -> Tensor:
        """In some windows, an unlabelled calcified fold of dura a few mm beside the artery."""
        c = self.config
        b = len(where)
        fold = self._lesion(head, where, first=True)
        fold["present"] = self._chance(b, p=c.dura_share).float()
        fold["radius"] = fold["radius"] + self._uniform(b, low=3.0, high=7.0)
        fold["width"] = fold["width"] * 0.4
        return tissue + _shell(fold, *course) * _excess(fold, course[-1], tissue)

    def _lesion(self, head: Field, where: Tensor, *, first: bool) -> dict[str, Tensor]:
        """One implant a window: place on the artery, size in mm and radians, HU. All (b,)."""
        c = self.config
        b = len(where)
        middle = where[:, where.shape[1] // 2, where.shape[2] // 2, where.shape[3] // 2]
        reach = torch.cdist(middle, head.point)  # (b, p)
        span = 4.0 + 0.3 * where.shape[2] * PIXEL_MM
        weight = torch.exp(-((reach / span) ** 2) * 2.0) + 1e-9
        chosen = torch.multinomial(weight, 1, generator=self.random)[:, 0]
        kind = torch.bucketize(self._uniform(b), torch.tensor(SHAPE_BORDERS, device=self.device))
        p_more = 1.0 - c.empty_share if first else 0.42
        return {
            "present": self._chance(b, p=p_more).float(),
            "arc": head.arc[chosen],
            "line": head.line[chosen],
            "angle": self._uniform(b, low=-math.pi, high=math.pi),
            "radius": head.radius[chosen] * self._uniform(b, low=0.85, high=1.25),
            "length": self._of_kind(kind, LENGTH_MM),
            "width": self._of_kind(kind, WIDTH_RAD),
            "thick": self._of_kind(kind, THICK_MM),
            "ragged": self._uniform(b, high=0.45),
            "hu": self._log_uniform(b, low=c.implant_hu[0], high=c.implant_hu[1]),
        }

    # the scanner

    def _slices(self, b: int, n_planes: int) -> acquire.Slices:
        """Random thickness, step and phase of each window's slices."""
        kind = self._uniform(b)
        thin, medium, thick = kind < 0.35, kind < 0.60, kind < 0.88
        thickness = torch.where(
            thin, self._uniform(b, low=0.9, high=1.4),
            torch.where(medium, self._uniform(b, low=1.5, high=3.2),
                        torch.where(thick, self._uniform(b, low=3.5, high=5.2),
                                    self._uniform(b, low=5.3, high=7.5))),
        )  # fmt: skip
        ratio = self._uniform(b)
        overlap, gap = self._uniform(b, low=0.5), self._uniform(b, low=1.0, high=1.25)
        factor = torch.where(ratio < 0.2, overlap, torch.where(ratio > 0.85, gap, 1.0))
        step = torch.where(thin, 1.0, (thickness * factor).clamp(min=1.0))
        n = n_planes + 15
        first = -(7.0 / step).floor() * step + (self._uniform(b) - 1.0) * step * (step > 1.0)
        centre = first[:, None] + torch.arange(n, device=self.device) * step[:, None]
        valid = (centre > -7.5) & (centre < n_planes + 6.5)
        return acquire.Slices(centre, centre.round(), valid, thickness, step)

    def _acquire(
        self, tissue: Tensor, calcium: Tensor, real: Tensor, size: tuple[int, int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Slices with noise, put on the window's planes: HU, label and weight, (b, z, y, x)."""
        c = self.config
        b = len(tissue)
        slices = self._slices(b, size[0])
        fine_mm = self._fine_axes(size)[0]
        profile = acquire.profile_matrix(slices, fine_mm)
        pixel = torch.where(self._chance(b, p=0.8), self._uniform(b, low=0.35, high=0.55),
                            self._uniform(b, low=0.55, high=1.0))  # fmt: skip
        sigma = self._uniform(b, low=c.psf_sigma_mm[0], high=c.psf_sigma_mm[1])
        blur = (sigma.square() + pixel.square() / 12.0).sqrt() / PIXEL_MM
        sharpen = torch.where(self._chance(b, p=0.5), self._uniform(b, high=c.sharpen), 0.0)
        wide = self._uniform(b, low=1.0, high=3.0)
        rows, columns = (
            acquire.in_plane_matrix(blur, 0.5 * sharpen, wide, c.margin_pixels, n) for n in size[1:]
        )
        clean = acquire.acquire(tissue + calcium, profile, rows, columns)
        added = acquire.acquire(calcium, profile, rows, columns)
        drawn, doubt = (acquire.acquire(real[:, i], profile, rows, columns) for i in range(2))
        hu = self._scan(clean, slices, pixel)
        label = acquire.protocol_label(hu, added, drawn)
        planes = acquire.plane_matrix(slices, size[0])
        on_slice = acquire.slice_planes(slices, size[0])
        window = acquire.on_planes(planes, hu)
        positive = acquire.on_planes(on_slice, label.float())
        counts = acquire.on_planes(on_slice, (doubt < 0.2).float())
        weight = counts * (window >= 115.0)
        return window, (positive > 0.5).float(), weight

    def _scan(self, clean: Tensor, slices: acquire.Slices, pixel: Tensor) -> Tensor:
        """Noise, low-frequency shading, offset and gain of the scanner, rounding and clipping."""
        c = self.config
        b, s, y, x = clean.shape
        grain = (self._uniform(b, low=0.25, high=0.6) * pixel + 0.15) / PIXEL_MM * 1.6
        sharp = torch.where(self._chance(b, p=0.4), self._uniform(b, high=1.5), 0.0)
        colour = [acquire.noise_matrix(grain, sharp, n) for n in (y, x)]
        white = self._normal(b, s, y, x)
        noise = colour[0][:, None] @ white @ colour[1][:, None].transpose(-1, -2)
        level = self._log_uniform(b, low=c.noise_hu[0], high=c.noise_hu[1])
        uneven = 1.0 + 0.35 * self._smooth(b, (3, 3, 3), (s, y, x)).clamp(-1.5, 2.0)
        noise = noise * level[:, None, None, None] * uneven
        shading = self._smooth(b, (3, 4, 4), (s, y, x)) * self._uniform(b, 1, 1, 1, high=12.0)
        gain = 1.0 + 0.03 * self._normal(b, 1, 1, 1)
        offset = 4.0 * self._normal(b, 1, 1, 1)
        return (clean * gain + offset + noise + shading).round().clamp(-1024.0, 3071.0)


def _excess(lesion: dict[str, Tensor], ragged: Tensor, hu: Tensor) -> Tensor:
    """How far a lesion's own HU stands above what it replaces, never below: (b, f, y, x)."""
    return (lesion["hu"][:, None, None, None] * (1.0 + 0.12 * ragged) - hu).clamp(min=0.0)


def _shell(
    lesion: dict[str, Tensor], arc: Tensor, line: Tensor, angle: Tensor, radial: Tensor,
    ragged: Tensor,
) -> Tensor:  # fmt: skip
    """Share of each fine voxel that a shell in the wall fills, [0, 1] (b, f, y, x).

    The shell is a box in the artery's coordinates: along, around and across the wall, each face
    ramped over one voxel so that thin shells keep their volume.
    """
    wide = {key: value[:, None, None, None] for key, value in lesion.items()}
    edge = 1.0 + wide["ragged"] * ragged
    voxel_mm = 0.47
    along = 0.5 * wide["length"] * edge - (arc - wide["arc"]).abs()
    turn = torch.remainder(angle - wide["angle"] + math.pi, 2 * math.pi) - math.pi
    around = (0.5 * wide["width"] * edge - turn.abs()) * wide["radius"]
    gap = radial - wide["radius"]
    half = 0.5 * wide["thick"] * edge.clamp(min=0.3)
    outer = ((half - gap) / voxel_mm + 0.5).clamp(0.0, 1.0)
    inner = ((-half - gap) / voxel_mm + 0.5).clamp(0.0, 1.0)
    faces = (along / voxel_mm + 0.5).clamp(0.0, 1.0) * (around / voxel_mm + 0.5).clamp(0.0, 1.0)
    same_line = (line == wide["line"]).float()
    return (outer - inner) * faces * same_line * wide["present"]
