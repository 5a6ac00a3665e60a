"""Rank stability on cases worked by hand, and its policy."""

import math

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.ranks import SCHEMA
from tests.support.scores import scores

THREE = scores(
    a={"maze": [1, 2, 3, 4, 5]},
    b={"maze": [2, 3, 4, 5, 6]},
    c={"maze": [100, 101, 102, 103, 104]},
)


def test_a_clear_winner_is_always_first_and_the_others_share_the_rest() -> None:
    result = stats.rank_stability(THREE)
    assert result.schema == SCHEMA
    assert result["rank"].to_list() == [3.0, 2.0, 1.0]
    assert result["probability_best"].to_list() == [0.0, 0.0, 1.0]
    assert result.filter(group_name="c")["rank_high"].item() == 1.0
    assert result.filter(group_name="a")["rank_low"].item() == 2.0
    assert result["mean_rank"].sum() == pytest.approx(6.0)


def test_two_groups_with_equal_scores_are_equal_in_everything() -> None:
    result = stats.rank_stability(
        scores(a={"maze": [1, 2, 3]}, b={"maze": [3, 2, 1]}), statistic="mean"
    )
    assert result["rank"].to_list() == [1.5, 1.5]
    assert result["probability_best"].to_list() == pytest.approx([0.5, 0.5])
    columns = result.drop("group_name")
    assert columns[0].equals(columns[1])


def test_the_chance_to_be_best_is_that_of_independent_groups() -> None:
    # P(mean of b > mean of a) over all 27 x 27 resamples, ties split.
    from itertools import product

    a, b = [0.0, 1.0, 4.0], [1.0, 2.0, 3.0]
    means = [[sum(draw) for draw in product(it, repeat=3)] for it in (a, b)]
    wins = [(y > x) + 0.5 * (y == x) for x in means[0] for y in means[1]]
    result = stats.rank_stability(
        scores(a={"maze": a}, b={"maze": b}),
        statistic="mean",
        method="percentile",
        resamples=40_000,
    )
    expected = sum(wins) / len(wins)
    assert result["probability_best"][1] == pytest.approx(expected, abs=0.0125)


def test_corrected_is_less_sure_than_percentile() -> None:
    close = scores(a={"maze": [1, 2, 3]}, b={"maze": [2, 3, 4.5]})
    sure, less_sure = (
        stats.rank_stability(close, method=method)["probability_best"].max()
        for method in ("percentile", "corrected")
    )
    assert sure > less_sure > 0.5  # type: ignore[operator]  # polars: any value


def test_only_tasks_that_all_groups_have_count() -> None:
    data = scores(a={"maze": [1, 2], "nav": [99, 99]}, b={"maze": [3, 4]})
    result = stats.rank_stability(data, resamples=400)
    assert result["rank"].to_list() == [2.0, 1.0]
    assert result["n_tasks"].to_list() == [1, 1]
    assert "1 task(s) that other groups lack left out" in result["notes"][0]


def test_groups_that_cannot_be_ranked_are_rows_with_a_reason() -> None:
    data = pl.concat([THREE, scores(d={"maze": [math.nan]})])
    result = stats.rank_stability(data, resamples=400)
    assert result["n_groups"].to_list() == [3] * 4
    last = result.row(3, named=True)
    assert (last["rank"], last["probability_best"]) == (None, None)
    assert "no rank: no usable score" in last["notes"]
    apart = stats.rank_stability(scores(a={"maze": [1]}, b={"nav": [1]}))
    assert apart["rank"].to_list() == [None, None]
    assert "no rank: no common task" in apart["notes"][0]


def test_one_group_one_run_and_no_rows() -> None:
    one = stats.rank_stability(scores(a={"maze": [1]})).row(0, named=True)
    assert (one["rank"], one["probability_best"]) == (1.0, 1.0)
    assert "one run per task: its noise is unseen" in one["notes"]
    assert stats.rank_stability(THREE.clear()).is_empty()


def test_unknown_options_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown statistic 'optimality_gap'"):
        stats.rank_stability(THREE, statistic="optimality_gap")
    with pytest.raises(UsageError, match="unknown method 'bca'"):
        stats.rank_stability(THREE, method="bca")
