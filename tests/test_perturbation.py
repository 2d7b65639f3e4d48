"""A changed tag changes the result in the way that its meaning demands, or it is refused.

Each case changes one tag of a small sound series, in all of its slices or in one, and says what
must follow: an arithmetic change of the HU or of the geometry, a fact of the series, a finding, or
a refusal. A tag that were ignored in silence would fail its case.
"""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.testing import assert_allclose
from pydicom import Dataset

from iac_cli.dicom.read import read_series
from iac_cli.dicom.reading import Reading
from iac_cli.errors import IacError, Word
from tests.fuzz.seeds import ORIGIN_MM, PIXEL_MM, SHAPE, STEP_MM, head_hu, slice_dataset

Change = Callable[[Dataset], None]
Claim = Callable[[Reading, Reading], None]


def setting(**tags: object) -> Change:
    """A change that sets tags by keyword; None removes one."""

    def change(ds: Dataset) -> None:
        for keyword, value in tags.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)

    return change


def moved(dx: float, dy: float, dz: float) -> Change:
    """A change that moves a slice by mm, LPS."""

    def change(ds: Dataset) -> None:
        x, y, z = (float(v) for v in ds.ImagePositionPatient)
        ds.ImagePositionPatient = [x + dx, y + dy, z + dz]

    return change


def read(folder: Path, change: Change | None = None, *, only: int | None = None) -> Reading:
    """Write the sound series, changed in all slices or in one, and read it."""
    folder.mkdir()
    hu = head_hu()
    for k in range(SHAPE[0]):
        ds = slice_dataset(hu[k], k, series=1)
        if change is not None and only in (None, k):
            change(ds)
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    return read_series(folder)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return read(tmp_path_factory.mktemp("sound") / "series")


def test_the_sound_series_is_read_as_it_was_made(sound: Reading) -> None:
    assert_allclose(sound.volume.hu, head_hu().clip(-1024))
    grid = sound.volume.grid
    assert grid.pixel_mm == (PIXEL_MM, PIXEL_MM)
    assert_allclose(grid.positions_mm[0], ORIGIN_MM)
    assert_allclose(grid.offsets_mm, ORIGIN_MM[2] + STEP_MM * np.arange(SHAPE[0]))
    assert_allclose(grid.extents_mm, STEP_MM)


def words(reading: Reading) -> set[Word]:
    return {finding.word for finding in reading.findings}


def hu_becomes(slope: float, offset: float, *, only: int | None = None) -> Claim:
    def claim(before: Reading, after: Reading) -> None:
        expected = np.array(before.volume.hu)
        chosen = slice(None) if only is None else slice(only, only + 1)
        expected[chosen] = expected[chosen] * slope + offset
        inside = head_hu() > -900  # air may be clipped
        assert_allclose(after.volume.hu[inside], expected[inside], rtol=1e-5, atol=1e-4)

    return claim


def pixels_become(row_mm: float, column_mm: float) -> Claim:
    def claim(before: Reading, after: Reading) -> None:
        assert after.volume.grid.pixel_mm == (row_mm, column_mm)
        assert_allclose(
            after.volume.grid.voxel_mm3,
            before.volume.grid.voxel_mm3 * row_mm * column_mm / PIXEL_MM**2,
        )

    return claim


def positions_move(dx: float, dy: float, dz: float, *, only: int | None = None) -> Claim:
    def claim(before: Reading, after: Reading) -> None:
        expected = np.array(before.volume.grid.positions_mm)
        expected[slice(None) if only is None else only] += (dx, dy, dz)
        assert_allclose(after.volume.grid.positions_mm, expected)

    return claim


def extents_become(*extents_mm: float) -> Claim:
    def claim(_: Reading, after: Reading) -> None:
        assert_allclose(after.volume.grid.extents_mm, extents_mm)

    return claim


def axes_become(row: tuple[float, ...], column: tuple[float, ...]) -> Claim:
    def claim(_: Reading, after: Reading) -> None:
        assert_allclose(after.volume.grid.row_axis, row, atol=1e-6)
        assert_allclose(after.volume.grid.column_axis, column, atol=1e-6)

    return claim


def finds(word: Word) -> Claim:
    def claim(before: Reading, after: Reading) -> None:
        assert word not in words(before)
        assert word in words(after)

    return claim


def fact(name: str, value: object) -> Claim:
    def claim(before: Reading, after: Reading) -> None:
        assert getattr(before.series, name) != value
        assert getattr(after.series, name) == value

    return claim


def both(*claims: Claim) -> Claim:
    def claim(before: Reading, after: Reading) -> None:
        for one in claims:
            one(before, after)

    return claim


C, S = float(np.cos(np.radians(10))), float(np.sin(np.radians(10)))

CHANGES: dict[str, tuple[Change, int | None, Claim]] = {
    "slope": (setting(RescaleSlope=0.9), None, hu_becomes(0.9, -2.4)),
    "intercept": (setting(RescaleIntercept=-14), None, hu_becomes(1, 10)),
    "intercept of one slice": (setting(RescaleIntercept=-14), 3, hu_becomes(1, 10, only=3)),
    "rescale varies": (setting(RescaleIntercept=-14), 3, finds(Word.RESCALE_VARIES)),
    "row spacing": (setting(PixelSpacing=[6, 4]), None, pixels_become(6, 4)),
    "column spacing": (setting(PixelSpacing=[4, 3]), None, pixels_become(4, 3)),
    "position": (moved(5, -3, 2), None, positions_move(5, -3, 2)),
    "position of one slice along the normal": (
        moved(0, 0, 1),
        3,
        both(
            positions_move(0, 0, 1, only=3),
            extents_become(5, 5, 5.5, 5, 4.5, 5, 5, 5),
            finds(Word.VARIABLE_SPACING),
        ),
    ),
    "first slice lower": (
        moved(0, 0, -1),
        0,
        both(extents_become(6, 5.5, 5, 5, 5, 5, 5, 5), finds(Word.VARIABLE_SPACING)),
    ),
    "orientation": (
        setting(ImageOrientationPatient=[C, S, 0, -S, C, 0]),
        None,
        axes_become((C, S, 0), (-S, C, 0)),
    ),
    "tilt": (
        lambda ds: setattr(
            ds,
            "ImageOrientationPatient",
            [1, 0, 0, 0, C, -S],
        ),
        None,
        both(axes_become((1, 0, 0), (0, C, -S)), finds(Word.GANTRY_TILT)),
    ),
    "thickness": (setting(SliceThickness=20), None, finds(Word.THICKNESS_DISAGREES)),
    "thickness as a fact": (setting(SliceThickness=20), None, fact("thickness_mm", 20)),
    "tilt tag": (setting(GantryDetectorTilt=15), None, finds(Word.TILT_TAG_DISAGREES)),
    "tube voltage": (setting(KVP=100), None, fact("kvp", 100)),
    "kernel": (setting(ConvolutionKernel="BONE"), None, fact("kernel", "BONE")),
    "maker": (setting(Manufacturer="OTHER"), None, fact("manufacturer", "OTHER")),
    "model": (setting(ManufacturerModelName="X9"), None, fact("scanner_model", "X9")),
    "sex": (setting(PatientSex="M"), None, fact("sex", "M")),
    "age": (setting(PatientAge="080Y"), None, fact("age_years", 80)),
    "instance order": (
        lambda ds: setattr(ds, "InstanceNumber", int(ds.InstanceNumber) * 7 % 11),
        None,
        finds(Word.INSTANCE_ORDER_DISAGREES),
    ),
}
"""What is changed, in which slice (None: all), and what must follow."""


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_tag_changes_the_result_as_it_must(
    name: str, sound: Reading, tmp_path: Path
) -> None:
    change, only, claim = CHANGES[name]
    claim(sound, read(tmp_path / "series", change, only=only))


REFUSALS: dict[str, tuple[Change, int | None, set[Word]]] = {
    "slope that puts air at -2000 HU": (setting(RescaleSlope=2), None, {Word.NOT_HOUNSFIELD}),
    "slope of one slice": (setting(RescaleSlope=2), 3, {Word.NOT_HOUNSFIELD}),
    "intercept of one slice by 60 HU": (setting(RescaleIntercept=36), 3, {Word.NOT_HOUNSFIELD}),
    "pixel size of one slice": (setting(PixelSpacing=[6, 4]), 3, {Word.MIXED_GEOMETRY}),
    "one slice far in its plane": (moved(30, 0, 0), 3, {Word.MIXED_GEOMETRY}),
    "zero spacing": (setting(PixelSpacing=[0, 4]), None, {Word.GEOMETRY_MISSING}),
    "no spacing": (setting(PixelSpacing=None), None, {Word.GEOMETRY_MISSING}),
    "no positions": (setting(ImagePositionPatient=None), None, {Word.GEOMETRY_MISSING}),
    "no orientation": (setting(ImageOrientationPatient=None), None, {Word.GEOMETRY_MISSING}),
    "orientation not orthogonal": (
        setting(ImageOrientationPatient=[1, 0, 0, 0.6, 0.8, 0]),
        None,
        {Word.GEOMETRY_MISSING, Word.MIXED_GEOMETRY},
    ),
    "all at one position": (
        setting(ImagePositionPatient=[0, 0, 0]),
        None,
        {Word.GEOMETRY_MISSING, Word.CONFLICTING_SLICES},
    ),
    "two slices at one position": (
        moved(0, 0, STEP_MM),
        3,
        {Word.CONFLICTING_SLICES},
    ),
    "frame of reference of one slice": (
        setting(FrameOfReferenceUID="1.2.3.4"),
        3,
        {Word.MIXED_GEOMETRY},
    ),
    "no slope": (setting(RescaleSlope=None), None, {Word.NOT_HOUNSFIELD}),
    "no intercept": (setting(RescaleIntercept=None), None, {Word.NOT_HOUNSFIELD}),
    "zero slope": (setting(RescaleSlope=0), None, {Word.NOT_HOUNSFIELD, Word.EMPTY_VOLUME}),
    "absurd intercept": (setting(RescaleIntercept=30000), None, {Word.NOT_HOUNSFIELD}),
    "other unit": (setting(RescaleType="MGML"), None, {Word.NOT_HOUNSFIELD}),
    "unspecified unit": (setting(RescaleType="US"), None, {Word.NOT_HOUNSFIELD}),
    "another modality": (setting(Modality="MR"), None, {Word.NO_CT_SERIES}),
    "localizer": (
        setting(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]),
        None,
        {Word.LOCALIZER_ONLY},
    ),
    "derived": (
        setting(ImageType=["DERIVED", "SECONDARY", "MPR"]),
        None,
        {Word.DERIVED_ONLY},
    ),
    "more rows than pixels": (setting(Rows=96), None, {Word.PIXELS_TRUNCATED}),
    "colour": (
        setting(SamplesPerPixel=3),
        None,
        {Word.NOT_HOUNSFIELD, Word.PIXELS_TRUNCATED, Word.PIXELS_UNDECODABLE, Word.NO_CT_SERIES},
    ),
    "inverted": (
        setting(PhotometricInterpretation="MONOCHROME1"),
        None,
        {Word.NOT_HOUNSFIELD, Word.PIXELS_UNDECODABLE},
    ),
}
"""What is changed, in which slice (None: all), and the words that may refuse it."""


@pytest.mark.parametrize("name", REFUSALS)
def test_a_contradiction_is_refused(name: str, tmp_path: Path) -> None:
    change, only, allowed = REFUSALS[name]
    with pytest.raises(IacError) as caught:
        read(tmp_path / "series", change, only=only)
    assert caught.value.word in allowed


CHANGED_OR_REFUSED: dict[str, tuple[Change, int | None]] = {
    "unsigned pixels": (setting(PixelRepresentation=0), None),
    "fewer bits": (setting(BitsStored=8, HighBit=7), None),
    "other high bit": (setting(HighBit=11), None),
    "eight bits allocated": (setting(BitsAllocated=8, BitsStored=8, HighBit=7), None),
    "fewer rows": (setting(Rows=24), None),
    "fewer columns": (setting(Columns=24), None),
    "padding that is tissue": (setting(PixelPaddingValue=59), None),
    "padding that is bone": (setting(PixelPaddingValue=int(head_hu().max()) + 24), None),
    "orientation of one slice": (setting(ImageOrientationPatient=[C, S, 0, -S, C, 0]), 3),
    "orientation reversed": (setting(ImageOrientationPatient=[1, 0, 0, 0, -1, 0]), None),
    "one slice out of this world": (setting(ImagePositionPatient=[1e9, 1e9, 1e9]), 3),
    "one slice missing its position": (setting(ImagePositionPatient=None), 3),
    "sagittal": (setting(ImageOrientationPatient=[0, 1, 0, 0, 0, -1]), None),
}
"""Where both a changed result and a refusal are right."""


def same(one: Reading, two: Reading) -> bool:
    """Whether two readings hold the same voxels in the same places, without a new finding."""
    a, b = one.volume.grid, two.volume.grid
    return (
        a.shape == b.shape
        and np.array_equal(one.volume.hu, two.volume.hu)
        and np.allclose(a.positions_mm, b.positions_mm)
        and np.allclose(a.row_axis, b.row_axis)
        and np.allclose(a.column_axis, b.column_axis)
        and words(one) == words(two)
    )


@pytest.mark.parametrize("name", CHANGED_OR_REFUSED)
def test_nothing_is_ignored_in_silence(name: str, sound: Reading, tmp_path: Path) -> None:
    change, only = CHANGED_OR_REFUSED[name]
    try:
        after = read(tmp_path / "series", change, only=only)
    except IacError:
        return
    assert not same(sound, after)


def nifti(path: Path, affine: np.ndarray, **header: object) -> Path:
    """The head as a NIfTI file with one affine and some header fields set."""
    image = nib.Nifti1Image(head_hu().transpose(2, 1, 0), affine)
    image.header.set_xyzt_units(str(header.pop("unit", "mm")))
    for name, value in header.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def ras(*, pixel_mm: float = PIXEL_MM, step_mm: float = STEP_MM) -> np.ndarray:
    affine = np.diag([-pixel_mm, -pixel_mm, step_mm, 1.0])
    affine[:3, 3] = [-ORIGIN_MM[0], -ORIGIN_MM[1], ORIGIN_MM[2]]
    return affine


@pytest.mark.parametrize(
    ("affine", "pixel_mm", "step_mm"),
    [(ras(), 4, 5), (ras(pixel_mm=3), 3, 5), (ras(step_mm=2.5), 4, 2.5)],
)
def test_nifti_voxel_size_is_the_affines(
    affine: np.ndarray, pixel_mm: float, step_mm: float, tmp_path: Path
) -> None:
    grid = read_series(nifti(tmp_path / "ct.nii.gz", affine)).volume.grid
    assert_allclose(grid.pixel_mm, pixel_mm)
    assert_allclose(np.diff(grid.offsets_mm), step_mm, rtol=1e-5)


def test_nifti_units_other_than_mm_change_the_size_or_are_refused(tmp_path: Path) -> None:
    for unit, factor in (("micron", 1e-3), ("meter", 1e3)):
        path = nifti(tmp_path / f"{unit}.nii.gz", ras(), unit=unit)
        try:
            grid = read_series(path).volume.grid
        except IacError as error:
            assert error.word in {Word.TOO_THICK, Word.GEOMETRY_MISSING}
        else:
            assert_allclose(grid.pixel_mm, PIXEL_MM * factor)


def test_nifti_whose_two_affines_disagree_is_told(tmp_path: Path) -> None:
    path = tmp_path / "ct.nii.gz"
    image = nib.Nifti1Image(head_hu().transpose(2, 1, 0), ras())
    image.set_sform(ras(), 1)
    image.set_qform(ras(step_mm=9), 1)
    nib.save(image, path)
    assert Word.AFFINES_DISAGREE in words(read_series(path))


def test_nifti_slope_and_intercept_count(tmp_path: Path) -> None:
    plain = read_series(nifti(tmp_path / "plain.nii.gz", ras()))
    image = nib.Nifti1Image(head_hu().transpose(2, 1, 0), ras())
    image.header.set_slope_inter(0.9, 10)
    image.header.set_data_offset(352)
    image.header.set_xyzt_units("mm")
    image.header["vox_offset"] = 352
    path = tmp_path / "scaled.nii.gz"
    with path.with_suffix("").open("wb") as stream:  # raw integers with the slope beside them
        image.header.write_to(stream)
        stream.write(head_hu().transpose(2, 1, 0).tobytes(order="F"))
    scaled = read_series(path.with_suffix(""))
    inside = np.asarray(plain.volume.hu) > -400
    assert_allclose(
        scaled.volume.hu[inside], plain.volume.hu[inside] * 0.9 + 10, rtol=1e-5, atol=1e-4
    )
