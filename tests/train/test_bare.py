"""The path of a bare GPU machine: no reader, no command line, no runtime but PyTorch."""

import json
import subprocess
import sys

import numpy as np
import torch
from safetensors.torch import load_file

from iac_cli.geometry.lines import Artery
from iac_cli.simulate.skull import Skull
from tests.command import ROOT

WEIGHTS = "network.safetensors"
BLOCKED = (
    *("typer", "rich", "pydicom", "SimpleITK", "nibabel", "pandas", "onnxruntime", "onnx"),
    *("dicom2nifti", "matplotlib", "jsonschema", "sklearn", "PIL", "jinja2", "pyarrow"),
)

RUN = f"""
import runpy, sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # importing it fails
import torch
torch.set_num_threads(1)
runpy.run_path("containers/train_on_gpu.py", run_name="__main__")
"""


def _skull(folder):
    """A straight artery in soft tissue, bone beside it."""
    z = np.linspace(15.0, 65.0, 6)
    line = np.column_stack([z, np.full(6, 30.0), np.full(6, 30.0), np.full(6, 2.5)])
    hu = np.full((40, 60, 60), 40.0, np.float16)
    hu[:, 34:38] = 700.0
    folder.mkdir()
    skull = Skull("made", hu, np.array([2.0, 1.0, 1.0]), {Artery.ICA_R: line})
    skull.save(folder / "made.npz")
    return folder


def _train(skulls, out, runs, *more):
    options = (
        *("--skulls", skulls, "-o", out, "--runs", runs),
        *("--large-window", "8,32,32", "--batch", 2, "--windows", 48, "--fine-mm", 1.0),
        *("--precision", "fp32", "--device", "cpu", *more),
    )
    run = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, options)],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:] + run.stdout[-1000:]


def test_the_whole_training_runs_without_anything_else_of_the_product(tmp_path):
    out, skulls = tmp_path / "out", _skull(tmp_path / "skulls")
    _train(skulls, out, tmp_path / "runs", "--minutes", 0.05)
    for name in ("mae", "segmenter"):
        assert (out / name / "network.safetensors").is_file()
    calibration = json.loads((out / "segmenter" / "calibration.json").read_text())
    assert 0.0 < calibration["threshold"] < 1.0
    figures = json.loads((out / "evaluation.json").read_text())
    assert 0.0 <= figures["dice_pooled"] <= 1.0
    assert figures["voxels_both_drawn_labelled"][2] > 0
    files = [file for file in out.rglob("*") if file.is_file()]
    assert max(file.stat().st_size for file in files) < 16_000_000
    assert "checkpoint.pt" not in {file.name for file in files}

    again = ("--minutes", 0.02, "--init", out / "segmenter", "--learning-rate", 1e-7)
    _train(skulls, tmp_path / "again", tmp_path / "runs_again", *again)
    assert not (tmp_path / "again" / "mae").exists()
    first, second = (load_file(one / "segmenter" / WEIGHTS) for one in (out, tmp_path / "again"))
    learned = [name for name in first if ".running_" not in name]
    for name in learned:
        torch.testing.assert_close(second[name], first[name], rtol=2e-3, atol=1e-4)
