"""Where a volume's voxels lie in the patient.

Axis order is (slice, row, column), the world is LPS in mm. Each slice has its own position, so a
tilted gantry and uneven spacing are exact: nothing here ever averages a step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

EVEN_STEP_TOLERANCE_MM = 0.02
"""How far a slice may stray from even spacing before the stack counts as unevenly spaced."""

STRAIGHT_TOLERANCE_MM = 0.02
"""How far a slice may shift in its own plane before the stack counts as sheared (tilted)."""

FloatArray = NDArray[np.float64]


def _frozen(values: ArrayLike, shape: tuple[int, ...], name: str) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
    array.setflags(write=False)
    return array


def slice_extents_mm(offsets_mm: FloatArray) -> FloatArray:
    """The extent that each slice stands for, (n,) mm, from sorted offsets along the normal.

    Half the distance to each neighbour; the outermost slices the full distance to their only one.
    """
    steps = np.diff(offsets_mm)
    lower = np.concatenate([steps[:1], steps])
    upper = np.concatenate([steps, steps[-1:]])
    return np.asarray((lower + upper) / 2.0, dtype=np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A stack of parallel slices in the patient: position of each, one orientation, one pixel size.

    `positions_mm` (n, 3) is the centre of each slice's first voxel; `row_axis` is the unit vector
    along increasing column index, `column_axis` along increasing row index. `pixel_mm` is
    (row spacing, column spacing). `extents_mm` (n,) is the thickness that each slice stands for
    in a measurement. Slices are sorted along the normal `row_axis x column_axis`.
    """

    shape: tuple[int, int, int]
    positions_mm: FloatArray
    row_axis: FloatArray
    column_axis: FloatArray
    pixel_mm: tuple[float, float]
    extents_mm: FloatArray

    def __post_init__(self) -> None:
        n_slices = self.shape[0]
        positions = _frozen(self.positions_mm, (n_slices, 3), "positions_mm")
        object.__setattr__(self, "positions_mm", positions)
        object.__setattr__(self, "row_axis", _frozen(self.row_axis, (3,), "row_axis"))
        object.__setattr__(self, "column_axis", _frozen(self.column_axis, (3,), "column_axis"))
        object.__setattr__(self, "extents_mm", _frozen(self.extents_mm, (n_slices,), "extents_mm"))
        if min(self.pixel_mm) <= 0 or (self.extents_mm <= 0).any():
            raise ValueError("pixel sizes and slice extents must be positive")
        if n_slices > 1 and (np.diff(self.offsets_mm) <= 0).any():
            raise ValueError("slices must be sorted along the normal")

    @classmethod
    def regular(
        cls,
        shape: tuple[int, int, int],
        *,
        spacing_mm: tuple[float, float, float],
        origin_mm: ArrayLike = (0.0, 0.0, 0.0),
        row_axis: ArrayLike = (1.0, 0.0, 0.0),
        column_axis: ArrayLike = (0.0, 1.0, 0.0),
    ) -> "Grid":
        """An evenly spaced, straight grid; `spacing_mm` is (slice, row, column)."""
        row, column = np.asarray(row_axis, float), np.asarray(column_axis, float)
        normal = np.cross(row, column)
        steps = np.arange(shape[0])[:, None] * spacing_mm[0] * normal
        return cls(
            shape=shape,
            positions_mm=np.asarray(origin_mm, float) + steps,
            row_axis=row,
            column_axis=column,
            pixel_mm=(spacing_mm[1], spacing_mm[2]),
            extents_mm=np.full(shape[0], spacing_mm[0]),
        )

    @property
    def normal(self) -> FloatArray:
        """Unit vector along which the slices are sorted, LPS."""
        normal = np.cross(self.row_axis, self.column_axis)
        return np.asarray(normal / np.linalg.norm(normal))

    @property
    def offsets_mm(self) -> FloatArray:
        """Distance of each slice from the world's origin along the normal, (n,) mm."""
        return np.asarray(self.positions_mm @ self.normal)

    @property
    def voxel_mm3(self) -> FloatArray:
        """Volume of one voxel of each slice, (n,) mm3: pixel area times the slice's extent."""
        return self.pixel_mm[0] * self.pixel_mm[1] * self.extents_mm

    @property
    def pixel_area_mm2(self) -> float:
        """Area of one pixel, mm2."""
        return self.pixel_mm[0] * self.pixel_mm[1]

    @property
    def shifts_mm(self) -> FloatArray:
        """In-plane shift of each slice against the first, (n, 2) mm by column and row axis."""
        moved = self.positions_mm - self.positions_mm[0]
        return np.stack([moved @ self.column_axis, moved @ self.row_axis], axis=1)

    @property
    def tilt_deg(self) -> float:
        """Angle between the stacking direction and the slice normal; the sign follows the shift."""
        if self.shape[0] < 2:
            return 0.0
        rise = self.offsets_mm[-1] - self.offsets_mm[0]
        shift = self.shifts_mm[-1]
        largest = shift[np.argmax(np.abs(shift))]
        return float(np.degrees(np.arctan2(np.sign(largest) * np.linalg.norm(shift), rise)))

    @property
    def evenly_spaced(self) -> bool:
        """True when all steps along the normal agree."""
        steps = np.diff(self.offsets_mm)
        return self.shape[0] < 3 or bool(np.ptp(steps) <= EVEN_STEP_TOLERANCE_MM)

    @property
    def straight(self) -> bool:
        """True when the slices sit on one another without an in-plane shift."""
        return bool(np.abs(self.shifts_mm).max() <= STRAIGHT_TOLERANCE_MM)

    @property
    def is_regular(self) -> bool:
        """True for an untilted, evenly spaced stack, which one orthonormal affine describes."""
        return self.evenly_spaced and self.straight

    @property
    def mean_step_mm(self) -> float:
        """Mean distance between neighbouring slices along the normal, mm."""
        if self.shape[0] < 2:
            return float(self.extents_mm[0])
        offsets = self.offsets_mm
        return float((offsets[-1] - offsets[0]) / (len(offsets) - 1))

    @property
    def affine(self) -> FloatArray:
        """(4, 4) from (slice, row, column, 1) to LPS mm; exact only when `is_regular`.

        For a tilted or uneven stack its slice column is the mean stacking vector.
        """
        matrix = np.eye(4)
        if self.shape[0] > 1:
            matrix[:3, 0] = (self.positions_mm[-1] - self.positions_mm[0]) / (self.shape[0] - 1)
        else:
            matrix[:3, 0] = self.normal * self.extents_mm[0]
        matrix[:3, 1] = self.column_axis * self.pixel_mm[0]
        matrix[:3, 2] = self.row_axis * self.pixel_mm[1]
        matrix[:3, 3] = self.positions_mm[0]
        return matrix

    def to_world(self, indices: ArrayLike) -> FloatArray:
        """Indices (k, 3) as (slice, row, column), fractions allowed -> LPS mm (k, 3).

        Between two slices the position is interpolated; outside the stack it is extrapolated.
        """
        index = np.atleast_2d(np.asarray(indices, dtype=np.float64))
        origin = self._origin_at(index[:, 0])
        return np.asarray(
            origin
            + index[:, 1:2] * self.pixel_mm[0] * self.column_axis
            + index[:, 2:3] * self.pixel_mm[1] * self.row_axis
        )

    def to_index(self, points_mm: ArrayLike) -> FloatArray:
        """LPS mm (k, 3) -> fractional (slice, row, column) (k, 3); the inverse of `to_world`."""
        points = np.atleast_2d(np.asarray(points_mm, dtype=np.float64))
        height = points @ self.normal
        slices = self._slice_at(height)
        inside = points - self._origin_at(slices)
        rows = inside @ self.column_axis / self.pixel_mm[0]
        columns = inside @ self.row_axis / self.pixel_mm[1]
        return np.stack([slices, rows, columns], axis=1)

    def _slice_at(self, heights_mm: FloatArray) -> FloatArray:
        """Fractional slice index at heights along the normal, extrapolated past both ends."""
        offsets = self.offsets_mm
        if len(offsets) == 1:
            return np.asarray((heights_mm - offsets[0]) / self.extents_mm[0])
        lower = np.clip(np.searchsorted(offsets, heights_mm, side="right") - 1, 0, len(offsets) - 2)
        step = offsets[lower + 1] - offsets[lower]
        return np.asarray(lower + (heights_mm - offsets[lower]) / step)

    def _origin_at(self, slices: FloatArray) -> FloatArray:
        """Position of the first voxel at fractional slice indices, (k, 3) mm."""
        n_slices = self.shape[0]
        if n_slices == 1:
            return np.asarray(
                self.positions_mm[0] + slices[:, None] * self.extents_mm[0] * self.normal
            )
        lower = np.clip(np.floor(slices).astype(int), 0, n_slices - 2)
        fraction = (slices - lower)[:, None]
        return np.asarray(
            self.positions_mm[lower] * (1 - fraction) + self.positions_mm[lower + 1] * fraction
        )
