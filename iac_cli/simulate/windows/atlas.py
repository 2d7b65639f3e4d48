"""All heads on the device as one volume, so that one operation samples windows of any of them.

Positions are (z, y, x) in mm of a cached skull, and go with the number of that skull. The nearest
point of the arteries is looked up in a coarse volume of indices; the offset to it is then exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.skull import Skull, densify
from iac_cli.simulate.windows.draw import grown_places

INDEX_STEP_MM = 0.75
"""Grid of the nearest-artery-point volume; the offset to that point is then exact."""

EXACT_MM = 16.0
"""So far from the arteries the nearest point is sought; a cell beyond, where nothing depends on
it finely and the search is dear, takes the point of the nearest cell that is not."""

POINT_STEP_MM = 0.25
FRACTIONS = 65
"""Places along each artery at which heads can be laid on each other."""

ARTERY_SHARE = {"ICA": 0.52, "M1": 0.12, "A1": 0.05, "P1": 0.05, "V4": 0.17, "BA": 0.09}
"""How often a window is centred on each kind of artery."""

AROUND_MM = 12.0
"""How far around the arteries the skull base reaches."""

Size = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Pack:
    """Volumes of several heads on top of each other."""

    values: Tensor
    """(1, channels, Z, Y, X)."""
    first: Tensor
    """(heads,) the first plane of each head; 0 where it is not in the pack."""


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """The dense points of all artery lines of all heads, each (p,) or (p, 3)."""

    place: Tensor
    """mm of the head."""
    tangent: Tensor
    across: Tensor
    """One perpendicular; the other is tangent x across."""
    third: Tensor
    radius: Tensor
    arc: Tensor
    """mm along the line."""
    line: Tensor
    """A number for each line of each head."""
    artery: Tensor
    """Number of the artery, the same in all heads."""
    fraction: Tensor
    """[0, 1] of the line."""


@dataclass(frozen=True, slots=True, eq=False)
class Atlas:
    """All heads as tensors."""

    hu: Pack
    marks: Pack | None
    """Two channels: real calcification, and what counts neither way; of labelled heads only."""
    has_marks: Tensor
    """(heads,) bool."""
    spacing: Tensor
    """(heads, 3) mm."""
    size: Tensor
    """(heads, 3) voxels."""
    low: Tensor
    high: Tensor
    """(heads, 3) mm: the box around the arteries."""
    points: Points
    cumulated: Tensor
    """(p,) float64: point k of head h is chosen by numbers in (cumulated[k - 1], cumulated[k]],
    which lie between h and h + 1."""
    nearest: Tensor
    """Index of the nearest point, flat over all heads."""
    nearest_first: Tensor
    """(heads,)"""
    nearest_size: Tensor
    """(heads, 3)"""
    at_fraction: Tensor
    """(heads, arteries, FRACTIONS) index of a point; -1 where the head lacks the artery."""


def _frames(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Tangent and one perpendicular direction at each point of a line, both (k, 3)."""
    tangent = np.gradient(points, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True).clip(1e-9)
    across = np.zeros_like(tangent)
    previous = np.cross(tangent[0], [1.0, 0.3, 0.2])
    for i, direction in enumerate(tangent):  # carried along, so that angles do not jump
        carried = previous - direction * (previous @ direction)
        across[i] = previous = carried / np.linalg.norm(carried)
    return tangent, across


def _nearest_index(skull: Skull, dense: NDArray[np.float64]) -> NDArray[np.intp]:
    """Number of the nearest of points (n, 3) at each cell, beyond `EXACT_MM` of a near one."""
    from scipy.ndimage import distance_transform_edt
    from scipy.spatial import cKDTree

    extent = np.array(skull.hu.shape) * skull.spacing_mm
    axes = [np.arange(0.0, size, INDEX_STEP_MM) for size in extent]
    where = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    _, near = cKDTree(dense).query(where.reshape(-1, 3), distance_upper_bound=EXACT_MM, workers=-1)
    index = np.asarray(near).reshape(where.shape[:3])
    known = distance_transform_edt(index == len(dense), return_distances=False, return_indices=True)
    return np.asarray(index[tuple(known)])


def _packed(volumes: Sequence[NDArray[np.float32] | None], device: torch.device) -> Pack:
    """Volumes (channels, z, y, x) of each head, or None, on top of each other."""
    present = [one for one in volumes if one is not None]
    sides = [max(one.shape[axis] for one in present) for axis in (2, 3)]
    depth = sum(one.shape[1] for one in present)
    values = torch.zeros(1, present[0].shape[0], depth, *sides, device=device)
    first, at = [], 0
    for one in volumes:
        first.append(0 if one is None else at)
        if one is not None:
            values[0, :, at : at + one.shape[1], : one.shape[2], : one.shape[3]] = torch.as_tensor(
                one, device=device
            )
            at += one.shape[1]
    return Pack(values, torch.tensor(first, device=device))


def _marks_of(skull: Skull) -> NDArray[np.float32] | None:
    if skull.labels is None:
        return None
    return np.stack([skull.labels == 1, skull.labels == 2]).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class _Dense:
    """The dense lines of one head."""

    lines: dict[Artery, NDArray[np.float64]]

    @classmethod
    def of(cls, skull: Skull) -> "_Dense":
        return cls({artery: densify(line, POINT_STEP_MM) for artery, line in skull.lines.items()})

    @property
    def all(self) -> NDArray[np.float64]:
        return np.concatenate(list(self.lines.values()))

    def each(self, what: str) -> list[NDArray[np.float64]]:
        """One value a point, line by line."""
        return [_along(what, artery, len(line)) for artery, line in self.lines.items()]


def _along(what: str, artery: Artery, n: int) -> NDArray[np.float64]:
    """A value for each of an artery's `n` points: arc, artery, fraction or share."""
    if what == "arc":
        return np.asarray(np.arange(n) * POINT_STEP_MM, dtype=np.float64)
    if what == "fraction":
        return np.asarray(np.linspace(0.0, 1.0, n), dtype=np.float64)
    if what == "artery":
        return np.full(n, float(list(Artery).index(artery)))
    return np.full(n, ARTERY_SHARE[artery.value.partition("-")[0]] / n)


def make_atlas(skulls: Sequence[Skull], device: torch.device) -> Atlas:
    """Put heads on a device; their nearest-point volumes are computed here."""
    dense = [_Dense.of(skull) for skull in skulls]
    counts = [len(one.all) for one in dense]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])

    def put(arrays: Sequence[object]) -> Tensor:
        return torch.as_tensor(np.array(arrays), dtype=torch.float32, device=device)

    marks = [_marks_of(skull) for skull in skulls]
    indices = [
        _nearest_index(s, d.all[:, :3]) + at for s, d, at in zip(skulls, dense, starts, strict=True)
    ]
    sizes = [one.size for one in indices]
    shares = [np.concatenate(one.each("share")) for one in dense]
    cumulated = np.concatenate([h + np.cumsum(s) / s.sum() for h, s in enumerate(shares)])
    return Atlas(
        hu=_packed([skull.hu.astype(np.float32)[None] for skull in skulls], device),
        marks=_packed(marks, device) if any(one is not None for one in marks) else None,
        has_marks=torch.tensor([one is not None for one in marks], device=device),
        spacing=put([skull.spacing_mm for skull in skulls]),
        size=put([skull.hu.shape for skull in skulls]),
        low=put([one.all[:, :3].min(0) - AROUND_MM for one in dense]),
        high=put([one.all[:, :3].max(0) + AROUND_MM for one in dense]),
        points=_points(dense, device),
        cumulated=torch.as_tensor(cumulated, dtype=torch.float64, device=device),
        nearest=torch.as_tensor(
            np.concatenate([one.ravel() for one in indices]).astype(np.int32), device=device
        ),
        nearest_first=torch.as_tensor(np.concatenate([[0], np.cumsum(sizes)[:-1]]), device=device),
        nearest_size=torch.as_tensor(np.array([one.shape for one in indices]), device=device),
        at_fraction=torch.as_tensor(_at_fraction(dense, starts), device=device),
    )


def _points(dense: Sequence[_Dense], device: torch.device) -> Points:
    lines = [line for head in dense for line in head.lines.values()]
    frames = [_frames(line[:, :3]) for line in lines]

    def put(arrays: Sequence[NDArray[np.float64]]) -> Tensor:
        return torch.as_tensor(np.concatenate(arrays), dtype=torch.float32, device=device)

    def each(what: str) -> Tensor:
        return put([array for head in dense for array in head.each(what)])

    tangent, across = put([t for t, _ in frames]), put([a for _, a in frames])
    return Points(
        place=put([line[:, :3] for line in lines]),
        tangent=tangent,
        across=across,
        third=torch.linalg.cross(tangent, across, dim=-1),
        radius=put([line[:, 3] for line in lines]),
        arc=each("arc"),
        line=put([np.full(len(line), i) for i, line in enumerate(lines)]),
        artery=each("artery").long(),
        fraction=each("fraction"),
    )


def _at_fraction(dense: Sequence[_Dense], starts: NDArray[np.intp]) -> NDArray[np.intp]:
    table = np.full((len(dense), len(Artery), FRACTIONS), -1, dtype=np.intp)
    order = list(Artery)
    for h, head in enumerate(dense):
        at = int(starts[h])
        for artery, line in head.lines.items():
            places = np.rint(np.linspace(0, len(line) - 1, FRACTIONS)).astype(np.intp)
            table[h, order.index(artery)] = at + places
            at += len(line)
    return table


def look_up(atlas: Atlas, pack: Pack, head: Tensor, knots: Tensor, size: Size) -> Tensor:
    """A pack's values at positions given by knots (b, 3, ...) mm of heads (b,): (b, c, *size).

    Beyond a head's border its outermost voxels go on.
    """
    b = len(head)
    first = functional.pad(pack.first[head, None].float(), (0, 2))  # (b, 3)
    whole = torch.tensor(pack.values.shape[2:], device=head.device) - 1.0
    knots = knots / atlas.spacing[head][:, :, None, None, None] + first[:, :, None, None, None]
    knots = (2.0 * knots / whole.clamp(min=1.0)[:, None, None, None] - 1.0).flip(1)
    low = (2.0 * first / whole.clamp(min=1.0) - 1.0).flip(1)
    high = (2.0 * (first + atlas.size[head] - 1.0) / whole.clamp(min=1.0) - 1.0).flip(1)
    grid = grown_places(knots, size)
    grid = torch.clamp(grid, low[:, None, None, None], high[:, None, None, None])
    flat = grid.reshape(1, b * size[0], size[1], size[2], 3)
    found = functional.grid_sample(
        pack.values, flat, mode="bilinear", padding_mode="border", align_corners=True
    )
    return found.reshape(-1, b, *size).transpose(0, 1)


def nearest_point(atlas: Atlas, head: Tensor, where: Tensor) -> Tensor:
    """Index of the nearest point of head (n,)'s arteries at positions (n, 3) mm: (n,)."""
    size = atlas.nearest_size[head]
    cell = (where / INDEX_STEP_MM).round().long()
    cell = torch.minimum(cell.clamp(min=0), size - 1)
    flat = (cell[:, 0] * size[:, 1] + cell[:, 1]) * size[:, 2] + cell[:, 2]
    return atlas.nearest[atlas.nearest_first[head] + flat].long()
