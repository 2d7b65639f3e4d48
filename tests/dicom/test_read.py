"""From a folder to a Reading: the same head, however it was stored, gives the same arrays."""

import errno
import os
import shutil
from pathlib import Path
from typing import BinaryIO

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from iac_cli.dicom.read import inspect_source, read_series
from iac_cli.dicom.reading import Reading, ReadSettings
from iac_cli.dicom.scan import FolderStore
from iac_cli.errors import IacError, Severity, Word
from tests import make

STEP_MM = 2.5


def words(reading: Reading) -> set[Word]:
    return {f.word for f in reading.findings}


def said(reading: Reading, word: Word) -> str:
    return " ".join(f.what for f in reading.findings if f.word == word)


def refused(folder: Path, settings: ReadSettings | None = None) -> IacError:
    with pytest.raises(IacError) as caught:
        read_series(folder, settings)
    return caught.value


def assert_same(one: Reading, two: Reading) -> None:
    assert np.array_equal(one.volume.hu, two.volume.hu)
    a, b = one.volume.grid, two.volume.grid
    assert np.allclose(a.positions_mm, b.positions_mm, atol=1e-5)
    assert np.allclose(a.extents_mm, b.extents_mm)
    assert np.allclose(a.row_axis, b.row_axis)
    assert np.allclose(a.column_axis, b.column_axis)
    assert a.pixel_mm == b.pixel_mm
    assert one.pixel_sha256 == two.pixel_sha256


@pytest.fixture
def plain(tmp_path: Path) -> Reading:
    return read_series(make.save(make.slices(), tmp_path / "plain"))


def test_a_plain_series_is_read_as_it_was_made(plain: Reading) -> None:
    assert np.array_equal(plain.volume.hu, make.phantom_hu())
    grid = plain.volume.grid
    assert np.allclose(grid.positions_mm, make.positions_along(STEP_MM * np.arange(8)))
    assert np.allclose(grid.extents_mm, STEP_MM)
    assert grid.is_regular
    assert words(plain) == set()
    assert plain.series.sop_instance_uids == tuple(f"{make.ROOT_UID}.1.{k + 1}" for k in range(8))
    assert (plain.series.sex, plain.series.age_years, plain.series.kvp) == ("F", 71.0, 120.0)
    assert plain.identity.patient_id == "ID77"
    assert "ID77" not in repr(plain)
    assert "SECRET" not in repr(plain)


def test_order_on_disk_and_instance_numbers_do_not_matter(plain: Reading, tmp_path: Path) -> None:
    slices = make.slices()
    for ds, number in zip(slices, [3, 1, 7, 2, 8, 5, 6, 4], strict=True):
        ds.InstanceNumber = number
    order = np.random.default_rng(0).permutation(8)
    shuffled = read_series(make.save([slices[i] for i in order], tmp_path / "in"))
    assert_same(shuffled, plain)
    assert words(shuffled) == {Word.INSTANCE_ORDER_DISAGREES}


def test_copies_are_dropped(plain: Reading, tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    shutil.copytree(folder, folder / "again")
    renamed = make.slices()[2]  # the same image under another UID
    renamed.SOPInstanceUID = renamed.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    make.save([renamed], folder, prefix="other")
    copied = read_series(folder)
    assert_same(copied, plain)
    assert "9 copies" in said(copied, Word.DUPLICATES_DROPPED)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_transcoding_changes_nothing(syntax: str, plain: Reading, tmp_path: Path) -> None:
    slices = make.slices()
    for ds in slices:
        ds.compress(syntax, generate_instance_uid=False)
    assert_same(read_series(make.save(slices, tmp_path / "in")), plain)


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_a_flip_in_memory_with_its_geometry_changes_nothing(
    rows: bool, columns: bool, swap: bool, tmp_path: Path
) -> None:
    pixel_mm = (1.25, 0.5)
    plain = read_series(make.save(make.slices(pixel_mm=pixel_mm), tmp_path / "plain"))
    slices = make.flipped(make.slices(pixel_mm=pixel_mm), rows=rows, columns=columns)
    if swap:
        slices = make.transposed(slices)
    assert_same(read_series(make.save(slices, tmp_path / "in")), plain)


def test_a_zip_of_the_folder_gives_the_same(plain: Reading, tmp_path: Path) -> None:
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "plain")
    assert_same(read_series(Path(packed)), plain)


@pytest.mark.parametrize("angle_deg", [18.5, -22.0])
def test_tilt_of_either_sign_is_exact(angle_deg: float, tmp_path: Path) -> None:
    positions = make.positions_along(4.0 * np.arange(8))  # the table moves along z
    slices = make.slices(
        positions=positions, orientation=make.tilted(angle_deg), GantryDetectorTilt=angle_deg
    )
    reading = read_series(make.save(slices, tmp_path / "in"))
    grid = reading.volume.grid
    assert np.allclose(grid.positions_mm, positions)
    assert abs(grid.tilt_deg) == pytest.approx(abs(angle_deg), abs=1e-4)
    assert np.allclose(grid.extents_mm, 4.0 * np.cos(np.radians(angle_deg)))
    assert Word.GANTRY_TILT in words(reading)
    assert Word.TILT_TAG_DISAGREES not in words(reading)


def test_a_tilt_tag_that_lies_is_told(tmp_path: Path) -> None:
    slices = make.slices(orientation=make.tilted(12.0), GantryDetectorTilt=0)
    assert Word.TILT_TAG_DISAGREES in words(read_series(make.save(slices, tmp_path / "in")))


def test_uneven_spacing_keeps_every_slice_in_its_place(tmp_path: Path) -> None:
    offsets = np.concatenate([np.arange(4) * 2.5, 7.5 + 5.0 * np.arange(1, 5)])
    slices = make.slices(positions=make.positions_along(offsets))
    for ds in slices[4:]:
        ds.SliceThickness = 5.0
    reading = read_series(make.save(slices, tmp_path / "in"))
    assert np.allclose(reading.volume.grid.extents_mm, [2.5, 2.5, 2.5, 3.75, 5, 5, 5, 5])
    assert Word.VARIABLE_SPACING in words(reading)
    assert reading.gaps_mm == ()


def test_slope_and_intercept_of_each_slice(plain: Reading, tmp_path: Path) -> None:
    slices = make.slices()
    for k, ds in enumerate(slices):
        slope, intercept = 0.5 * (1 + k % 3), -1024 + 100 * k
        ds.RescaleSlope, ds.RescaleIntercept = slope, intercept
        stored = (make.phantom_hu()[k] - intercept) / slope
        ds.PixelData = np.round(stored).astype("<i2").tobytes()
    reading = read_series(make.save(slices, tmp_path / "in"))
    assert np.abs(reading.volume.hu - plain.volume.hu).max() <= 0.75  # rounding of half a slope
    assert Word.RESCALE_VARIES in words(reading)


def test_fractional_slopes_are_applied_in_float(tmp_path: Path) -> None:
    slices = make.slices(RescaleSlope=0.1, RescaleIntercept=-1024.5)
    stored = [np.frombuffer(ds.PixelData, "<i2").reshape(40, 48) for ds in slices]
    with pytest.raises(IacError):  # 0.1 of the range is no longer air, brain and bone
        read_series(make.save(slices, tmp_path / "in"))
    slices = make.slices(RescaleSlope=1.5, RescaleIntercept=-1024.5)
    reading = read_series(make.save(slices, tmp_path / "other"))
    wanted = np.maximum(np.stack(stored) * 1.5 - 1024.5, -1024)
    assert np.allclose(reading.volume.hu, wanted)


def test_padding_becomes_air(tmp_path: Path) -> None:
    hu = make.phantom_hu().astype(np.int16)
    slices = make.slices(hu, PixelPaddingValue=-2000)
    for ds in slices:
        stored = np.frombuffer(ds.PixelData, "<i2").reshape(40, 48).copy()
        stored[:3] = -2000
        stored[3, :5] = 30000
        ds.PixelData = stored.tobytes()
    slices[0].PixelPaddingRangeLimit = slices[0].PixelPaddingValue
    reading = read_series(make.save(slices, tmp_path / "in"))
    assert (reading.volume.hu[:, :3] == -1024).all()
    assert (reading.volume.hu[:, 3, :5] == 30000 - 1024).all()
    changed = make.slices(hu, PixelPaddingValue=30000)
    for ds, old in zip(changed, slices, strict=True):
        ds.PixelData = old.PixelData
    reading = read_series(make.save(changed, tmp_path / "high"))
    assert (reading.volume.hu[:, 3, :5] == -1024).all()
    assert Word.PADDING_MASKED in words(reading)


def test_a_padding_value_of_tissue_is_told_and_left(plain: Reading, tmp_path: Path) -> None:
    reading = read_series(make.save(make.slices(PixelPaddingValue=1064), tmp_path / "in"))
    assert np.array_equal(reading.volume.hu, plain.volume.hu)
    assert words(reading) == {Word.PADDING_IGNORED}


def test_a_syntax_without_a_decoder_is_told(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    for path in folder.iterdir():  # MPEG-2, of the same length in bytes
        raw = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5 ")
        path.write_bytes(raw.replace(b"1.2.840.10008.1.2.5 ", b"1.2.840.10008.1.2.9\0"))
    assert refused(folder).word == Word.DECODER_MISSING


def test_a_head_without_a_tube_voltage_says_so(tmp_path: Path) -> None:
    slices = make.slices()
    make.changed(slices, _unset("KVP"))
    assert words(read_series(make.save(slices, tmp_path))) == {Word.KVP_UNKNOWN}


def cut(folder: Path, name: str, n_bytes: int = 100) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:-n_bytes])


def test_a_damaged_slice_counts_as_missing(plain: Reading, tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    cut(folder, "im003")
    reading = read_series(folder)
    assert reading.volume.grid.shape[0] == 7
    assert np.array_equal(reading.volume.hu, np.delete(plain.volume.hu, 3, axis=0))
    assert np.allclose(reading.gaps_mm, [(3 + 2 * 2.5, 3 + 4 * 2.5)])
    assert np.allclose(reading.volume.grid.extents_mm, 2.5)  # capped at SliceThickness
    assert "file 4 " in said(reading, Word.DAMAGED_SLICES_DROPPED)
    assert "file 3 and file 5" in said(reading, Word.GAPS_FOUND)


def test_a_damaged_outer_slice_is_a_gap_beyond_the_stack(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    cut(folder, "im000")
    assert np.allclose(read_series(folder).gaps_mm, [(3.0, 5.5)])


def test_a_missing_slice_is_found_and_named(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    (folder / "im005").unlink()
    reading = read_series(folder)
    assert np.allclose(reading.gaps_mm, [(3 + 4 * 2.5, 3 + 6 * 2.5)])
    assert "file 5 and file 6" in said(reading, Word.GAPS_FOUND)


def test_a_copy_replaces_a_damaged_slice(plain: Reading, tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    shutil.copy(folder / "im003", folder / "im003_again")
    cut(folder, "im003")
    assert_same(read_series(folder), plain)


def test_different_pixels_at_one_position_are_refused(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    other = make.slices()[4]
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    other.PixelData = bytes([9, 0]) + other.PixelData[2:]
    make.save([other], folder, prefix="other")
    error = refused(folder)
    assert error.word == Word.CONFLICTING_SLICES
    assert "file 5 and file 9 " in error.what


def test_one_plane_with_two_places_is_refused(tmp_path: Path) -> None:
    slices = make.slices()
    slices[4].ImagePositionPatient = [0, 0, float(slices[3].ImagePositionPatient[2])]
    assert refused(make.save(slices, tmp_path)).word == Word.CONFLICTING_SLICES


def forbid(monkeypatch: pytest.MonkeyPatch, *names: str, error: int = errno.EACCES) -> None:
    """Let the system refuse these files, as it refuses an ordinary user."""
    opened = FolderStore.open

    def refuse(store: FolderStore, key: object) -> BinaryIO:
        if Path(str(key)).name in names:
            raise OSError(error, os.strerror(error), str(key))
        return opened(store, key)

    monkeypatch.setattr(FolderStore, "open", refuse)


def test_a_file_without_permission_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make.save(make.slices(), tmp_path)
    forbid(monkeypatch, "im003")
    reading = read_series(folder)
    assert reading.volume.grid.shape[0] == 7
    assert words(reading) == {Word.FILES_FORBIDDEN, Word.GAPS_FOUND, Word.VARIABLE_SPACING}
    told = "1 file may not be read by this user; slices may be missing"
    assert said(reading, Word.FILES_FORBIDDEN) == told
    assert told in [f.what for f in inspect_source(folder).findings]


def test_a_file_on_a_broken_disk_is_no_matter_of_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make.save(make.slices(), tmp_path)
    forbid(monkeypatch, "im003", "im004", error=errno.EIO)
    reading = read_series(folder)
    assert said(reading, Word.DAMAGED_SLICES_DROPPED) == "2 files could not be opened"
    assert Word.FILES_FORBIDDEN not in words(reading)


def test_images_that_all_lack_permission_are_forbidden_and_not_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make.save(make.slices(), tmp_path)
    names = [path.name for path in folder.iterdir()]
    forbid(monkeypatch, *names)
    error = refused(folder)
    assert error.word == Word.INPUT_FORBIDDEN
    assert error.what == "nothing in the input may be read by this user: 8 files"
    (folder / "readme.txt").write_text("no scan")
    error = refused(folder)
    assert error.word == Word.INPUT_FORBIDDEN
    assert "8 files may not, by this user" in error.what


def test_nothing_that_opens_on_a_broken_disk_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make.save(make.slices(), tmp_path)
    forbid(monkeypatch, *[path.name for path in folder.iterdir()], error=errno.EIO)
    assert refused(folder).word == Word.FILE_UNREADABLE


def test_a_refusal_that_may_come_of_forbidden_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make.save(make.slices(), tmp_path)
    forbid(monkeypatch, *[f"im00{k}" for k in range(7)])
    error = refused(folder)
    assert error.word == Word.TOO_FEW_SLICES
    assert error.what.endswith("; 7 files may not be read by this user")


def test_only_damaged_files_are_refused_with_their_word(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    for path in folder.iterdir():
        cut(folder, path.name)
    assert refused(folder).word == Word.PIXELS_TRUNCATED


def _unset(keyword: str) -> make.Change:
    return lambda ds: delattr(ds, keyword)


def _set(**tags: object) -> make.Change:
    def change(ds: Dataset) -> None:
        for keyword, value in tags.items():
            setattr(ds, keyword, value)

    return change


REFUSALS = {
    "no rescale": (_unset("RescaleSlope"), None, Word.NOT_HOUNSFIELD),
    "no rescale in one slice": (_unset("RescaleIntercept"), 2, Word.NOT_HOUNSFIELD),
    "no position in one slice": (_unset("ImagePositionPatient"), 2, Word.GEOMETRY_MISSING),
    "no orientation in one slice": (_unset("ImageOrientationPatient"), 2, Word.GEOMETRY_MISSING),
    "zero orientation": (_set(ImageOrientationPatient=[0] * 6), None, Word.GEOMETRY_MISSING),
    "no spacing": (_unset("PixelSpacing"), None, Word.GEOMETRY_MISSING),
    "absurd spacing": (_set(PixelSpacing=[500, 500]), None, Word.GEOMETRY_MISSING),
    "another frame of reference": (_set(FrameOfReferenceUID="1.2.9"), 2, Word.MIXED_GEOMETRY),
    "another orientation": (
        _set(ImageOrientationPatient=list(make.tilted(8))),
        2,
        Word.MIXED_ORIENTATION,
    ),
    "coronal": (_set(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), None, Word.NOT_AXIAL),
    "contrast agent": (_set(ContrastBolusAgent="ISOVUE 300"), None, Word.CONTRAST_SUSPECTED),
    "contrast in one slice": (_set(ContrastBolusAgent="IOMERON"), 2, Word.CONTRAST_SUSPECTED),
    "angiography": (_set(SeriesDescription="CTA Head 0.6"), None, Word.CONTRAST_SUSPECTED),
    "perfusion map": (
        _set(ImageType=["ORIGINAL", "PRIMARY", "AXIAL", "RCBF"]),
        None,
        Word.NOT_HOUNSFIELD,
    ),
    "many frames": (_set(NumberOfFrames=3), None, Word.MULTIFRAME_UNSUPPORTED),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_would_not_be_true_is_refused(name: str, tmp_path: Path) -> None:
    change, only, word = REFUSALS[name]
    slices = make.slices()
    make.changed(slices, change, only=only)
    error = refused(make.save(slices, tmp_path / "in"))
    assert error.word == word
    assert "SECRET" not in error.what
    assert "ID77" not in error.what


def test_too_thick_a_step_is_refused(tmp_path: Path) -> None:
    slices = make.slices(positions=make.positions_along(8.0 * np.arange(8)), SliceThickness=8)
    assert refused(make.save(slices, tmp_path)).word == Word.TOO_THICK


@pytest.mark.parametrize("agent", ["NONE", "no", "", "W/O"])
def test_an_agent_tag_that_says_none_is_no_contrast(agent: str, tmp_path: Path) -> None:
    slices = make.slices(ContrastBolusAgent=agent, SeriesDescription="Head without contrast")
    read_series(make.save(slices, tmp_path))


@pytest.mark.parametrize(
    ("hu", "word"),
    [
        (np.full((4, 8, 8), -1000), Word.EMPTY_VOLUME),
        (np.full((4, 8, 8), 40), Word.EMPTY_VOLUME),
        (np.random.default_rng(0).integers(0, 255, (4, 8, 8)), Word.NOT_HOUNSFIELD),
    ],
)
def test_empty_volumes_and_other_units_are_refused(
    hu: NDArray[np.int_], word: Word, tmp_path: Path
) -> None:
    assert refused(make.save(make.slices(hu), tmp_path)).word == word


def test_a_volume_over_the_limit_is_refused_before_it_is_read(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path)
    assert refused(folder, ReadSettings(max_voxels=3000)).word == Word.VOLUME_TOO_LARGE


def test_two_patients_are_never_mixed(tmp_path: Path) -> None:
    make.save(make.slices(), tmp_path / "a")
    make.save(make.slices(number=2, PatientID="OTHER"), tmp_path / "b")
    assert refused(tmp_path).word == Word.MIXED_PATIENTS
    named = ReadSettings(series=f"{make.ROOT_UID}.200.2")
    assert read_series(tmp_path, named).identity.patient_id == "OTHER"


def test_placeholders_are_read_without_noise(tmp_path: Path) -> None:
    slices = make.slices()
    folder = make.save(slices, tmp_path)
    uuid = b"6ba7b810-9dad-11d1-80b4-00c04fd430c8"
    for path in folder.iterdir():  # values that pydicom would not let us write
        raw = path.read_bytes().replace(b"071Y", b"000Y")
        raw = raw.replace(b"DA\x08\x0020200102", b"DA" + bytes([len(uuid), 0]) + uuid)
        path.write_bytes(raw.replace(b"MADE", b"NONE"))
    reading = read_series(folder)  # warnings are errors here
    assert reading.series.age_years is None
    assert reading.series.manufacturer is None
    assert reading.volume.grid.shape[0] == 8


def test_hostile_text_is_harmless_in_the_facts(tmp_path: Path) -> None:
    slices = make.slices(ConvolutionKernel="\x1b[2J\x07evil", ManufacturerModelName="a\x1b]0;b")
    series = read_series(make.save(slices, tmp_path)).series
    assert series.kernel == "[2J evil"
    assert series.scanner_model == "a ]0;b"


def test_scanner_facts_become_findings(tmp_path: Path) -> None:
    slices = make.slices(
        positions=make.positions_along(5.0 * np.arange(8)),
        ConvolutionKernel="BONE",
        KVP=140,
        SliceThickness=5,
    )
    assert words(read_series(make.save(slices, tmp_path))) == {
        Word.SHARP_KERNEL,
        Word.KVP_NOT_120,
        Word.THICK_SLICES,
    }


def test_lossy_images_are_read_with_a_warning(tmp_path: Path) -> None:
    slices = make.slices(ImageType=["DERIVED", "PRIMARY", "AXIAL"], LossyImageCompression="01")
    assert words(read_series(make.save(slices, tmp_path))) == {Word.LOSSY_COMPRESSION}


def test_thickness_that_contradicts_the_positions_is_told(tmp_path: Path) -> None:
    apart = read_series(make.save(make.slices(SliceThickness=1), tmp_path / "a"))
    overlapping = read_series(make.save(make.slices(SliceThickness=5), tmp_path / "b"))
    for reading in (apart, overlapping):
        (found,) = [f for f in reading.findings if f.word == Word.THICKNESS_DISAGREES]
        assert found.severity == Severity.WARNING
        assert "2.50 mm apart in 8 of 8 slices" in found.what
        assert np.allclose(reading.volume.grid.extents_mm, STEP_MM)


def test_a_slice_of_somebody_else_in_the_series_is_refused(tmp_path: Path) -> None:
    slices = make.slices()
    slices[3].PatientID = "another"
    folder = make.save(slices, tmp_path)
    with pytest.raises(IacError) as caught:
        read_series(folder)
    assert caught.value.word == Word.MIXED_PATIENTS
    uid = str(slices[0].SeriesInstanceUID)
    with pytest.raises(IacError) as caught:
        read_series(folder, ReadSettings(series=uid))
    assert caught.value.word == Word.MIXED_PATIENTS


def test_a_progress_callback_hears_every_slice(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    read_series(make.save(make.slices(), tmp_path), on_step=lambda *step: heard.append(step))
    assert [step for step in heard if step[0] == "read"] == [("read", k + 1, 8) for k in range(8)]


# Real series, against other readers.


def test_the_tilted_head_has_the_positions_of_its_headers(data_dir: Path) -> None:
    import pydicom

    reading = read_series(data_dir / "head_ge_tilted")
    tags = [pydicom.dcmread(p) for p in (data_dir / "head_ge_tilted").iterdir()]
    tags.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    assert np.allclose(
        reading.volume.grid.positions_mm, [ds.ImagePositionPatient for ds in tags], atol=1e-6
    )
    stored = np.stack([ds.pixel_array for ds in tags])
    assert np.array_equal(reading.volume.hu, np.maximum(stored, -1024))
    assert reading.volume.grid.tilt_deg == pytest.approx(-18.5, abs=0.01)
    steps = np.diff(reading.volume.grid.offsets_mm)
    assert np.allclose(steps[:13], 4.0, atol=0.01)
    assert steps[13] == pytest.approx(1.08, abs=0.01)
    assert np.allclose(steps[14:], 7.0, atol=0.01)
    assert reading.gaps_mm == ()


def test_the_pet_ct_head_agrees_with_simpleitk(data_dir: Path) -> None:
    import SimpleITK

    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(data_dir / "head_pet_ct")))
    image = reader.Execute()
    reading = read_series(data_dir / "head_pet_ct")
    theirs = SimpleITK.GetArrayFromImage(image)
    assert np.array_equal(reading.volume.hu, np.maximum(theirs, -1024))
    grid = reading.volume.grid
    assert np.allclose(grid.positions_mm[0], image.GetOrigin())
    assert np.allclose((*grid.pixel_mm[::-1], grid.mean_step_mm), image.GetSpacing(), atol=1e-5)
    assert reading.series.kvp == 140
    assert (reading.series.sex, reading.series.age_years) == ("F", 46.0)
    assert {Word.KVP_NOT_120, Word.PADDING_MASKED, Word.THICKNESS_DISAGREES} <= words(reading)


def test_dcm2niix_agrees_on_a_series_that_it_accepts(data_dir: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    program = Path(sys.executable).parent / "dcm2niix"
    if not program.exists():
        pytest.skip("dcm2niix is not installed")
    source = data_dir / "phantom_philips" / "S2010"
    command = [str(program), "-z", "n", "-b", "n", "-f", "out", "-o", str(tmp_path), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    image = nibabel.load(tmp_path / "out.nii")
    theirs = np.asarray(image.dataobj)  # x to the left is negative, y to anterior
    reading = read_series(source)
    ours = reading.volume.hu
    right_to_left = np.sign(image.affine[0, 0]) < 0
    front_to_back = np.sign(image.affine[1, 1]) < 0
    turned = theirs.transpose(2, 1, 0)
    turned = turned[:, :: 1 if front_to_back else -1, :: 1 if right_to_left else -1]
    assert np.array_equal(ours, np.maximum(turned, -1024))
    corner = np.array(
        [
            0 if right_to_left else ours.shape[2] - 1,
            0 if front_to_back else ours.shape[1] - 1,
            0,
            1,
        ]
    )
    ras = (image.affine @ corner)[:3]
    assert np.allclose(reading.volume.grid.positions_mm[0], ras * [-1, -1, 1], atol=1e-3)


@pytest.mark.parametrize("name", ["even_3mm", "overlap_1p5mm", "uneven_2p5_5mm"])
def test_extents_of_the_arithmetic_series(name: str, data_dir: Path) -> None:
    import json

    expected = json.loads((data_dir / "agatston_phantom" / "expected.json").read_text())
    grid = read_series(data_dir / "agatston_phantom" / name).volume.grid
    assert np.allclose(grid.extents_mm, expected[name]["slice_extents_mm"], atol=1e-9)


def test_a_perfusion_map_is_refused(data_dir: Path) -> None:
    source = data_dir / "codecs" / "CT0012.explicit_little_endian.dcm"
    assert refused(source).word == Word.NOT_HOUNSFIELD
    assert inspect_source(source).failure is not None
