"""From an evaluation to the file of errors, and from the file to results."""

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
from iac_cli.evaluate.intervals import (
    errors_by_category,
    lesion_law,
    one_a_patient,
    uncertainty_document,
)
from iac_cli.evaluate.record import LesionSeen, Record
from iac_cli.measure.uncertainty import NOTHING_TOLD, logit

ASKED = {
    "judged": "model",
    "gate": True,
    "segmenter": {"sha256": "a" * 64},
    "locator": {"sha256": "b" * 64},
    "threshold": 0.5,
    "lesion_threshold": 0.6,
    "thicker_slices": [],
    "calibration": {"method": "platt", "a": 1.0, "b": 0.0},
}


def record(number: int, told: float, drawn: float, thickness_mm: float = 1.0, **more) -> Record:
    return Record(
        case=f"P{number}_{thickness_mm:g}",
        patient=f"P{number}",
        reconstruction=f"{thickness_mm:g} mm",
        thickness_mm=thickness_mm,
        measured=True,
        volume_mm3=told,
        drawn_mm3=drawn,
        drawn_agatston=0.0,
        **more,
    )


def test_each_patient_counts_once_and_always_with_the_same_series() -> None:
    series = [record(k, 10, 12, mm) for k in range(60) for mm in (1.0, 3.0, 5.0)]
    picked = one_a_patient(series)
    assert len(picked) == 60
    assert {one.case for one in picked} == {one.case for one in one_a_patient(series)}
    counts = np.unique([one.thickness_mm for one in picked], return_counts=True)[1]
    assert len(counts) == 3
    assert counts.min() >= 10  # no thickness is favoured
    lost = replace(series[0], measured=False)
    assert len(one_a_patient([lost])) == 0


def test_errors_by_hand() -> None:
    errors = errors_by_category([record(1, 9, 19), record(2, 0, 3), record(3, 9, 9, 9.0)])
    assert errors == {
        "up to 1.5 mm": [pytest.approx(np.log(2))],
        NOTHING_TOLD: [pytest.approx(np.log(4))],
    }


def test_too_few_patients_and_foreign_masks_are_refused() -> None:
    few = [record(k, 5, 5) for k in range(18)]
    for records, asked in (
        (few, ASKED),
        (few * 2, ASKED),  # the same patients again
        ([record(k, 5, 5) for k in range(99)], ASKED | {"judged": "masks"}),
        ([record(k, 5, 5) for k in range(99)], ASKED | {"gate": False}),
    ):
        with pytest.raises(IacError) as caught:
            uncertainty_document(records, asked, "nobody")
        assert caught.value.word is Word.BAD_SETTING


def test_the_lesions_law_is_a_logistic_regression() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(4)
    p, size = rng.uniform(0.2, 0.99, 400), rng.lognormal(1.5, 1.0, 400)
    z = 0.5 + 1.2 * np.array([logit(one) for one in p]) - 0.4 * np.log(size)
    right = rng.random(400) < 1 / (1 + np.exp(-z))
    lesions = [
        LesionSeen(float(v), float(hit), mean_p=float(q))
        for v, hit, q in zip(size, right, p, strict=True)
    ]
    law = lesion_law([record(1, 5, 5, lesions=tuple(lesions))])
    seen = np.column_stack([[logit(one) for one in p], np.log(size)])
    # 1e-3 * |slopes|^2 on the mean loss is half of |slopes|^2 on C = 500 / n times the sum
    other = linear_model.LogisticRegression(C=1 / (2 * 1e-3 * 400), tol=1e-8).fit(seen, right)
    assert (law.by_p, law.by_size) == pytest.approx(tuple(other.coef_[0]), abs=2e-3)
    assert law.offset == pytest.approx(float(other.intercept_[0]), abs=2e-3)
    assert lesion_law([record(1, 5, 5, lesions=tuple(lesions[:40]))]) is None


def test_results_state_what_the_file_knows(tmp_path: Path) -> None:
    models = oracle_models(tmp_path / "models")
    scan, _ = painted(Head(4.0))
    write_nifti(tmp_path / "head.nii.gz", scan.hu, scan.grid)
    args = ("segment", tmp_path / "head.nii.gz", "--model", models, "-d", "cpu", "-o")
    assert iac_seg(*args, tmp_path / "before").returncode == 0
    before = json.loads((tmp_path / "before" / "result.json").read_text())
    assert before["volume_mm3_interval"] is None
    assert before["risk"]["probabilities"] is None
    assert "confidence" not in before["lesions"][0]

    card = json.loads((models / "segmenter.json").read_text())
    locator = json.loads((models / "locator.json").read_text())
    told = ASKED | {"segmenter": card, "locator": locator, "threshold": card["threshold"]}
    told["lesion_threshold"] = 0.0
    rng = np.random.default_rng(0)
    lesions = tuple(
        LesionSeen(float(v), float(hit), mean_p=0.9)
        for v, hit in zip(rng.lognormal(1, 1, 60), rng.random(60) < 0.7, strict=True)
    )
    people = [record(k, 100.0, 100.0 + k, 4.0, lesions=lesions) for k in range(19)]
    document = uncertainty_document(people, told, "phantoms")
    (models / "uncertainty.json").write_text(json.dumps(document))

    assert iac_seg(*args, tmp_path / "after").returncode == 0
    after = json.loads((tmp_path / "after" / "result.json").read_text())
    volume = after["volume_mm3"]
    assert after["volume_mm3_interval"] == pytest.approx(
        [volume, (1 + volume) * 119 / 101 - 1], rel=1e-5
    )
    assert after["risk"]["probabilities"] == {"absent": 0.0, "present": 1.0}
    with (tmp_path / "after" / "scores.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    told = [float(row[name]) for name in ("volume_mm3_low", "volume_mm3_high")]
    assert told == after["volume_mm3_interval"]
    confidence = after["lesions"][0]["confidence"]
    assert 0.0 < confidence < 1.0
    for folder, told in (("before", ""), ("after", repr(confidence))):
        with (tmp_path / folder / "lesions.csv").open(newline="") as stream:
            assert next(csv.DictReader(stream))["confidence"] == told
    for changed in ("volume_mm3_interval", "risk", "lesions", "timings"):
        del before[changed], after[changed]
    assert after == before


def test_the_command_makes_the_file(tmp_path: Path) -> None:
    models = oracle_models(tmp_path / "models")
    cohort = write_cohort(tmp_path / "cohort", [[Head()]])
    done = iac_seg(
        "evaluate", "--model", models, "--data", cohort, "-o", tmp_path / "e", "-d", "cpu"
    )
    assert done.returncode == 0, done.stderr
    note = tmp_path / "e" / "asked.json"
    one = json.loads((tmp_path / "e" / "cases" / "P0001.json").read_text())
    for k in range(2, 21):
        name = f"P{k:04d}"
        text = json.dumps(one | {"case": name, "patient": name})
        (tmp_path / "e" / "cases" / f"{name}.json").write_text(text)
    note.write_text(json.dumps(json.loads(note.read_text()) | {"n_series": 20}))
    out = tmp_path / "uncertainty.json"
    run = iac_seg("evaluate", "intervals", tmp_path / "e", "-o", out, "--made-on", "phantoms")
    assert run.returncode == 0, run.stderr
    assert "20 patients" in run.stdout
    document = json.loads(out.read_text())
    assert document["n_patients"] == 20
    assert document["errors"]["over 3.5 to 5.5 mm"] == [0.0] * 20
    assert document["lesion_law"] is None
    again = iac_seg("evaluate", "intervals", tmp_path / "e", "-o", out)
    assert again.returncode == 7
