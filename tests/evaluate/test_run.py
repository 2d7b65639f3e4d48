"""Evaluations end to end on phantoms: counts, resume, workers, supplied masks, the gate."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command import iac_seg
from oracle import oracle_models
from tiny_cohort import Head, painted, write_cohort

from iac_cli.dicom.nifti import write_nifti
from iac_cli.errors import IacError, Word
from iac_cli.evaluate.run import Asked, evaluate
from iac_cli.evaluate.test_set import read_test_set
from iac_cli.settings import RunSettings, Settings

SETTINGS = Settings(run=RunSettings(device="cpu", threads=1))
PEOPLE = [
    [Head(3.0, 3.0), Head(3.0, 3.0, thickness_mm=2.0)],
    [Head(4.0)],
    [Head(0.0)],
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oracle_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), PEOPLE)


@pytest.fixture(scope="module")
def finished(models: Path, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eval") / "eval"
    run = iac_seg("evaluate", "--model", models, "--data", cohort, "-o", out, "-d", "cpu", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["n_series"] == 4
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_counts_are_those_of_the_phantom(finished: Path) -> None:
    rows = {row["case"]: row for row in rows_of(finished / "cases.csv")}
    both = rows["P0001_P0001_4mm"]
    _, labels = painted(Head(3.0, 3.0))
    found, missed = (labels == 1).sum(), (labels == 2).sum()
    assert (int(both["both_voxels"]), int(both["only_truth_voxels"])) == (found, missed)
    assert int(both["only_mask_voxels"]) == 0
    assert float(both["drawn_mm3"]) == pytest.approx(4.0 * (found + missed))
    assert float(both["dice"]) == pytest.approx(2 * found / (2 * found + missed))
    assert rows["P0003"]["dice"] == ""
    assert float(rows["P0003"]["volume_mm3"]) == 0.0


def test_everything_is_written(finished: Path) -> None:
    document = json.loads((finished / "evaluation.json").read_text())
    figures = {one["name"]: one["value"] for one in document["groups"][0]["figures"]}
    assert figures["lesion_sensitivity"] == pytest.approx(3 / 5)
    assert figures["lesion_ppv"] == 1.0
    assert document["calibration"]["candidates"] > 0
    arteries = {row["artery"]: row for row in rows_of(finished / "arteries.csv")}
    assert float(arteries["ICA-R"]["dice_mean"]) == 1.0
    assert float(arteries["ICA-L"]["sensitivity"]) == 0.0
    lesions = rows_of(finished / "lesions.csv")
    assert {row["artery"] for row in lesions if row["side"] == "truth"} == {"ICA-R", "ICA-L"}
    report = (finished / "report.md").read_text(encoding="utf-8")
    assert "By slice thickness" in report
    for name in ("volumes.png", "agreement.png", "dice.png", "reliability.png"):
        assert (finished / name).read_bytes()[:4] == b"\x89PNG"
        assert f"({name})" in report


def test_a_killed_run_goes_on_and_workers_change_nothing(
    finished: Path, models: Path, cohort: Path, tmp_path: Path
) -> None:
    out, told = tmp_path / "eval", []
    asked = Asked(model=models, settings=SETTINGS, n_workers=2)
    test_set = read_test_set(cohort)
    (out / "cases").mkdir(parents=True)
    (out / "asked.json").write_bytes((finished / "asked.json").read_bytes())
    kept = out / "cases" / "P0002.json"
    kept.write_bytes((finished / "cases" / "P0002.json").read_bytes())
    (out / "cases" / "P0003.json").write_text('{"schema": 1, "case"')  # torn
    before = kept.stat().st_mtime_ns
    evaluate(out, test_set, asked, lambda done, of: told.append((done, of)))
    assert told[0] == (1, 4)
    assert told[-1] == (4, 4)
    assert kept.stat().st_mtime_ns == before
    for path in (finished / "cases").iterdir():
        assert (out / "cases" / path.name).read_bytes() == path.read_bytes()


def test_another_evaluation_is_left_alone(finished: Path, models: Path, cohort: Path) -> None:
    for asked in (
        Asked(model=models, settings=SETTINGS, gate=False),
        Asked(settings=SETTINGS),
    ):
        with pytest.raises(IacError) as caught:
            evaluate(finished, read_test_set(cohort), asked)
        assert caught.value.word is Word.OUTPUT_EXISTS


def test_corrected_labels_are_another_test_set(models: Path, tmp_path: Path) -> None:
    """Records of the old labels must not stand for the new ones."""
    folder = write_cohort(tmp_path / "data", [[Head()]])
    asked = Asked(model=models, settings=SETTINGS)
    evaluate(tmp_path / "out", read_test_set(folder), asked)
    scan, labels = painted(Head())
    labels[tuple(np.argwhere(labels)[0])] = 0
    write_nifti(folder / "P0001_4mm-labels.nii.gz", labels, scan.grid)
    with pytest.raises(IacError) as caught:
        evaluate(tmp_path / "out", read_test_set(folder), asked)
    assert caught.value.word is Word.OUTPUT_EXISTS


def test_the_threshold_for_volume_draws_what_the_other_misses(tmp_path: Path) -> None:
    """150 HU has p = 0.27: missed at 0.5, drawn at 0.2."""
    thicker = {"over_mm": 3.0, "threshold": 0.6, "lesion_threshold": 0.0}
    without = oracle_models(
        tmp_path / "half", threshold_unbiased_volume=0.3, thicker_slices=[thicker]
    )
    thicker |= {"threshold_unbiased_volume": 0.2}
    also = {"threshold_unbiased_volume": 0.3, "lesion_threshold": 0.1, "thicker_slices": [thicker]}
    models = oracle_models(tmp_path / "models", **also)
    folder = write_cohort(tmp_path / "data", [[Head(3.0, 3.0)]])
    asked = Asked(model=models, settings=SETTINGS, for_volume=True)
    (one,) = evaluate(tmp_path / "out", read_test_set(folder), asked)
    assert one.overlap.only_truth == 0
    assert one.volume_mm3 == pytest.approx(one.drawn_mm3)
    told = json.loads((tmp_path / "out" / "asked.json").read_text())
    assert (told["threshold"], told["lesion_threshold"]) == (0.3, 0.1)
    assert told["thicker_slices"] == [{"over_mm": 3.0, "threshold": 0.2, "lesion_threshold": 0.0}]
    for models in (oracle_models(tmp_path / "none"), without):
        asked = Asked(model=models, settings=SETTINGS, for_volume=True)
        with pytest.raises(IacError) as caught:
            evaluate(tmp_path / "other", read_test_set(folder), asked)
        assert caught.value.word is Word.BAD_SETTING


def test_a_strangers_folder_is_left_alone(models: Path, cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(IacError) as caught:
        evaluate(tmp_path, read_test_set(cohort), Asked(model=models, settings=SETTINGS))
    assert caught.value.word is Word.OUTPUT_EXISTS


@pytest.fixture(scope="module")
def masks(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the threshold of 200 HU would draw: the first ball alone."""
    folder = tmp_path_factory.mktemp("masks")
    for one, head in zip(read_test_set(cohort).series, sum(PEOPLE, []), strict=True):
        scan, labels = painted(head)
        write_nifti(folder / f"{one.case}.nii.gz", (labels == 1).astype(np.uint8), scan.grid)
    return folder


def test_supplied_masks_are_judged_alike(
    finished: Path, masks: Path, models: Path, cohort: Path, tmp_path: Path
) -> None:
    asked = Asked(model=models, predictions=masks, settings=SETTINGS)
    records = {one.case: one for one in evaluate(tmp_path / "m", read_test_set(cohort), asked)}
    for row in rows_of(finished / "cases.csv"):
        one = records[row["case"]]
        assert one.overlap.both == int(row["both_voxels"])
        assert one.volume_mm3 == pytest.approx(float(row["volume_mm3"]))
        assert one.bins is None


def _with_second_label(masks: Path, cohort: Path, folder: Path) -> Path:
    """The masks, the second ball with a label of its own (7); that of P0002 has it alone."""
    folder.mkdir()
    for one, head in zip(read_test_set(cohort).series, sum(PEOPLE, []), strict=True):
        scan, labels = painted(head)
        values = np.where(labels == 2, 7, labels).astype(np.uint8)
        if one.case == "P0002":
            values[values == 1] = 7
        write_nifti(folder / f"{one.case}.nii.gz", values, scan.grid)
    return folder


def test_of_masks_with_several_labels_only_the_named_ones_count(
    finished: Path, masks: Path, models: Path, cohort: Path, tmp_path: Path
) -> None:
    """Also where a mask holds one label alone, and it is not the one that counts."""
    several = _with_second_label(masks, cohort, tmp_path / "several")
    asked = Asked(model=models, predictions=several, settings=SETTINGS)
    with pytest.raises(IacError, match="1, 7") as caught:
        evaluate(tmp_path / "out", read_test_set(cohort), asked)
    assert caught.value.word is Word.BAD_OPTION
    assert not (tmp_path / "out").exists()
    with pytest.raises(IacError, match="none of those") as caught:
        evaluate(tmp_path / "out", read_test_set(cohort), replace(asked, labels=(2,)))
    assert caught.value.word is Word.BAD_OPTION

    named = evaluate(tmp_path / "one", read_test_set(cohort), replace(asked, labels=(1,)))
    before = {row["case"]: row for row in rows_of(finished / "cases.csv")}
    for one in named:
        both = 0 if one.case == "P0002" else int(before[one.case]["both_voxels"])
        assert (one.overlap.both, one.overlap.only_mask) == (both, 0)
    every = evaluate(tmp_path / "all", read_test_set(cohort), replace(asked, labels=()))
    assert all(one.overlap.only_truth == 0 for one in every)
    assert sum(one.overlap.both for one in every) > sum(one.overlap.both for one in named)
    note = json.loads((tmp_path / "one" / "asked.json").read_text())
    assert note["labels"] == [1]
    with pytest.raises(IacError) as caught:
        evaluate(tmp_path / "one", read_test_set(cohort), replace(asked, labels=()))
    assert caught.value.word is Word.OUTPUT_EXISTS


def test_a_missing_mask_is_told_before_any_work(
    masks: Path, models: Path, cohort: Path, tmp_path: Path
) -> None:
    asked = Asked(model=models, predictions=tmp_path, settings=SETTINGS)
    with pytest.raises(IacError, match="4 of 4") as caught:
        evaluate(tmp_path / "out", read_test_set(cohort), asked)
    assert caught.value.word is Word.INPUT_NOT_FOUND
    assert not (tmp_path / "out").exists()


def test_two_evaluations_are_compared(
    finished: Path, masks: Path, models: Path, cohort: Path, tmp_path: Path
) -> None:
    asked = Asked(model=models, predictions=masks, settings=SETTINGS)
    evaluate(tmp_path / "m", read_test_set(cohort), asked)
    run = iac_seg("evaluate", "compare", finished, tmp_path / "m", "--json")
    assert run.returncode == 0, run.stderr
    differences = json.loads(run.stdout)["differences"]
    assert {one["name"] for one in differences} >= {"dice", "volume_mm3"}
    assert all(one["difference"] == pytest.approx(0.0) for one in differences)
    (tmp_path / "m" / "cases" / "P0003.json").unlink()
    run = iac_seg("evaluate", "compare", finished, tmp_path / "m")
    assert run.returncode == 3
    assert "not finished" in run.stderr


def test_the_gate_can_be_switched_off_for_a_phantom(models: Path, tmp_path: Path) -> None:
    bald = write_cohort(tmp_path / "bald", [[Head(brain_hu=-1000.0)]])
    shut, opened = (
        evaluate(
            tmp_path / f"gate{gate}",
            read_test_set(bald),
            Asked(model=models, settings=SETTINGS, gate=gate),
        )[0]
        for gate in (True, False)
    )
    assert (shut.measured, shut.reasons, shut.volume_mm3) == (False, ("not_a_head",), None)
    assert opened.measured
    assert opened.volume_mm3 == pytest.approx(opened.drawn_mm3)


def test_labels_on_another_grid_are_refused_with_the_line(models: Path, tmp_path: Path) -> None:
    folder = write_cohort(tmp_path / "data", [[Head()]])
    thin, labels = painted(Head(thickness_mm=2.0))
    write_nifti(folder / "P0001_4mm-labels.nii.gz", labels, thin.grid)
    with pytest.raises(IacError, match="line 2") as caught:
        evaluate(tmp_path / "out", read_test_set(folder), Asked(model=models, settings=SETTINGS))
    assert caught.value.word is Word.MASK_MISMATCH


def test_wrong_use_ends_in_one_line(tmp_path: Path) -> None:
    run = iac_seg("evaluate", "-o", tmp_path / "out")
    assert run.returncode == 2
    assert "--data" in run.stderr
    run = iac_seg("evaluate", "--data", tmp_path, "-o", tmp_path / "out", "--labels", "1")
    assert run.returncode == 2
    assert "--predictions" in run.stderr
    (tmp_path / "cohort.csv").write_text("patient_id,image,label\n")
    run = iac_seg("evaluate", "--data", tmp_path, "-o", tmp_path / "out", "--json")
    assert run.returncode == 3
    assert json.loads(run.stdout)["code"] == "empty_set"
    assert not (tmp_path / "out").exists()
