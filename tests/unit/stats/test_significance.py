"""Tests and effect sizes of one pair of samples, on small cases worked by hand."""

from math import sqrt

import numpy as np
import pytest

from run_assets.stats.significance import (
    Samples,
    cliffs_delta,
    cohen_d,
    mann_whitney_test,
    mean_difference,
    merge_near_ties,
    smallest_p_value,
    t_test,
    welch_test,
    wilcoxon_test,
)


def samples(x: list[float], y: list[float], *, paired: bool = False) -> Samples:
    return Samples(np.array(x, dtype=float), np.array(y, dtype=float), paired)


def test_wilcoxon_of_four_pairs_on_one_side_is_2_of_16_sign_patterns() -> None:
    result = wilcoxon_test(samples([2, 4, 6, 8], [1, 2, 3, 4], paired=True))
    assert (result.statistic, result.p_value) == (0.0, 0.125)


def test_wilcoxon_is_exact_with_ties() -> None:
    # Differences 1, 1, -1: ranks 2 each, W+ = 4; sums 0, 2, 4, 6 have 1, 3, 3, 1 of 8
    # sign patterns, so 4 or more on one side has 4 of 8.
    result = wilcoxon_test(samples([1, 1, 0], [0, 0, 1], paired=True))
    assert (result.statistic, result.p_value) == (2.0, 1.0)


def test_wilcoxon_drops_equal_pairs_and_says_so() -> None:
    result = wilcoxon_test(samples([2, 4, 6, 5], [1, 2, 3, 5], paired=True))
    assert result.p_value == 0.25
    assert result.notes == ("1 equal pairs dropped",)


def test_wilcoxon_takes_differences_that_only_rounding_tells_apart_as_ties() -> None:
    rounded = samples([0.15, 0.35, 0.6], [0.1, 0.3, 0.65], paired=True)
    exact = samples([15, 35, 60], [10, 30, 65], paired=True)
    assert wilcoxon_test(rounded) == wilcoxon_test(exact)
    equal = wilcoxon_test(samples([0.1 + 0.2], [0.3], paired=True))
    assert equal.notes == ("no test: all 1 pairs are equal",)


def test_mann_whitney_of_two_against_two_has_6_assignments() -> None:
    result = mann_whitney_test(samples([3, 4], [1, 2]))
    assert result.statistic == 4.0
    assert result.p_value == pytest.approx(2 / 6)


def test_mann_whitney_is_exact_for_successes_and_failures() -> None:
    # Fisher's exact test of 3/3 against 0/3 has the same 20 assignments.
    result = mann_whitney_test(samples([1, 1, 1], [0, 0, 0]))
    assert result.p_value == pytest.approx(2 / 20)
    assert result.notes == ("ties",)


def test_mann_whitney_of_equal_values_is_no_test() -> None:
    result = mann_whitney_test(samples([1, 1], [1, 1]))
    assert (result.p_value, result.notes) == (None, ("no test: all values are equal",))


def test_t_test_of_two_pairs_by_hand() -> None:
    # Differences 1 and 3: mean 2, standard error 1, t = 2 with 1 degree of freedom
    # (Cauchy): p = 1 - 2 arctan(2) / pi.
    result = t_test(samples([2, 5], [1, 2], paired=True))
    assert result.statistic == pytest.approx(2.0)
    assert result.p_value == pytest.approx(1 - 2 * np.arctan(2) / np.pi)


def test_welch_of_equal_sizes_and_variances_is_students_test() -> None:
    pair = samples([1, 2, 3], [4, 5, 6])
    assert welch_test(pair).p_value == pytest.approx(t_test(pair).p_value)
    difference = mean_difference(pair, equal_variances=False)
    assert difference.degrees_of_freedom == pytest.approx(4.0)
    assert difference.standard_error == pytest.approx(sqrt(2 / 3))


def test_an_interval_is_symmetric_about_the_difference() -> None:
    difference = mean_difference(
        samples([2, 5], [1, 2], paired=True), equal_variances=True
    )
    low, high = difference.interval(0.5)
    # The upper quartile of the Cauchy distribution is 1.
    assert low == pytest.approx(1.0)
    assert high == pytest.approx(3.0)


@pytest.mark.parametrize("test", [t_test, welch_test])
def test_values_that_do_not_scatter_have_no_t_test(test: type) -> None:
    result = test(samples([1.1, 1.1], [0.1, 0.1]))
    assert result.notes == ("no test: the values do not scatter",)


def test_a_constant_shift_has_no_t_test_in_spite_of_rounding() -> None:
    y = np.array([0.1, 0.7, 0.3, 0.9])
    result = t_test(Samples(y + 0.1, y, paired=True))
    assert result.p_value is None


def test_cohen_d_is_in_pooled_standard_deviations() -> None:
    # Variances 1 (n = 3) and 4 (n = 2): pooled (2 * 1 + 1 * 4) / 3 = 2.
    sides = samples([4, 5, 6], [1, 1 + 2 * sqrt(2)])
    assert cohen_d(sides) == pytest.approx((5 - (1 + sqrt(2))) / sqrt((2 + 4) / 3))
    assert cohen_d(samples([1, 1], [2, 2])) is None


def test_cliffs_delta_counts_pairs() -> None:
    assert cliffs_delta(samples([2, 3], [0, 1])) == 1.0
    assert cliffs_delta(samples([0, 1], [0, 1])) == 0.0
    assert cliffs_delta(samples([0.3], [0.1 + 0.2])) == 0.0


def test_the_smallest_p_value_bounds_the_test() -> None:
    assert smallest_p_value("wilcoxon", samples([1] * 5, [0] * 5)) == 0.0625
    assert smallest_p_value("wilcoxon", samples([1, 1, 0], [0, 0, 0])) == 0.5
    assert smallest_p_value("mannwhitney", samples([1] * 3, [0] * 3)) == 0.1
    assert smallest_p_value("ttest", samples([1] * 3, [0] * 3)) == 0.0


def test_near_ties_are_relative_to_the_size_of_the_numbers() -> None:
    values = np.array([1e30, 1.0, 1.0 + 1e-9, 1.0 + 1e-15])
    assert merge_near_ties(values, np.abs(values)).tolist() == [
        1e30,
        1.0,
        1 + 1e-9,
        1.0,
    ]
