"""Calibration on whole heads: which voxels and patients take part, and the command end to end."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import iac_seg
from oracle import oracle_models
from tiny_cohort import Head, painted, write_cohort

from iac_cli.errors import IacError, Word
from iac_cli.infer.calibrate import calibration_of
from iac_cli.infer.models import load_locator
from iac_cli.settings import RunSettings
from iac_cli.train.heads import development_cases, of_scans, raw_segmenter
from iac_cli.train.splits import Split, patient_key, save_splits

PEOPLE = [
    [Head(found_mm, missed_mm, bone_mm=2.0)]
    for found_mm, missed_mm in ((3.0, 3.0), (4.0, 2.0), (2.0, 4.0), (3.0, 2.0))
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    card = {"calibration": {"method": "platt", "a": 0.1, "b": -9.0}}
    return oracle_models(tmp_path_factory.mktemp("models"), **card)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), PEOPLE)


def test_candidates_are_bright_voxels_with_the_networks_own_logit(
    models: Path, cohort: Path
) -> None:
    """The network's logit is (HU - 200) / 50, whatever the card's calibration says."""
    locator = load_locator(models, RunSettings(device="cpu", threads=1))
    drawn = of_scans(raw_segmenter(models), locator, development_cases(cohort, models))
    assert set(drawn.window) == {0, 1, 2, 3}
    scan, labels = painted(PEOPLE[0][0])
    first = drawn.window == 0
    assert drawn.label[first].sum() == (labels > 0).sum()
    assert (labels[tuple(drawn.place[first, 1:].T)] > 0).sum() == (labels > 0).sum()
    assert np.diff(np.unique(drawn.place[:, 0])).min() >= 2
    hu = scan.hu[tuple(drawn.place[first, 1:].T)]
    assert hu.min() >= 110
    assert (drawn.bright[first] == (hu >= 130)).all()
    calcified = drawn.logit[first & (drawn.label > 0)]
    inside = [(abs(calcified - logit) < 0.01).mean() for logit in (-1.0, 8.0)]  # 150, 600 HU
    assert min(inside) > 0.2
    assert sum(inside) > 0.4  # the others lie at an edge, between two values


def test_patients_of_another_split_choose_nothing(cohort: Path, tmp_path: Path) -> None:
    assert len(development_cases(cohort, tmp_path)) == 4
    parts = {f"P{k:04d}": split for k, split in enumerate(Split, start=1)}
    save_splits(tmp_path, {patient_key(name): split for name, split in parts.items()})
    (one,) = development_cases(cohort, tmp_path)
    assert one.patient == patient_key("P0002")
    save = {patient_key(f"P{k:04d}"): Split.TRAIN for k in range(1, 5)}
    (tmp_path / "run").mkdir()
    save_splits(tmp_path / "run", save)
    with pytest.raises(IacError) as caught:
        development_cases(cohort, tmp_path / "run")
    assert caught.value.word is Word.EMPTY_SET


def test_what_is_no_run_and_no_model_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        raw_segmenter(tmp_path)
    assert caught.value.word is Word.MODEL_NOT_FOUND


def test_the_command_writes_what_a_card_takes(models: Path, cohort: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibration.json"
    arguments = ("train", "calibrate", models, "--data", cohort, "--model", models, "-o", out)
    run = iac_seg(*arguments, "--json")
    assert run.returncode == 0, run.stderr
    fields = json.loads(out.read_text())
    assert fields == json.loads(run.stdout)
    assert out.with_suffix(".png").read_bytes()[:4] == b"\x89PNG"
    calibration_of(fields["calibration"])
    figures = fields["figures"]
    assert (figures["n_patients"], figures["n_patients_left_out"]) == (4, 0)
    losses, method = figures["negative_log_likelihood"], fields["calibration"]["method"]
    assert figures["before"]["nll"] == pytest.approx(losses["raw"])
    assert figures["after"]["nll"] == pytest.approx(losses[method])
    assert 0.0 < fields["threshold"] < 1.0
    assert set(figures["negative_log_likelihood"]) == {"raw", "platt", "temperature", "beta"}
    assert iac_seg(*arguments).returncode == 7
    told = iac_seg(*arguments, "--overwrite").stdout
    assert f"  slices over 0 mm: voxel {fields['threshold']:.2f}, lesion's mean" in told
