"""Slices out of order, against heads and bodies that are in order."""

from pathlib import Path

import heads
import numpy as np
import pytest

from iac_cli.dicom.blank import look_at
from iac_cli.dicom.hu_steps import hu_steps
from iac_cli.dicom.read import read_series
from iac_cli.dicom.sequence import differences, misplaced, standing_out, ways_between
from iac_cli.errors import IacError, Word
from tests import make
from tests.dicom.test_blank import read_nifti

N = 24


def cone(noise_hu: float = 8.0, n: int = N) -> np.ndarray:
    """Slices (n, 80, 96) of a body that widens and moves from slice to slice, HU."""
    y, x = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 96), indexing="ij")
    random = np.random.default_rng(3)
    slices = []
    for k in range(n):
        size = 0.5 + 0.4 * k / n
        radius = np.hypot(x - 0.1 * k / n, y)
        flat = np.where(radius < 0.9 * size, 35, np.where(radius < size, 900, -1000))
        slices.append(flat + random.normal(0, noise_hu, flat.shape))
    return np.maximum(np.rint(np.stack(slices)), -1024).astype(np.int16)


def exchanged(n: int, k: int) -> list[int]:
    order = list(range(n))
    order[k], order[k + 1] = order[k + 1], order[k]
    return order


def as_text(n: int) -> list[int]:
    return sorted(range(n), key=lambda k: str(k + 1))


def one_moved(n: int) -> list[int]:
    order = [k for k in range(n) if k != n // 3]
    order.insert(2 * n // 3, n // 3)
    return order


DISORDERS = {
    "exchanged": exchanged(N, N // 2),
    "sorted as text": as_text(N),
    "one moved": one_moved(N),
}


def test_a_body_in_order_is_read_whichever_way_it_lies(tmp_path: Path) -> None:
    assert read_nifti(cone(), tmp_path / "a").volume.grid.shape[0] == N
    assert read_nifti(cone()[::-1], tmp_path / "b").volume.grid.shape[0] == N


@pytest.mark.parametrize("noise_hu", [2.0, 20.0, 60.0])
def test_noise_puts_nothing_out_of_order(noise_hu: float) -> None:
    assert misplaced(ways_between([one.astype(np.float32) for one in cone(noise_hu)])) == []


@pytest.mark.parametrize("name", DISORDERS)
def test_a_nifti_out_of_order_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(IacError) as caught:
        read_nifti(cone()[DISORDERS[name]], tmp_path / "nifti")
    assert caught.value.word == Word.SLICES_OUT_OF_ORDER


def test_exchanged_positions_are_refused_and_named(tmp_path: Path) -> None:
    slices = make.slices(cone())
    a, b = slices[10], slices[11]
    a.ImagePositionPatient, b.ImagePositionPatient = b.ImagePositionPatient, a.ImagePositionPatient
    with pytest.raises(IacError) as caught:
        read_series(make.save(slices, tmp_path / "dicom"))
    assert caught.value.word == Word.SLICES_OUT_OF_ORDER
    assert "file 11" in caught.value.what and "file 12" in caught.value.what


def test_slices_all_alike_are_in_any_order() -> None:
    random = np.random.default_rng(1)
    alike = [random.normal(0, 5, (20, 20)).astype(np.float32) for _ in range(N)]
    assert misplaced(ways_between(alike)) == []


def test_a_move_of_the_body_puts_nothing_out_of_order() -> None:
    moved = np.concatenate([cone()[:12], np.roll(cone()[12:], 6, axis=2)])
    assert misplaced(ways_between([one.astype(np.float32) for one in moved])) == []


@pytest.mark.parametrize("k", [3, 12, 20])
def test_a_spoilt_slice_stays_at_its_place(k: int) -> None:
    hu = cone().astype(np.float32)
    hu[k] += 300 * np.sin(np.arange(96) / 3)
    hu[k] = np.roll(hu[k], 7, axis=0)
    assert misplaced(ways_between(list(hu))) == []


CHANGES = {
    "another picture": lambda hu: hu[::-1, ::-1],
    "a move": lambda hu: np.roll(hu, 9, axis=1),
    "a shift of HU": lambda hu: hu + 90,
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_slice_unlike_its_neighbours_is_told(name: str, tmp_path: Path) -> None:
    hu = cone()
    assert Word.SLICE_STANDS_OUT not in {f.word for f in read_nifti(hu, tmp_path / "a").findings}
    hu[9] = CHANGES[name](hu[9])
    (told,) = (
        f for f in read_nifti(hu, tmp_path / "b").findings if f.word == Word.SLICE_STANDS_OUT
    )
    assert told.what.startswith("slice 10 ")
    folder = make.save(make.slices(hu), tmp_path / "dicom")
    assert Word.SLICE_STANDS_OUT in {f.word for f in read_series(folder).findings}


@pytest.mark.parametrize("shift", [-1000, -400, -200, -100, -25, 25, 100, 850, 1000])
def test_an_offset_in_several_slices_is_told_where_it_begins_and_ends(
    shift: int, tmp_path: Path
) -> None:
    hu = cone()
    assert Word.HU_STEP not in {f.word for f in read_nifti(hu, tmp_path / "a").findings}
    hu[9:14] += shift
    (told,) = (f for f in read_nifti(hu, tmp_path / "b").findings if f.word == Word.HU_STEP)
    assert "slice 9 and slice 10, slice 14 and slice 15" in told.what
    assert ("more than 150 HU" in told.what) == (abs(shift) > 150)


def test_a_body_that_sways_is_in_order() -> None:
    hu = np.stack([np.roll(one, (-1) ** k, axis=1) for k, one in enumerate(cone())])
    assert misplaced(ways_between([one.astype(np.float32) for one in hu])) == []


def test_a_body_that_is_its_own_mirror_image_is_in_order() -> None:
    half = cone()
    assert (
        misplaced(
            ways_between([one.astype(np.float32) for one in np.concatenate([half, half[::-1]])])
        )
        == []
    )


@pytest.mark.parametrize("noise_hu", [0.0, 8.0])
def test_an_egg_shaped_head_whose_ends_are_alike_is_in_order(noise_hu: float) -> None:
    hu = heads.head_hu(heads.head_grid(step_mm=5.0))
    hu = hu + np.random.default_rng(4).normal(0, noise_hu, hu.shape)
    small = [one[::6, ::6].clip(-200, 300).astype(np.float32) for one in hu]
    assert misplaced(ways_between(small)) == []
    assert misplaced(ways_between([small[k] for k in exchanged(len(small), 8)])) == [8, 9]


def test_differences_are_means_of_absolute_ones() -> None:
    random = np.random.default_rng(2)
    pictures = [random.normal(0, 100, (6, 7)).astype(np.float32) for _ in range(4)]
    expected = [[np.abs(a - b).mean() for b in pictures] for a in pictures]
    np.testing.assert_allclose(differences(pictures), expected, rtol=1e-5)


HEADS = [
    ("head_ge_tilted", 1),
    ("head_pet_ct", 1),
    ("head_healthy/head.nii.gz", 1),
    ("head_healthy/head.nii.gz", 4),
    ("head_cadaver/head.nii.gz", 1),
    ("head_cadaver/head.nii.gz", 3),
]
"""Real heads, and every how many of their slices: up to 6 mm apart."""


@pytest.mark.parametrize(("head", "every"), HEADS)
def test_real_heads(head: str, every: int, data_dir: Path) -> None:
    hu = read_series(data_dir / head).volume.hu[::every]
    small, n = [look_at(one, b"").picture for one in hu], len(hu)
    assert (
        misplaced(ways_between(small))
        == standing_out(ways_between(small))
        == misplaced(ways_between(small[::-1]))
        == []
    )
    assert bool(hu_steps(small)) == ("cadaver" in head)  # it holds gas
    assert misplaced(ways_between([small[k] for k in as_text(n)]))
    order = range(1, n - 2, max(1, n // 20))
    seen = [bool(misplaced(ways_between([small[i] for i in exchanged(n, k)]))) for k in order]
    assert np.mean(seen) > 0.8
