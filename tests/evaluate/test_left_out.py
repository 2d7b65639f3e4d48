"""Leaving one anatomy out: which runs there are, how they are judged, and that they go on."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from iac_cli.errors import IacError, Word
from iac_cli.evaluate import left_out
from iac_cli.evaluate.left_out import Settings, planned, results, summary
from iac_cli.evaluate.window_scores import judged, lesions_found, operating_threshold
from iac_cli.geometry.lines import Artery
from iac_cli.simulate.anatomy.procedural import draw_head
from iac_cli.simulate.painted_skull import painted_skull
from iac_cli.simulate.skull import Skull
from iac_cli.simulate.stream import StreamConfig, Windows
from iac_cli.simulate.windows.config import FAMILIES
from iac_cli.train.hybrid import HybridConfig
from iac_cli.train.segmenter import shares_of
from iac_cli.train.vit import VitConfig

SOURCES = ["head_cadaver", "procedural", "visible_human"]
GROUPS = ("left_out", "sources", "families")


def test_each_source_is_left_out_once_and_each_family_once():
    runs = {run.name: run for run in planned(SOURCES, GROUPS)}
    for source in SOURCES:
        assert set(runs[f"without_{source}"].sources) == set(SOURCES) - {source}
    assert runs["procedural_only"].sources == ("procedural",)
    for family in FAMILIES:
        run = runs[f"no_{family}"]
        assert run.without == (family,) and "visible_human" not in run.sources


def test_no_training_is_done_twice_under_two_names():
    runs = planned(SOURCES, GROUPS)
    assert len({(run.sources, run.without) for run in runs}) == len(runs)


def test_procedural_skulls_share_what_one_source_gets():
    shares = shares_of(["visible_human", "procedural_0", "procedural_1"])
    assert shares["procedural_0"] == shares["procedural_1"] == 0.25
    assert shares["visible_human"] == 0.38


def test_a_lesion_across_neighbouring_slices_counts_once_and_one_voxel_finds_it():
    label, called = np.zeros((9, 8, 8), bool), np.zeros((9, 8, 8), bool)
    planes = np.zeros(9, bool)
    planes[[0, 4, 8]] = True
    label[0, 2, 2:4] = label[4, 2, 3:5] = True  # one lesion on two slices
    label[8, 6, 6] = True  # another, not found
    called[4, 2, 4] = True
    called[0, 7, 7] = True
    assert lesions_found(label, called, planes) == (2, 1)


class _FixedStream:
    def __init__(self, made: Windows) -> None:
        self.made = made

    def batch(self, n: int) -> Windows:
        return self.made


class _Brightest(torch.nn.Module):
    """Calls calcium what has 300 HU or more: the second channel reaches 1 there."""

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        return torch.where(windows[:, 1:] >= 1.0, 3.0, -3.0)


def test_scores_of_a_window_worked_out_by_hand():
    hu = torch.full((1, 4, 8, 8), 40.0)
    label = torch.zeros_like(hu)
    weight = torch.zeros_like(hu)
    hu[0, 0, 1, 1:5], label[0, 0, 1, 1:5] = 400.0, 1.0  # found: 4 voxels
    hu[0, 2, 1, 1:3], label[0, 2, 1, 1:3] = 200.0, 1.0  # missed: 2 voxels, on the next slice
    hu[0, 2, 5, 1:7] = 500.0  # bone, called calcium: 6 voxels
    hu[0, 2, 7, 1:7] = 250.0  # bone, not called
    weight[0, [0, 2]] = (hu[0, [0, 2]] >= 115.0).float()
    stream = _FixedStream(Windows(hu, label, weight, torch.zeros_like(hu)))

    scores = judged(_Brightest(), stream, 1, 0.5)  # type: ignore[arg-type]

    assert scores.dice == pytest.approx(2 * 4 / (10 + 6))
    assert (scores.lesions, scores.sensitivity) == (1, 1.0)
    assert scores.bright_false_share == pytest.approx(6 / 12)
    assert scores.false_mm3_per_window == pytest.approx(6 * 2.0 * 0.44**2)


def test_windows_without_calcium_have_no_dice():
    hu = torch.full((1, 4, 8, 8), 40.0)
    stream = _FixedStream(Windows(hu, hu * 0, hu * 0, hu * 0))
    scores = judged(_Brightest(), stream, 1, 0.5)  # type: ignore[arg-type]
    assert scores.dice is None and scores.sensitivity is None
    assert scores.bright_false_share is None
    assert operating_threshold(_Brightest(), stream, 1) == 0.5  # type: ignore[arg-type]


def test_a_painted_skull_has_blood_on_its_lines_and_bone_about_them():
    head = draw_head(np.random.default_rng(1))
    skull = painted_skull("procedural_0", head, (2.0, 1.4, 1.4))
    line = skull.lines[Artery.ICA_L]
    index = np.rint(line[:, :3] / skull.spacing_mm).astype(int)
    on_line = skull.hu[tuple(index.T)].astype(float)
    assert 25.0 < np.median(on_line) < 70.0
    assert (skull.hu > 700).mean() > 0.02
    first = head.lines[Artery.ICA_L].points_mm
    moved = np.diff(line[:, :3], axis=0)[:, ::-1]
    assert np.allclose(moved, np.diff(first, axis=0))


def _skull(name, bone_hu=900.0):
    line = np.column_stack([np.linspace(15, 65, 6), np.full((6, 2), 30.0), np.full(6, 2.5)])
    hu = np.full((40, 60, 60), 40.0, np.float16)
    hu[:, 20:24] = bone_hu
    return Skull(name, hu, np.array([2.0, 1.0, 1.0]), {Artery.ICA_R: line})


@pytest.fixture
def settings(tmp_path):
    for folder, names in (
        ("skulls", ("visible_human", "procedural_0", "procedural_1")),
        ("judges", ("healthy",)),
    ):
        (tmp_path / folder).mkdir()
        for name in names:
            _skull(name, 800.0 if folder == "skulls" else 900.0).save(
                tmp_path / folder / f"{name}.npz"
            )
    return Settings(
        skulls=tmp_path / "skulls",
        judges=tmp_path / "judges",
        out=tmp_path / "out",
        minutes=0.01,
        batch=2,
        windows=4,
        stream=StreamConfig(window=(8, 16, 16), fine_mm=1.0, margin_mm=4.0, margin_pixels=4),
        network=HybridConfig(vit=VitConfig(dim=64, depth=1), path=(4, 4, 8, 8)),
    )


def test_a_run_is_judged_on_what_it_did_not_see_and_is_not_done_twice(settings, monkeypatch):
    runs = planned(["procedural", "visible_human"], ("left_out",))
    found = list(results(runs, settings, torch.device("cpu")))
    by_name = {result["run"]: result for result in found}
    assert by_name["without_procedural"]["trained_on"] == ["visible_human"]
    assert set(by_name["without_procedural"]["judged_on"]) == {"procedural", "judge:healthy"}
    assert set(by_name["without_visible_human"]["judged_on"]) == {"visible_human", "judge:healthy"}
    assert json.dumps(summary(runs, found))

    monkeypatch.setattr(left_out, "train", None)
    assert list(results(runs, settings, torch.device("cpu"))) == found


def test_a_judge_that_is_trained_on_is_refused(settings):
    _skull("healthy").save(settings.skulls / "another_name.npz")
    with pytest.raises(IacError) as refused:
        list(results(planned(["another_name"], ("sources",)), settings, torch.device("cpu")))
    assert refused.value.word is Word.BAD_SETTING


def test_no_run_begins_that_cannot_end_in_time(settings):
    from dataclasses import replace

    late = replace(settings, minutes=5.0, within_minutes=1.0)
    runs = planned(["procedural", "visible_human"], ("left_out",))
    found = list(results(runs, late, torch.device("cpu")))
    assert found == []
    assert summary(runs, found)["to_do"] == [run.name for run in runs]


def test_runs_can_be_of_so_many_steps(settings):
    from dataclasses import replace

    runs = planned(["visible_human"], ("sources",))
    counted = replace(settings, minutes=0.0, steps=3)
    late = replace(counted, within_minutes=0.0)
    assert list(results(runs, late, torch.device("cpu"))) == []
    (result,) = results(runs, counted, torch.device("cpu"))
    assert (result["steps"], result["minutes"]) == (3, None)
    checkpoint = torch.load(settings.out / runs[0].name / "checkpoint.pt", weights_only=True)
    assert checkpoint["numbers"][1] == 3
    with pytest.raises(IacError) as refused:
        list(results(runs, settings, torch.device("cpu")))
    assert refused.value.word is Word.OUTPUT_EXISTS


def test_it_runs_on_a_machine_without_a_dicom_reader():
    code = (
        "import sys, iac_cli.evaluate.left_out;"
        "print(sorted({'pydicom', 'SimpleITK', 'nibabel', 'onnx', 'onnxruntime', 'pandas',"
        " 'matplotlib', 'dicom2nifti'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
