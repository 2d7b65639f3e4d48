"""Lesions: which voxels of a mask count, how they group, and which artery each group belongs to.

A voxel counts when its native HU reaches the threshold (130 HU, inclusive, whatever the kVp). A
counted voxel without a counted neighbour among its 26 is left out. A lesion is a 26-connected
group of what remains. Every voxel that a supplied mask loses this way is counted.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, IcaSegment
from iac_cli.geometry.volume import Mask, Volume

DEFINITION = "lesion 1"
"""Name and version of the definition above."""

THRESHOLD_HU = 130.0
"""A voxel of a lesion has at least this many HU."""

NAMING_REACH_MM = 15.0
"""A lesion farther than this from every centre line keeps no artery's name."""

MOST_NAMED_VOXELS = 200
"""A lesion's name is the majority of at most so many of its voxels, evenly picked."""

MOST_NAMED_IN_ALL = 20_000
"""So many voxels are named in all; in a mask of very many lesions each has fewer, at least one."""

POINTS_AT_ONCE = 4096
"""How many points are handed to `places` in one call, which bounds its memory."""

DISTANCE_DIGITS = 2
"""Digits of a distance in mm: a centre line is never known better."""

T = TypeVar("T")

Box = tuple[slice, slice, slice]


class NamedPlace(Protocol):
    """Where a point lies: what `Arteries.places` answers for it."""

    @property
    def artery(self) -> Artery:
        """The nearest artery."""

    @property
    def segment(self) -> IcaSegment | None:
        """On the ICA, its segment."""

    @property
    def distance_mm(self) -> float:
        """Distance to that artery's centre line."""


Places = Callable[[NDArray[np.float64]], Sequence[NamedPlace]]
"""Names points (k, 3) LPS mm: k places, or none at all when no artery was found."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """One calcified lesion."""

    number: int
    """Its value in `Found.labels`, from 1."""
    artery: Artery | None
    """None when no artery is known, or none lies within `NAMING_REACH_MM`."""
    segment: IcaSegment | None
    """On the ICA, its segment."""
    distance_mm: float | None
    """Median distance of its voxels to the artery's centre line, to 0.01 mm."""
    named_by: str | None
    """How the artery was chosen; None when the lesion has no name."""
    n_voxels: int
    volume_mm3: float
    hu_mm3: float
    """Sum of HU x voxel volume."""
    peak_hu: float
    mean_hu: float
    """Mean HU, each voxel weighted by its volume."""
    centre_mm: tuple[float, float, float]
    """Mean position of its voxels, LPS mm."""
    first_slice: int
    """Lowest slice of the volume that it touches, from 0."""
    last_slice: int
    at_edge: bool
    """True when it touches the border of the scan, so a part of it may lie outside."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Voxels of the given mask that do not count."""

    below_threshold: int = 0
    """Voxels below the HU threshold."""
    single_voxels: int = 0
    """Voxels without a neighbour among their 26."""

    @property
    def total(self) -> int:
        """All voxels left out."""
        return self.below_threshold + self.single_voxels


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The lesions of one volume."""

    labels: NDArray[np.int32]
    """(slice, row, column): 0 outside, else the lesion's number."""
    lesions: tuple[Lesion, ...]
    left_out: LeftOut
    box: Box
    """The smallest part of `labels` that holds every lesion; empty when there is none."""
    threshold_hu: float = THRESHOLD_HU

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(slice, row, column) bool: every voxel that counts."""
        return self.labels > 0


def find_lesions(
    volume: Volume,
    calcified: Mask,
    *,
    places: Places | None = None,
    threshold_hu: float = THRESHOLD_HU,
    keep_single_voxels: bool = False,
    named_by: str = "nearest_centre_line",
) -> Found:
    """The lesions of a mask on the volume's own grid, numbered from below upwards."""
    if calcified.voxels.shape != volume.hu.shape:
        raise ValueError("the mask must lie on the volume's grid")
    labels = np.zeros(volume.hu.shape, dtype=np.int32)
    labels.setflags(write=True)
    box = bounding_box(calcified.voxels)
    given = calcified.voxels[box]
    counted = given & (volume.hu[box] >= threshold_hu)
    below = int(given.sum()) - int(counted.sum())
    local, n_lesions, n_single = _grouped(counted, keep_single_voxels)
    labels[box] = local
    labels.setflags(write=False)
    left_out = LeftOut(below_threshold=below, single_voxels=n_single)
    if not n_lesions:
        return Found(labels, (), left_out, _EMPTY_BOX, threshold_hu)
    voxels = _Voxels.of(local, box, volume)
    names = _names(voxels, places)
    lesions = tuple(_lesion(voxels, k, names[k], named_by) for k in range(n_lesions))
    return Found(labels, lesions, left_out, box, threshold_hu)


def mean_probabilities(found: Found, p: NDArray[np.float32]) -> tuple[float, ...]:
    """Mean probability of each lesion's voxels; `p` lies on `found.box`."""
    numbers = found.labels[found.box].ravel()
    n = np.bincount(numbers, minlength=len(found.lesions) + 1)[1:]
    total = np.bincount(numbers, weights=p.ravel(), minlength=len(found.lesions) + 1)[1:]
    return tuple(float(value) for value in total / np.maximum(n, 1))


_EMPTY_BOX: Box = (slice(0, 0), slice(0, 0), slice(0, 0))


def bounding_box(voxels: NDArray[np.bool_]) -> Box:
    """The smallest box around the set voxels; empty when none is set."""
    in_slice = np.flatnonzero(voxels.any(axis=(1, 2)))
    if not len(in_slice):
        return _EMPTY_BOX
    lowest, highest = int(in_slice[0]), int(in_slice[-1]) + 1
    flat = np.any(voxels[lowest:highest], axis=0)
    rows, columns = np.flatnonzero(flat.any(axis=1)), np.flatnonzero(flat.any(axis=0))
    return (
        slice(lowest, highest),
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )


def _grouped(
    counted: NDArray[np.bool_], keep_single_voxels: bool
) -> tuple[NDArray[np.int32], int, int]:
    """26-connected groups numbered 1..n in the order of their first voxel, n, voxels dropped."""
    from scipy import ndimage

    labels = np.zeros(counted.shape, dtype=np.int32)
    n_groups = int(ndimage.label(counted, structure=np.ones((3, 3, 3)), output=labels))
    if keep_single_voxels or not n_groups:
        return labels, n_groups, 0
    sizes = np.bincount(labels.ravel(), minlength=n_groups + 1)
    kept = sizes > 1
    kept[0] = False
    renumbered = np.where(kept, np.cumsum(kept), 0).astype(np.int32)
    return renumbered[labels], int(kept.sum()), n_groups - int(kept.sum())


@dataclass(frozen=True, slots=True, eq=False)
class _Voxels:
    """All lesion voxels, sorted by lesion; those of lesion k are `starts[k]:starts[k + 1]`."""

    index: NDArray[np.intp]  # (k, 3) slice, row, column
    hu: NDArray[np.float64]
    volume_mm3: NDArray[np.float64]
    points_mm: NDArray[np.float64]  # (k, 3) LPS
    starts: NDArray[np.intp]
    grid: Grid

    @classmethod
    def of(cls, local: NDArray[np.int32], box: Box, volume: Volume) -> "_Voxels":
        inside = np.argwhere(local)
        lesion = local[tuple(inside.T)]
        order = np.argsort(lesion, kind="stable")
        index = inside[order] + [side.start for side in box]
        starts = np.searchsorted(lesion[order], np.arange(1, lesion.max() + 2))
        return cls(
            index=index,
            hu=volume.hu[tuple(index.T)].astype(np.float64),
            volume_mm3=volume.grid.voxel_mm3[index[:, 0]],
            points_mm=volume.grid.to_world(index),
            starts=starts,
            grid=volume.grid,
        )

    def of_lesion(self, k: int) -> slice:
        return slice(int(self.starts[k]), int(self.starts[k + 1]))


@dataclass(frozen=True, slots=True)
class _Name:
    artery: Artery
    segment: IcaSegment | None
    distance_mm: float


def _names(voxels: _Voxels, places: Places | None) -> list[_Name | None]:
    """For each lesion the artery that most of its voxels are nearest to; None beyond the reach."""
    n_lesions = len(voxels.starts) - 1
    if places is None:
        return [None] * n_lesions
    most = min(max(MOST_NAMED_IN_ALL // n_lesions, 1), MOST_NAMED_VOXELS)
    picked = [_evenly(voxels.of_lesion(k), most) for k in range(n_lesions)]
    points = voxels.points_mm[np.concatenate(picked)]
    answers: list[NamedPlace] = []
    for start in range(0, len(points), POINTS_AT_ONCE):
        answers.extend(places(points[start : start + POINTS_AT_ONCE]))
    if not answers:
        return [None] * n_lesions
    ends = np.cumsum([len(some) for some in picked])
    return [
        _majority(answers[end - len(some) : end]) for end, some in zip(ends, picked, strict=True)
    ]


def _evenly(voxels: slice, most: int) -> NDArray[np.intp]:
    n = voxels.stop - voxels.start
    steps = np.linspace(voxels.start, voxels.stop - 1, min(n, most))
    return steps.round().astype(np.intp)


def _majority(places: Sequence[NamedPlace]) -> _Name | None:
    """The commonest artery and, among its voxels, the commonest segment; ties go to the nearer."""
    artery = _commonest([(place.artery, place.distance_mm) for place in places])
    own = [place for place in places if place.artery == artery]
    distance_mm = float(np.median([place.distance_mm for place in own]))
    if distance_mm > NAMING_REACH_MM:
        return None
    segment = _commonest([(place.segment, place.distance_mm) for place in own])
    return _Name(artery, segment, distance_mm)


def _commonest(seen: list[tuple[T, float]]) -> T:
    counts = Counter(name for name, _ in seen)
    nearest: dict[T, float] = {}
    for name, distance_mm in seen:
        nearest[name] = min(distance_mm, nearest.get(name, np.inf))
    return min(counts, key=lambda name: (-counts[name], nearest[name], str(name)))


def _lesion(voxels: _Voxels, k: int, name: _Name | None, named_by: str) -> Lesion:
    own = voxels.of_lesion(k)
    index, hu, volume_mm3 = voxels.index[own], voxels.hu[own], voxels.volume_mm3[own]
    total_mm3, hu_mm3 = float(volume_mm3.sum()), float((hu * volume_mm3).sum())
    centre = voxels.points_mm[own].mean(axis=0)
    borders = np.array(voxels.grid.shape) - 1
    return Lesion(
        number=k + 1,
        artery=name.artery if name else None,
        segment=name.segment if name else None,
        distance_mm=round(name.distance_mm, DISTANCE_DIGITS) if name else None,
        named_by=named_by if name else None,
        n_voxels=len(index),
        volume_mm3=total_mm3,
        hu_mm3=hu_mm3,
        peak_hu=float(hu.max()),
        mean_hu=hu_mm3 / total_mm3,
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        first_slice=int(index[:, 0].min()),
        last_slice=int(index[:, 0].max()),
        at_edge=bool(((index == 0) | (index == borders)).any()),
    )
