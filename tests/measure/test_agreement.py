"""ICC and limits of agreement against published figures and sums done by hand."""

from itertools import product

import numpy as np
import pytest

from iac_cli.measure.agreement import icc_2_1, limits_of_agreement

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
"""Table 2 of Shrout & Fleiss 1979: six targets, four judges. Table 4 gives ICC(2,1) = .29."""


def test_icc_of_the_published_example() -> None:
    icc = icc_2_1(SHROUT_FLEISS)
    assert icc is not None
    assert round(icc.value, 2) == 0.29
    assert icc.value == pytest.approx(0.2897638)  # from the table's mean squares, by hand
    assert icc.low == pytest.approx(0.019, abs=5e-4)  # as R's psych::ICC prints them
    assert icc.high == pytest.approx(0.761, abs=5e-4)


def test_icc_from_the_published_mean_squares() -> None:
    """BMS 11.24, JMS 32.49, EMS 1.02 (table 3): the formula of the paper on its own."""
    by_hand = (11.24 - 1.02) / (11.24 + 3 * 1.02 + 4 * (32.49 - 1.02) / 6)
    assert icc_2_1(SHROUT_FLEISS).value == pytest.approx(by_hand, abs=2e-3)


def test_perfect_agreement_is_one_and_has_no_interval() -> None:
    icc = icc_2_1(np.array([[1, 1], [2, 2], [5, 5]], float))
    assert (icc.value, icc.low, icc.high) == (1.0, None, None)


def test_a_shift_lowers_absolute_agreement() -> None:
    """Subjects 0, 2 and a shift of 2: MSR 4, MSC 4, MSE 0, so 4 / (4 + 2 x 4 / 2)."""
    assert icc_2_1(np.array([[0, 2], [2, 4]], float)).value == pytest.approx(0.5)


def test_when_nothing_varies_there_is_no_icc() -> None:
    assert icc_2_1(np.full((4, 2), 3.0)) is None


def test_limits_of_pairs_by_hand() -> None:
    """Differences 1, 3, 2, 2: mean 2, variance (1 + 1) / 3."""
    pairs = np.array([[10, 11], [20, 23], [30, 32], [40, 42]], float)
    limits = limits_of_agreement(pairs)
    half = 1.959964 * (2 / 3) ** 0.5
    assert limits.n == 4
    assert limits.bias == pytest.approx(2.0)
    assert (limits.low, limits.high) == pytest.approx((2 - half, 2 + half))
    assert limits.smallest_difference == pytest.approx(half)  # sqrt(2) SEM is SD of differences


def test_the_smallest_difference_is_passed_by_noise_once_in_twenty() -> None:
    rng = np.random.default_rng(7)
    true = rng.gamma(1, 100, size=(20_000, 1))
    limits = limits_of_agreement(true + rng.normal(0, 4, size=(20_000, 2)))
    again = rng.normal(0, 4, size=(20_000, 2))
    passed = np.abs(np.diff(again, axis=1)) > limits.smallest_difference
    assert limits.smallest_difference == pytest.approx(1.96 * 2**0.5 * 4, rel=0.02)
    assert passed.mean() == pytest.approx(0.05, abs=0.006)


def test_where_the_data_allow_no_interval_none_is_told() -> None:
    """By the formula they have ends that are no numbers, or do not hold the ICC."""
    for ratings in ([[0, 1], [1, 0], [1, 0]], [[0, 5], [2, 2]], [[0, 2], [1, 1], [1, 1]]):
        icc = icc_2_1(np.array(ratings, float))
        assert icc.value < 0.0
        assert (icc.low, icc.high) == (None, None)


@pytest.mark.filterwarnings("error")
def test_an_interval_that_is_told_holds_the_icc() -> None:
    told = 0
    for values in product((0.0, 1.0, 2.0, 100.0), repeat=6):
        icc = icc_2_1(np.array(values).reshape(3, 2))
        if icc is not None and icc.low is not None:
            told += 1
            assert icc.low <= icc.value <= icc.high
    assert told > 1000
