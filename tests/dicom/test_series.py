"""Grouping, the rules, and the choice between series."""

import shutil
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from iac_cli.dicom.inspection import lines_of
from iac_cli.dicom.read import inspect_source, read_series
from iac_cli.dicom.reading import ReadSettings
from iac_cli.dicom.rules import DEFAULT_RULES, kernel_class, load_rules
from iac_cli.errors import IacError, Word
from tests import make


def uid(number: int) -> str:
    return f"{make.ROOT_UID}.200.{number}"


def chosen(folder: Path, settings: ReadSettings | None = None) -> str | None:
    return read_series(folder, settings).series.series_uid


def refusal(folder: Path, settings: ReadSettings | None = None) -> Word:
    with pytest.raises(IacError) as caught:
        read_series(folder, settings)
    return caught.value.word


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("STANDARD", "soft"),
        ("STD+", "soft"),
        ("SOFT", "soft"),
        ("BONEPLUS", "sharp"),
        ("DETAIL", "sharp"),
        ("H31s", "soft"),
        ("H60s", "sharp"),
        ("J40s\\3", "soft"),
        ("Hr40f", "soft"),
        ("Hr68h", "sharp"),
        ("UB", "soft"),
        ("YA", "sharp"),
        ("FC21", "soft"),
        ("FC68", "soft"),
        ("FC30", "sharp"),
        ("FC81", "sharp"),
        ("12345", "unknown"),
        (None, "unknown"),
    ],
)
def test_kernels_of_four_vendors(kernel: str | None, expected: str) -> None:
    assert kernel_class(kernel, load_rules()) == expected


def test_the_study_of_the_skull_replica(data_dir: Path) -> None:
    inspection = inspect_source(data_dir / "phantom_philips")
    reasons = {e.series_number: (e.used, e.reason) for e in inspection.series}
    assert len(reasons) == 5
    assert reasons[202][0]
    assert [n for n, (used, _) in reasons.items() if used] == [202]
    assert "localizer" in reasons[100][1]
    assert "thinner" in reasons[201][1]
    assert "soft kernel" in reasons[203][1]
    assert "Secondary Capture" in reasons[401][1]
    text = "\n".join(lines_of(inspection))
    assert text.count("USED") == 1
    assert "PLASTIC" not in text  # the patient's id
    assert "TRAUMA" not in text  # the study's description


PREFERENCES = {
    "soft before sharp": ({"ConvolutionKernel": "BONE"}, {"ConvolutionKernel": "SOFT"}),
    "soft before unknown": ({"ConvolutionKernel": "Q9"}, {"ConvolutionKernel": "SOFT"}),
    "lossless before lossy": (
        {"LossyImageCompression": "01", "ImageType": ["DERIVED", "PRIMARY", "AXIAL"]},
        {},
    ),
    "latest repeat": ({"SeriesTime": "101112"}, {"SeriesTime": "101500"}),
    "original before derived": ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL"]}, {}),
    "native before contrast": ({"ContrastBolusAgent": "IOMERON"}, {}),
}


@pytest.mark.parametrize("name", PREFERENCES)
@pytest.mark.parametrize("swap", [False, True])
def test_the_better_series_is_chosen_whatever_its_number(
    name: str, swap: bool, tmp_path: Path
) -> None:
    worse, better = PREFERENCES[name]
    numbers = (2, 1) if swap else (1, 2)
    make.save(make.slices(number=numbers[0], **worse), tmp_path / "worse")
    make.save(make.slices(number=numbers[1], **better), tmp_path / "better")
    assert chosen(tmp_path) == uid(numbers[1])


@pytest.mark.parametrize(
    ("steps", "best"),
    [((5.0, 1.0), 1), ((5.0, 2.5), 1), ((1.0, 0.6), 0), ((0.5, 5.0), 0), ((0.8, 0.5), 0)],
)
def test_thinner_before_thicker_down_to_a_limit(
    steps: tuple[float, float], best: int, tmp_path: Path
) -> None:
    for i, step in enumerate(steps):
        positions = make.positions_along([k * step for k in range(8)])
        slices = make.slices(positions=positions, number=i + 1, SliceThickness=step)
        make.save(slices, tmp_path / str(i))
    assert chosen(tmp_path) == uid(best + 1)


def test_equal_series_are_ambiguous_until_one_is_named(tmp_path: Path) -> None:
    make.save(make.slices(), tmp_path / "a")
    again = make.slices()
    for ds in again:
        ds.SeriesInstanceUID = uid(9)
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.9"
    make.save(again, tmp_path / "b")
    assert refusal(tmp_path) == Word.AMBIGUOUS_SERIES
    assert chosen(tmp_path, ReadSettings(series=uid(9))) == uid(9)
    assert refusal(tmp_path, ReadSettings(series="1.2.3")) == Word.SERIES_NOT_FOUND


def test_naming_a_derived_series_uses_it_but_never_a_contrast_series(tmp_path: Path) -> None:
    derived = make.slices(number=1, ImageType=["DERIVED", "SECONDARY", "MPR"])
    make.save(derived, tmp_path / "a")
    make.save(make.slices(number=2, ContrastBolusAgent="IOMERON"), tmp_path / "b")
    assert chosen(tmp_path, ReadSettings(series=uid(1))) == uid(1)
    assert refusal(tmp_path, ReadSettings(series=uid(2))) == Word.CONTRAST_SUSPECTED


def test_an_image_with_writing_in_it_is_used_only_when_named(tmp_path: Path) -> None:
    make.save(make.slices(number=1, BurnedInAnnotation="YES"), tmp_path)
    assert refusal(tmp_path) == Word.DERIVED_ONLY
    assert chosen(tmp_path, ReadSettings(series=uid(1))) == uid(1)


def as_localizer(ds: Dataset) -> None:
    ds.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.77"


@pytest.mark.parametrize("tagged", [False, True])
def test_a_localizer_inside_the_series_is_dropped(tagged: bool, tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path)
    stray = make.slices()[:1]
    make.changed(stray, as_localizer)
    if tagged:
        stray[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    make.save(stray, folder, prefix="stray")
    reading = read_series(folder)
    assert reading.volume.grid.shape[0] == 8
    assert Word.LOCALIZER_DROPPED in {f.word for f in reading.findings}


def test_a_reformat_under_the_same_uid_is_another_stack(tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path)
    positions = make.positions_along([float(k) for k in range(8)], direction=(0, 1, 0))
    coronal = make.slices(positions=positions, orientation=(1, 0, 0, 0, 0, -1))
    for ds in coronal:
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ds.SOPInstanceUID}.7"
    make.save(coronal, folder, prefix="coronal")
    reading = read_series(folder)
    assert reading.volume.grid.normal[2] == pytest.approx(1.0)
    assert Word.OTHER_SERIES_IGNORED in {f.word for f in reading.findings}


@pytest.mark.parametrize(
    ("tag", "values"),
    [("AcquisitionNumber", (1, 2)), ("KVP", (120, 80)), ("ConvolutionKernel", ("SOFT", "BONE"))],
)
def test_repeats_of_positions_under_one_uid_are_split(
    tag: str, values: tuple[object, object], tmp_path: Path
) -> None:
    for i, value in enumerate(values):
        slices = make.slices(make.phantom_hu(seed=i), **{tag: value})
        for ds in slices:
            ds.SOPInstanceUID = f"{ds.SOPInstanceUID}.{i + 1}"
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        make.save(slices, tmp_path / str(i))
    parts = {e.part for e in inspect_source(tmp_path).series}
    assert len(parts) == 2
    assert read_series(tmp_path).volume.grid.shape[0] == 8


def test_an_acquisition_number_a_slice_is_one_series(tmp_path: Path) -> None:
    slices = make.slices()
    for k, ds in enumerate(slices):
        ds.AcquisitionNumber = k + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", *(["ADD"] if k < 4 else [])]
    assert read_series(make.save(slices, tmp_path)).volume.grid.shape[0] == 8


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"Modality": "MR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4"}, Word.NO_CT_SERIES),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Word.LOCALIZER_ONLY),
        ({"SOPClassUID": SecondaryCaptureImageStorage}, Word.DERIVED_ONLY),
        ({"ImageType": ["DERIVED", "SECONDARY", "MPR"]}, Word.DERIVED_ONLY),
    ],
)
def test_what_is_no_axial_ct_is_refused(
    change: dict[str, object], word: Word, tmp_path: Path
) -> None:
    assert refusal(make.save(make.slices(**change), tmp_path)) == word


def test_two_slices_are_too_few(tmp_path: Path) -> None:
    assert refusal(make.save(make.slices()[:2], tmp_path)) == Word.TOO_FEW_SLICES


# The rules file.


def rules_file(tmp_path: Path, text: str) -> ReadSettings:
    path = tmp_path / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return ReadSettings(rules=path)


def test_a_users_rules_replace_the_built_in_ones(tmp_path: Path) -> None:
    make.save(make.slices(number=1, ConvolutionKernel="BONE"), tmp_path / "in" / "a")
    make.save(make.slices(number=2, ConvolutionKernel="SOFT"), tmp_path / "in" / "b")
    text = DEFAULT_RULES.read_text(encoding="utf-8")
    turned = text.replace('["soft", "unknown", "sharp"]', '["sharp", "unknown", "soft"]')
    assert turned != text
    assert chosen(tmp_path / "in") == uid(2)
    assert chosen(tmp_path / "in", rules_file(tmp_path, turned)) == uid(1)


GOOD = '[[rule]]\nname = "r"\nfact = "modality"\nword = "no_ct_series"\n'


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("nonsense", Word.BAD_SETTING),
        ('speed = "fast"', Word.UNKNOWN_SETTING),
        (GOOD + 'one_off = ["CT"]', Word.UNKNOWN_SETTING),
        (GOOD + 'one_of = "CT"', Word.BAD_SETTING),
        (GOOD + 'at_most = "7"', Word.BAD_SETTING),
        (GOOD + 'matches = "("', Word.BAD_SETTING),
        (GOOD.replace("no_ct_series", "no_such_word"), Word.BAD_SETTING),
        (GOOD.replace("no_ct_series", "gantry_tilt"), Word.BAD_SETTING),
        (GOOD.replace("modality", "colour"), Word.BAD_SETTING),
        ('[[rank]]\nname = "r"\nfact = "when"\norder = "newest"', Word.BAD_SETTING),
        ("[kernels]\nsoft = 3", Word.BAD_SETTING),
        ("rule = 3", Word.BAD_SETTING),
    ],
)
def test_a_rules_file_with_a_mistake_is_refused(text: str, word: Word, tmp_path: Path) -> None:
    folder = make.save(make.slices(), tmp_path / "in")
    assert refusal(folder, rules_file(tmp_path, text)) == word


def test_a_near_name_is_suggested(tmp_path: Path) -> None:
    with pytest.raises(IacError, match="one_of"):
        read_series(tmp_path, rules_file(tmp_path, GOOD + 'one_off = ["CT"]'))


def test_a_missing_rules_file_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path, ReadSettings(rules=tmp_path / "absent")) == Word.INPUT_NOT_FOUND


def test_a_real_head_between_junk_and_other_series(data_dir: Path, tmp_path: Path) -> None:
    for i, path in enumerate(sorted((data_dir / "head_ge_tilted").iterdir())):
        shutil.copy(path, tmp_path / f"{i}.txt")
    shutil.copy(data_dir / "phantom_philips" / "S2010" / "DIRFILE", tmp_path)
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.4" + bytes(5000))
    reading = read_series(tmp_path)
    assert reading.volume.grid.shape == (28, 512, 512)
    assert {f.word for f in reading.findings} >= {Word.NOT_DICOM_IGNORED, Word.GANTRY_TILT}
