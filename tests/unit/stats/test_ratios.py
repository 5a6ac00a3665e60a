"""Fieller's interval against the test that it inverts, and against simulation."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from run_assets.stats.ratios import ratio_of_sums

RNG = np.random.default_rng(5)
TOKENS = RNG.gamma(4, 1000, 12)
SUCCESSES = RNG.binomial(8, 0.5, 12).astype(float)


def test_at_the_ends_the_t_test_is_at_its_limit() -> None:
    found = ratio_of_sums(TOKENS, SUCCESSES, confidence=0.9)
    for end in (found.low, found.high):
        assert end is not None
        p_value = ttest_1samp(TOKENS - end * SUCCESSES, 0).pvalue
        assert p_value == pytest.approx(0.1)


def test_it_covers_the_ratio_as_often_as_it_promises() -> None:
    rng = np.random.default_rng(0)
    true, hits, n = 4000 / 4, 0, 1500
    for _ in range(n):
        found = ratio_of_sums(
            rng.gamma(4, 1000, 15),
            rng.binomial(8, 0.5, 15).astype(float),
            confidence=0.95,
        )
        hits += found.low is None or found.low <= true <= (found.high or np.inf)
    assert 0.93 < hits / n < 0.97


def test_without_successes_there_is_nothing_to_divide_by() -> None:
    found = ratio_of_sums(TOKENS, SUCCESSES * 0, confidence=0.95)
    assert found.estimate is None
    assert "nothing to divide by" in found.note


def test_rare_successes_have_an_estimate_and_no_interval() -> None:
    rare = np.zeros(12)
    rare[0] = 1.0
    found = ratio_of_sums(TOKENS, rare, confidence=0.95)
    assert found.estimate == pytest.approx(TOKENS.sum())
    assert found[1:3] == (None, None)


def test_one_cluster_has_no_interval() -> None:
    found = ratio_of_sums(TOKENS[:1], SUCCESSES[:1], confidence=0.95)
    assert found.note == "no interval: one cluster"


def test_the_unit_of_the_sums_only_scales_the_ratio() -> None:
    one = ratio_of_sums(TOKENS, SUCCESSES, confidence=0.95)
    other = ratio_of_sums(TOKENS * 1000, SUCCESSES, confidence=0.95)
    for mine, scaled in zip(one[:3], other[:3], strict=True):
        assert mine is not None
        assert scaled == pytest.approx(1000 * mine)
