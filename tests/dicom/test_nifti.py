"""NIfTI in and out: any axis order, honest refusals, files that other programs read alike."""

import gzip
from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from iac_cli.dicom.nifti import is_nifti, nifti_bytes, read_image, read_mask, write_nifti
from iac_cli.dicom.read import read_series
from iac_cli.dicom.reading import ReadSettings
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.resample import labels_from, labels_to, regular_grid
from tests import make

SPACING = (2.5, 1.25, 0.5)  # slice, row, column
LIMIT = 1 << 24


def lps_affine(angle_deg: float = 0.0) -> NDArray[np.float64]:
    """From (slice, row, column) to LPS mm, rolled about the z axis."""
    angle = np.radians(angle_deg)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, 0] = turn @ [0, 0, SPACING[0]]
    affine[:3, 1] = turn @ [0, SPACING[1], 0]
    affine[:3, 2] = turn @ [SPACING[2], 0, 0]
    affine[:3, 3] = (-20, -30, 40)
    return affine


def stored(
    hu: NDArray[np.int16],
    affine_lps: NDArray[np.float64],
    order: tuple[int, ...],
    signs: tuple[int, ...],
) -> nibabel.Nifti1Image:
    """The volume as NIfTI with its axes in an order and with some of them reversed."""
    affine = np.diag([-1.0, -1, 1, 1]) @ affine_lps
    voxels = hu
    for axis, sign in enumerate(signs):
        if sign < 0:
            voxels = np.flip(voxels, axis)
            affine[:3, 3] += affine[:3, axis] * (hu.shape[axis] - 1)
            affine[:3, axis] *= -1
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = affine[:3, list(order)], affine[:3, 3]
    return nibabel.Nifti1Image(np.ascontiguousarray(voxels.transpose(order)), turned)


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("angle_deg", [0.0, 20.0])
def test_any_axis_order_and_direction_gives_the_same_volume(
    order: tuple[int, ...], angle_deg: float, tmp_path: Path
) -> None:
    hu, affine = make.phantom_hu(), lps_affine(angle_deg)
    for signs in product((1, -1), repeat=3):
        nibabel.save(stored(hu, affine, order, signs), tmp_path / "in.nii.gz")
        reading = read_series(tmp_path / "in.nii.gz")
        assert np.array_equal(reading.volume.hu, hu)
        corners = np.array(list(product(*((0, n - 1) for n in hu.shape))))
        wanted = corners @ affine[:3, :3].T + affine[:3, 3]
        assert np.allclose(reading.volume.grid.to_world(corners), wanted, atol=1e-4)


def test_nifti_equals_the_dicom_that_it_was_made_from(tmp_path: Path) -> None:
    dicom = read_series(make.save(make.slices(pixel_mm=(1.25, 0.5)), tmp_path / "in"))
    write_nifti(tmp_path / "ct.nii.gz", dicom.volume.hu, dicom.volume.grid)
    nifti = read_series(tmp_path / "ct.nii.gz")
    assert np.array_equal(nifti.volume.hu, dicom.volume.hu)
    assert np.allclose(nifti.volume.grid.positions_mm, dicom.volume.grid.positions_mm, atol=1e-5)
    assert nifti.series.kind == "nifti"
    assert Word.NO_SCANNER_TAGS in {f.word for f in nifti.findings}


@pytest.mark.parametrize("name", ["head_healthy", "head_cadaver"])
def test_real_heads_agree_with_simpleitk(name: str, data_dir: Path) -> None:
    import SimpleITK

    image = SimpleITK.ReadImage(str(data_dir / name / "head.nii.gz"))
    reading = read_series(data_dir / name / "head.nii.gz")
    assert np.array_equal(reading.volume.hu, SimpleITK.GetArrayFromImage(image))
    assert np.allclose(reading.volume.grid.positions_mm[0], image.GetOrigin())
    last = tuple(int(n) - 1 for n in image.GetSize())
    ours = reading.volume.grid.to_world([last[::-1]])[0]
    assert np.allclose(ours, image.TransformIndexToPhysicalPoint(last), atol=1e-3)


def save(path: Path, **header: object) -> Path:
    image = stored(make.phantom_hu(), lps_affine(), (2, 1, 0), (1, 1, 1))
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


def patched(path: Path, offset: int, value: bytes) -> Path:
    """A NIfTI file with some header bytes replaced."""
    raw = bytearray(gzip.decompress(save(path).read_bytes()))
    raw[offset : offset + len(value)] = value
    path.write_bytes(gzip.compress(bytes(raw)))
    return path


def f4(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


def i2(*values: int) -> bytes:
    return np.array(values, "<i2").tobytes()


REFUSALS = {
    "zero spacing": (80, f4(0.0), Word.GEOMETRY_MISSING),
    "NaN spacing": (84, f4(np.nan), Word.GEOMETRY_MISSING),
    "infinite affine": (280, f4(np.inf), Word.GEOMETRY_MISSING),
    "flat affine": (280, f4(0, 0, 0, 0), Word.GEOMETRY_MISSING),
    "origin out of this world": (324, f4(1e30), Word.GEOMETRY_MISSING),
    "no orientation": (252, i2(0, 0), Word.GEOMETRY_MISSING),
    "voxels inside the header": (108, f4(4.0), Word.FILE_UNREADABLE),
    "two dimensions": (40, i2(2), Word.FILE_UNREADABLE),
    "absurd size": (42, i2(32000, 32000, 32000), Word.VOLUME_TOO_LARGE),
    "more voxels than bytes": (42, i2(48, 40, 80), Word.PIXELS_TRUNCATED),
    "unknown data type": (70, i2(999), Word.FILE_UNREADABLE),
    "complex numbers": (70, i2(32, 64), Word.NOT_HOUNSFIELD),
    "metres": (123, bytes([1]), Word.GEOMETRY_MISSING),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_header_that_cannot_be_trusted_is_refused(name: str, tmp_path: Path) -> None:
    offset, value, word = REFUSALS[name]
    path = patched(tmp_path / "in.nii.gz", offset, value)
    with pytest.raises(IacError) as caught:
        read_series(path)
    assert caught.value.word in {word, Word.PIXELS_TRUNCATED, Word.FILE_UNREADABLE}
    if name not in ("complex numbers", "unknown data type", "more voxels than bytes"):
        assert caught.value.word == word
    assert caught.value.what.startswith("the NIfTI file ")
    assert "in.nii" not in caught.value.what


@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_cut_file_is_refused(share: float, tmp_path: Path) -> None:
    path = save(tmp_path / "in.nii.gz")
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(IacError) as caught:
        read_series(path)
    assert caught.value.word in {Word.PIXELS_TRUNCATED, Word.FILE_UNREADABLE}


def test_values_that_are_no_hu_are_refused(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (8, 9, 10)).astype(np.uint8)
    nibabel.save(stored(grey, lps_affine(), (2, 1, 0), (1, 1, 1)), tmp_path / "in.nii")
    with pytest.raises(IacError) as caught:
        read_series(tmp_path / "in.nii")
    assert caught.value.word == Word.NOT_HOUNSFIELD


def test_two_slices_are_too_few(tmp_path: Path) -> None:
    hu = make.phantom_hu()[:2]
    nibabel.save(stored(hu, lps_affine(), (2, 1, 0), (1, 1, 1)), tmp_path / "in.nii")
    with pytest.raises(IacError) as caught:
        read_series(tmp_path / "in.nii")
    assert caught.value.word == Word.TOO_FEW_SLICES


def test_a_series_uid_cannot_name_a_nifti_file(tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        read_series(save(tmp_path / "in.nii.gz"), ReadSettings(series="1.2"))
    assert caught.value.word == Word.SERIES_NOT_FOUND


def test_a_sheared_affine_is_a_tilted_stack(tmp_path: Path) -> None:
    affine = np.diag([-1.0, -1, 1, 1]) @ lps_affine()[:, [2, 1, 0, 3]]
    affine[1, 2] = 1.0  # each slice 1 mm further to anterior
    image = nibabel.Nifti1Image(make.phantom_hu().transpose(2, 1, 0), affine)
    nibabel.save(image, tmp_path / "in.nii")
    grid = read_series(tmp_path / "in.nii").volume.grid
    assert not grid.straight
    assert np.allclose(np.diff(grid.positions_mm, axis=0), [0, -1.0, 2.5])
    assert np.allclose(grid.extents_mm, 2.5)


def grids() -> dict[str, Grid]:
    angle = np.radians(18.5)
    column = np.array([0.0, np.cos(angle), -np.sin(angle)])
    return {
        "axial": Grid.regular((5, 6, 7), spacing_mm=SPACING, origin_mm=(-3, 5, 7)),
        "oblique": Grid.regular(
            (5, 6, 7), spacing_mm=SPACING, origin_mm=(-3, 5, 7), column_axis=column
        ),
    }


@pytest.mark.parametrize("name", ["axial", "oblique"])
@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.float32])
def test_what_is_written_is_read_alike_by_simpleitk_and_nibabel(
    name: str, dtype: type, tmp_path: Path
) -> None:
    import SimpleITK

    grid = grids()[name]
    voxels = np.random.default_rng(0).integers(0, 2, grid.shape).astype(dtype)
    if dtype is np.float32:
        voxels += np.float32(0.25)
    write_nifti(tmp_path / "out.nii.gz", voxels, grid)
    image = SimpleITK.ReadImage(str(tmp_path / "out.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), voxels)
    for index in ((0, 0, 0), (4, 5, 6), (0, 5, 0)):
        theirs = image.TransformIndexToPhysicalPoint(index[::-1])
        assert np.allclose(grid.to_world([index])[0], theirs, atol=1e-5)
    loaded = nibabel.load(tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(loaded.dataobj).T, voxels)
    assert np.allclose(loaded.header.get_qform(), loaded.header.get_sform(), atol=1e-5)
    again = read_image(tmp_path / "out.nii.gz", max_voxels=LIMIT)
    assert np.array_equal(again.voxels, voxels)
    assert np.allclose(again.grid.positions_mm, grid.positions_mm, atol=1e-5)


def test_whole_hu_are_stored_as_integers() -> None:
    grid = grids()["axial"]
    whole = nibabel.Nifti1Image.from_bytes(
        gzip.decompress(nifti_bytes(np.full(grid.shape, -1000.0, np.float32), grid))
    )
    assert whole.get_data_dtype() == np.int16


def test_the_same_input_gives_the_same_bytes() -> None:
    grid = grids()["oblique"]
    voxels = np.random.default_rng(0).integers(0, 2, grid.shape)
    assert nifti_bytes(voxels, grid) == nifti_bytes(voxels.copy(), grid)


def test_the_real_head_on_its_regular_grid_is_readable_elsewhere(
    data_dir: Path, tmp_path: Path
) -> None:
    import SimpleITK

    grid = regular_grid(read_series(data_dir / "head_ge_tilted").volume.grid)
    write_nifti(tmp_path / "out.nii.gz", np.zeros(grid.shape, np.uint8), grid)
    image = SimpleITK.ReadImage(str(tmp_path / "out.nii.gz"))
    assert image.GetSize() == grid.shape[::-1]
    assert np.allclose(image.GetOrigin(), grid.positions_mm[0], atol=1e-4)


@pytest.mark.parametrize("name", ["even_3mm", "overlap_1p5mm", "uneven_2p5_5mm"])
def test_masks_are_read(name: str, data_dir: Path) -> None:
    path = data_dir / "agatston_phantom" / f"{name}_mask.nii.gz"
    mask = read_mask(path)
    assert np.array_equal(mask.voxels, np.asarray(nibabel.load(path).dataobj).T > 0)


@pytest.mark.parametrize("voxels", [np.full((4, 4, 4), 0.5), np.full((4, 4, 4), -1)])
def test_an_image_that_is_no_mask_is_refused(voxels: NDArray[np.float64], tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), np.eye(4)), tmp_path / "m.nii")
    with pytest.raises(IacError) as caught:
        read_mask(tmp_path / "m.nii")
    assert caught.value.word == Word.MASK_MISMATCH


def test_what_is_no_nifti_is_no_nifti(tmp_path: Path) -> None:
    (tmp_path / "text.nii").write_text("no image here")
    (tmp_path / "packed.gz").write_bytes(gzip.compress(b"no image" * 100))
    assert not is_nifti(tmp_path / "text.nii")
    assert not is_nifti(tmp_path / "packed.gz")
    assert not is_nifti(tmp_path)
    assert not is_nifti(tmp_path / "absent.nii")


def test_labels_of_the_real_head_survive_the_file_on_the_regular_grid(
    data_dir: Path, tmp_path: Path
) -> None:
    labels = read_image(data_dir / "head_ge_tilted_truth" / "labels.nii.gz", max_voxels=LIMIT)
    grid = read_series(data_dir / "head_ge_tilted").volume.grid
    assert labels.grid.shape == grid.shape
    regular = regular_grid(grid)
    write_nifti(tmp_path / "out.nii.gz", labels_to(labels.voxels, grid, regular), regular)
    again = read_image(tmp_path / "out.nii.gz", max_voxels=1 << 27)
    assert np.allclose(again.grid.positions_mm, regular.positions_mm, atol=1e-4)
    assert np.array_equal(labels_from(again.voxels, regular, grid), labels.voxels)
