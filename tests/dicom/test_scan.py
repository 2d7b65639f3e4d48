"""Finding headers: any names, nesting, junk, links, permissions and zip files."""

import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from iac_cli.dicom import parse
from iac_cli.dicom.scan import scan
from iac_cli.errors import IacError, Word
from tests import make


@pytest.fixture
def series(tmp_path: Path) -> Path:
    return make.save(make.slices(), tmp_path / "in")


def test_files_of_any_name_in_nested_folders(tmp_path: Path) -> None:
    names = ["a b.dcm", "x/1.2.3.4", "x/y/ä ü 中", "x/y/.hidden", "z/no_extension"]
    for name, ds in zip(names, make.slices(), strict=False):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        ds.save_as(tmp_path / name, enforce_file_format=True)
    found = scan(tmp_path)
    assert {h.name for h in found.headers} == set(names)
    assert found.n_not_dicom == 0


def test_junk_is_counted_and_left_alone(series: Path) -> None:
    (series / "readme.txt").write_text("not a scan")
    (series / "empty").touch()
    (series / "zeros").write_bytes(bytes(4096))
    (series / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(3000))
    (series / "Thumbs.db").write_bytes(os.urandom(3000))
    found = scan(series)
    assert len(found.headers) == 8
    assert found.n_not_dicom == 5
    assert not found.damaged


def test_a_directory_file_is_no_junk_and_no_image(data_dir: Path) -> None:
    found = scan(data_dir / "phantom_philips" / "S2010")
    assert len(found.headers) == 28
    assert found.n_files == 29
    assert found.n_not_dicom == 0
    assert not found.damaged


def test_links_in_a_circle_end(series: Path) -> None:
    (series / "again").symlink_to(series, target_is_directory=True)
    (series / "self").symlink_to(series / "self")
    (series / "nowhere").symlink_to(series / "absent")
    found = scan(series)
    assert len(found.headers) == 8
    assert {one.name for one in found.unreadable} == {"self", "nowhere"}
    assert not found.forbidden


def test_pipes_and_sockets_are_not_opened(series: Path) -> None:
    os.mkfifo(series / "pipe")
    assert len(scan(series).headers) == 8


def test_a_file_without_preamble_is_read(tmp_path: Path) -> None:
    ds = make.slices()[0]
    ds.save_as(tmp_path / "full", enforce_file_format=True)
    raw = (tmp_path / "full").read_bytes()
    (tmp_path / "full").unlink()
    (tmp_path / "bare").write_bytes(raw[132:])
    (header,) = scan(tmp_path).headers
    assert header.coding.rows == ds.Rows
    assert header.coding.offset is not None
    assert raw[132:][header.coding.offset :][: len(ds.PixelData)] == ds.PixelData


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_other_encodings_give_the_same_header(syntax: str, tmp_path: Path) -> None:
    ds = make.slices()[0]
    make.save([ds], tmp_path / "plain")
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = np.frombuffer(ds.PixelData, "<i2").astype(">i2").tobytes()
        ds["PixelData"].VR = "OW"
    ds.file_meta.TransferSyntaxUID = syntax
    make.save([ds], tmp_path / "other")
    (plain,), (other,) = (scan(tmp_path / name).headers for name in ("plain", "other"))
    assert other.place == plain.place
    assert other.coding.rows == plain.coding.rows
    assert other.coding.slope == plain.coding.slope
    assert other.series_uid == plain.series_uid


def raw_of(ds: Dataset, tag: int) -> bytes | None:
    """A tag's raw bytes by pydicom."""
    if tag not in ds or not isinstance(ds.get_item(tag).value, bytes):
        return None
    return ds.get_item(tag).value


def test_the_plain_parser_agrees_with_pydicom_on_real_files(data_dir: Path) -> None:
    n = 0
    for folder in ("head_ge_tilted", "head_pet_ct", "phantom_philips/S2010", "codecs"):
        for path in sorted((data_dir / folder).iterdir()):
            found = scan(path).headers
            if not found:
                continue
            with path.open("rb") as stream:
                parsed = parse.parse(stream, path.stat().st_size, path.read_bytes()[: 1 << 15])
            assert parsed is not None
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            expected = {t: v for t in parse.WANTED if (v := raw_of(ds, t))}
            assert {t: v for t, v in parsed.tags.raw.items() if v} == expected
            n += 1
    assert n > 140


def test_a_header_longer_than_the_first_read_is_read(tmp_path: Path) -> None:
    ds = make.slices()[0]
    ds.add_new(0x00091001, "OB", bytes(3 * parse.HEAD_BYTES))
    ds.add_new(0x00090010, "LO", "MADE")
    make.save([ds], tmp_path)
    (header,) = scan(tmp_path).headers
    assert header.coding.offset is not None
    assert header.coding.offset > 3 * parse.HEAD_BYTES


@pytest.mark.parametrize("n_bytes", [140, 300, 700, 900])
def test_a_cut_header_is_damaged_not_junk(n_bytes: int, series: Path) -> None:
    path = series / "im003"
    path.write_bytes(path.read_bytes()[:n_bytes])
    found = scan(series)
    assert len(found.headers) == 7
    assert [d.word for d in found.damaged] == [Word.HEADER_TRUNCATED]
    assert found.damaged[0].name == "im003"
    assert found.damaged[0].what.startswith("file 4 ")


@pytest.mark.parametrize("name", ["series.zip", "series"])
def test_a_zip_is_read_by_content_not_by_name(name: str, series: Path, tmp_path: Path) -> None:
    archive = tmp_path / name.replace("series", "packed")
    with ZipFile(archive, "w", ZIP_DEFLATED) as package:
        for path in series.iterdir():
            package.write(path, f"study/{path.name}")
        package.writestr("study/readme.txt", "junk")
    found = scan(archive)
    assert {h.name for h in found.headers} == {f"study/im00{i}" for i in range(8)}
    assert found.n_not_dicom == 1


BAD_NAMES = ["../out", "a/../../b", "/etc/passwd", "..\\x", "C:\\x", "C:/x"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_zip_with_a_name_that_leaves_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "in.zip", "w") as package:
        package.writestr(name, "x")
    with pytest.raises(IacError) as caught:
        scan(tmp_path / "in.zip")
    assert caught.value.word == Word.ARCHIVE_DAMAGED


def test_a_zip_that_expands_absurdly_is_refused_unread(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "in.zip", "w", ZIP_DEFLATED) as package:
        package.writestr("zeros", bytes(100 << 20))
    with pytest.raises(IacError) as caught:
        scan(tmp_path / "in.zip")
    assert caught.value.word == Word.ARCHIVE_DAMAGED
    assert "expand" in caught.value.what


def test_a_damaged_member_of_a_zip_is_not_fatal(series: Path, tmp_path: Path) -> None:
    archive = tmp_path / "in.zip"
    with ZipFile(archive, "w", ZIP_DEFLATED) as package:
        for path in sorted(series.iterdir()):
            package.write(path, path.name)
        at = package.getinfo("im004").header_offset
    raw = bytearray(archive.read_bytes())
    raw[at + 100 : at + 140] = os.urandom(40)
    archive.write_bytes(raw)
    found = scan(archive)
    assert len(found.headers) == 7
    assert [one.name for one in found.unreadable] == ["im004"]
    assert not found.forbidden


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "in.zip"
    with ZipFile(archive, "w") as package:
        package.writestr("im", b"x")
    raw = bytearray(archive.read_bytes())
    raw[6] |= 1  # the flag in the member's header and in the directory
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    with pytest.raises(IacError) as caught:
        scan(archive)
    assert caught.value.word == Word.ARCHIVE_DAMAGED


def test_a_missing_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        scan(tmp_path / "absent")
    assert caught.value.word == Word.INPUT_NOT_FOUND
