"""Endless batches of labelled training windows, made from a few real heads.

One batch is a chain of batched torch operations that runs the same on a CPU and on a GPU: pick a
place along an artery, warp the head around it, vary its bone, set calcium into the artery's wall
in the artery's own coordinates, acquire slices as a scanner does, and label them by the published
protocol. No file, no DICOM: see `skull.py` for how a head gets here, `windows/` for the steps.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from iac_cli.simulate.skull import Skull
from iac_cli.simulate.windows import mimics, operators
from iac_cli.simulate.windows.artefacts import scanned
from iac_cli.simulate.windows.atlas import Atlas, look_up, make_atlas, nearest_point
from iac_cli.simulate.windows.calcium import calcium_hu, in_reach
from iac_cli.simulate.windows.config import PIXEL_MM, PLANE_MM, StreamConfig
from iac_cli.simulate.windows.draw import Draw, grown_places
from iac_cli.simulate.windows.place import Places, draw_places, fine_axes, inner
from iac_cli.simulate.windows.slices import draw_scanner
from iac_cli.simulate.windows.tissue import (
    another_bone,
    another_sharpness,
    every_second,
    half_size,
)

__all__ = ["PIXEL_MM", "PLANE_MM", "StreamConfig", "Stage", "WindowStream", "Windows"]

CHUNK = {"cpu": 4, "cuda": 128}
"""Windows that are made side by side: on a CPU so few that they stay in its cache."""

LEAST_WEIGHT_HU = 115.0
"""Voxels below this count neither way: the threshold of the score decides on them."""

DOUBT = 0.2
"""Least share of doubtful voxels that makes a slice's voxel count neither way."""

Size = tuple[int, int, int]
Stage = Callable[[str], AbstractContextManager[None]]
"""Told the name of each step as it begins, for those who measure."""


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
        self.draw = Draw(device, seed)
        self.atlas: Atlas = make_atlas(list(skulls.values()), device)
        self.shares = torch.tensor([float(shares[name]) for name in skulls], device=device)
        self.stage: Stage = lambda name: nullcontext()

    @property
    def random(self) -> torch.Generator:
        """The stream's generator, for whoever draws from its windows."""
        return self.draw.generator

    def batch(self, n: int, window: Size | None = None) -> Windows:
        """The next `n` windows, from all heads in proportion to their shares."""
        size = window or self.config.window
        chunk = CHUNK.get(self.device.type, CHUNK["cpu"])
        parts = [self._made(min(chunk, n - k), size) for k in range(0, n, chunk)]
        names = [field.name for field in fields(Windows)]
        return Windows(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def _made(self, b: int, size: Size) -> Windows:
        c, draw, atlas = self.config, self.draw, self.atlas
        head = torch.multinomial(self.shares, b, replacement=True, generator=draw.generator)
        fine_mm = fine_axes(c, size)[0].to(self.device)
        fine: Size = (len(fine_mm), size[1] + 2 * c.margin_pixels, size[2] + 2 * c.margin_pixels)
        with self.stage("places"):
            places = draw_places(draw, c, atlas, head, self.shares, size)
            where = grown_places(places.knots, fine)
        with self.stage("heads"):
            tissue, marks = self._heads(places, fine)
        with self.stage("tissue"):
            tissue = another_sharpness(draw, c, tissue)
            sparse = every_second(where)
            coarse = mimics.coarse_of(draw, c, atlas, places, (every_second(tissue), sparse))
            extra = mimics.added_hu(draw, c, atlas, places, coarse)
            tissue = another_bone(draw, c, tissue, (mimics.near_artery(coarse), extra))
        with self.stage("calcium"):
            near = spread_out(in_reach(coarse.course).reshape(coarse.hu.shape), fine)
            calcium = calcium_hu(draw, c, atlas, places, (tissue, where, near))
        with self.stage("scanner"):
            seen = self._scan(tissue, calcium, marks, size)
        with self.stage("distance"):
            return Windows(*seen, self._distance(head, inner(c, where, size)))

    def _heads(self, places: Places, fine: Size) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
        """HU (b, f, y, x); and which windows have readers' marks (k,), those (k, 2, f, y, x)."""
        atlas = self.atlas
        hu = look_up(atlas, atlas.hu, places.head, places.tissue, fine)[:, 0]
        lent = places.mixed.nonzero()[:, 0]
        part = torch.zeros_like(hu)
        if len(lent):
            cut = self.draw.uniform(len(lent), 1, 1, 1, low=-0.6, high=1.0)
            border = (self.draw.smooth(len(lent), (3, 3, 3), fine) - cut) * 4.0 + 0.5
            part[lent] = border.clamp_(0.0, 1.0)
            other = look_up(atlas, atlas.hu, places.partner[lent], places.lent[lent], fine)[:, 0]
            hu = hu.clone()
            hu[lent] = torch.lerp(hu[lent], other, part[lent])
        return hu, self._marks(places, fine, part)

    def _marks(self, places: Places, fine: Size, part: Tensor) -> tuple[Tensor, Tensor] | None:
        """What readers drew, in the head and in the part (b, f, y, x) that another one lends."""
        atlas = self.atlas
        if atlas.marks is None:
            return None
        own = atlas.has_marks[places.head]
        lends = atlas.has_marks[places.partner] & places.mixed
        some = (own | lends).nonzero()[:, 0]
        if not len(some):
            return None
        marks = look_up(atlas, atlas.marks, places.head[some], places.tissue[some], fine)
        marks = marks * own[some, None, None, None, None]
        marks = marks * (1.0 - part[some, None])
        lent = lends.nonzero()[:, 0]
        if len(lent):
            other = look_up(atlas, atlas.marks, places.partner[lent], places.lent[lent], fine)
            marks[torch.searchsorted(some, lent)] += other * part[lent, None]
        return some, marks

    def _scan(
        self,
        tissue: Tensor,
        calcium: Tensor,
        marks: tuple[Tensor, Tensor] | None,
        size: Size,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Slices with noise, put on the window's planes: HU, label and weight, (b, z, y, x)."""
        c, draw, b = self.config, self.draw, len(tissue)
        scanner = draw_scanner(draw, c, b, size, fine_axes(c, size)[0].to(self.device))
        added = operators.acquire(calcium, scanner.optics)
        clean = operators.acquire(tissue, scanner.optics) + added
        hu = scanned(draw, c, clean, scanner)
        drawn, counts = self._read(marks, scanner.optics, hu)
        label = operators.protocol_label(hu, added, drawn)
        on_slice = operators.slice_planes(scanner.slices, size[0])
        window = operators.on_planes(operators.plane_matrix(scanner.slices, size[0]), hu)
        positive = operators.on_planes(on_slice, label.float())
        weight = operators.on_planes(on_slice, counts) * (window >= LEAST_WEIGHT_HU)
        return window, (positive > 0.5).float(), weight.clamp(max=1.0)

    def _read(
        self, marks: tuple[Tensor, Tensor] | None, optics: operators.Optics, hu: Tensor
    ) -> tuple[Tensor | None, Tensor]:
        """Share of readers' calcium on the slices, if any, and where they leave no doubt."""
        counts = torch.ones_like(hu)
        if marks is None:
            return None, counts
        some, both = marks
        few = operators.chosen(optics, some)
        drawn = torch.zeros_like(hu)
        drawn[some] = operators.acquire(both[:, 0], few)
        counts[some] = (operators.acquire(both[:, 1], few) < DOUBT).float()
        return drawn, counts

    def _distance(self, head: Tensor, where: Tensor) -> Tensor:
        """Distance of positions (b, z, y, x, 3) from their head's nearest centre line, mm."""
        b, *size, _ = where.shape
        flat = where.reshape(-1, 3)
        window = torch.arange(b, device=where.device).repeat_interleave(len(flat) // b)
        index = nearest_point(self.atlas, head[window], flat)
        gap = (flat - self.atlas.points.place[index]).square().sum(-1).sqrt()
        return gap.reshape(b, *size)


def spread_out(close: Tensor, fine: Size) -> Tensor:
    """A mask (b, *half) of every second voxel -> (b, *fine)."""
    for axis, (n, half) in enumerate(zip(fine, half_size(fine), strict=True), start=1):
        steps = torch.linspace(0, half - 1, n, device=close.device).round().long()
        close = close.index_select(axis, steps)
    return close
