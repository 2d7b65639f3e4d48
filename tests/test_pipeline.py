"""Whole cases on a phantom head whose lesions are known, with networks whose answers are known."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import heads
import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from make import phantom_hu, positions_along, save, slices
from numpy.testing import assert_allclose
from oracle import oracle_models
from tiny_models import place_locator

from iac_cli.dicom.case_id import hashed_id
from iac_cli.dicom.nifti import write_nifti
from iac_cli.dicom.reading import ReadSettings
from iac_cli.errors import IacError, Word
from iac_cli.geometry.lines import Artery
from iac_cli.geometry.volume import Volume
from iac_cli.infer.models import Models, load_models
from iac_cli.locate.keypoints import keypoints
from iac_cli.pipeline import CaseOptions, CaseOutput, score_mask, segment_case
from iac_cli.report.case import write_case
from iac_cli.report.result import Status
from iac_cli.settings import CaseSettings, IdFrom, RunSettings, Settings, with_flags

LESIONS = {Artery.ICA_R: [-12, -20, -12], Artery.M1_L: [22, -17, -1], Artery.BA: [0, 8, -20]}
"""LPS mm of one ball of calcium for each of three arteries."""

RADIUS_MM = 3.0


def calcified(grid=None) -> Volume:
    volume = heads.head(grid)
    for centre in LESIONS.values():
        volume = heads.with_ball(volume, centre, RADIUS_MM, 600.0)
    return volume


def as_nifti(volume: Volume, path: Path) -> Path:
    write_nifti(path, volume.hu, volume.grid)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = oracle_models(tmp_path_factory.mktemp("models"))
    return load_models(folder, RunSettings(device="cpu", threads=1))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_nifti(calcified(), tmp_path_factory.mktemp("case") / "head.nii.gz")


@pytest.fixture(scope="module")
def output(source: Path, models: Models) -> CaseOutput:
    return segment_case(source, models)


def codes(notes) -> list[str]:
    return [note.code for note in notes]


def test_a_nifti_scan_is_noted_to_have_no_scanner_tags(output: CaseOutput, tmp_path: Path) -> None:
    write_case(tmp_path / "out", output.result)
    notes = json.loads((tmp_path / "out" / "result.json").read_text())["notes"]
    assert Word.NO_SCANNER_TAGS.value in [note["code"] for note in notes]


def test_volume_is_that_of_the_balls(output: CaseOutput) -> None:
    """Every voxel of a ball is brighter than 200 HU, nothing else near an artery is."""
    expected = {
        artery: float((heads.inside(heads.world_of(calcified().grid), (3.0,) * 3, place)).sum() * 4)
        for artery, place in LESIONS.items()
    }
    scores = output.result.scores
    assert output.result.status is Status.MEASURED
    assert scores is not None
    assert_allclose(scores.volume_mm3, sum(expected.values()))
    assert scores.n_lesions == 3
    by_artery = {one.artery: one.volume_mm3 for one in scores.arteries}
    for artery in Artery:
        assert_allclose(by_artery[artery], expected.get(artery, 0.0))


def test_result_says_how_it_came_about(output: CaseOutput, models: Models) -> None:
    made = output.result.made
    assert made.model is not None
    assert made.model.sha256 == models.segmenter.card.sha256
    assert made.locator is not None
    assert made.provider is not None
    assert made.provider.name == "CPUExecutionProvider"
    assert set(made.timings) == {"read", "locate", "infer", "measure"}
    assert made.settings["threshold"] == 0.5
    assert {"iac-cli", "numpy"} <= set(made.versions)
    assert output.result.input_sha256 is not None


def test_a_lesion_that_is_unlikely_in_the_mean_is_not_drawn(tmp_path: Path) -> None:
    """At 250 HU every voxel has p = 0.73, at 600 HU nearly 1."""
    volume = heads.with_ball(heads.head(), LESIONS[Artery.ICA_R], RADIUS_MM, 600.0)
    faint = heads.with_ball(volume, LESIONS[Artery.M1_L], RADIUS_MM, 250.0)
    source = as_nifti(faint, tmp_path / "head.nii.gz")
    found = {}
    for lesion_threshold in (0.0, 0.85):
        folder = oracle_models(tmp_path / str(lesion_threshold), lesion_threshold=lesion_threshold)
        models = load_models(folder, RunSettings(device="cpu", threads=1))
        result = segment_case(source, models).result
        assert result.made.settings["lesion_threshold"] == lesion_threshold
        found[lesion_threshold] = [one.lesion.artery for one in result.scores.lesions]
        assert [one.n_lesions for one in result.scores.thresholds] == [
            len(result.scores.lesions)
        ] * 3
    assert found == {0.0: [Artery.ICA_R, Artery.M1_L], 0.85: [Artery.ICA_R]}


def test_thick_slices_are_drawn_at_a_point_of_their_own(tmp_path: Path) -> None:
    """At 250 HU every voxel has p = 0.73; the slices are 4 mm."""
    faint = heads.with_ball(heads.head(), LESIONS[Artery.M1_L], RADIUS_MM, 250.0)
    source = as_nifti(faint, tmp_path / "head.nii.gz")
    extent_mm = float(faint.grid.extents_mm[0])
    for over_mm, threshold, n in ((extent_mm - 0.1, 0.9, 0), (extent_mm, 0.5, 1)):
        thicker = [{"over_mm": over_mm, "threshold": 0.9, "lesion_threshold": 0.0}]
        folder = oracle_models(tmp_path / f"{over_mm}", thicker_slices=thicker)
        models = load_models(folder, RunSettings(device="cpu", threads=1))
        result = segment_case(source, models).result
        assert result.made.settings["threshold"] == threshold
        assert len(result.scores.lesions) == n


def test_thresholds_are_told_from_the_probability(output: CaseOutput) -> None:
    assert output.result.scores is not None
    thresholds = output.result.scores.thresholds
    assert thresholds is not None
    assert [one.threshold_hu for one in thresholds] == [110, 130, 160]


def test_unedited_mask_scores_the_same(
    output: CaseOutput, source: Path, models: Models, tmp_path: Path
) -> None:
    write_case(tmp_path / "out", output.result, output.images)
    again = score_mask(tmp_path / "out" / "mask.nii.gz", source, models.locator)
    first, second = output.result.scores, again.result.scores
    assert first is not None
    assert second is not None
    assert replace(first, thresholds=None) == second
    assert again.result.made.mask is not None
    assert again.result.made.mask.left_out_below_threshold == 0


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask_native.nii.gz"])
def test_both_masks_of_a_tilted_head_score_the_same(
    models: Models, tmp_path: Path, name: str
) -> None:
    volume = calcified_tilted()
    folder = dicom_of(volume, tmp_path / "scan")
    output = segment_case(folder, models)
    assert output.result.scores is not None
    assert output.result.scores.n_lesions == 3
    write_case(tmp_path / "out", output.result, output.images)
    again = score_mask(tmp_path / "out" / name, folder, models.locator)
    assert replace(output.result.scores, thresholds=None) == again.result.scores


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_a_mask_saved_by_another_program_scores_the_same(
    output: CaseOutput, source: Path, models: Models, tmp_path: Path, suffix: str
) -> None:
    write_case(tmp_path / "out", output.result, output.images)
    mask = SimpleITK.ReadImage(str(tmp_path / "out" / "mask.nii.gz"))
    SimpleITK.WriteImage(mask, str(tmp_path / f"mask{suffix}"))
    again = score_mask(tmp_path / f"mask{suffix}", source, models.locator)
    assert output.result.scores is not None
    assert replace(output.result.scores, thresholds=None) == again.result.scores


def test_what_is_no_mask_is_refused(source: Path, models: Models, tmp_path: Path) -> None:
    options = CaseOptions(save_probability=True)
    output = segment_case(source, models, options=options)
    write_case(tmp_path / "out", output.result, output.images)
    half = tmp_path / "half.nii.gz"
    write_nifti(half, np.full(calcified().hu.shape, 0.5, np.float32), calcified().grid)
    for given in (tmp_path / "out" / "probability_native.nii.gz", source, half):
        with pytest.raises(IacError) as caught:
            score_mask(given, source, models.locator)
        assert caught.value.word is Word.MASK_MISMATCH


def test_a_mask_of_mostly_soft_tissue_is_told_in_strong_words(
    source: Path, models: Models, tmp_path: Path
) -> None:
    volume = calcified()
    mask = (volume.hu == 600.0) | (np.abs(volume.hu - heads.BRAIN_HU) < 1.0)
    write_nifti(tmp_path / "mask.nii.gz", mask.astype(np.uint8), volume.grid)
    result = score_mask(tmp_path / "mask.nii.gz", source, models.locator).result
    (told,) = [one for one in result.warnings if one.code == "mask_voxels_left_out"]
    assert "check that it belongs to this scan" in told.message


def calcified_tilted() -> Volume:
    grid = heads.head_grid(tilt_deg=18.5)
    hu = np.array(heads.head(grid).hu)
    points = heads.world_of(grid)
    for centre in LESIONS.values():
        hu[heads.inside(points, (RADIUS_MM,) * 3, centre)] = 600.0
    return Volume(hu, grid)


def dicom_of(volume: Volume, folder: Path) -> Path:
    """The volume as a folder of DICOM slices."""
    made = slices(volume.hu.astype(np.int16), positions=volume.grid.positions_mm, pixel=1.0)
    return save(made, folder)


def test_a_mask_of_which_nothing_is_calcification_is_refused(
    source: Path, models: Models, tmp_path: Path
) -> None:
    volume = calcified()
    mask = np.zeros(volume.hu.shape, np.uint8)
    mask[20, 60:63, 80:84] = 1
    assert volume.hu[mask > 0].max() < 130
    write_nifti(tmp_path / "mask.nii.gz", mask, volume.grid)
    with pytest.raises(IacError) as caught:
        score_mask(tmp_path / "mask.nii.gz", source, models.locator)
    assert caught.value.word == Word.MASK_MISMATCH
    empty = CaseOptions(may_be_empty=True)
    nothing = score_mask(tmp_path / "mask.nii.gz", source, models.locator, options=empty)
    assert nothing.result.scores is not None
    assert nothing.result.scores.n_lesions == 0
    options = CaseOptions(keep_all_voxels=True)
    kept = score_mask(tmp_path / "mask.nii.gz", source, models.locator, options=options)
    assert kept.result.scores is not None
    assert kept.result.scores.n_lesions == 1


def test_voxels_that_do_not_count_are_left_out_and_kept_on_request(
    source: Path, models: Models, tmp_path: Path
) -> None:
    volume = calcified()
    mask = np.zeros(volume.hu.shape, np.uint8)
    mask[volume.hu == 600.0] = 1
    lonely, faint = (20, 100, 80), (20, 60, 80)
    mask[lonely] = mask[faint] = 1
    write_nifti(tmp_path / "mask.nii.gz", mask, volume.grid)
    strict = score_mask(tmp_path / "mask.nii.gz", source, models.locator)
    assert strict.result.made.mask is not None
    assert strict.result.made.mask.left_out_below_threshold == 2
    assert "mask_voxels_left_out" in codes(strict.result.warnings)
    kept = score_mask(
        tmp_path / "mask.nii.gz", source, models.locator, options=CaseOptions(keep_all_voxels=True)
    )
    assert kept.result.scores is not None
    assert strict.result.scores is not None
    assert_allclose(kept.result.scores.volume_mm3 - strict.result.scores.volume_mm3, 2 * 4.0)


def saved_mask(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """A mask (slice, row, column) on an affine from (column, row, slice) to RAS mm."""
    nib.save(nib.Nifti1Image(voxels.transpose(2, 1, 0).astype(np.uint8), affine), path)
    return path


def test_voxels_outside_the_scan_are_told(source: Path, tmp_path: Path) -> None:
    volume = calcified()
    write_nifti(tmp_path / "plain.nii.gz", (volume.hu == 600).astype(np.uint8), volume.grid)
    affine = nib.load(tmp_path / "plain.nii.gz").affine
    longer = np.concatenate([np.zeros((9, *volume.hu.shape[1:])), volume.hu == 600])
    longer[2, 100:110, 70:80] = 1  # 7 slices below the lowest
    lower = affine.copy()
    lower[:3, 3] -= 9 * affine[:3, 2]
    mask = saved_mask(tmp_path / "longer.nii.gz", longer, lower)
    result = score_mask(mask, source, None).result
    assert result.scores is not None
    assert result.scores.n_lesions == 3
    assert result.made.mask is not None
    assert result.made.mask.outside_scan == 100
    assert Word.MASK_OUTSIDE_SCAN in codes(result.warnings)
    plain = score_mask(tmp_path / "plain.nii.gz", source, None).result
    assert plain.made.mask is not None
    assert plain.made.mask.outside_scan == 0


def test_several_labels_count_only_when_they_are_named(source: Path, tmp_path: Path) -> None:
    volume = calcified()
    voxels = (volume.hu == 600).astype(np.uint8)
    lowest = int(np.flatnonzero(voxels.any(axis=(1, 2)))[0])
    voxels[lowest : lowest + 1] *= 7
    write_nifti(tmp_path / "labels.nii.gz", voxels, volume.grid)

    def volume_of(labels: tuple[int, ...] | None) -> float:
        about = CaseOptions(labels=labels)
        scores = score_mask(tmp_path / "labels.nii.gz", source, None, options=about).result.scores
        assert scores is not None
        return scores.volume_mm3

    with pytest.raises(IacError) as caught:
        volume_of(None)
    assert caught.value.word == Word.BAD_OPTION
    assert "1, 7" in caught.value.what
    with pytest.raises(IacError):
        volume_of((3,))
    assert volume_of(()) == volume_of((1, 7)) == 4.0 * (voxels > 0).sum()
    assert volume_of((7,)) == 4.0 * (voxels == 7).sum()
    assert volume_of((1,)) == 4.0 * (voxels == 1).sum()


def test_mask_without_locator_has_totals_alone(source: Path, tmp_path: Path) -> None:
    volume = calcified()
    write_nifti(tmp_path / "mask.nii.gz", (volume.hu == 600).astype(np.uint8), volume.grid)
    result = score_mask(tmp_path / "mask.nii.gz", source, None).result
    assert result.scores is not None
    assert result.scores.n_lesions == 3
    assert result.scores.ica_volume_mm3 is None
    assert "arteries_not_located" in codes(result.warnings)


def refusals(volume: Volume, models: Models, tmp_path: Path) -> tuple[CaseOutput, list[str]]:
    output = segment_case(as_nifti(volume, tmp_path / "head.nii.gz"), models)
    assert output.result.status is Status.NOT_MEASURABLE
    assert output.images is None
    return output, codes(output.result.reasons)


def test_no_head_is_a_result_without_numbers(models: Models, tmp_path: Path) -> None:
    output, reasons = refusals(heads.head(brain_hu=-1000.0), models, tmp_path)
    assert reasons == ["not_a_head"]
    document = output.result.to_json_dict()
    assert document["volume_mm3"] is None
    assert document["status"] == "not_measurable"
    write_case(tmp_path / "out", output.result, output.images)
    assert json.loads((tmp_path / "out" / "result.json").read_text())["reasons"]


def test_contrast_is_not_measured(models: Models, tmp_path: Path) -> None:
    assert "contrast_suspected" in refusals(heads.head(lumen_hu=300.0), models, tmp_path)[1]


def test_clip_is_not_measured(models: Models, tmp_path: Path) -> None:
    volume = heads.with_ball(heads.head(), [-14, -12, -20], 4.0, 3071.0)
    assert "artefact_severe" in refusals(volume, models, tmp_path)[1]


def models_without(absent: str, folder: Path) -> Models:
    return load_models(oracle_models(folder, [absent]), RunSettings(device="cpu", threads=1))


def test_siphon_outside_the_scan_is_not_measured(source: Path, tmp_path: Path) -> None:
    result = segment_case(source, models_without("ICA-L", tmp_path)).result
    assert codes(result.reasons) == ["head_not_covered"]
    assert result.to_json_dict()["volume_mm3"] is None


def test_other_artery_outside_the_scan_is_null_and_not_zero(source: Path, tmp_path: Path) -> None:
    result = segment_case(source, models_without("V4-R", tmp_path)).result
    assert result.status is Status.MEASURED
    document = result.to_json_dict()
    assert document["arteries"]["V4-R"]["covered"] is False
    assert document["arteries"]["V4-R"]["volume_mm3"] is None
    assert document["arteries"]["V4-L"]["volume_mm3"] == 0.0
    assert "artery_not_covered" in codes(result.warnings)


def test_unreadable_input_stays_a_failure(models: Models, tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        segment_case(tmp_path / "nowhere", models)
    assert caught.value.word == Word.INPUT_NOT_FOUND


def test_empty_volume_is_a_result(models: Models, tmp_path: Path) -> None:
    grid = heads.head_grid()
    air = Volume(np.full(grid.shape, -1000.0, np.float32), grid)
    assert refusals(air, models, tmp_path)[1] == ["empty_volume"]


def test_same_head_in_dicom_and_nifti_gives_the_same_numbers(
    output: CaseOutput, models: Models, tmp_path: Path
) -> None:
    folder = dicom_of(calcified(), tmp_path / "scan")
    first, second = output.result.scores, segment_case(folder, models).result.scores
    assert first is not None
    assert second is not None
    assert second.volume_mm3 == first.volume_mm3
    assert second.agatston == first.agatston
    assert second.agatston_kvp == first.agatston  # at 120 kVp both are one
    assert first.agatston_kvp is None  # NIfTI does not tell the tube voltage
    assert [one.volume_mm3 for one in second.arteries] == [one.volume_mm3 for one in first.arteries]


def test_case_ids(source: Path, models: Models) -> None:
    def case_id(id_from: IdFrom = IdFrom.HASH, name: str | None = None) -> str:
        settings = with_flags(Settings(), "case", id_from=id_from)
        return segment_case(source, models, settings, CaseOptions(case_id=name)).result.case_id

    assert case_id().startswith("case-")
    assert case_id() == case_id()
    assert case_id(name="patient 7/../x").startswith("patient_7")
    assert "/" not in case_id(name="patient 7/../x")
    with pytest.raises(IacError) as caught:
        case_id(IdFrom.PATIENT_ID)
    assert caught.value.word == Word.BAD_SETTING


def test_probability_is_kept_on_request(source: Path, models: Models) -> None:
    images = segment_case(source, models, None, CaseOptions(save_probability=True)).images
    assert images is not None
    assert images.probability is not None
    assert images.probability[images.found.mask].min() >= 0.5


def test_steps_are_told(source: Path, models: Models) -> None:
    told: list[tuple[str, int, int]] = []
    segment_case(source, models, on_step=lambda *step: told.append(step))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert [s for s in stages if s in ("read", "locate", "infer", "measure")] == [
        "read",
        "locate",
        "infer",
        "measure",
    ]


def test_series_can_be_named(models: Models, tmp_path: Path) -> None:
    folder = dicom_of(calcified(), tmp_path / "scan")
    options = CaseOptions(read=ReadSettings(series="1.2.3.4.5"))
    with pytest.raises(IacError) as caught:
        segment_case(folder, models, None, options)
    assert caught.value.word == Word.SERIES_NOT_FOUND


def conflicting_study(folder: Path, study_uid: str) -> Path:
    """A study that reading refuses: two different images at one place."""
    made = slices(StudyInstanceUID=study_uid)
    other = slices(number=1, StudyInstanceUID=study_uid)[3]
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    other.PixelData = (np.frombuffer(other.PixelData, "<i2") + 7).astype("<i2").tobytes()
    return save([*made, other], folder)


def test_a_study_too_thick_to_be_read_keeps_its_tags(models: Models, tmp_path: Path) -> None:
    many = phantom_hu((24, 40, 48))
    made = slices(many, positions=positions_along(9.0 * np.arange(24)), SliceThickness="9")
    scout = slices(number=2, SliceThickness="1", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    result = segment_case(save([*made, *scout], tmp_path / "in"), models).result
    assert codes(result.reasons) == ["too_thick"]
    assert result.series is not None
    series = result.series
    assert (series.sex, series.age_years, series.thickness_mm) == ("F", 71.0, 9.0)
    assert (series.manufacturer, series.series_uid) == ("MADE", str(made[0].SeriesInstanceUID))
    assert (series.shape, series.increments_mm, series.slices) == (None, (), ())
    write_case(tmp_path / "out", result, None)
    cells = dict(zip(*_scores(tmp_path / "out" / "scores.csv"), strict=True))
    assert (cells["thickness_mm"], cells["n_slices"], cells["tilt_deg"]) == ("9.0", "", "")


def _scores(path: Path) -> list[list[str]]:
    with path.open(newline="") as stream:
        return list(csv.reader(stream))


@pytest.mark.parametrize("id_from", [IdFrom.HASH, IdFrom.STUDY_UID])
def test_refused_studies_in_folders_of_one_name_keep_their_own_ids(models, tmp_path, id_from):
    settings = Settings(case=CaseSettings(id_from=id_from, salt="s"))
    uids = ("1.2.826.1", "1.2.826.2")
    sources = [conflicting_study(tmp_path / uid / "DICOM", uid) for uid in uids]

    results = [segment_case(source, models, settings).result for source in sources]

    assert [r.to_json_dict()["status"] for r in results] == ["not_measurable"] * 2
    wanted = [hashed_id(uid, "s") for uid in uids] if id_from == IdFrom.HASH else list(uids)
    assert [r.to_json_dict()["case_id"] for r in results] == wanted


def test_a_second_locator_is_recorded_with_what_it_located(source: Path, tmp_path: Path) -> None:
    folder = oracle_models(tmp_path / "models")
    names = [(artery.value, fraction) for artery, fraction in keypoints()]
    nowhere = np.full((len(names), 3), 90.0)  # farther than a point may move: nothing changes
    place_locator(folder, names, nowhere, role="locator_near", cell_mm=2.0)
    both = load_models(folder, RunSettings(device="cpu", threads=1))
    result = segment_case(source, both).result
    write_case(tmp_path / "out", result)
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    card = json.loads((folder / "locator_near.json").read_text())
    wanted = {"name": "locator_near", "version": card["version"], "sha256": card["sha256"]}
    assert document["locator_near"] == wanted
    assert document["locator"]["sha256"] != card["sha256"]
    without = segment_case(source, replace(both, locator=replace(both.locator, near=None))).result
    assert without.made is not None and without.made.locator_near is None
    assert result.scores is not None and without.scores is not None
    assert result.scores.volume_mm3 == without.scores.volume_mm3
