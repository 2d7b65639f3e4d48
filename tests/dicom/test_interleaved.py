"""Two stacks under one series UID whose slices lie between each other."""

from pathlib import Path

import numpy as np
import pytest

from iac_cli.dicom.read import inspect_source, read_series
from iac_cli.errors import IacError, Word
from tests import make

STEP_MM = 2.5


def stack(offset_mm: float, first: int, seed: int, n: int = 8, step_mm: float = STEP_MM, **tags):
    made = make.slices(
        make.phantom_hu((n, 40, 48), seed),
        positions=make.positions_along(offset_mm + step_mm * np.arange(n)),
        **tags,
    )
    for k, ds in enumerate(made):
        ds.SOPInstanceUID = f"{make.ROOT_UID}.9.{first + k}"
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return made


@pytest.mark.parametrize(
    "tags",
    [{"ConvolutionKernel": "BONE"}, {"KVP": 80}, {"AcquisitionNumber": 9}],
    ids=["kernel", "kvp", "acquisition"],
)
def test_two_whole_stacks_are_told_apart(tags: dict, tmp_path: Path) -> None:
    both = stack(0.0, 0, 0) + stack(1.0, 50, 1, **tags)
    folder = make.save(both, tmp_path / "in")
    assert len(inspect_source(folder).series) == 2
    reading = read_series(folder)
    assert np.allclose(np.diff(reading.volume.grid.offsets_mm), STEP_MM)
    wanted = make.phantom_hu(seed=1 if "AcquisitionNumber" in tags else 0)
    assert np.array_equal(reading.volume.hu, wanted)  # the later acquisition, the usual setting


def test_acquisitions_that_fill_each_others_holes_are_one_stack(tmp_path: Path) -> None:
    wide = 2 * STEP_MM
    both = stack(0.0, 0, 0, step_mm=wide) + stack(STEP_MM, 50, 1, step_mm=wide, AcquisitionNumber=2)
    reading = read_series(make.save(both, tmp_path / "in"))
    assert reading.volume.grid.shape[0] == 16
    assert reading.gaps_mm == ()


def test_two_kernels_between_each_other_are_refused(tmp_path: Path) -> None:
    wide, bone = 2 * STEP_MM, {"ConvolutionKernel": "BONE"}
    both = stack(0.0, 0, 0, step_mm=wide) + stack(STEP_MM, 50, 1, step_mm=wide, **bone)
    with pytest.raises(IacError) as caught:
        read_series(make.save(both, tmp_path / "in"))
    assert caught.value.word == Word.CONFLICTING_SLICES


def test_a_stack_that_changes_its_settings_is_told(tmp_path: Path) -> None:
    upper = stack(8 * STEP_MM, 50, 1, ConvolutionKernel="BONE", KVP=100)
    reading = read_series(make.save(stack(0.0, 0, 0) + upper, tmp_path / "in"))
    assert reading.volume.grid.shape[0] == 16
    told = [f.what for f in reading.findings if f.word == Word.MIXED_SETTINGS]
    assert len(told) == 2
    assert "STANDARD in 8" in told[0] and "BONE in 8" in told[0]
    words = {f.word: f.what for f in reading.findings}
    assert "differs" in words[Word.KVP_UNKNOWN]
    assert "None" not in words[Word.SHARP_KERNEL]
