"""Masks between the source slices and the file that viewers read."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from iac_cli.dicom.nifti import read_mask, write_nifti
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Mask
from iac_cli.report.masks import check_mask_values, on_regular_grid, on_stack
from tests.report.made_case import SHAPE, stack

STACKS = {
    "straight": stack(),
    "tilted": stack(tilt=True),
    "uneven": stack(uneven=True),
    "tilted and uneven": stack(tilt=True, uneven=True),
}


def speckled(grid: Grid, seed: int = 3) -> Mask:
    """Random voxels: every shift by a single voxel would show."""
    return Mask(np.random.default_rng(seed).random(grid.shape) < 0.3, grid)


@pytest.mark.parametrize("name", STACKS)
def test_there_and_back_through_a_file_is_the_same_mask(name: str, tmp_path: Path) -> None:
    mask = speckled(STACKS[name])
    regular = on_regular_grid(mask)
    assert regular.grid.is_regular
    write_nifti(tmp_path / "mask.nii.gz", regular.voxels, regular.grid)
    back = on_stack(read_mask(tmp_path / "mask.nii.gz"), mask.grid)
    assert np.array_equal(back.voxels, mask.voxels)


@pytest.mark.parametrize("name", STACKS)
def test_the_stack_itself_is_matched_by_index(name: str, tmp_path: Path) -> None:
    mask = speckled(STACKS[name])
    write_nifti(tmp_path / "mask_native.nii.gz", mask.voxels, mask.grid)
    back = on_stack(read_mask(tmp_path / "mask_native.nii.gz"), mask.grid)
    assert np.array_equal(back.voxels, mask.voxels)


@pytest.mark.parametrize("name", STACKS)
def test_simpleitk_finds_every_voxel_in_its_physical_place(name: str, tmp_path: Path) -> None:
    import SimpleITK

    grid = STACKS[name]
    mask = speckled(grid)
    regular = on_regular_grid(mask)
    write_nifti(tmp_path / "mask.nii.gz", regular.voxels, regular.grid)
    image = SimpleITK.ReadImage(tmp_path / "mask.nii.gz")
    rng = np.random.default_rng(1)
    picked = np.stack([rng.integers(0, n, 200) for n in grid.shape], axis=1)
    for index, point in zip(picked, grid.to_world(picked), strict=True):
        found = image.TransformPhysicalPointToIndex(point.tolist())  # ITK's world is LPS
        assert image.GetPixel(found) == mask.voxels[tuple(index)]


@pytest.mark.parametrize("codes", ["LPS", "RAS", "LIP", "PSR"])
def test_another_axis_order_is_the_same_mask(codes: str, tmp_path: Path) -> None:
    mask = speckled(stack(tilt=True, uneven=True))
    regular = on_regular_grid(mask)
    write_nifti(tmp_path / "mask.nii.gz", regular.voxels, regular.grid)
    image = nibabel.load(tmp_path / "mask.nii.gz")
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(codes)
    )
    nibabel.save(image.as_reoriented(turn), tmp_path / "turned.nii.gz")
    back = on_stack(read_mask(tmp_path / "turned.nii.gz"), mask.grid)
    assert np.array_equal(back.voxels, mask.voxels)


def test_a_mask_on_a_finer_rotated_grid_takes_the_nearest_voxel() -> None:
    grid = stack()
    centre = grid.to_world([[6.0, 30.0, 32.0]])[0]
    angle = np.radians(30.0)
    row = np.array([np.cos(angle), np.sin(angle), 0.0])
    column = np.array([-np.sin(angle), np.cos(angle), 0.0])
    fine = Grid.regular(
        (80, 120, 120),
        spacing_mm=(0.4, 0.4, 0.4),
        origin_mm=centre - 24 * row - 24 * column - 16 * np.array([0, 0, 1.0]),
        row_axis=row,
        column_axis=column,
    )
    ball = np.linalg.norm(fine.to_world(np.argwhere(np.ones(fine.shape))) - centre, axis=1) < 8.0
    back = on_stack(Mask(ball.reshape(fine.shape), fine), grid)
    distance = np.linalg.norm(grid.to_world(np.argwhere(np.ones(SHAPE))) - centre, axis=1)
    wrong = back.voxels.ravel() != (distance < 8.0)
    assert np.abs(distance[wrong] - 8.0).max(initial=0) < 0.4 * np.sqrt(3) / 2 + 1e-6
    assert back.voxels.sum() * 2.5 * 0.72 == pytest.approx(4 / 3 * np.pi * 512, rel=0.05)


def test_a_mask_that_lies_elsewhere_is_refused() -> None:
    grid = stack()
    far = Grid.regular((4, 4, 4), spacing_mm=(1, 1, 1), origin_mm=(900.0, 0.0, 0.0))
    with pytest.raises(IacError, match="elsewhere") as refused:
        on_stack(Mask(np.ones((4, 4, 4), bool), far), grid)
    assert refused.value.word is Word.MASK_MISMATCH


def test_an_empty_mask_is_empty_wherever_it_lies() -> None:
    far = Grid.regular((4, 4, 4), spacing_mm=(1, 1, 1), origin_mm=(900.0, 0.0, 0.0))
    assert not on_stack(Mask(np.zeros((4, 4, 4), bool), far), stack()).voxels.any()


def test_a_sheared_mask_of_another_stack_is_looked_up_in_its_place() -> None:
    grid = stack(tilt=True)
    part = Grid(
        shape=(6, *SHAPE[1:]),
        positions_mm=grid.positions_mm[3:9],
        row_axis=grid.row_axis,
        column_axis=grid.column_axis,
        pixel_mm=grid.pixel_mm,
        extents_mm=grid.extents_mm[3:9],
    )
    mask = speckled(part)
    back = on_stack(mask, grid)
    assert np.array_equal(back.voxels[3:9], mask.voxels)
    assert not back.voxels[:3].any()
    assert not back.voxels[9:].any()


def test_a_part_of_a_tilted_uneven_stack_cannot_be_placed(tmp_path: Path) -> None:
    grid = stack(tilt=True, uneven=True)
    write_nifti(tmp_path / "native.nii.gz", speckled(grid).voxels, grid)
    whole = nibabel.load(tmp_path / "native.nii.gz")
    nibabel.save(whole.slicer[:, :, 2:9], tmp_path / "part.nii.gz")
    with pytest.raises(IacError) as caught:
        on_stack(read_mask(tmp_path / "part.nii.gz"), grid)
    assert caught.value.word is Word.MASK_MISMATCH


@pytest.mark.parametrize(
    "values",
    [np.array([-1000, 0, 40]), np.array([0.0, 0.3, 1.0]), np.arange(400), np.array([-1, 0, 1])],
)
def test_a_scan_or_a_probability_is_no_mask(values: np.ndarray) -> None:
    with pytest.raises(IacError) as caught:
        check_mask_values(values)
    assert caught.value.word is Word.MASK_MISMATCH


@pytest.mark.parametrize(
    "values", [np.array([0.0, 1.0, np.nan]), np.array([0, 5, 255]), np.zeros(3, bool), np.zeros(0)]
)
def test_labels_are_a_mask(values: np.ndarray) -> None:
    check_mask_values(values)
