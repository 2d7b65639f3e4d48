"""The truth of a simulated scan: what the published protocol would draw, and what is really there.

Protocol: a voxel is labelled when the scan shows at least 130 HU there and the lesions' own share
of it is at least half of its HU above the local background; a voxel without a labelled neighbour
is dropped. Scores are computed here on their own, so that they can judge the product's.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve, find_objects, label, maximum_filter, uniform_filter

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery
from iac_cli.simulate import laws
from iac_cli.simulate.calcium import Lesion
from iac_cli.simulate.scanner import Field, Scan, Slices, acquire

AGATSTON_WEIGHTS = ((400.0, 4), (300.0, 3), (200.0, 2), (130.0, 1))
LEAST_AREA_MM2 = 1.0

LABELS = {artery: i + 1 for i, artery in enumerate(Artery)}
"""Value of each artery in the label map."""

EVERY_NEIGHBOUR = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True, eq=False)
class LesionTruth:
    """One lesion as it is and as the scan shows it."""

    number: int
    artery: Artery
    fraction: float
    """Where its middle lies along the centre line, [0, 1]."""
    true_volume_mm3: float
    hu_before_blur: float
    centre_mm: tuple[float, float, float]
    n_voxels: int
    protocol_volume_mm3: float
    peak_hu: float | None
    """Highest HU of its labelled voxels; None when it has none."""
    length_mm: float
    arc_deg: float
    thickness_mm: float


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The truth of one scan: label maps on the acquired grid, and sums."""

    arteries: NDArray[np.uint8]
    """(slice, row, column): 0 or the artery's value in `LABELS`."""
    numbers: NDArray[np.uint16]
    """(slice, row, column): 0 or the lesion's number."""
    lesions: tuple[LesionTruth, ...]
    true_volume_mm3: float
    protocol_volume_mm3: float
    agatston: float


def excess_image(
    lesions: list[Lesion], clean: Field, grid: Slices, scan: Scan
) -> tuple[Field, NDArray[np.uint16]]:
    """What the lesions add to the scan, HU, and which lesion adds most to each voxel (1, 2, ...).

    `clean` is the fine lattice's HU without lesions.
    """
    total = np.zeros(grid.shape, dtype=np.float32)
    most = np.zeros(grid.shape, dtype=np.float32)
    owner = np.zeros(grid.shape, dtype=np.uint16)
    for number, lesion in enumerate(lesions, start=1):
        below = clean[lesion.block]
        added = laws.excess_hu(lesion.share, lesion.shape.hu, below)
        image, window = acquire(added.astype(np.float32), lesion.lattice, grid, scan)
        total[window.cut] += image
        stronger = image > np.maximum(most[window.cut], 1.0)
        owner[window.cut][stronger] = number
        most[window.cut] = np.maximum(most[window.cut], image)
    return total, owner


def local_background(lesion_free_hu: Field, grid: Grid) -> Field:
    """Mean of the soft tissue around each voxel within its slice, HU."""
    soft = laws.is_soft(lesion_free_hu)
    size = laws.background_size(grid.pixel_mm[0])
    weight = uniform_filter(soft.astype(np.float32), (0, size, size), mode="nearest")
    values = np.where(soft, lesion_free_hu, 0.0).astype(np.float32)
    mean = uniform_filter(values, (0, size, size), mode="nearest") / np.maximum(weight, 1e-3)
    known = weight > laws.LEAST_SOFT_SHARE
    return np.where(known, mean, np.float32(laws.FALLBACK_BACKGROUND_HU)).astype(np.float32)


def protocol_mask(
    hu: NDArray[np.int16], excess: Field, lesion_free_hu: Field, grid: Grid
) -> NDArray[np.bool_]:
    """The voxels that the protocol labels, (slice, row, column)."""
    touched = excess > laws.LEAST_EXCESS_HU
    mask = np.zeros(grid.shape, dtype=bool)
    for k in np.flatnonzero(touched.any(axis=(1, 2))):
        background = local_background(lesion_free_hu[k : k + 1], grid)[0]
        mask[k] = laws.is_drawn(hu[k], excess[k], background)
    where = find_objects(mask.astype(np.int8))
    if where and where[0] is not None:
        part = mask[where[0]]
        counted = convolve(part.astype(np.uint8), EVERY_NEIGHBOUR.astype(np.uint8), mode="constant")
        part &= counted > 1
    return mask


def agatston_classic(hu: NDArray[np.int16], mask: NDArray[np.bool_], grid: Grid) -> float:
    """Agatston "classic 1": 8-connected components per slice of at least 1 mm2, extent / 3 mm."""
    total = 0.0
    for k in np.flatnonzero(mask.any(axis=(1, 2))):
        parts, n = label(mask[k], structure=np.ones((3, 3)))
        for part in range(1, n + 1):
            inside = parts == part
            area = float(inside.sum()) * grid.pixel_area_mm2
            if area >= LEAST_AREA_MM2 - 1e-9:
                total += area * _weight(float(hu[k][inside].max())) * grid.extents_mm[k] / 3.0
    return float(total)


def _weight(peak_hu: float) -> int:
    return next((weight for least, weight in AGATSTON_WEIGHTS if peak_hu >= least), 0)


def find_truth(
    hu: NDArray[np.int16],
    lesions: list[Lesion],
    excess: tuple[Field, NDArray[np.uint16]],
    grid: Grid,
    lengths_mm: dict[Artery, float],
) -> Truth:
    """The truth of a scan `hu` (slice, row, column) to which `excess` was added."""
    added, owner = excess
    mask = protocol_mask(hu, added, hu - added, grid)
    owner = _spread_owner(owner, mask)
    numbers = np.where(mask, owner, 0).astype(np.uint16)
    voxel_mm3 = np.broadcast_to(grid.voxel_mm3[:, None, None], grid.shape)
    rows = []
    values = np.zeros(len(lesions) + 1, dtype=np.uint8)
    for number, lesion in enumerate(lesions, start=1):
        values[number] = LABELS[lesion.shape.artery]
        rows.append(_row(number, lesion, (hu, numbers == number, voxel_mm3), lengths_mm))
    return Truth(
        arteries=values[numbers],
        numbers=numbers,
        lesions=tuple(rows),
        true_volume_mm3=float(sum(lesion.volume_mm3 for lesion in lesions)),
        protocol_volume_mm3=float(voxel_mm3[mask].sum()),
        agatston=agatston_classic(hu, mask, grid),
    )


def _spread_owner(owner: NDArray[np.uint16], mask: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Give a labelled voxel without an owner that of a neighbour."""
    if not (mask & (owner == 0)).any():
        return owner
    return np.where(owner == 0, maximum_filter(owner, size=3), owner).astype(np.uint16)


def _row(
    number: int,
    lesion: Lesion,
    seen: tuple[NDArray[np.int16], NDArray[np.bool_], NDArray[np.float64]],
    lengths_mm: dict[Artery, float],
) -> LesionTruth:
    hu, voxels, voxel_mm3 = seen
    shape, share = lesion.shape, lesion.share
    everywhere = (slice(None), slice(None), slice(None))
    centre = np.tensordot(share, lesion.lattice.points_mm(everywhere), axes=3) / share.sum()
    n = int(voxels.sum())
    return LesionTruth(
        number=number,
        artery=shape.artery,
        fraction=shape.at_mm / lengths_mm[shape.artery],
        true_volume_mm3=lesion.volume_mm3,
        hu_before_blur=shape.hu,
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        n_voxels=n,
        protocol_volume_mm3=float(voxel_mm3[voxels].sum()),
        peak_hu=float(hu[voxels].max()) if n else None,
        length_mm=shape.length_mm,
        arc_deg=float(np.degrees(shape.arc)),
        thickness_mm=shape.thickness_mm,
    )
