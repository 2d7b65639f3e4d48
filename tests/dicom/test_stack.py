"""Order, gaps, extents, tilt and canonical axes of a stack."""

import numpy as np
import pytest
from numpy.typing import NDArray

from iac_cli.dicom.stack import canonical_axes, extents_with_gaps, find_gaps
from iac_cli.geometry.grid import Grid, slice_extents_mm

NONE_DAMAGED = np.zeros(0)


def offsets(steps: list[float]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(steps)])


def thickness(n: int, mm: float | None) -> NDArray[np.float64]:
    return np.full(n, np.nan if mm is None else mm)


GAPS = [
    # steps, thickness, index of the slice below each gap
    ([4.0] * 6, 4.0, []),
    ([4, 4, 8, 4, 4], 4.0, [2]),
    ([4, 4, 8, 4, 4], None, [2]),
    ([4, 4, 12, 4, 4], 4.0, [2]),
    ([8, 4, 4, 4], 4.0, [0]),
    ([4, 4, 4, 8], 4.0, [3]),
    ([4, 8, 8, 4, 4], 4.0, [1, 2]),
    ([4, 4, 8.05, 4, 4], 4.0, [2]),
    ([4, 4, 4.05, 4, 3.95], 4.0, []),
    ([4] * 5 + [1.08] + [7] * 5, None, []),
    ([2.5] * 5 + [5] * 5, 2.5, []),
    ([2.5] * 5 + [5] * 2 + [7.5] * 5, None, []),
    ([2.5, 2.5, 2.5, 3.75, 5, 5, 5], None, []),
    ([5, 5, 9, 5, 5], 5.0, [2]),
    ([5, 5, 10, 5, 5], 9.0, []),  # a slice that is 9 mm thick leaves no room for another
]


@pytest.mark.parametrize(("steps", "mm", "expected"), GAPS)
def test_gaps_are_told_from_uneven_spacing(
    steps: list[float], mm: float | None, expected: list[int]
) -> None:
    found = find_gaps(offsets(steps), thickness(len(steps) + 1, mm), NONE_DAMAGED)
    assert [g.before for g in found] == expected


def test_thickness_changes_with_the_step_in_an_older_head() -> None:
    steps = [4.002] * 13 + [1.081] + [6.999] * 13
    thick = np.array([4.0] * 14 + [7.0] * 14)
    assert find_gaps(offsets(steps), thick, NONE_DAMAGED) == []


def test_a_slice_left_out_is_a_gap_whatever_the_step() -> None:
    found = find_gaps(offsets([4, 4, 6, 4]), thickness(5, 6.0), np.array([11.0]))
    assert [(g.from_mm, g.to_mm) for g in found] == [(8.0, 14.0)]


def test_extents_are_half_the_distance_to_each_neighbour() -> None:
    assert slice_extents_mm(offsets([2, 2, 6, 6])).tolist() == [2, 2, 4, 6, 6]


@pytest.mark.parametrize(
    ("mm", "expected"),
    [
        (4.0, [4, 4, 4, 4, 4, 4]),
        (5.0, [4, 4, 5, 5, 4, 4]),
        (3.0, [4, 4, 3, 3, 4, 4]),
        (None, [4, 4, 4, 4, 4, 4]),
    ],
)
def test_extents_beside_a_gap_are_capped_at_the_thickness(
    mm: float | None, expected: list[float]
) -> None:
    along = offsets([4, 4, 8, 4, 4])
    assert extents_with_gaps(along, thickness(6, mm), [2]).tolist() == expected


def test_extents_at_an_outer_gap() -> None:
    along = offsets([8, 4, 4])
    assert extents_with_gaps(along, thickness(4, 4.0), [0]).tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("flip_rows", [False, True])
@pytest.mark.parametrize("flip_columns", [False, True])
@pytest.mark.parametrize("angle_deg", [0.0, 25.0, -40.0])
def test_axes_are_brought_to_left_and_posterior(
    transpose: bool, flip_rows: bool, flip_columns: bool, angle_deg: float
) -> None:
    angle = np.radians(angle_deg)
    row = np.array([np.cos(angle), np.sin(angle), 0.0])
    column = np.array([-np.sin(angle), np.cos(angle), 0.0])
    stored_row = -row if flip_columns else row
    stored_column = -column if flip_rows else column
    if transpose:
        stored_row, stored_column = stored_column, stored_row
    axes = canonical_axes(stored_row, stored_column)
    assert np.allclose(axes.row_axis, row)
    assert np.allclose(axes.column_axis, column)
    assert np.cross(axes.row_axis, axes.column_axis)[2] > 0
    pixels = np.arange(6, dtype=np.float32).reshape(2, 3)
    stored = pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
    assert np.array_equal(axes.canonical(stored.T if transpose else stored), pixels)


def test_tilt_has_the_sign_of_the_shift() -> None:
    angle = np.radians(20.0)
    for sign in (1, -1):
        column = np.array([0.0, np.cos(angle), -sign * np.sin(angle)])
        grid = Grid(
            shape=(3, 2, 2),
            positions_mm=np.array([[0.0, 0.0, 5.0 * k] for k in range(3)]),
            row_axis=np.array([1.0, 0.0, 0.0]),
            column_axis=column,
            pixel_mm=(1.0, 1.0),
            extents_mm=np.full(3, 5 * np.cos(angle)),
        )
        assert grid.tilt_deg == pytest.approx(-sign * 20.0)
        assert np.allclose(np.diff(grid.offsets_mm), 5 * np.cos(angle))
