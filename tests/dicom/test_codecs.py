"""Every transfer syntax against the uncompressed twin of the same image."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from iac_cli.dicom.header import SliceHeader
from iac_cli.dicom.pixels import PixelSource, Seen, SliceError, pixel_findings, read_hu
from iac_cli.dicom.read import inspect_source, read_series
from iac_cli.dicom.scan import Scan, scan
from iac_cli.dicom.second import second_opinion
from iac_cli.errors import IacError, Word

LOSSLESS = (
    "CTImage.dcm",
    "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm",
    "CTImage.dcm_BigEndianExplicitTransferSyntax_1.2.840.10008.1.2.2.dcm",
    "CTImage.dcm_DeflatedExplicitVRLittleEndianTransferSyntax_1.2.840.10008.1.2.1.99.dcm",
    "CTImage.dcm_RLELosslessTransferSyntax_1.2.840.10008.1.2.5.dcm",
    "CTImage.dcm_JPEGProcess14TransferSyntax_1.2.840.10008.1.2.4.57.dcm",
    "CTImage.dcm_JPEGProcess14SV1TransferSyntax_1.2.840.10008.1.2.4.70.dcm",
    "CTImage.dcm_JPEGLSLosslessTransferSyntax_1.2.840.10008.1.2.4.80.dcm",
    "CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm",
)
UNCOMPRESSED = "CTImage.dcm_LittleEndianImplicitTransferSyntax_1.2.840.10008.1.2.dcm"

LOSSY = {
    "CTImage.dcm_JPEGProcess1TransferSyntax_1.2.840.10008.1.2.4.50.dcm": 40.0,
    "CTImage.dcm_JPEGProcess2_4TransferSyntax_1.2.840.10008.1.2.4.51.dcm": 5.0,
    "CTImage.dcm_JPEGLSLossyTransferSyntax_1.2.840.10008.1.2.4.81.dcm": 3.0,
    "CTImage.dcm_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": 3.0,
}
"""Mean absolute difference, HU, that the compression may have cost."""

RETIRED = {
    "CTImage.dcm_JPEGProcess6_8TransferSyntax_1.2.840.10008.1.2.4.53.dcm": "Process 6 and 8",
    "CTImage.dcm_JPEGProcess10_12TransferSyntax_1.2.840.10008.1.2.4.55.dcm": "Process 10 and 12",
}

FRAMES = (
    "CT0012.fragmented_no_bot_jpeg_lossless.57.dcm",
    "CT0012.fragmented_no_bot_jpeg_lossless.70.dcm",
    "CT0012.fragmented_no_bot_jpeg_ls.80.dcm",
    "CT0012.not_fragmented_bot_rle.dcm",
    "CT0012.not_fragmented_no_bot_rle.dcm",
)


@pytest.fixture(scope="module")
def codecs(data_dir: Path) -> Scan:
    return scan(data_dir / "codecs")


def header_of(codecs: Scan, name: str) -> SliceHeader:
    return next(h for h in codecs.headers if h.name == name)


def read(codecs: Scan, header: SliceHeader) -> tuple[NDArray[np.float32], Seen]:
    out = np.empty((header.coding.rows, header.coding.columns), dtype=np.float32)
    return out, read_hu(header, PixelSource(codecs.store), out)


def raw_twin(path: Path) -> NDArray[np.float32]:
    """The uncompressed image by hand: the last 512 x 512 x 2 bytes, intercept -1024, air below."""
    stored = np.frombuffer(path.read_bytes()[-512 * 512 * 2 :], dtype="<i2").reshape(512, 512)
    return np.maximum(stored.astype(np.float32) - 1024, -1024)


@pytest.mark.parametrize("name", LOSSLESS)
def test_a_lossless_syntax_equals_the_uncompressed_image(
    name: str, codecs: Scan, data_dir: Path
) -> None:
    hu, seen = read(codecs, header_of(codecs, name))
    assert np.array_equal(hu, raw_twin(data_dir / "codecs" / UNCOMPRESSED))
    assert not seen.sign_corrected


@pytest.mark.parametrize("name", LOSSY)
def test_a_lossy_syntax_is_read_and_near_the_original(
    name: str, codecs: Scan, data_dir: Path
) -> None:
    hu, _ = read(codecs, header_of(codecs, name))
    twin = raw_twin(data_dir / "codecs" / UNCOMPRESSED)
    assert np.abs(hu - twin).mean() < LOSSY[name]


@pytest.mark.parametrize("name", RETIRED)
def test_a_retired_syntax_is_refused_by_its_name(name: str, codecs: Scan) -> None:
    with pytest.raises(SliceError) as caught:
        read(codecs, header_of(codecs, name))
    assert caught.value.word == Word.TRANSFER_SYNTAX_RETIRED
    assert RETIRED[name] in caught.value.what


def series_of(path: Path, folder: Path, *, number: int = 2) -> Path:
    """Five slices that hold the image of one file, each by one HU brighter than the one below."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(5):
        ds = pydicom.dcmread(path)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.ImagePositionPatient, ds.SliceThickness = [-100, -100, 2.5 * k], 2.5
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.SeriesNumber, ds.SeriesInstanceUID = number, f"1.2.3.{number}"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.{k}"
        ds.SeriesDescription = "HEAD"
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024 + k
        ds.save_as(folder / f"series{number}_{k}")
    return folder


def test_12_bit_jpeg_is_decoded_without_a_word(
    codecs: Scan, capfd: pytest.CaptureFixture[str]
) -> None:
    name = next(name for name in LOSSY if name.endswith(".4.51.dcm"))
    header = header_of(codecs, name)
    assert header.coding.bits_stored == 12
    read(codecs, header)
    assert capfd.readouterr() == ("", "")


def test_the_second_reader_is_not_asked_about_12_bit_jpeg(data_dir: Path, tmp_path: Path) -> None:
    name = next(name for name in LOSSY if name.endswith(".4.51.dcm"))
    source = series_of(data_dir / "codecs" / name, tmp_path / "in")
    opinion = second_opinion(source, read_series(source))
    assert not opinion.accepted
    assert opinion.finding is None
    assert opinion.why == "not asked: it does not read 12-bit JPEG"


@pytest.mark.parametrize("name", RETIRED)
def test_inspect_names_a_retired_syntax_as_the_reason(
    name: str, data_dir: Path, tmp_path: Path
) -> None:
    source = series_of(data_dir / "codecs" / name, tmp_path / "in")
    inspection = inspect_source(source)
    (entry,) = inspection.series
    assert not entry.used
    assert entry.reason.startswith("transfer_syntax_retired: ")
    assert RETIRED[name] in entry.reason
    with pytest.raises(IacError) as caught:
        read_series(source)
    for error in (inspection.failure, caught.value):
        assert error is not None
        assert error.word == Word.TRANSFER_SYNTAX_RETIRED
        assert RETIRED[name] in error.what
        assert "uncompressed" in error.way_out


def test_a_series_that_can_be_read_is_used_beside_a_retired_one(
    data_dir: Path, tmp_path: Path
) -> None:
    series_of(data_dir / "codecs" / next(iter(RETIRED)), tmp_path, number=9)
    series_of(data_dir / "codecs" / UNCOMPRESSED, tmp_path, number=3)
    assert read_series(tmp_path).series.series_uid == "1.2.3.3"
    used = {entry.series_uid: entry.used for entry in inspect_source(tmp_path).series}
    assert used == {"1.2.3.3": True, "1.2.3.9": False}


def test_a_slice_in_a_retired_syntax_costs_nothing_where_a_copy_can_be_read(
    data_dir: Path, tmp_path: Path
) -> None:
    plain = series_of(data_dir / "codecs" / UNCOMPRESSED, tmp_path / "plain")
    retired = series_of(data_dir / "codecs" / next(iter(RETIRED)), tmp_path / "retired")
    shutil.copy(retired / "series2_1", plain / "series2_1_copy")
    assert read_series(plain).volume.grid.shape[0] == 5
    shutil.copy(retired / "series2_1", plain / "series2_1")
    (entry,) = inspect_source(plain).series
    assert entry.reason.startswith("transfer_syntax_retired: ")


@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize("name", FRAMES)
def test_frames_equal_those_of_the_uncompressed_object(
    name: str, frame: int, codecs: Scan, data_dir: Path
) -> None:
    header = header_of(codecs, name)
    plain = replace(header.coding, slope=1.0, intercept=0.0, rescale_type=None)
    hu, _ = read(codecs, replace(header, frame=frame, coding=plain))
    raw = (data_dir / "codecs" / "CT0012.explicit_little_endian.dcm").read_bytes()
    stored = np.frombuffer(raw[-2 * 512 * 512 * 2 :], dtype="<u2").reshape(2, 512, 512)
    assert np.array_equal(hu, stored[frame])


def test_the_sign_of_a_jpeg_2000_stream_wins_over_the_header(codecs: Scan) -> None:
    import SimpleITK

    header = header_of(codecs, "J2K_pixelrep_mismatch.dcm")
    hu, seen = read(codecs, header)
    assert seen.sign_corrected
    assert {f.word for f in pixel_findings([seen], [header])} >= {Word.PIXEL_SIGN_CORRECTED}
    # air lies near -1000 HU; read without the correction it would lie thousands above
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(header.key)))[0].astype(np.float32)
    outside = image == image.min()
    assert hu[outside].max() == -1024
    assert -1010 < np.median(hu[(hu > -1024) & (hu < -500)]) < -900


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT2_J2KR"])
def test_other_jpeg_2000_images_agree_with_simpleitk(name: str, codecs: Scan) -> None:
    import SimpleITK

    header = header_of(codecs, name)
    hu, _ = read(codecs, header)
    image = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(header.key)))[0]
    assert np.array_equal(hu, np.maximum(image, -1024).astype(np.float32))


@pytest.mark.parametrize("name", [*LOSSLESS[2:], *FRAMES])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_refused(
    name: str, share: float, data_dir: Path, tmp_path: Path
) -> None:
    raw = (data_dir / "codecs" / name).read_bytes()
    (tmp_path / "cut").write_bytes(raw[: int(len(raw) * share)])
    found = scan(tmp_path)
    if not found.headers:
        assert found.damaged
        return
    header = found.headers[0]
    if header.n_frames > 1:
        plain = replace(header.coding, slope=1.0, intercept=0.0, rescale_type=None)
        header = replace(header, frame=1, coding=plain)
    with pytest.raises(SliceError) as caught:
        read(found, header)
    assert caught.value.word in {Word.PIXELS_TRUNCATED, Word.PIXELS_UNDECODABLE}
