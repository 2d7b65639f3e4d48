"""Bad input through the command line: its exit code, one clear line, no traceback, no leftovers.

Each case is a folder or file made here; the program runs as a process of its own.
"""

import gzip
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import pytest
from pydicom import Dataset

from iac_cli.errors import EXIT_OF, Exit, Word
from tests.command import PROGRAM, ROOT, SAMPLE, as_ordinary_user, environment, iac_seg
from tests.fuzz.seeds import IDENTITY, SHAPE, head_hu, slice_dataset

HOSTILE = {
    "PatientName": "../../../../tmp/escape^=HYPERLINK",
    "PatientID": '=HYPERLINK("http://example.org","x")',
    "Manufacturer": "\x1b[31mRED\x1b[2J<script>alert(1)</script>",
    "ManufacturerModelName": '=HYPERLINK("http://example.org","y")',
    "ConvolutionKernel": "../../tmp/escape",
    "SeriesDescription": "@SUM(1+1)",
}


def write_series(
    folder: Path, change: Callable[[Dataset], None] | None = None, *, n_slices: int = SHAPE[0]
) -> Path:
    """The small head, changed slice by slice."""
    folder.mkdir(parents=True)
    hu = head_hu()
    for k in range(n_slices):
        ds = slice_dataset(hu[k], k, series=1)
        if change is not None:
            change(ds)
        ds.save_as(folder / f"im{k}.dcm", enforce_file_format=True)
    return folder


def tags(**values: object) -> Callable[[Dataset], None]:
    """A change that sets tags by keyword."""

    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


def raw_value(keyword: str, value: bytes) -> Callable[[Path], None]:
    """A change of a written file: a DS value replaced by other bytes of the same length."""

    def change(folder: Path) -> None:
        for path in folder.iterdir():
            raw = path.read_bytes()
            assert keyword.encode() in raw
            path.write_bytes(raw.replace(keyword.encode(), value.ljust(len(keyword)), 1))

    return change


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def text_files(folder: Path) -> Path:
    folder.mkdir()
    (folder / "notes.txt").write_text("no scan here")
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    return folder


def one_nifti(folder: Path) -> Path:
    folder.mkdir()
    (folder / "head.nii.gz").write_bytes(b"")
    return folder


def localizers(folder: Path) -> Path:
    return write_series(folder, tags(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), n_slices=2)


def magnetic_resonance(folder: Path) -> Path:
    return write_series(
        folder, tags(Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4", ImageType=["ORIGINAL"])
    )


def damaged(folder: Path) -> Path:
    write_series(folder)
    for path in folder.iterdir():
        raw = path.read_bytes()
        path.write_bytes(raw[: len(raw) - 1500])
    return folder


def no_positions(folder: Path) -> Path:
    return write_series(folder, lambda ds: delattr(ds, "ImagePositionPatient"))


def spacing_nan(folder: Path) -> Path:
    write_series(folder, tags(PixelSpacing=["4.0000", "4.0000"]))
    raw_value("4.0000\\4.0000", b"NaN\\NaN")(folder)
    return folder


def spacing_zero(folder: Path) -> Path:
    return write_series(folder, tags(PixelSpacing=[0, 0]))


def one_slice(folder: Path) -> Path:
    return write_series(folder, n_slices=1)


def two_patients(folder: Path) -> Path:
    write_series(folder / "a")
    write_series(
        folder / "b",
        lambda ds: tags(PatientID="OTHER", StudyInstanceUID="1.2.3.1", SeriesInstanceUID="1.2.3.2")(
            ds
        ),
    )
    return folder


def retired_codec(folder: Path) -> Path:
    write_series(folder)
    for path in folder.iterdir():
        raw = path.read_bytes()
        plain, retired = b"1.2.840.10008.1.2.1\x00", b"1.2.840.10008.1.2.4.53\x00\x00"
        assert plain in raw
        size = raw.index(plain) - 2
        raw = raw[:size] + len(retired).to_bytes(2, "little") + retired + raw[size + 22 :]
        group = int.from_bytes(raw[140:144], "little") + len(retired) - len(plain)
        path.write_bytes(raw[:140] + group.to_bytes(4, "little") + raw[144:])
    return folder


def zip_escaping(folder: Path) -> Path:
    series = write_series(folder / "source")
    archive = folder / "in.zip"
    with ZipFile(archive, "w") as package:
        for path in series.iterdir():
            package.write(path, f"../../{path.name}")
    return archive


def zip_bomb(folder: Path) -> Path:
    folder.mkdir()
    archive = folder / "in.zip"
    with ZipFile(archive, "w", 8) as package:
        package.writestr(ZipInfo("im.dcm"), bytes(300_000_000), compress_type=8)
    return archive


def zip_cut(folder: Path) -> Path:
    series = write_series(folder / "source")
    archive = folder / "in.zip"
    with ZipFile(archive, "w") as package:
        for path in series.iterdir():
            package.write(path, path.name)
    archive.write_bytes(archive.read_bytes()[:-200])
    return archive


def not_hounsfield(folder: Path) -> Path:
    return write_series(folder, tags(RescaleType="US", RescaleIntercept=20000))


BAD_INPUTS: dict[str, tuple[Callable[[Path], Path], set[Word]]] = {
    "missing path": (lambda folder: folder / "absent", {Word.INPUT_NOT_FOUND}),
    "empty folder": (empty, {Word.NO_DICOM}),
    "no DICOM": (text_files, {Word.NO_DICOM}),
    "only localizers": (localizers, {Word.LOCALIZER_ONLY}),
    "MR": (magnetic_resonance, {Word.NO_CT_SERIES}),
    "only damaged files": (damaged, {Word.PIXELS_TRUNCATED}),
    "missing positions": (no_positions, {Word.GEOMETRY_MISSING}),
    "NaN spacing": (spacing_nan, {Word.GEOMETRY_MISSING}),
    "zero spacing": (spacing_zero, {Word.GEOMETRY_MISSING}),
    "one slice": (one_slice, {Word.TOO_FEW_SLICES}),
    "two patients": (two_patients, {Word.MIXED_PATIENTS}),
    "retired encoding": (retired_codec, {Word.TRANSFER_SYNTAX_RETIRED}),
    "zip with ..": (zip_escaping, {Word.ARCHIVE_DAMAGED}),
    "zip bomb": (zip_bomb, {Word.ARCHIVE_DAMAGED}),
    "cut zip": (zip_cut, {Word.ARCHIVE_DAMAGED}),
    "not HU": (not_hounsfield, {Word.NOT_HOUNSFIELD}),
}


def assert_clear_refusal(run: subprocess.CompletedProcess[str], allowed: set[Word]) -> str:
    """Check a refusal's code, its one line and its way out; returns the line."""
    assert "Traceback" not in run.stderr + run.stdout
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    told = [n for n, line in enumerate(lines) if line.split(":")[0] in allowed]
    assert len(told) == 1, run.stderr
    assert lines[told[0] + 1].strip().startswith("way out:"), run.stderr
    word = Word(lines[told[0]].split(":")[0])
    assert run.returncode == EXIT_OF[word], run.stderr
    for name in IDENTITY:
        for part in name.split("^"):
            assert part not in run.stderr + run.stdout
    return lines[told[0]]


def everything_in(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_gets_its_code_and_one_clear_line(name: str, tmp_path: Path) -> None:
    make, allowed = BAD_INPUTS[name]
    source = make(tmp_path / "in")
    (tmp_path / "results").mkdir()
    run = iac_seg("segment", source, "-o", tmp_path / "results" / "out")
    line = assert_clear_refusal(run, allowed)
    assert everything_in(tmp_path / "results") == set()
    assert len(line) < 400
    assert str(tmp_path) not in line or name == "missing path"


@pytest.mark.parametrize("name", ["only damaged files", "zero spacing", "one slice"])
def test_the_line_tells_a_number_and_no_name(name: str, tmp_path: Path) -> None:
    make, allowed = BAD_INPUTS[name]
    source = make(tmp_path / "SMITH_JOHN")
    line = assert_clear_refusal(
        iac_seg("segment", source, "-o", tmp_path / "out", cwd=tmp_path), allowed
    )
    assert "file 1 " in line or "series 1" in line
    assert ".dcm" not in line
    assert "SMITH" not in line


def test_the_name_behind_a_number_is_told_to_who_asks(tmp_path: Path) -> None:
    make, _ = BAD_INPUTS["only damaged files"]
    source = make(tmp_path / "in")
    command = ("segment", source, "-o", tmp_path / "out")
    plain, asked = (iac_seg(*command, *more) for more in ([], ["-v"]))
    assert "file 1: 'iac-seg inspect -v' tells its name" in plain.stderr
    (named,) = [line for line in asked.stderr.splitlines() if line.startswith("  file 1: ")]
    assert (source / named.removeprefix("  file 1: ")).is_file()


@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_the_other_readers_of_a_scan_refuse_alike(command: str, tmp_path: Path) -> None:
    source = text_files(tmp_path / "in")
    output = [] if command == "inspect" else ["-o", tmp_path / "ct.nii.gz"]
    assert_clear_refusal(iac_seg(command, source, *output), {Word.NO_DICOM})


def test_a_nifti_file_in_a_folder_is_pointed_at(tmp_path: Path) -> None:
    run = iac_seg("inspect", one_nifti(tmp_path / "in"))
    line = assert_clear_refusal(run, {Word.NO_DICOM})
    assert line.endswith("1 NIfTI file lies there")


def test_no_read_permission(tmp_path: Path) -> None:
    source = write_series(tmp_path / "in")
    source.chmod(0)
    try:
        run = iac_seg("segment", source, "-o", tmp_path / "out", before=as_ordinary_user)
    finally:
        source.chmod(0o755)
    line = assert_clear_refusal(run, {Word.INPUT_FORBIDDEN})
    assert line.endswith(": nothing in the input may be read by this user: 1 folder")


def test_no_read_permission_on_the_files(tmp_path: Path) -> None:
    source = write_series(tmp_path / "in")
    for path in source.iterdir():
        path.chmod(0)
    run = iac_seg("segment", source, "-o", tmp_path / "out", before=as_ordinary_user)
    line = assert_clear_refusal(run, {Word.INPUT_FORBIDDEN})
    assert line.endswith(f": nothing in the input may be read by this user: {SHAPE[0]} files")


def test_no_read_permission_on_one_file(tmp_path: Path) -> None:
    source = write_series(tmp_path / "in")
    (source / "im0.dcm").chmod(0)
    run = iac_seg("inspect", source, before=as_ordinary_user)
    assert run.returncode == Exit.OK, run.stderr
    assert "note files_forbidden: 1 file may not be read by this user" in run.stdout


# The rest needs an input that goes all the way: the shipped sample and the shipped networks.


@pytest.fixture(scope="module")
def sample() -> Path:
    return SAMPLE


@pytest.fixture(scope="module")
def models() -> Path:
    return ROOT / "models"


@pytest.mark.parametrize("network", ["segmenter.onnx", "locator.onnx"])
def test_a_model_with_a_flipped_byte(
    network: str, sample: Path, models: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(models, tmp_path / "models"))
    raw = bytearray((copy / network).read_bytes())
    raw[len(raw) // 2] ^= 0x01
    (copy / network).write_bytes(raw)
    run = iac_seg("segment", sample, "-o", tmp_path / "out", "--model", copy)
    line = assert_clear_refusal(run, {Word.MODEL_CHECKSUM_MISMATCH})
    assert network in line
    assert not (tmp_path / "out").exists()


def test_no_model(sample: Path, tmp_path: Path) -> None:
    run = iac_seg("segment", sample, "-o", tmp_path / "out", "--model", tmp_path / "absent")
    assert_clear_refusal(run, {Word.MODEL_NOT_FOUND})


def test_the_output_is_a_file(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    run = iac_seg("segment", sample, "-o", tmp_path / "out")
    assert_clear_refusal(run, {Word.OUTPUT_NOT_WRITABLE, Word.OUTPUT_EXISTS})
    assert run.returncode == Exit.OUTPUT
    assert (tmp_path / "out").read_text() == "mine"


def test_the_output_folder_is_read_only(sample: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    folder.chmod(0o555)
    run = iac_seg("segment", sample, "-o", folder / "out", before=as_ordinary_user)
    assert_clear_refusal(run, {Word.OUTPUT_NOT_WRITABLE})
    assert everything_in(folder) == set()


def test_the_output_is_there_already(sample: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    run = iac_seg("segment", sample, "-o", tmp_path / "out")
    assert_clear_refusal(run, {Word.OUTPUT_EXISTS})
    assert everything_in(tmp_path / "out") == {"thesis.txt"}


def test_the_output_lies_among_the_scans(tmp_path: Path) -> None:
    source = write_series(tmp_path / "in")
    run = iac_seg("segment", source, "-o", source / "out")
    assert_clear_refusal(run, {Word.OUTPUT_INSIDE_INPUT})
    assert len(everything_in(source)) == SHAPE[0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 48 KB where this user may mount one, else None's stand-in: no mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def small_files_only() -> None:
    """Let the process write no file of more than 40 KB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


def test_the_disk_is_full(sample: Path, small_disk: Path) -> None:
    limit = None if os.path.ismount(small_disk) else small_files_only  # noqa: PTH114
    run = iac_seg("segment", sample, "-o", small_disk / "out", "--save-probability", before=limit)
    assert_clear_refusal(run, {Word.DISK_FULL})
    assert everything_in(small_disk) == set()


def test_a_file_may_grow_no_further(sample: Path, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    run = iac_seg(
        "segment", sample, "-o", folder / "out", "--save-probability", before=small_files_only
    )
    assert_clear_refusal(run, {Word.DISK_FULL})
    assert everything_in(folder) == set()


def tiny_files_only() -> None:
    """Let the process write no file of more than 4 KB: less than a slice."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))


def test_no_room_for_a_simulated_scan(tmp_path: Path) -> None:
    """The library that writes slices drops the system's number of the error."""
    size = ("--size", "64x64x20", "--pixel-mm", "3.2")
    run = iac_seg("simulate", "head", "-o", tmp_path / "sim", *size, before=tiny_files_only)
    assert_clear_refusal(run, {Word.DISK_FULL})
    assert everything_in(tmp_path) == set()


def test_a_cuda_device_that_is_not_there(sample: Path, tmp_path: Path) -> None:
    run = iac_seg(
        "segment", sample, "-o", tmp_path / "out", "--device", "cuda:97", CUDA_VISIBLE_DEVICES=""
    )
    assert run.returncode == Exit.DEVICE
    assert_clear_refusal(
        run,
        {
            Word.DEVICE_UNAVAILABLE,
            Word.DEVICE_INDEX_UNKNOWN,
            Word.GPU_LIBRARIES_MISSING,
            Word.PROVIDER_FELL_BACK,
        },
    )


def test_an_option_out_of_range(sample: Path, tmp_path: Path) -> None:
    run = iac_seg("segment", sample, "-o", tmp_path / "out", "--age", "-5")
    assert run.returncode == Exit.USAGE
    assert_clear_refusal(run, {Word.BAD_OPTION})


@pytest.mark.parametrize(
    "command",
    ["segment --json", "segment in -o out --json --age foo", "score --json --nope", "nope --json"],
)
def test_wrong_options_are_one_document_too(command: str) -> None:
    run = iac_seg(*command.split())
    line = assert_clear_refusal(run, {Word.BAD_OPTION})
    document = json.loads(run.stdout)
    assert (document["status"], document["code"]) == ("failed", Word.BAD_OPTION)
    assert document["exit_code"] == run.returncode == Exit.USAGE
    assert line == f"bad_option: {document['message']}"


STOPS = [signal.SIGINT, signal.SIGTERM]
STOP_CODES = {signal.SIGINT: Exit.INTERRUPTED, signal.SIGTERM: Exit.TERMINATED}


def start(sample: Path, out: Path) -> subprocess.Popen[str]:
    """The main job, begun: Python has started, and signals are ours."""
    child = subprocess.Popen(
        [PROGRAM, "segment", str(sample), "-o", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    status, wanted = Path(f"/proc/{child.pid}/status"), 1 << (signal.SIGTERM - 1)
    while child.poll() is None:
        caught = re.search(r"^SigCgt:\s*(\w+)$", status.read_text(), re.MULTILINE)
        if caught and int(caught[1], 16) & wanted:
            break
        time.sleep(0.005)
    return child


def assert_stopped_cleanly(
    child: subprocess.Popen[str], stop: signal.Signals, folder: Path
) -> None:
    """Stopped with the signal's code, or done before it came: no result is left, or a whole one."""
    stdout, stderr = child.communicate(timeout=60)
    assert "Traceback" not in stderr + stdout
    assert child.returncode in (Exit.OK, STOP_CODES[stop]), stderr
    left = everything_in(folder)
    if child.returncode == Exit.OK or left:
        assert {Path(one).name for one in left} >= {"result.json", "mask.nii.gz", "preview.png"}
        assert not any(part.startswith(".") for one in left for part in Path(one).parts)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("after_s", [0.25, 0.6, 1.0])
def test_stopping_after_a_while(
    after_s: float, stop: signal.Signals, sample: Path, tmp_path: Path
) -> None:
    child = start(sample, tmp_path / "out")
    time.sleep(after_s)
    child.send_signal(stop)
    assert_stopped_cleanly(child, stop, tmp_path)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("stage", ["read", "locate", "infer", "measure"])
def test_stopping_in_a_stage(
    stage: str, stop: signal.Signals, sample: Path, tmp_path: Path
) -> None:
    child = start(sample, tmp_path / "out")
    assert child.stderr is not None
    for line in child.stderr:
        if line.startswith(stage):
            break
    time.sleep(0.1)
    child.send_signal(stop)
    assert_stopped_cleanly(child, stop, tmp_path)


def test_not_measurable_writes_nulls_and_its_reason(tmp_path: Path) -> None:
    """A block of water in air is no head: the numbers are null, never zero."""
    source = write_series(tmp_path / "in", lambda ds: setattr(ds, "PixelData", water(ds)))
    run = iac_seg("segment", source, "-o", tmp_path / "out")
    assert run.returncode == Exit.NOT_MEASURABLE
    assert "Traceback" not in run.stderr
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["status"] == "not_measurable"
    assert {reason["code"] for reason in result["reasons"]} & {Word.NOT_A_HEAD, Word.EMPTY_VOLUME}
    for number in ("volume_mm3", "agatston", "ica_volume_mm3", "siphon_volume_mm3", "n_lesions"):
        assert result[number] is None, number


def water(ds: Dataset) -> bytes:
    rng = np.random.default_rng(int(ds.InstanceNumber))
    stored = rng.normal(24, 5, SHAPE[1:])
    stored[:8], stored[-8:] = -976, -976
    return stored.astype("<i2").tobytes()


def test_hostile_strings_do_no_harm(tmp_path: Path) -> None:
    source = write_series(tmp_path / "in", tags(**HOSTILE))
    for command in (["inspect", source], ["segment", source, "-o", tmp_path / "results" / "out"]):
        run = iac_seg(*command, cwd=tmp_path)
        assert run.returncode in (Exit.OK, Exit.NOT_MEASURABLE), run.stderr
        assert "\x1b" not in run.stdout + run.stderr
        for value in (HOSTILE["PatientName"], HOSTILE["PatientID"]):
            assert value not in run.stdout + run.stderr
    assert not Path("/tmp/escape").exists()
    for table in (tmp_path / "results").rglob("*.csv"):
        for cell in table.read_text().replace("\n", ",").split(","):
            assert not cell.lstrip('"').startswith(("=", "@", "+")), table.name


def test_placeholders_of_pseudonymised_files_are_read_as_nothing(tmp_path: Path) -> None:
    source = write_series(
        tmp_path / "in",
        tags(PatientAge="000Y", PatientSex="O", Manufacturer=""),
    )
    for path in source.iterdir():  # a UUID where a date belongs, written raw
        raw = path.read_bytes()
        path.write_bytes(raw.replace(b"20200304", b"6f1c2d3e"))
    run = iac_seg("segment", source, "-o", tmp_path / "out")
    assert run.returncode in (Exit.OK, Exit.NOT_MEASURABLE), run.stderr
    assert "warn" not in run.stderr.lower() or "Date" not in run.stderr
    series = json.loads((tmp_path / "out" / "result.json").read_text())["series"]
    assert (series["sex"], series["age_years"], series["manufacturer"]) == (None, None, None)


@pytest.mark.parametrize("id_from", [None, "hash", "folder", "study-uid"])
def test_identity_is_in_no_output(id_from: str | None, tmp_path: Path) -> None:
    source = write_series(tmp_path / "in")
    options = [] if id_from is None else ["--id-from", id_from]
    run = iac_seg("segment", source, "-o", tmp_path / "results" / "out", "-v", *options)
    assert run.returncode in (Exit.OK, Exit.NOT_MEASURABLE), run.stderr
    written = b"".join(p.read_bytes() for p in (tmp_path / "results").rglob("*") if p.is_file())
    for name in (*IDENTITY, "20200304", "101112"):
        for part in name.split("^"):
            assert part not in run.stdout + run.stderr
            assert part.encode() not in written


def damage(source: Path) -> None:
    """Name files after the patient; cut one, blind the header of one, take one away, add one."""
    for path in sorted(source.iterdir()):
        path.rename(source / f"SMITH_JOHN_{path.stem[2:].zfill(3)}.dcm")
    cut, blind, gone, *_ = sorted(source.iterdir())[3::2]
    cut.write_bytes(cut.read_bytes()[:-1500])
    blind.write_bytes(blind.read_bytes()[:400])
    gone.unlink()
    (source / "SMITH_JOHN.txt").write_text("a letter")
    (source / "SMITH_JOHN_link").symlink_to(source / "nowhere")


def everything_written(folder: Path) -> bytes:
    """The content of all files, unpacked."""
    raw = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return b"".join(gzip.decompress(one) if one[:2] == b"\x1f\x8b" else one for one in raw)


@pytest.mark.parametrize("packed", [False, True])
def test_names_of_the_scans_files_are_in_no_output(packed: bool, tmp_path: Path) -> None:
    source = write_series(tmp_path / "SMITH_JANE")
    damage(source)
    if packed:
        (source / "SMITH_JOHN_link").unlink()
        source = Path(shutil.make_archive(str(tmp_path / "SMITH_JANE"), "zip", source))
    out = tmp_path / "results"
    runs = [
        iac_seg("segment", source, "-o", out / "out", "-v"),
        iac_seg("convert", source, "-o", out / "ct.nii.gz", "--json"),
        iac_seg("inspect", source),
        iac_seg("inspect", source, "--json", "-v"),
    ]
    assert runs[0].returncode in (Exit.OK, Exit.NOT_MEASURABLE), runs[0].stderr
    said = "".join(run.stdout for run in runs) + "".join(run.stderr for run in runs[:3])
    assert "damaged_slices_dropped" in said
    assert "gaps_found" in said
    assert "SMITH" not in said
    assert b"SMITH" not in everything_written(out)
    assert "file 4: SMITH_JOHN_" in runs[3].stderr.replace("SMITH_JOHN.txt", "")


BROKEN_FILES: dict[str, bytes | None] = {
    "absent": None,
    "a folder": None,
    "empty": b"",
    "binary": bytes(range(256)),
    "not TOML": b"= [ nonsense",
    "of unknown names": b"[surprise]\nanswer = 42\n",
    "forbidden": b"schema = 1\n",
}


def make_broken(kind: str, path: Path) -> Path:
    """A file, folder or nothing at a path that an option names."""
    content = BROKEN_FILES[kind]
    if kind == "a folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    if kind == "forbidden":
        path.chmod(0)
    return path


@pytest.mark.parametrize("kind", BROKEN_FILES)
@pytest.mark.parametrize("option", ["--rules", "--settings", "--scheme", "--model"])
def test_a_broken_file_of_the_users_own(
    option: str, kind: str, sample: Path, tmp_path: Path
) -> None:
    own = make_broken(kind, tmp_path / "own.toml")
    (tmp_path / "results").mkdir()
    run = iac_seg(
        *("segment", sample, "-o", tmp_path / "results" / "out", option, own),
        before=as_ordinary_user,
    )
    if (option, kind) == ("--settings", "empty"):  # nothing said: the defaults
        assert run.returncode == Exit.OK
        return
    assert run.returncode in (Exit.USAGE, Exit.NO_USABLE_INPUT, Exit.MODEL), run.stderr
    forbidden = kind == "forbidden" and option != "--model"  # which wants a folder, not a file
    assert_clear_refusal(run, {Word.INPUT_FORBIDDEN} if forbidden else set(Word))
    assert everything_in(tmp_path / "results") == set()


NO_ENTRY_INPUTS = [
    "segment closed/in -o out",
    "segment closed/in/im0.dcm -o out",
    "inspect closed/in/im0.dcm",
    "convert closed/in -o ct.nii.gz",
    "score closed/mask.nii.gz --ct in -o out",
    "score mask.nii.gz --ct closed/in -o out",
    "export-risk closed -o risk.csv",
    "export-risk closed/scores.csv -o risk.csv",
    "summarise closed -o page.html",
    "simulate implant closed/in -o out",
    "simulate head -o out --anatomy closed/head.json",
    "simulate cohort -o out --patients 1 --anatomy closed",
    "batch-score closed/in -o out",
    "batch-score --manifest closed/cases.csv -o out",
    "status closed",
    "merge closed -o out",
    "segment in -o out --settings closed/own.toml",
    "segment in -o out --scheme closed/own.toml",
    "segment in -o out --rules closed/own.toml",
    "segment in -o out --scheme closed/own",
    "segment in -o out --model closed",
    "segment in -o out --model closed/models",
    "batch-score in -o out --settings closed/own.toml",
]
NO_ENTRY_OUTPUTS = [
    "segment in -o closed/out",
    "segment in -o closed",
    "score mask.nii.gz --ct in -o closed/out",
    "convert in -o closed/ct.nii.gz",
    "export-risk scores.csv -o closed/risk.csv",
    "summarise scores.csv -o closed/page.html",
    "simulate head -o closed/sim",
    "simulate head -o closed",
    "simulate cohort -o closed/sim --patients 1",
    "simulate implant in -o closed/sim",
    "batch-score in -o closed/out",
    "batch-score in -o closed",
    "batch-score in -o out --key closed/key.csv",
]


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder to work in, with a scan `in` and a folder `closed` that may not be entered."""
    folder = tmp_path_factory.mktemp("permissions")
    write_series(folder / "in")
    write_series(folder / "closed" / "in")
    for name in ("mask.nii.gz", "closed/mask.nii.gz", "scores.csv", "closed/scores.csv"):
        (folder / name).write_bytes(b"")
    (folder / "closed").chmod(0)
    yield folder
    (folder / "closed").chmod(0o755)


@pytest.mark.parametrize("command", NO_ENTRY_INPUTS)
def test_an_input_in_a_folder_that_may_not_be_entered(command: str, closed: Path) -> None:
    run = iac_seg(*command.split(), cwd=closed, before=as_ordinary_user)
    assert_clear_refusal(run, {Word.INPUT_FORBIDDEN})
    assert "out" not in everything_in(closed)


@pytest.mark.parametrize("command", NO_ENTRY_OUTPUTS)
def test_an_output_in_a_folder_that_may_not_be_entered(command: str, closed: Path) -> None:
    run = iac_seg(*command.split(), cwd=closed, before=as_ordinary_user)
    assert_clear_refusal(run, {Word.OUTPUT_NOT_WRITABLE})
    assert "out" not in everything_in(closed)


@pytest.mark.parametrize("kind", ["absent", "empty", "binary", "a folder", "forbidden"])
def test_a_broken_mask(kind: str, sample: Path, tmp_path: Path) -> None:
    mask = make_broken(kind, tmp_path / "mask.nii.gz")
    run = iac_seg("score", mask, "--ct", sample, "-o", tmp_path / "out", before=as_ordinary_user)
    assert run.returncode in (Exit.NO_USABLE_INPUT, Exit.DAMAGED_INPUT), run.stderr
    assert_clear_refusal(run, {Word.INPUT_FORBIDDEN} if kind == "forbidden" else set(Word))
    assert not (tmp_path / "out").exists()
