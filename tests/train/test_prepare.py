"""Heads into the cache: what a list may say, and what is cached."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from iac_cli.cli.train_locator import prepare as prepare_command
from iac_cli.dicom.nifti import write_nifti
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery
from iac_cli.simulate.heads import NEAR, StoredHead
from iac_cli.simulate.painted_skull import painted_skull
from iac_cli.simulate.skull import Skull
from iac_cli.train import prepare as prepare_module
from iac_cli.train.prepare import prepare, prepare_procedural, read_sources
from iac_cli.train.segmenter import load_skulls, shares_of

GRID = Grid.regular((40, 90, 80), spacing_mm=(2.0, 1.0, 1.0), origin_mm=(10.0, -20.0, 30.0))


@pytest.fixture
def folder(tmp_path):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in GRID.shape), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + (z / 1.2) ** 2)
    hu = np.where(radius < 0.8, 40, np.where(radius < 0.9, 900, -1000)).astype(np.int16)
    hu[18:22, 44:47, 50:53] = -900  # gas in the artery below
    write_nifti(tmp_path / "ct.nii.gz", hu, GRID)
    labels = np.zeros(GRID.shape, np.uint8)
    labels[5, 10, 15], labels[6, 11, 16] = 3, 254
    write_nifti(tmp_path / "labels.nii.gz", labels, GRID)
    points = GRID.to_world([[s, 45, 51] for s in (10, 15, 20, 25, 30)])
    line = [[*map(float, point), 2.5, "seen"] for point in points]
    lines = {"lines": {"ICA-R": line, "PCOM-L": line}}
    (tmp_path / "lines.json").write_text(json.dumps(lines))
    return tmp_path


def coarsely_painted(name, head):
    return painted_skull(name, head, (6.0, 4.0, 4.0))


def _list(folder, text):
    path = folder / "anatomy.toml"
    path.write_text(text)
    return path


GOOD = '[head.made]\nimage = "ct.nii.gz"\nlines = "lines.json"\nlabels = "labels.nii.gz"\n'


def test_a_head_is_cropped_filled_and_kept_in_mm(folder):
    (source,) = read_sources(_list(folder, GOOD))
    prepare(source, folder / "cache")

    skull = Skull.load(folder / "cache" / "skulls" / "made.npz")
    line = skull.lines[Artery.ICA_R]
    assert list(skull.lines) == [Artery.ICA_R]
    assert np.allclose(np.diff(line[:, 0]), 10.0)  # five slices of 2 mm
    voxel = np.round(line[2, :3] / skull.spacing_mm).astype(int)
    assert float(skull.hu[tuple(voxel)]) == pytest.approx(42.0, abs=0.1)
    assert sorted(np.unique(skull.labels)) in ([0], [0, 1], [0, 1, 2], [0, 2])

    coarse = StoredHead.load(folder / "cache" / "heads" / "made.npz")
    assert np.isfinite(coarse.points_mm[:9]).all()  # key points of the artery that was traced
    assert np.isnan(coarse.points_mm[9:]).all()


def test_procedural_heads_are_the_same_for_the_same_number(folder, monkeypatch):
    monkeypatch.setattr(prepare_module, "painted_skull", coarsely_painted)
    monkeypatch.setattr(prepare_module, "NEAR", replace(NEAR, stored_mm=4.0))
    cache = folder / "cache"
    found = []
    for number in (0, 0, 1):
        prepare_procedural(number, cache)
        found.append(Skull.load(cache / "skulls" / f"procedural_{number}.npz"))
    first, again, other = found
    assert np.array_equal(first.hu, again.hu)
    assert not np.array_equal(first.lines[Artery.ICA_R], other.lines[Artery.ICA_R])


def test_what_a_killed_run_left_is_no_head(folder):
    skulls = folder / "skulls"
    skulls.mkdir()
    (skulls / ".made.npz.1234.npz").write_bytes(b"half")
    with pytest.raises(IacError) as caught:
        load_skulls(skulls)
    assert caught.value.word == Word.EMPTY_SET


def test_the_command_adds_procedural_heads(folder, monkeypatch):
    monkeypatch.setattr(prepare_module, "painted_skull", coarsely_painted)
    monkeypatch.setattr(prepare_module, "NEAR", replace(NEAR, stored_mm=4.0))
    _list(folder, GOOD)
    prepare_command(folder / "anatomy.toml", folder / "cache", procedural=2, varied=1, quiet=True)
    skulls = folder / "cache" / "skulls"
    names = sorted(path.name for path in skulls.iterdir())
    assert names == ["made.npz", *(f"procedural_{n}.npz" for n in ("0", "1", "varied_0"))]
    assert shares_of(Path(name).stem for name in names)["procedural_1"] == pytest.approx(0.5 / 3)
    plain, varied = (Skull.load(skulls / f"procedural_{n}.npz") for n in ("0", "varied_0"))
    assert np.array_equal(plain.lines[Artery.ICA_R], varied.lines[Artery.ICA_R])
    assert not np.array_equal(plain.hu, varied.hu)
    assert sorted(path.name for path in (folder / "cache" / "heads").iterdir()) == names
    assert sorted(path.name for path in (folder / "cache" / "near").iterdir()) == names
    own = StoredHead.load(folder / "cache" / "heads" / "procedural_1.npz")
    near = StoredHead.load(folder / "cache" / "near" / "procedural_1.npz")
    assert np.isfinite(own.points_mm).all()
    apart = own.points_mm - near.points_mm  # another origin, the same arteries
    assert np.allclose(apart, apart[0], atol=1e-6)
    assert near.hu.shape[0] < own.hu.shape[0]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (GOOD + 'colour = "red"\n', Word.UNKNOWN_SETTING),
        (GOOD.replace("ct.nii.gz", "gone.nii.gz"), Word.INPUT_NOT_FOUND),
        ('[head.made]\nimage = "ct.nii.gz"\n', Word.INPUT_NOT_FOUND),
    ],
)
def test_a_list_that_says_too_much_or_too_little_is_refused(folder, text, word):
    with pytest.raises(IacError) as caught:
        read_sources(_list(folder, text))
    assert caught.value.word == word
