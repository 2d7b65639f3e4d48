"""Which voxels count, how they group, and what each lesion is called."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iac_cli.geometry.grid import Grid
from iac_cli.geometry.lines import Artery, IcaSegment
from iac_cli.geometry.volume import Mask, Volume
from iac_cli.measure.lesions import Found, find_lesions


@dataclass(frozen=True)
class Place:
    artery: Artery
    segment: IcaSegment | None
    distance_mm: float


def volume_with(values: dict[tuple[int, int, int], float], shape=(6, 12, 12), **grid) -> Volume:
    hu = np.full(shape, 40.0, dtype=np.float32)
    for index, value in values.items():
        hu[index] = value
    spacing_mm = grid.pop("spacing_mm", (2.0, 0.5, 0.5))
    return Volume(hu, Grid.regular(shape, spacing_mm=spacing_mm, **grid))


def everything(volume: Volume) -> Mask:
    return Mask(np.ones(volume.hu.shape, dtype=bool), volume.grid)


def found_in(values: dict[tuple[int, int, int], float], **options) -> Found:
    volume = volume_with(values)
    return find_lesions(volume, everything(volume), **options)


def test_a_voxel_counts_from_130_hu_on() -> None:
    found = found_in({(2, 4, 4): 130.0, (2, 4, 5): 129.99, (2, 5, 4): 130.0})
    assert found.lesions[0].n_voxels == 2
    assert found.labels[2, 4, 5] == 0


def test_a_voxel_without_a_neighbour_is_left_out_and_counted() -> None:
    found = found_in({(2, 4, 4): 200.0, (4, 8, 8): 200.0, (4, 9, 9): 200.0})
    assert [lesion.n_voxels for lesion in found.lesions] == [2]
    assert found.left_out.single_voxels == 1
    assert found.left_out.below_threshold == found.labels.size - 3
    assert found.left_out.total == found.labels.size - 2


def test_single_voxels_can_be_kept() -> None:
    found = found_in({(2, 4, 4): 200.0}, keep_single_voxels=True)
    assert [lesion.n_voxels for lesion in found.lesions] == [1]
    assert found.left_out.single_voxels == 0


@pytest.mark.parametrize("offset", [(1, 1, 1), (1, 0, 0), (0, 1, 1), (1, -1, 1), (0, 0, 1)])
def test_all_26_neighbours_join_a_lesion(offset: tuple[int, int, int]) -> None:
    other = tuple(np.add((2, 5, 5), offset))
    found = found_in({(2, 5, 5): 150.0, other: 150.0})
    assert len(found.lesions) == 1


def test_an_empty_mask_finds_nothing() -> None:
    volume = volume_with({(2, 4, 4): 500.0})
    found = find_lesions(volume, Mask(np.zeros(volume.hu.shape, dtype=bool), volume.grid))
    assert found.lesions == ()
    assert not found.mask.any()
    assert found.left_out.total == 0


def test_numbers_of_a_lesion_by_hand() -> None:
    volume = volume_with({(1, 4, 4): 200.0, (2, 4, 4): 300.0})  # voxels of 0.5 mm3
    (lesion,) = find_lesions(volume, everything(volume)).lesions
    assert lesion.volume_mm3 == pytest.approx(1.0)
    assert lesion.hu_mm3 == pytest.approx(0.5 * 200 + 0.5 * 300)
    assert lesion.mean_hu == pytest.approx(250)
    assert lesion.peak_hu == 300
    assert lesion.centre_mm == pytest.approx((2.0, 2.0, 3.0))
    assert (lesion.first_slice, lesion.last_slice) == (1, 2)
    assert not lesion.at_edge


def test_each_slice_counts_with_its_own_extent() -> None:
    positions_mm = np.array([[0, 0, z] for z in (0.0, 2.0, 7.0, 12.0)])
    grid = Grid(
        shape=(4, 8, 8),
        positions_mm=positions_mm,
        row_axis=np.array([1.0, 0, 0]),
        column_axis=np.array([0, 1.0, 0]),
        pixel_mm=(0.5, 0.4),
        extents_mm=np.array([2.0, 3.5, 5.0, 5.0]),
    )
    hu = np.zeros(grid.shape, dtype=np.float32)
    hu[1:3, 4, 4] = 150
    volume = Volume(hu, grid)
    (lesion,) = find_lesions(volume, everything(volume)).lesions
    assert lesion.volume_mm3 == pytest.approx(0.2 * 3.5 + 0.2 * 5.0)


@pytest.mark.parametrize(
    ("index", "at_edge"),
    [
        ((0, 5, 5), True),
        ((5, 5, 5), True),
        ((2, 0, 5), True),
        ((2, 5, 11), True),
        ((2, 5, 5), False),
    ],
)
def test_a_lesion_at_the_border_of_the_scan_says_so(index: tuple, at_edge: bool) -> None:
    inward = tuple(i - 1 if i in (5, 11) else i + 1 for i in index)
    (lesion,) = found_in({index: 200.0, inward: 200.0}).lesions
    assert lesion.at_edge is at_edge


def test_a_lesion_takes_the_name_of_most_of_its_voxels() -> None:
    def places(points_mm: np.ndarray) -> list[Place]:
        """Below x = 2.1 mm the ICA, cavernous below y = 2.1 mm; beyond it M1."""
        return [
            Place(Artery.M1_L, None, 1.0)
            if x > 2.1
            else Place(
                Artery.ICA_L,
                IcaSegment.CAVERNOUS if y < 2.1 else IcaSegment.CLINOID_OPHTHALMIC,
                2.0 + y,
            )
            for x, y, _ in points_mm
        ]

    values = {(2, 4, column): 200.0 for column in (2, 3, 4, 5, 6)}  # x = 1, 1.5, 2, 2.5, 3 mm
    (lesion,) = found_in(values, places=places, named_by="by_test").lesions
    assert (lesion.artery, lesion.segment) == (Artery.ICA_L, IcaSegment.CAVERNOUS)
    assert lesion.distance_mm == pytest.approx(4.0)
    assert lesion.named_by == "by_test"


def test_a_tie_goes_to_the_nearer_artery() -> None:
    def places(points_mm: np.ndarray) -> list[Place]:
        return [
            Place(Artery.BA, None, 0.5) if x > 2.1 else Place(Artery.A1_L, None, 0.6)
            for x, _, _ in points_mm
        ]

    (lesion,) = found_in({(2, 4, 4): 200.0, (2, 4, 5): 200.0}, places=places).lesions
    assert lesion.artery is Artery.BA


def test_a_lesion_far_from_every_artery_has_no_name() -> None:
    def places(points_mm: np.ndarray) -> list[Place]:
        return [Place(Artery.BA, None, 15.1) for _ in points_mm]

    (lesion,) = found_in({(2, 4, 4): 200.0, (2, 4, 5): 200.0}, places=places).lesions
    assert (lesion.artery, lesion.named_by, lesion.distance_mm) == (None, None, None)


def test_without_arteries_a_lesion_has_no_name() -> None:
    (lesion,) = found_in({(2, 4, 4): 200.0, (2, 4, 5): 200.0}, places=lambda points: []).lesions
    assert lesion.artery is None


def test_places_is_asked_for_few_points_at_once() -> None:
    asked = []

    def places(points_mm: np.ndarray) -> list[Place]:
        asked.append(len(points_mm))
        return [Place(Artery.BA, None, 1.0)] * len(points_mm)

    volume = volume_with({}, shape=(40, 40, 40))
    volume = Volume(np.full(volume.hu.shape, 500, dtype=np.float32), volume.grid)
    (lesion,) = find_lesions(volume, everything(volume), places=places).lesions
    assert lesion.artery is Artery.BA
    assert max(asked) <= 4096
    assert sum(asked) <= 200


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), share=st.floats(0.01, 0.4))
def test_grouping_agrees_with_simpleitk(seed: int, share: float) -> None:
    import SimpleITK

    rng = np.random.default_rng(seed)
    voxels = rng.random((7, 9, 8)) < share
    volume = Volume(
        np.where(voxels, 200, 0).astype(np.float32), Grid.regular((7, 9, 8), spacing_mm=(1, 1, 1))
    )
    found = find_lesions(volume, everything(volume), keep_single_voxels=True)
    labelled = SimpleITK.ConnectedComponent(
        SimpleITK.GetImageFromArray(voxels.astype(np.uint8)), True
    )
    theirs = np.bincount(SimpleITK.GetArrayFromImage(labelled).ravel())[1:]
    assert sorted(lesion.n_voxels for lesion in found.lesions) == sorted(theirs.tolist())
    kept = find_lesions(volume, everything(volume))
    assert kept.mask.sum() == theirs[theirs > 1].sum()
    assert sum(lesion.volume_mm3 for lesion in kept.lesions) == pytest.approx(kept.mask.sum())
