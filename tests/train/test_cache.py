"""Scans into windows: where they lie, what counts, what is refused."""

import csv

import numpy as np
import pytest

from iac_cli.dicom.nifti import write_nifti
from iac_cli.errors import IacError, Word
from iac_cli.geometry.grid import Grid
from iac_cli.geometry.volume import Volume
from iac_cli.infer.card import shipped_models
from iac_cli.train.cache import (
    FAR_MM,
    CacheSettings,
    cut_windows,
    load_windows,
    read_index,
)
from iac_cli.train.cases import find_cases, labelled
from iac_cli.train.scans import Wanted, windows_of
from iac_cli.train.splits import (
    Split,
    SplitShares,
    assign,
    load_splits,
    patient_key,
    save_splits,
)
from iac_cli.train.world import World

SIZE = (8, 32, 32)
SPACING = (3.0, 0.5, 0.5)
GRID = Grid.regular((20, 120, 120), spacing_mm=SPACING, origin_mm=(-30.0, -30.0, 0.0))


def _scan():
    hu = np.full(GRID.shape, 40.0, np.float32)
    hu[:, :2], hu[:, -2:] = -1000.0, -1000.0  # air before and behind
    labels = np.zeros(GRID.shape, np.uint8)
    labels[9:11, 58:64, 50:56] = 1
    labels[4, 58:64, 50:56] = 254
    hu[labels > 0] = 400.0
    return Volume(hu, GRID), labels


def _line(_volume):
    return [GRID.to_world([[s, 60.0, 60.0] for s in np.linspace(2, 17, 30)])]


def _cut(**more):
    volume, labels = _scan()
    return cut_windows(volume, labels, _line, CacheSettings(windows=12, size=SIZE, **more))


def test_a_labelled_windows_label_lies_on_its_bright_voxels():
    cut = _cut()
    assert cut["hu"].shape == (12, *SIZE)
    assert cut["label"].any(axis=(1, 2, 3)).sum() >= 6  # half of the windows lie on lesions
    assert float(cut["hu"][cut["label"]].min()) > 200.0
    # and the volume of a window that holds the whole lesion is that of the lesion
    on_slices = (cut["label"] & cut["weight"]).sum(axis=(1, 2, 3)).max() * 0.44**2 * SPACING[0]
    assert on_slices == pytest.approx(2 * 6 * 6 * 0.5 * 0.5 * 3.0, rel=0.1)


def test_only_acquired_planes_and_bright_voxels_count_and_doubt_does_not():
    cut = _cut()
    counted = cut["weight"].any(axis=(2, 3))  # (n, z)
    assert counted.any()
    for planes in counted:
        assert not (planes[1:] & planes[:-1]).any()  # slices are three planes apart
    assert float(cut["hu"][cut["weight"]].min()) >= 115.0
    # 36 voxels of doubt are bright and count nowhere: all that counts is calcified or its rim
    assert cut["label"][cut["weight"]].mean() > 0.6


def test_distances_are_those_to_the_line():
    cut, volume = _cut(), _scan()[0]
    z, y, x = 4, 10, 20
    # brightness tells where the line is not; take the known geometry: the line runs along z at
    # row 60, column 60, so that distance is in-plane, and the nearest voxel is at most half a
    # diagonal away from it
    nearest = cut["distance"].reshape(12, *SIZE)[:, z].min(axis=(1, 2)) / 8.0
    inside = [k for k in range(12) if nearest[k] < 1.0]
    assert inside
    plane = cut["distance"][inside[0], z] / 8.0
    row, column = np.unravel_index(plane.argmin(), plane.shape)
    there = np.hypot(y - row, x - column) * 0.44
    assert float(plane[y, x]) == pytest.approx(there, abs=0.5)
    far = cut_windows(volume, None, lambda _: [], CacheSettings(windows=2, size=SIZE))
    assert np.unique(far["distance"]).tolist() == [int(8 * FAR_MM)]


def test_the_same_seed_cuts_the_same_windows():
    assert np.array_equal(_cut()["hu"], _cut()["hu"])
    assert not np.array_equal(_cut()["hu"], _cut(seed=2)["hu"])


def test_windows_of_a_scan_without_labels_stay_inside_it():
    volume, _ = _scan()
    cut = cut_windows(volume, None, _line, CacheSettings(windows=30, size=SIZE))
    assert not cut["label"].any()
    assert float(cut["hu"].min()) >= -1000.0  # nothing from outside, which is -1024 HU


def test_a_scan_of_air_is_refused():
    with pytest.raises(IacError) as told:
        air = Volume(np.full(GRID.shape, -1000.0, np.float32), GRID)
        cut_windows(air, None, lambda _: [], CacheSettings(size=SIZE))
    assert told.value.word == Word.EMPTY_VOLUME


# the table


COLUMNS = ("patient_id", "image", "label", "split")


def _table(folder, rows, columns=COLUMNS):
    for name in {row[1] for row in rows} | {row[2] for row in rows if len(row) > 2 and row[2]}:
        (folder / name).touch()
    path = folder / "set.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([columns, *rows])
    return path


def test_a_table_names_patients_by_a_hash_alone(tmp_path):
    path = _table(tmp_path, [("Jane", "a.nii", "b.nii", "train"), ("Joe", "c.nii", "d.nii", "")])
    first, second = find_cases([path])
    assert (first.patient, first.split) == (patient_key("Jane"), Split.TRAIN)
    assert second.split is None
    assert "Jane" not in repr(first) and "a.nii" not in repr(first)


@pytest.mark.parametrize(
    ("rows", "columns", "word"),
    [
        ([("P", "a.nii", "")], ("patient_id", "image", "label"), Word.LABELS_MISSING),
        ([("P", "a.nii")], ("patient_id", "image"), Word.LABELS_MISSING),
        ([("a.nii", "b.nii")], ("image", "label"), Word.BAD_CASE_LIST),
        (
            [("", "a.nii", "b.nii", "")],
            ("patient_id", "image", "label", "split"),
            Word.BAD_CASE_LIST,
        ),
        (
            [("P", "a.nii", "b.nii", "x")],
            ("patient_id", "image", "label", "split"),
            Word.BAD_CASE_LIST,
        ),
        ([], ("patient_id", "image", "label"), Word.EMPTY_SET),
    ],
    ids=["no label", "no column of labels", "no patients", "empty", "split", "no rows"],
)
def test_a_table_that_cannot_be_trained_on_is_refused(tmp_path, rows, columns, word):
    with pytest.raises(IacError) as told:
        labelled(find_cases([_table(tmp_path, rows, columns)]))
    assert told.value.word == word


def test_patients_of_two_simulated_cohorts_are_other_people(tmp_path):
    """Both begin with P0001; a column `seed` of any other table tells nothing."""
    columns = (*COLUMNS[:3], "seed", "protocol_volume_mm3")
    rows = [("P0001", "a.nii", "", seed, "1.0") for seed in ("7", "7", "8")]
    for shown, n_patients in ((columns, 2), (columns[:4], 1)):
        table = _table(tmp_path, [row[: len(shown)] for row in rows], shown)
        assert len({case.patient for case in find_cases([table])}) == n_patients


def test_a_table_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "set.csv"
    path.write_bytes("patient_id,image,label\nJos\xe9,a,b\n".encode("latin-1"))
    with pytest.raises(IacError, match="UTF-8") as told:
        find_cases([path])
    assert told.value.word == Word.BAD_CASE_LIST


def test_a_folder_of_scans_has_no_labels(tmp_path):
    write_nifti(tmp_path / "ct.nii.gz", np.zeros(GRID.shape, np.int16), GRID)
    with pytest.raises(IacError) as told:
        labelled(find_cases([tmp_path / "ct.nii.gz"]))
    assert told.value.word == Word.LABELS_MISSING
    with pytest.raises(IacError) as told:
        find_cases([tmp_path / "nowhere"])
    assert told.value.word == Word.INPUT_NOT_FOUND


def test_windows_are_cut_once_and_hold_no_name(tmp_path, monkeypatch):
    volume, labels = _scan()
    write_nifti(tmp_path / "jane.nii.gz", volume.hu.astype(np.int16), GRID)
    write_nifti(tmp_path / "drawn.nii.gz", labels, GRID)
    table = _table(tmp_path, [], ("patient_id", "image", "label"))
    table.write_text("patient_id,image,label\nJane,jane.nii.gz,drawn.nii.gz\n")
    wanted = Wanted(
        labels=True,
        cut=CacheSettings(windows=4, size=SIZE),
        shares=SplitShares(),
        models=shipped_models(),
    )
    entries, refused = windows_of([table], tmp_path / "windows", wanted, World())
    assert not refused and len(entries) == 1
    assert load_windows([entries[0].file]).label.any()
    everything = "".join(str(p) for p in (tmp_path / "windows").iterdir())
    everything += (tmp_path / "windows" / "index.json").read_text()
    assert "jane" not in everything.lower()

    monkeypatch.setattr("iac_cli.train.scans.cut_windows", None)  # would fail if it cut again
    assert windows_of([table], tmp_path / "windows", wanted, World())[0] == entries
    assert windows_of([tmp_path / "windows"], tmp_path / "other", wanted, World())[0] == entries
    assert read_index(tmp_path / "windows") == entries


def test_a_labelled_scan_that_cannot_be_read_stops_and_an_unlabelled_one_is_left_out(tmp_path):
    volume, _ = _scan()
    write_nifti(tmp_path / "good.nii.gz", volume.hu.astype(np.int16), GRID)
    small = Grid.regular((3, 4, 5), spacing_mm=SPACING)
    write_nifti(tmp_path / "other.nii.gz", np.zeros(small.shape, np.uint8), small)
    (tmp_path / "bad.nii.gz").write_bytes(b"not an image")
    table = tmp_path / "set.csv"

    def go(text, labels):
        table.write_text("patient_id,image,label\n" + text)
        wanted = Wanted(
            labels=labels,
            cut=CacheSettings(windows=2, size=SIZE),
            shares=SplitShares(),
            models=shipped_models(),
        )
        return windows_of([table], tmp_path / "windows", wanted, World())

    entries, refused = go("A,good.nii.gz,\nB,bad.nii.gz,\n", labels=False)
    assert len(entries) == 1 and refused[0].number == 2
    with pytest.raises(IacError, match="scan 1") as told:
        go("A,good.nii.gz,other.nii.gz\n", labels=True)
    assert told.value.word == Word.MASK_MISMATCH
    with pytest.raises(IacError) as told:
        go("B,bad.nii.gz,\n", labels=False)
    assert told.value.word == Word.EMPTY_SET


# splits


def test_every_patient_is_in_one_split_whatever_the_number_of_scans():
    keys = [patient_key(str(n)) for n in range(40)]
    shares = SplitShares(development=0.2, interval=0.1)
    splits = assign([(key, None) for key in keys * 3], shares)
    counts = {split: list(splits.values()).count(split) for split in Split}
    assert counts == {"train": 28, "development": 8, "interval": 4, "test": 0}
    assert (
        assign([(key, None) for key in reversed(keys)], SplitShares(development=0.2, interval=0.1))
        == splits
    )


def test_a_split_that_is_given_is_kept():
    key, other = patient_key("a"), patient_key("b")
    splits = assign([(key, Split.TEST), (key, None), (other, None)], SplitShares())
    assert splits == {key: Split.TEST, other: Split.TRAIN}


def test_a_patient_in_two_splits_is_refused():
    key = patient_key("a")
    with pytest.raises(IacError) as told:
        assign([(key, Split.TEST), (key, Split.TRAIN)], SplitShares())
    assert told.value.word == Word.PATIENT_IN_TWO_SPLITS


def test_shares_must_leave_patients_to_train_on():
    with pytest.raises(IacError) as told:
        assign([("a", None)], SplitShares(development=0.5, interval=0.5))
    assert told.value.word == Word.BAD_SETTING


def test_splits_are_stored_with_the_run_and_other_patients_are_refused(tmp_path):
    splits = {patient_key("a"): Split.TRAIN}
    save_splits(tmp_path, splits)
    assert load_splits(tmp_path) == splits
    assert load_splits(tmp_path / "none") == {}
    with pytest.raises(IacError) as told:
        save_splits(tmp_path, splits | {patient_key("b"): Split.TEST})
    assert told.value.word == Word.OUTPUT_EXISTS
