import math
from collections.abc import Sequence

import polars as pl
import pytest

from run_assets.reading.cache import CacheStatistic, cache_statistics, is_logged
from tests.support.points import points_of

NAMES = [
    *("hit_rate", "hit_rate_after_warm_up", "first_hit_rate", "last_hit_rate"),
    *("peak_hit_rate", "total_hits", "total_queries", "prompt_tokens", "batches"),
    "tokens_saved",
]


def found(**curves: Sequence[float | None]) -> dict[str, CacheStatistic]:
    points = points_of(
        {
            f"cache/{name}": {
                step: one for step, one in enumerate(curve) if one is not None
            }
            for name, curve in curves.items()
        }
    )
    rows = cache_statistics(points)
    assert [one.statistic for one in rows] == NAMES
    return {one.statistic: one for one in rows}


def test_rates_are_weighted_by_counts() -> None:
    """Nine idle steps at 100 % and one busy step at 10 % are no 91 %."""
    rows = found(
        hit_rate=[1.0] * 9 + [0.1],
        total_hits=[1.0] * 9 + [100.0],
        total_queries=[1.0] * 9 + [1000.0],
    )
    assert rows["hit_rate"].value == pytest.approx(109 / 1009)
    assert rows["hit_rate"].note == "sum of hits / sum of queries"


def test_tokens_saved_are_a_sum_over_steps() -> None:
    """The last prompt_tokens times the mean rate would say 49."""
    rows = found(hit_rate=[0.0, 0.5, 1.0], prompt_tokens=[100_000.0, 2_000.0, 98.0])
    assert rows["tokens_saved"].value == 1_098.0
    assert rows["prompt_tokens"].value == 102_098.0


def test_without_counts_tokens_weigh_and_it_says_so() -> None:
    rows = found(hit_rate=[0.0, 1.0], prompt_tokens=[300.0, 100.0])
    assert rows["hit_rate"].value == 0.25
    assert "weighted by cache/prompt_tokens" in rows["hit_rate"].note


def test_a_rate_alone_is_an_unweighted_mean_and_says_so() -> None:
    row = found(hit_rate=[0.25, 0.75])["hit_rate"]
    assert (row.value, "unweighted" in row.note) == (0.5, True)


def test_rates_come_from_counts_where_none_were_logged() -> None:
    rows = found(
        total_hits=[0.0, 5.0], total_queries=[0.0, 10.0], prompt_tokens=[7.0, 100.0]
    )
    assert rows["last_hit_rate"].value == 0.5
    assert rows["tokens_saved"].value == 50.0


def test_what_was_not_logged_is_no_zero() -> None:
    rows = found()
    assert {one.value for one in rows.values()} == {None}
    assert all(one.note.startswith("not logged: cache/") for one in rows.values())
    zero = found(hit_rate=[0.0, 0.0], total_hits=[0.0], total_queries=[10.0])
    assert zero["hit_rate"].value == 0.0
    assert zero["prompt_tokens"].value is None


def test_no_queries_are_no_rate() -> None:
    row = found(total_hits=[0.0], total_queries=[0.0])["hit_rate"]
    assert (row.value, row.note) == (None, "no queries were made")


def test_percents_are_read_as_such_and_said() -> None:
    rows = found(hit_rate=[20.0, 80.0], prompt_tokens=[100.0, 100.0])
    assert rows["hit_rate"].value == pytest.approx(0.5)
    assert rows["tokens_saved"].value == pytest.approx(100)
    assert "read as percent" in rows["peak_hit_rate"].note


def test_the_first_steps_are_warm_up() -> None:
    curve = [0.0] * 5 + [1.0] * 95
    rows = found(total_hits=[*curve], total_queries=[1.0] * 100)
    assert rows["hit_rate"].value == 0.95
    assert rows["hit_rate_after_warm_up"].value == 1.0


def test_sparse_metrics_meet_at_their_own_steps_and_nan_is_left_out() -> None:
    rows = found(
        hit_rate=[0.5, None, math.nan, 1.0],
        prompt_tokens=[10.0, 1000.0, 1000.0, 10.0],
    )
    assert rows["tokens_saved"].value == 15.0
    assert rows["tokens_saved"].n_points == 2


def test_a_running_total_is_noticed() -> None:
    assert "running total" in found(total_hits=[1.0, 5.0, 9.0])["total_hits"].note
    assert "running total" not in found(total_hits=[4.0, 4.0, 4.0])["total_hits"].note


def test_it_is_said_whether_anything_was_logged() -> None:
    assert not is_logged(pl.DataFrame({"metric": ["loss"]}))
    assert is_logged(pl.DataFrame({"metric": ["cache/x"]}))
