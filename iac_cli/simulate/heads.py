"""Heads for the locators: each turned, scaled, warped, cut and degraded anew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from iac_cli.geometry.lines import Artery, CentreLine
from iac_cli.geometry.volume import Volume
from iac_cli.locate.keypoints import NEAR_LOWERED_MM, keypoints, mirror_order
from iac_cli.simulate.anatomy.source import Anatomy
from iac_cli.simulate.skull import local_lines, pour_brain

GRID_SIDES = (48, 56, 56)
"""The training grid (z, y, x)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of a head a locator sees, and how finely."""

    cell_mm: float
    """Step of the network's grid."""
    stored_mm: float
    """Step of a cached head."""
    half_width_mm: float
    """A cached head is cut to this distance from its arteries in plane (drops tables and arms)."""
    half_height_mm: float | None
    """The same along z; None: nothing is cut."""
    off_middle_mm: float
    """Most that the grid's middle is off the arteries', in each direction."""
    lifted_mm: float
    """How far the grid's middle lies above the arteries' otherwise."""
    cut_shares: tuple[float, float, float]
    """How often a head is cut from below, from above and around."""


WHOLE = Scale(
    cell_mm=4.0,
    stored_mm=2.0,
    half_width_mm=125.0,
    half_height_mm=None,
    off_middle_mm=30.0,
    lifted_mm=20.0,
    cut_shares=(0.55, 0.45, 0.25),
)
"""A whole head, 192 x 224 x 224 mm."""

NEAR = Scale(
    cell_mm=2.0,
    stored_mm=1.0,
    half_width_mm=80.0,
    half_height_mm=70.0,
    off_middle_mm=8.0,
    lifted_mm=-NEAR_LOWERED_MM,
    cut_shares=(0.2, 0.1, 0.0),
)
"""What lies around arteries that were found: 96 x 112 x 112 mm."""

BELOW_MM, ABOVE_MM = 100.0, 6.0
"""A procedural head is painted from so far below its origin to so far above its vertex."""

HU_WINDOWS = ((-1000.0, 1500.0), (-50.0, 150.0))
"""The locator's HU channels."""

AIR_HU = -1024.0

BENDS = ((48.0, 7.0), (28.0, 2.0))
"""Smooth displacements of a head: distance of their knots, mm, and the most that the standard
deviation at a knot may be, mm. So small for their length, they fold nothing."""

UNDOING = 8
"""Rounds until a key point lies where the displaced grid shows it."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredHead:
    """A head, or what lies around its arteries, with its key points in local mm (z, y, x)."""

    name: str
    hu: NDArray[np.float16]
    points_mm: NDArray[np.float64]
    """(K, 3); NaN where the source does not show the artery."""
    step_mm: float

    def save(self, path: Path) -> None:
        """Write the cache file."""
        np.savez_compressed(
            path,
            allow_pickle=False,
            name=np.array(self.name),
            hu=self.hu,
            points=self.points_mm,
            step_mm=np.array(self.step_mm),
        )

    @classmethod
    def load(cls, path: Path) -> "StoredHead":
        """Read a cache file."""
        with np.load(path, allow_pickle=False) as stored:
            step_mm = float(stored.get("step_mm", WHOLE.stored_mm))  # older files hold whole heads
            return cls(str(stored["name"]), stored["hu"], stored["points"], step_mm)


def store_head(
    name: str,
    volume: Volume,
    lines: dict[Artery, CentreLine],
    *,
    is_replica: bool = False,
    scale: Scale = WHOLE,
) -> StoredHead:
    """Average a head to the scale's step, cut the table away, pour a brain into a replica."""
    from scipy.ndimage import gaussian_filter, map_coordinates

    spacing = np.array([volume.grid.mean_step_mm, *volume.grid.pixel_mm])
    hu = np.array(volume.hu)
    placed = local_lines(volume, lines)
    middle = np.concatenate([line[:, :3] for line in placed.values()]).mean(axis=0)
    reach = np.array([scale.half_height_mm or np.inf, scale.half_width_mm, scale.half_width_mm])
    low = np.maximum(middle - reach, 0.0)
    high = np.minimum(middle + reach, np.array(hu.shape) * spacing)
    if is_replica:
        hu = pour_brain(hu, spacing)
    step_mm = scale.stored_mm
    smooth = gaussian_filter(hu, np.maximum(0.0, 0.4 * step_mm / spacing - 0.2))
    axes = [np.arange(a, b, step_mm) / s for a, b, s in zip(low, high, spacing, strict=True)]
    where = np.stack(np.meshgrid(*axes, indexing="ij"))
    coarse = map_coordinates(smooth, where, order=1, mode="nearest")
    points = np.full((len(keypoints()), 3), np.nan)
    for k, (artery, fraction) in enumerate(keypoints()):
        if artery in placed:
            line = CentreLine(artery, placed[artery][:, :3], placed[artery][:, 3])
            points[k] = line.at_fractions([fraction])[0] - low
    return StoredHead(name, coarse.astype(np.float16), points, step_mm)


def paint_head(name: str, head: Anatomy, scale: Scale = WHOLE) -> StoredHead:
    """A procedural head, untilted, with the key points of its own arteries."""
    from iac_cli.simulate.lattice import Lattice

    axes = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    placed = {artery: line.points_mm @ axes.T for artery, line in head.lines.items()}
    middle = np.concatenate(list(placed.values())).mean(axis=0)
    low, high = middle - scale.half_width_mm, middle + scale.half_width_mm
    low[0], high[0] = -BELOW_MM, head.top_mm + ABOVE_MM
    if scale.half_height_mm is not None:
        low[0], high[0] = middle[0] - scale.half_height_mm, middle[0] + scale.half_height_mm
    ranges = ((low[0], high[0]), (low[1], high[1]), (low[2], high[2]))
    lattice = Lattice.spanning(ranges, (scale.stored_mm,) * 3, axes)
    points = np.full((len(keypoints()), 3), np.nan)
    for k, (artery, fraction) in enumerate(keypoints()):
        if artery in placed:
            course = CentreLine(artery, placed[artery], head.lines[artery].radius_mm)
            points[k] = course.at_fractions([fraction])[0] - lattice.start_mm
    hu = np.clip(head.painted(lattice), AIR_HU, 3071.0).astype(np.float16)
    return StoredHead(name, hu, points, scale.stored_mm)


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """A batch for the locator."""

    inputs: Tensor
    """(b, 5, z, y, x): two HU windows and three coordinates."""
    targets: Tensor
    """(b, K, z, y, x): each key point's place, sum 1 where present."""
    present: Tensor
    """(b, K) 1.0 where the key point lies inside the scan."""


def coordinate_channels(hu: Tensor, step_mm: float) -> Tensor:
    """Distance of each voxel from the centre of mass of tissue, / 100 mm: (b, 3, z, y, x)."""
    b, *sides = hu.shape
    tissue = (hu > -300.0).float()
    channels = []
    for axis, side in enumerate(sides):
        shape = [1, 1, 1, 1]
        shape[axis + 1] = side
        place = (torch.arange(side, device=hu.device, dtype=hu.dtype) * step_mm).reshape(shape)
        centre = (tissue * place).sum((1, 2, 3)) / tissue.sum((1, 2, 3)).clamp(min=1.0)
        channels.append(((place - centre[:, None, None, None]) / 100.0).expand(b, *sides))
    return torch.stack(channels, dim=1)


def locator_inputs(hu: Tensor, step_mm: float) -> Tensor:
    """Heads (b, z, y, x) in HU -> the locator's input (b, 5, z, y, x)."""
    windows = [((hu - low) / (high - low)).clamp(0.0, 1.0) * 2.0 - 1.0 for low, high in HU_WINDOWS]
    return torch.cat([torch.stack(windows, dim=1), coordinate_channels(hu, step_mm)], dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class Bend:
    """A smooth displacement of the training grid, the sum of fields grown from knots."""

    fields: tuple[Tensor, ...]
    """(1, 3, z, y, x) mm at knots that span the grid from its first voxel to its last."""
    cell_mm: float

    def everywhere(self) -> Tensor:
        """At every voxel: (z, y, x, 3) mm."""
        grown = [
            functional.interpolate(field, GRID_SIDES, mode="trilinear", align_corners=True)[0]
            for field in self.fields
        ]
        return torch.stack(grown).sum(dim=0).movedim(0, -1)

    def at(self, points_mm: Tensor) -> Tensor:
        """At points (k, 3) on the grid, mm: (k, 3) mm."""
        span = torch.tensor(GRID_SIDES, device=points_mm.device) - 1.0
        grid = (2.0 * points_mm / (span * self.cell_mm) - 1.0).flip(-1)[None, None, None]
        parts = [
            functional.grid_sample(field, grid, padding_mode="border", align_corners=True)
            for field in self.fields
        ]
        return torch.stack(parts).sum(dim=0)[0, :, 0, 0].T

    def undone(self, placed: Callable[[Tensor], Tensor]) -> Tensor:
        """Points (k, 3) on the grid, mm, whose displacement is the one that they were placed with.

        `placed` gives the points for their displacements (k, 3), zeros of which fit any.
        """
        points = placed(torch.zeros(3, device=self.fields[0].device))
        for _ in range(UNDOING):
            points = placed(torch.nan_to_num(self.at(points)))
        return points


class HeadStream:
    """Draws whole heads. The same seed on the same device gives the same heads."""

    def __init__(
        self,
        heads: list[StoredHead],
        *,
        device: torch.device,
        seed: int,
        shares: Mapping[str, float] | None = None,
        scale: Scale = WHOLE,
    ) -> None:
        """`shares`: how often each head is drawn, by name; None: all alike."""
        self.device = device
        self.scale = scale
        self.random = torch.Generator(device=device).manual_seed(seed)
        shares = shares or dict.fromkeys((head.name for head in heads), 1.0)
        self._shares = torch.tensor([shares[head.name] for head in heads], device=device)
        self._hu = [
            torch.as_tensor(head.hu.astype(np.float32), device=device)[None, None] for head in heads
        ]
        self._points = [
            torch.as_tensor(head.points_mm, dtype=torch.float32, device=device) for head in heads
        ]
        self._mirror = torch.tensor(mirror_order(keypoints()), device=device)

    def batch(self, n: int) -> Heads:
        """The next `n` heads."""
        choice = self._shares.multinomial(n, replacement=True, generator=self.random)
        parts = [self._head(int(i)) for i in choice.tolist()]
        hu = torch.cat([part[0] for part in parts])
        points = torch.stack([part[1] for part in parts])
        present = torch.stack([part[2] for part in parts])
        return Heads(locator_inputs(hu, self.scale.cell_mm), _targets(points), present)

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        drawn = torch.rand(*shape, generator=self.random, device=self.device)
        return low + (high - low) * drawn

    def _head(self, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """One head: HU (1, z, y, x), key points on the grid (K, 3) in voxels, present (K,)."""
        hu, points, cell_mm = self._hu[i], self._points[i], self.scale.cell_mm
        size = torch.tensor(hu.shape[2:], device=self.device) * self.scale.stored_mm
        known = points[torch.isfinite(points).all(dim=1)]
        off_mm = self.scale.off_middle_mm
        centre = known.mean(dim=0) + self._uniform(3, low=-off_mm, high=off_mm)
        matrix, mirrored = self._affine()
        middle = torch.tensor([(n - 1) / 2 * cell_mm for n in GRID_SIDES], device=self.device)
        middle = middle - torch.tensor([self.scale.lifted_mm, 0.0, 0.0], device=self.device)
        axes = [torch.arange(n, device=self.device) * cell_mm for n in GRID_SIDES]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)  # (z, y, x, 3)
        bent = self._bent()
        where = (grid - middle) @ matrix.T + centre + bent.everywhere()
        sampled = self._thick(hu, where, matrix * cell_mm, size)
        sampled, inside = self._cut(sampled, where, size)
        back = torch.linalg.inv(matrix).T
        placed = bent.undone(lambda moved: (points - centre - moved) @ back + middle) / cell_mm
        if mirrored:
            placed = placed[self._mirror]
        present = self._present(placed, inside)
        return self._degrade(sampled)[None], torch.nan_to_num(placed, nan=-99.0), present

    def _bent(self) -> "Bend":
        """A smooth displacement of the training grid."""
        fields = []
        for spacing_mm, most_mm in BENDS:
            knots = [int(np.ceil(n * self.scale.cell_mm / spacing_mm)) + 1 for n in GRID_SIDES]
            drawn = torch.randn(1, 3, *knots, generator=self.random, device=self.device)
            fields.append(drawn * self._uniform(1, high=most_mm))
        return Bend(tuple(fields), self.scale.cell_mm)

    def _affine(self) -> tuple[Tensor, bool]:
        angle = torch.deg2rad(self._uniform(3, low=-32.0, high=32.0))
        total = torch.eye(3, device=self.device)
        for axis, (i, j) in enumerate(((1, 2), (0, 2), (0, 1))):
            turn = torch.eye(3, device=self.device)
            turn[i, i] = turn[j, j] = angle[axis].cos()
            turn[i, j], turn[j, i] = -angle[axis].sin(), angle[axis].sin()
            total = turn @ total
        shear = torch.eye(3, device=self.device) + self._uniform(3, 3, low=-0.06, high=0.06)
        scale = self._uniform(3, low=0.86, high=1.16)
        mirrored = bool(self._uniform(1) < 0.5)
        if mirrored:
            scale = scale * torch.tensor([1.0, 1.0, -1.0], device=self.device)
        return total @ shear @ torch.diag(scale), mirrored

    def _thick(self, hu: Tensor, where: Tensor, steps: Tensor, size: Tensor) -> Tensor:
        """Sample the head at the grid as the mean over a voxel and a slice: (z, y, x).

        Columns of `steps` lead from one voxel of the grid to the next.
        """
        thickness = float(self._uniform(1, low=1.0, high=8.0))
        total = torch.zeros(where.shape[:3], device=self.device)
        along, row, column = steps.T
        offsets = torch.linspace(-0.5, 0.5, 4) * max(thickness / self.scale.cell_mm, 1.0)
        jitter = torch.tensor([[-0.25, 0.25], [0.25, -0.25], [0.25, 0.25], [-0.25, -0.25]])
        for offset, (dy, dx) in zip(offsets.tolist(), jitter.tolist(), strict=True):
            moved = where + offset * along + dy * row + dx * column
            grid = (2.0 * moved / (size - self.scale.stored_mm) - 1.0).flip(-1)[None]
            total = (
                total
                + functional.grid_sample(
                    hu - AIR_HU, grid, mode="bilinear", padding_mode="zeros", align_corners=True
                )[0, 0]
            )
        return total / len(offsets) + AIR_HU

    def _cut(self, hu: Tensor, where: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Leave out what the scan does not cover: (z, y, x) HU and bool."""
        inside = ((where >= 0.0) & (where <= size)).all(dim=-1)
        planes = torch.arange(hu.shape[0], device=self.device)
        low, high = 0, hu.shape[0]
        from_below, from_above, around = self.scale.cut_shares
        if self._uniform(1) < from_below:
            low = int(self._uniform(1, high=28.0))
        if self._uniform(1) < from_above:
            high = int(self._uniform(1, low=max(low + 6.0, 18.0), high=float(hu.shape[0])))
        inside = inside & ((planes >= low) & (planes < high))[:, None, None]
        if self._uniform(1) < around:
            radius = float(self._uniform(1, low=16.0, high=27.0))
            axes = [torch.arange(n, device=self.device) - (n - 1) / 2 for n in hu.shape[1:]]
            inside = inside & (axes[0][:, None].hypot(axes[1][None]) < radius)[None]
        return torch.where(inside, hu, torch.full_like(hu, AIR_HU)), inside

    def _present(self, placed: Tensor, inside: Tensor) -> Tensor:
        """Whether each key point (K, 3) in voxels falls into the covered part: (K,) float."""
        cell = torch.nan_to_num(placed, nan=-99.0).round().long()
        limit = torch.tensor(inside.shape, device=self.device)
        held = ((cell >= 0) & (cell < limit)).all(dim=1)
        cell = torch.minimum(cell.clamp(min=0), limit - 1)
        return (held & inside[cell[:, 0], cell[:, 1], cell[:, 2]]).float()

    def _degrade(self, hu: Tensor) -> Tensor:
        """Bone density, noise, gain; dense spots where calcium or metal may be."""
        gain = float(torch.exp(0.25 * torch.randn(1, generator=self.random, device=self.device)))
        hu = torch.where(hu > 100.0, 100.0 + (hu - 100.0) * gain, hu)
        noise = float(self._uniform(1, high=12.0))
        normal = torch.randn(hu.shape, generator=self.random, device=self.device)
        hu = hu + noise * normal + 8.0 * float(self._uniform(1, low=-1.0))
        if self._uniform(1) < 0.3:
            spot = [int(self._uniform(1, high=float(n - 3))) for n in hu.shape]
            hu = hu.clone()
            hu[spot[0] : spot[0] + 2, spot[1] : spot[1] + 2, spot[2] : spot[2] + 2] = 1500.0
        return hu.clamp(AIR_HU, 3071.0)


def _targets(points: Tensor, sigma: float = 0.9) -> Tensor:
    """Gaussian of `sigma` voxels around each key point (b, K, 3): (b, K, z, y, x), sums 1."""
    parts = []
    for axis, side in enumerate(GRID_SIDES):
        place = torch.arange(side, device=points.device, dtype=points.dtype)
        parts.append(torch.exp(-0.5 * ((place - points[..., axis, None]) / sigma) ** 2))
    target = torch.einsum("bkz,bky,bkx->bkzyx", *parts)
    return target / target.sum((2, 3, 4), keepdim=True).clamp(min=1e-6)
