"""Carrying HU and labels between a stack of slices and a regular grid."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.resample import (
    OUTSIDE_HU,
    labels_from,
    labels_to,
    regular_grid,
    resample_to,
)
from iac_cli.geometry.volume import Volume


def stack(
    steps_mm: list[float], tilt_deg: float, *, pixel_mm: float = 0.49, size: int = 24
) -> Grid:
    """A stack with steps along the normal of a gantry that is tilted about the x axis."""
    angle = np.radians(tilt_deg)
    column = np.array([0.0, np.cos(angle), -np.sin(angle)])
    heights = np.concatenate([[0.0], np.cumsum(steps_mm)]) / np.cos(angle)
    positions = np.array([-12.0, -7.0, 3.0]) + heights[:, None] * [0.0, 0.0, 1.0]
    offsets = positions @ np.cross([1.0, 0.0, 0.0], column)
    return Grid(
        shape=(len(positions), size, size),
        positions_mm=positions,
        row_axis=np.array([1.0, 0.0, 0.0]),
        column_axis=column,
        pixel_mm=(pixel_mm, pixel_mm),
        extents_mm=slice_extents_mm(offsets),
    )


STACKS = {
    "tilted": stack([4.0] * 6, 18.5),
    "tilted the other way": stack([4.0] * 6, -22.0),
    "uneven": stack([2.5] * 4 + [5.0] * 4, 0.0),
    "older head": stack([4.002] * 5 + [1.0812] + [6.999] * 4, 18.5, pixel_mm=0.4882812),
    "one short step": stack([5.0, 5.0, 0.6, 5.0], 7.0),
}


def test_the_regular_grid_of_a_regular_stack_is_its_own() -> None:
    grid = Grid.regular((4, 5, 6), spacing_mm=(2.0, 0.5, 0.5))
    assert regular_grid(grid) is grid


@pytest.mark.parametrize("name", STACKS)
def test_the_regular_grid_is_regular_and_holds_every_voxel(name: str) -> None:
    grid = STACKS[name]
    regular = regular_grid(grid)
    assert regular.is_regular
    corners = np.array([[s, r, c] for s in range(grid.shape[0]) for r in (0, 23) for c in (0, 23)])
    index = regular.to_index(grid.to_world(corners))
    assert (index > -0.5).all()
    assert (index < np.array(regular.shape) - 0.5).all()


@pytest.mark.parametrize("name", STACKS)
def test_labels_come_back_voxel_for_voxel(name: str) -> None:
    grid = STACKS[name]
    labels = np.random.default_rng(1).integers(0, 5, grid.shape).astype(np.uint8)
    regular = regular_grid(grid)
    assert np.array_equal(labels_from(labels_to(labels, grid, regular), regular, grid), labels)


@settings(max_examples=50, deadline=None)
@given(
    steps=st.lists(st.floats(0.3, 8.0), min_size=2, max_size=8),
    tilt=st.floats(-30, 30),
    pixel=st.floats(0.2, 1.5),
)
def test_labels_come_back_from_any_stack(steps: list[float], tilt: float, pixel: float) -> None:
    grid = stack(steps, tilt, pixel_mm=pixel, size=6)
    labels = np.random.default_rng(2).integers(0, 9, grid.shape).astype(np.uint8)
    regular = regular_grid(grid)
    assert np.array_equal(labels_from(labels_to(labels, grid, regular), regular, grid), labels)


@pytest.mark.parametrize("name", STACKS)
def test_labels_lie_within_half_a_voxel_of_where_they_were(name: str) -> None:
    grid = STACKS[name]
    labels = np.zeros(grid.shape, dtype=np.uint8)
    labels[2, 10, 12] = 1
    regular = regular_grid(grid)
    found = np.argwhere(labels_to(labels, grid, regular))
    nearest = found[np.abs(regular.offsets_mm[found[:, 0]] - grid.offsets_mm[2]).argmin()]
    apart = regular.to_world(nearest) - grid.to_world([[2, 10, 12]])
    assert abs(float((apart @ grid.row_axis).item())) <= grid.pixel_mm[1] / 2 + 1e-9
    assert abs(float((apart @ grid.column_axis).item())) <= grid.pixel_mm[0] / 2 + 1e-9


@pytest.mark.parametrize("name", STACKS)
def test_a_linear_field_survives_resampling(name: str) -> None:
    grid = STACKS[name]
    index = np.stack(np.indices(grid.shape), axis=-1).reshape(-1, 3)
    slope = np.array([3.0, -2.0, 5.0])
    field = (grid.to_world(index) @ slope).reshape(grid.shape)
    regular = regular_grid(grid)
    shown = resample_to(Volume(field.astype(np.float32), grid), regular).hu
    wanted = regular.to_world(np.stack(np.indices(regular.shape), axis=-1).reshape(-1, 3)) @ slope
    wanted = wanted.reshape(regular.shape)
    flat = Volume(np.full(grid.shape, 1000, np.float32), grid)
    inside = np.isclose(resample_to(flat, regular).hu, 1000.0)  # no air from beyond the slices
    inside[[0, -1]] = False
    assert inside.mean() > 0.2
    assert np.allclose(shown[inside], wanted[inside], atol=1e-2)


def test_resampling_agrees_with_scipy_on_a_regular_stack() -> None:
    rng = np.random.default_rng(3)
    grid = Grid.regular((6, 9, 8), spacing_mm=(2.0, 0.7, 0.5), origin_mm=(1.0, 2.0, 3.0))
    volume = Volume(rng.normal(0, 100, grid.shape).astype(np.float32), grid)
    target = Grid.regular((9, 11, 10), spacing_mm=(1.1, 0.45, 0.3), origin_mm=(1.2, 2.3, 3.4))
    index = grid.to_index(target.to_world(np.stack(np.indices(target.shape), -1).reshape(-1, 3)))
    wanted = map_coordinates(volume.hu, index.T, order=1, cval=OUTSIDE_HU).reshape(target.shape)
    assert np.allclose(resample_to(volume, target).hu, wanted, atol=1e-3)


def test_a_grid_with_other_axes_is_refused() -> None:
    grid = Grid.regular((3, 4, 4), spacing_mm=(1.0, 1.0, 1.0))
    other = Grid.regular(
        (3, 4, 4), spacing_mm=(1, 1, 1), row_axis=(0, 1, 0), column_axis=(-1, 0, 0)
    )
    with pytest.raises(ValueError, match="share their axes"):
        resample_to(Volume(np.zeros(grid.shape, np.float32), grid), other)
