"""Agatston scores against arithmetic: borders of the weights, the area limit, kVp tables."""

import numpy as np
import pytest

from iac_cli.measure.agatston import (
    CLASSIC_CUT_OFFS,
    CUT_OFFS_OF_KVP,
    agatston_by_lesion,
    cut_offs_of,
)


def score_of_block(
    peak_hu: float, *, pixels: int = 9, area_mm2: float = 0.25, extent_mm: float = 3.0, kvp=120.0
) -> float:
    """The score of one in-slice row of `pixels` at 130 HU, of which one has `peak_hu`."""
    labels = np.zeros((3, 3, 40), dtype=np.int32)
    hu = np.full(labels.shape, -1000.0, dtype=np.float32)
    labels[1, 1, 2 : 2 + pixels] = 1
    hu[1, 1, 2 : 2 + pixels] = min(130.0, peak_hu) if kvp == 120.0 else peak_hu
    hu[1, 1, 3] = peak_hu
    cut_offs = cut_offs_of(kvp)
    assert cut_offs is not None
    return float(
        agatston_by_lesion(
            labels,
            hu,
            pixel_area_mm2=area_mm2,
            extents_mm=np.full(3, extent_mm),
            cut_offs=cut_offs,
        )[0]
    )


@pytest.mark.parametrize(
    ("peak_hu", "weight"),
    [
        (129.9, 0),
        (130, 1),
        (199.9, 1),
        (200, 2),
        (299.9, 2),
        (300, 3),
        (399.9, 3),
        (400, 4),
        (3000, 4),
    ],
)
def test_weight_changes_exactly_at_the_published_borders(peak_hu: float, weight: int) -> None:
    assert CLASSIC_CUT_OFFS.weights(np.array([peak_hu])).tolist() == [weight]
    assert score_of_block(peak_hu) == pytest.approx(9 * 0.25 * weight)


@pytest.mark.parametrize(("pixels", "expected"), [(3, 0.0), (4, 1.0), (5, 1.25)])
def test_a_component_counts_from_one_square_millimetre(pixels: int, expected: float) -> None:
    assert score_of_block(150, pixels=pixels, area_mm2=0.25) == pytest.approx(expected)


def test_one_square_millimetre_survives_rounding_of_the_pixel_area() -> None:
    assert score_of_block(150, pixels=10, area_mm2=0.1) == pytest.approx(1.0)


@pytest.mark.parametrize("extent_mm", [0.5, 1.5, 5.0])
def test_the_score_scales_with_the_slice_extent(extent_mm: float) -> None:
    assert score_of_block(250, extent_mm=extent_mm) == pytest.approx(9 * 0.25 * 2 * extent_mm / 3)


def test_pixels_that_share_a_corner_are_one_component() -> None:
    labels = np.zeros((1, 6, 6), dtype=np.int32)
    labels[0, 1, 1] = labels[0, 2, 2] = 1
    hu = np.where(labels > 0, 130, 0).astype(np.float32)
    hu[0, 2, 2] = 450
    (value,) = agatston_by_lesion(labels, hu, pixel_area_mm2=0.6, extents_mm=np.array([3.0]))
    assert value == pytest.approx(1.2 * 4)  # apart, each would be below 1 mm2


def test_pixels_of_two_slices_are_two_components() -> None:
    labels = np.zeros((2, 4, 4), dtype=np.int32)
    labels[:, 1, 1:3] = 1
    hu = np.where(labels > 0, 150, 0).astype(np.float32)
    hu[1, 1, 1] = 500
    (value,) = agatston_by_lesion(labels, hu, pixel_area_mm2=1.0, extents_mm=np.array([3.0, 3.0]))
    assert value == pytest.approx(2 * 1 + 2 * 4)


@pytest.mark.parametrize(
    ("kvp", "borders"),
    [
        (70, (207, 318, 477, 636)),
        (80, (177, 271, 408, 544)),
        (100, (145, 222, 334, 446)),
        (135, (119, 183, 274, 364)),
    ],
)
def test_kvp_cut_offs_are_the_published_table(kvp: float, borders: tuple[float, ...]) -> None:
    cut_offs = CUT_OFFS_OF_KVP[kvp]
    for weight, border in enumerate(borders, start=1):
        at_and_below = cut_offs.weights(np.array([border, border - 0.5]))
        assert at_and_below.tolist() == [weight, weight - 1]
        assert score_of_block(border, kvp=kvp) == pytest.approx(9 * 0.25 * weight)


@pytest.mark.parametrize("kvp", [None, 90.0, 110.0, 130.0, 140.0, float("nan")])
def test_there_are_no_cut_offs_where_none_are_published(kvp: float | None) -> None:
    assert cut_offs_of(kvp) is None


def test_at_120_kvp_the_adjusted_score_is_the_classic_one() -> None:
    assert cut_offs_of(120.0) == CLASSIC_CUT_OFFS


def test_no_lesion_scores_nothing() -> None:
    empty = np.zeros((2, 3, 3), dtype=np.int32)
    hu = np.full(empty.shape, 500, dtype=np.float32)
    assert agatston_by_lesion(empty, hu, pixel_area_mm2=1.0, extents_mm=np.ones(2)).tolist() == []
