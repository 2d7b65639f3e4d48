"""The commands from a labelled scan to a model that segments, as a user gives them."""

import csv
import json
import subprocess
import sys

import pytest

from tests.command import ROOT, SAMPLE, iac_seg

LABELS = ROOT / "sample_data" / "truth" / "labels.nii.gz"
FEW = ("--steps", "2", "--batch", "2", "--per-scan", "4", "--precision", "fp32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def table(folder):
    path = folder / "labelled.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [("patient_id", "image", "label"), ("Jane Doe", str(SAMPLE), str(LABELS))]
        )
    return path


@pytest.fixture(scope="module")
def pretrained(folder):
    run = iac_seg(
        *("train", "pretrain", "--data", SAMPLE, "-o", folder / "mae", "--patch", "8", *FEW)
    )
    assert run.returncode == 0, run.stderr
    assert "step 0" in run.stderr
    return folder / "mae"


@pytest.fixture(scope="module")
def finetuned(folder, table, pretrained):
    run = iac_seg(
        *("train", "finetune", "--data", table, "--init", pretrained, "--prior"),
        *("-o", folder / "seg", *FEW),
    )
    assert run.returncode == 0, run.stderr
    return folder / "seg"


def test_a_run_tells_its_settings_and_names_nobody(finetuned):
    settings = json.loads((finetuned / "settings.json").read_text())
    assert settings["network"]["vit"]["patch"] == [8, 8, 8]  # as pre-trained
    assert settings["network"]["vit"]["prior"]
    assert settings["budget"]["steps"] == 2
    texts = [p.read_text() for p in finetuned.rglob("*") if p.suffix in (".json", ".csv")]
    assert not any("Jane" in text or "sample_data" in text for text in texts)
    assert "train" in (finetuned / "splits.json").read_text()


def test_a_run_that_is_not_calibrated_is_not_exported(folder, finetuned):
    run = iac_seg("train", "export", finetuned, "-o", folder / "none")
    assert run.returncode == 3
    assert "train calibrate" in run.stderr


def test_an_exported_run_segments(folder, finetuned):
    models = folder / "models"
    run = iac_seg("train", "export", finetuned, "-o", models, "--uncalibrated", "--json")
    assert run.returncode == 0, run.stderr
    parity = json.loads(run.stdout)
    assert parity["largest_difference"] < 1e-4
    assert parity["windows"] == "the run's own"
    run = iac_seg("segment", SAMPLE, "--model", models, "-o", folder / "case")
    assert run.returncode == 0, run.stderr
    card = json.loads((models / "segmenter.json").read_text())
    assert "Not calibrated" in str(card["limits"])
    assert card["prior_reach_mm"] == 16.0


def test_the_same_command_has_nothing_left_to_do_and_another_is_refused(folder, table, finetuned):
    before = (finetuned / "network.safetensors").read_bytes()
    command = ("train", "finetune", "--data", table, "--init", folder / "mae", "--prior")
    command = (*command, "-o", finetuned)
    assert iac_seg(*command, *FEW).returncode == 0
    assert (finetuned / "network.safetensors").read_bytes() == before
    run = iac_seg(*command, *FEW, "--seed", "2")
    assert run.returncode == 7
    assert "seed" in run.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("finetune", "--data", SAMPLE), "labels_missing"),
        (("finetune",), "bad_option"),
        (("calibrate", "nowhere", "--data", SAMPLE, "--skulls", SAMPLE), "bad_option"),
        (("finetune", "--skulls", "nowhere"), "input_not_found"),
        (("finetune", "--data", SAMPLE, "--init", ROOT), "model_not_found"),
        (("pretrain", "--data", SAMPLE, "--patch", "5"), "bad_setting"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value[:2]))[:20],
)
def test_what_cannot_be_trained_is_told_with_a_way_out(tmp_path, arguments, word):
    run = iac_seg("train", *arguments, "-o", tmp_path / "run")
    assert run.stderr.splitlines()[-2].startswith(f"{word}: ")
    assert "way out" in run.stderr
    assert run.returncode not in (0, 1)


def test_a_patient_in_two_splits_is_refused(tmp_path):
    path = tmp_path / "two.csv"
    with path.open("w", newline="") as stream:
        rows = [("P", SAMPLE, LABELS, split) for split in ("train", "development")]
        csv.writer(stream).writerows([("patient_id", "image", "label", "split"), *rows])
    run = iac_seg("train", "finetune", "--data", path, "-o", tmp_path / "run")
    assert run.returncode == 3
    assert "patient_in_two_splits" in run.stderr
    assert not (tmp_path / "run" / "settings.json").exists()


def test_help_does_not_wait_for_pytorch():
    code = (
        "import sys\nfrom iac_cli.cli.app import build_app\n"
        "build_app(['train'])\nsys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
