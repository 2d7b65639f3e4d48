"""Agatston scores of lesions: per acquired slice, on the native grid, never on a resampled one.

"classic 1": in each slice the 8-connected components of a lesion count when their area is at least
1 mm2; each adds area x weight (by its own brightest voxel) x slice extent / 3 mm. Never rounded.
"kvp 1": the same with the cut-offs of Gräni 2018 for the tube voltage; None where none exist.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASSIC = "classic 1"
"""Name and version of the classic definition."""

KVP_ADJUSTED = "kvp 1"
"""Name and version of the definition with cut-offs that depend on the tube voltage."""

LEAST_AREA_MM2 = 1.0 - 1e-9
"""A component below this area does not count."""

REFERENCE_EXTENT_MM = 3.0
"""The slice distance for which the score was defined; other extents scale by their ratio to it."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CutOffs:
    """From which HU a voxel counts, and from which HU of a component's peak each weight holds."""

    at_least_hu: float
    weight_2_hu: float
    weight_3_hu: float
    weight_4_hu: float

    def weights(self, peak_hu: FloatArray) -> FloatArray:
        """Weight 0-4 of each component from its brightest voxel, HU; intervals are half-open."""
        borders = [self.at_least_hu, self.weight_2_hu, self.weight_3_hu, self.weight_4_hu]
        return np.searchsorted(borders, peak_hu, side="right").astype(np.float64)


CLASSIC_CUT_OFFS = CutOffs(130.0, 200.0, 300.0, 400.0)
"""Agatston 1990, J Am Coll Cardiol 15:827-832."""

CUT_OFFS_OF_KVP = {
    70.0: CutOffs(207.0, 318.0, 477.0, 636.0),
    80.0: CutOffs(177.0, 271.0, 408.0, 544.0),
    100.0: CutOffs(145.0, 222.0, 334.0, 446.0),
    120.0: CLASSIC_CUT_OFFS,
    135.0: CutOffs(119.0, 183.0, 274.0, 364.0),
}
"""Gräni 2018, Eur Heart J Cardiovasc Imaging 19:1362; at 120 kVp the classic cut-offs.

From coronary phantoms of chest size; beam hardening at the skull base differs.
"""


def cut_offs_of(kvp: float | None) -> CutOffs | None:
    """The published cut-offs for a tube voltage in kV; None where there are none."""
    return None if kvp is None else CUT_OFFS_OF_KVP.get(float(kvp))


def agatston_by_lesion(
    labels: NDArray[np.int32],
    hu: NDArray[np.float32],
    *,
    pixel_area_mm2: float,
    extents_mm: FloatArray,
    cut_offs: CutOffs = CLASSIC_CUT_OFFS,
) -> FloatArray:
    """Score of each lesion 1..n, (n,).

    `labels` and `hu` are (slice, row, column) on the acquired slices, 0 is no lesion;
    `extents_mm` (slices,) is what each slice stands for.
    """
    from scipy import ndimage

    n_lesions = int(labels.max(initial=0))
    counted = (labels > 0) & (hu >= cut_offs.at_least_hu)
    if not counted.any():
        return np.zeros(n_lesions)
    in_slice = np.zeros((3, 3, 3), dtype=bool)
    in_slice[1] = True  # 8-connected, within a slice only
    components, n_components = ndimage.label(counted, structure=in_slice)
    where = np.nonzero(counted)
    component = components[where] - 1
    peak_hu = np.full(n_components, -np.inf)
    np.maximum.at(peak_hu, component, hu[where].astype(np.float64))
    area_mm2 = np.bincount(component, minlength=n_components) * pixel_area_mm2
    lesion, extent_mm = np.zeros(n_components, dtype=int), np.zeros(n_components)
    lesion[component] = labels[where] - 1
    extent_mm[component] = extents_mm[where[0]]
    score = area_mm2 * cut_offs.weights(peak_hu) * extent_mm / REFERENCE_EXTENT_MM
    score[area_mm2 < LEAST_AREA_MM2] = 0.0
    return np.bincount(lesion, weights=score, minlength=n_lesions).astype(np.float64)
