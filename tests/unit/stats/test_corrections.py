"""Corrections for many comparisons on cases worked by hand."""

import math

import pytest

from run_assets.errors import UsageError
from run_assets.stats.corrections import adjust_p_values

P_VALUES = [0.01, 0.04, 0.03, 0.5]


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        ("none", P_VALUES),
        ("bonferroni", [0.04, 0.16, 0.12, 1.0]),
        ("holm", [0.04, 0.09, 0.09, 0.5]),
        ("bh", [0.04, 0.16 / 3, 0.16 / 3, 0.5]),
    ],
)
def test_four_p_values_worked_by_hand(correction: str, expected: list[float]) -> None:
    assert adjust_p_values(P_VALUES, correction=correction) == pytest.approx(expected)


@pytest.mark.parametrize("correction", ["holm", "bonferroni", "bh", "none"])
def test_a_test_that_was_not_made_is_no_comparison(correction: str) -> None:
    without = adjust_p_values([0.01, 0.04], correction=correction)
    with_gap = adjust_p_values([0.01, None, 0.04], correction=correction)
    assert with_gap == [without[0], None, without[1]]
    assert adjust_p_values([], correction=correction) == []
    assert adjust_p_values([None], correction=correction) == [None]


@pytest.mark.parametrize("correction", ["holm", "bonferroni", "bh", "none"])
def test_one_comparison_needs_no_correction(correction: str) -> None:
    assert adjust_p_values([0.03], correction=correction) == [0.03]


def test_holm_never_orders_p_values_anew() -> None:
    assert adjust_p_values([0.02, 0.025]) == [0.04, 0.04]


def test_an_unknown_correction_is_refused_not_skipped() -> None:
    with pytest.raises(UsageError, match="unknown correction 'fdr'; known: bh, bonf"):
        adjust_p_values([0.1], correction="fdr")


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(UsageError, match="p-values must be from 0 to 1"):
        adjust_p_values([0.1, wrong])
