"""Probability of improvement on cases worked by hand, and its policy."""

import math

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.improvement import SCHEMA
from tests.support.scores import scores

TWO = scores(
    a={"maze": [1, 2, 3, 4, 5], "nav": [1, 1, 1, 1, 1]},
    b={"maze": [0, 0, 0, 0, 0], "nav": [1, 1, 1, 1, 2]},
)


def test_ties_count_half_and_tasks_the_same() -> None:
    result = stats.probability_of_improvement(TWO, resamples=2_000)
    assert result.schema == SCHEMA
    # maze: always above; nav: 20 of 25 pairs are ties, the others lost.
    assert result["estimate"].to_list() == pytest.approx([0.7, 0.3])
    assert result.select("group_x", "group_y", "n_x", "n_y", "n_tasks").row(0) == (
        "a", "b", 10, 10, 2,
    )  # fmt: skip
    assert result["notes"][0] == "20 of 50 pairs of runs are ties, each half a win"


@pytest.mark.parametrize("method", ["percentile", "corrected", "bca"])
def test_the_other_order_of_a_pair_is_its_mirror_image(method: str) -> None:
    data = scores(a={"maze": [1, 4, 2, 6, 3]}, b={"maze": [2, 5, 3, 7, 1]})
    result = stats.probability_of_improvement(data, method=method, resamples=500)
    one, other = result.rows(named=True)
    assert other["estimate"] == pytest.approx(1 - one["estimate"])
    assert other["ci_low"] == pytest.approx(1 - one["ci_high"])
    assert other["ci_high"] == pytest.approx(1 - one["ci_low"])
    alone = stats.probability_of_improvement(
        data, pairs=[("b", "a")], method=method, resamples=500
    )
    assert alone.row(0, named=True) == pytest.approx(other)


def test_an_interval_holds_its_estimate() -> None:
    data = scores(a={"m": [1, 4, 2, 6, 3]}, b={"m": [2, 5, 3, 7, 1]}, c={"m": [9] * 5})
    result = stats.probability_of_improvement(data, resamples=2_000)
    assert result.height == 6
    inside = pl.col("estimate").is_between("ci_low", "ci_high")
    assert result.select(inside.all()).item()
    always = result.filter(group_x="c", group_y="a").row(0, named=True)
    assert (always["estimate"], always["ci_low"], always["ci_high"]) == (1, 1, 1)


def test_only_tasks_that_both_have_count() -> None:
    data = scores(a={"maze": [1, 2], "nav": [5, 6]}, b={"maze": [0, 0], "zoo": [9, 9]})
    row = stats.probability_of_improvement(data, resamples=400).row(0, named=True)
    assert (row["estimate"], row["n_x"], row["n_tasks"]) == (1.0, 2, 1)
    assert "2 task(s) that only one of them has left out" in row["notes"]
    assert "few runs (as few as 2 in a task)" in row["notes"]


def test_no_common_task_and_no_usable_score_are_rows_with_a_reason() -> None:
    data = scores(a={"maze": [1]}, b={"nav": [1]}, c={"maze": [math.nan]})
    result = stats.probability_of_improvement(data)
    assert result["estimate"].to_list() == [None] * 6
    assert "no estimate: no common task" in result["notes"][0]
    assert "c: 1 of 1 scores left out (1 missing)" in result["notes"][1]


def test_one_run_a_side_has_an_estimate_but_no_interval() -> None:
    data = scores(a={"maze": [2]}, b={"maze": [1]})
    row = stats.probability_of_improvement(data).row(0, named=True)
    assert (row["estimate"], row["ci_low"], row["ci_high"]) == (1.0, None, None)
    assert "no interval: one run per task" in row["notes"]


def test_one_group_and_no_group_have_no_pairs() -> None:
    one = stats.probability_of_improvement(scores(a={"maze": [1, 2]}))
    none = stats.probability_of_improvement(TWO.clear())
    assert one.is_empty()
    assert none.schema == SCHEMA


def test_unknown_groups_and_options_are_refused() -> None:
    with pytest.raises(UsageError, match="no group 'c' in the scores"):
        stats.probability_of_improvement(TWO, pairs=[("a", "c")])
    with pytest.raises(UsageError, match="unknown method 'basic'"):
        stats.probability_of_improvement(TWO, method="basic")
