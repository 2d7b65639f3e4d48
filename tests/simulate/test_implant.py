"""Implants: the scan stays as it is but for what is set in, and that keeps its volume."""

import json
from pathlib import Path

import numpy as np
import pytest
from command import iac_seg

from iac_cli.dicom.read import read_series
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid, slice_extents_mm
from iac_cli.geometry.volume import Volume
from iac_cli.simulate.implant import ImplantSettings, implant
from iac_cli.simulate.scanner import Kernel
from tests.simulate.quick_lines import straight_lines

TISSUE_HU = 40.0


def stack(offsets_mm, tilt_deg: float = 0.0) -> Volume:
    """A block of even tissue around the straight arteries, on any slices."""
    offsets = np.asarray(offsets_mm, dtype=float)
    positions = np.zeros((len(offsets), 3))
    positions[:, 0], positions[:, 2] = -50.0, offsets
    positions[:, 1] = -40.0 + np.tan(np.radians(tilt_deg)) * offsets
    grid = Grid(
        shape=(len(offsets), 160, 200),
        positions_mm=positions,
        row_axis=np.array([1.0, 0, 0]),
        column_axis=np.array([0, 1.0, 0]),
        pixel_mm=(0.5, 0.5),
        extents_mm=slice_extents_mm(offsets),
    )
    return Volume(np.full(grid.shape, TISSUE_HU, np.float32), grid)


EVEN = np.arange(-40.0, 41.0, 2.5)
UNEVEN = np.concatenate([np.arange(-40.0, 5.0, 2.5), np.arange(7.5, 41.0, 5.0)])


@pytest.mark.parametrize("kernel", list(Kernel))
@pytest.mark.parametrize(
    "volume", [stack(EVEN), stack(np.arange(-40, 41, 5.0)), stack(EVEN, 15.0)],
    ids=["2.5 mm", "5 mm", "tilted"],
)  # fmt: skip
def test_what_is_added_is_the_lesions_contrast_times_their_volume(
    volume: Volume, kernel: Kernel
) -> None:
    settings = ImplantSettings(seed=2, burden_mm3=150.0, kernel=kernel)
    made = implant(volume, straight_lines(), "0" * 64, settings)
    expected = sum(one.volume_mm3 * (one.shape.hu - TISSUE_HU) for one in made.lesions)
    added = (made.hu - volume.hu) * volume.grid.voxel_mm3[:, None, None]
    assert added.sum() == pytest.approx(expected, rel=0.01)


def test_each_slice_of_an_uneven_stack_has_its_own_thickness() -> None:
    even, uneven = stack(EVEN), stack(UNEVEN)
    settings = ImplantSettings(seed=2, burden_mm3=150.0)
    one, other = (implant(v, straight_lines(), "0" * 64, settings) for v in (even, uneven))
    thin = np.flatnonzero(np.isclose(uneven.grid.extents_mm, 2.5))
    assert len(thin) > 10
    assert np.array_equal(one.hu[thin], other.hu[thin])
    assert not np.array_equal(one.hu[len(thin) + 1], other.hu[len(thin) + 1])


def test_no_burden_changes_no_voxel_and_labels_none() -> None:
    volume = stack(EVEN)
    made = implant(volume, straight_lines(), "0" * 64, ImplantSettings(burden_mm3=0.0))
    assert np.array_equal(made.hu, volume.hu)
    assert not made.truth.arteries.any()


def test_only_what_rose_is_labelled() -> None:
    volume = stack(EVEN)
    made = implant(volume, straight_lines(), "0" * 64, ImplantSettings(seed=1, burden_mm3=200.0))
    labelled = made.truth.arteries > 0
    assert labelled.any()
    assert (made.hu[labelled] >= 130).all()
    assert (made.hu[labelled] > volume.hu[labelled]).all()


def test_without_arteries_nothing_can_be_set_in() -> None:
    with pytest.raises(IacError) as caught:
        implant(stack(EVEN), {}, "0" * 64, ImplantSettings())
    assert caught.value.word is Word.ARTERIES_NOT_LOCATED


def test_lines_of_another_scan_are_refused() -> None:
    """What lies outside the scan would be in the truth and in no slice."""
    with pytest.raises(IacError) as caught:
        implant(stack(EVEN + 90.0), straight_lines(), "0" * 64, ImplantSettings())
    assert caught.value.word is Word.HEAD_NOT_COVERED


@pytest.mark.parametrize(
    "options", [{"burden_mm3": -1.0}, {"thickness_mm": 0.1}, {"thickness_mm": 0.0}]
)
def test_settings_that_make_no_sense_are_refused(options: dict) -> None:
    with pytest.raises(IacError) as caught:
        implant(stack(EVEN), straight_lines(), "0" * 64, ImplantSettings(**options))
    assert caught.value.word is Word.BAD_SETTING


def test_a_real_tilted_scan_keeps_its_place_and_its_other_voxels(
    tmp_path: Path, data_dir: Path
) -> None:
    source = data_dir / "head_ge_tilted"
    run = iac_seg("simulate", "implant", source, "-o", tmp_path / "out", "--burden-mm3", "60")
    assert run.returncode == 0, run.stderr
    before, after = read_series(source), read_series(tmp_path / "out" / "study")
    assert np.allclose(before.volume.grid.positions_mm, after.volume.grid.positions_mm, atol=1e-4)
    difference = np.asarray(after.volume.hu) - np.clip(before.volume.hu, -1024, 3071)
    assert difference.min() >= -1.0
    assert 0 < (difference > 1.0).mean() < 0.01
    truth = json.loads((tmp_path / "out" / "truth" / "truth.json").read_text(encoding="utf-8"))
    assert truth["true_volume_mm3"] == pytest.approx(60.0, rel=0.05)
    assert {f.word for f in after.findings} & {Word.TILT_TAG_DISAGREES} == set()


def test_a_phantom_is_refused_and_nothing_is_written(tmp_path: Path, data_dir: Path) -> None:
    run = iac_seg(
        "simulate", "implant", data_dir / "phantom_philips" / "S2020", "-o", tmp_path / "out"
    )
    assert run.returncode == 6
    assert "not_a_head" in run.stderr
    assert not (tmp_path / "out").exists()
