"""Windows of time: as short as they fit, and only where trials were."""

from datetime import timedelta

import polars as pl

from run_assets.stats.results_over_time import results_over_time, window_of
from tests.support.trials import START, frame, trial


def test_trials_count_to_the_hour_in_which_they_ended() -> None:
    rows = [
        trial("a", "t", i, is_success=i > 1, ended_at=START + timedelta(minutes=30 * i))
        for i in range(4)
    ]
    found = results_over_time(frame(rows))
    assert found["window_start_at"].to_list() == [START, START + timedelta(hours=1)]
    assert found["success_rate"].to_list() == [0.0, 1.0]
    assert found["n_trials"].to_list() == [2, 2]
    assert found["window_seconds"].to_list() == [3600.0] * 2


def test_a_trial_without_an_end_counts_by_its_start_and_without_both_nowhere() -> None:
    rows = [
        trial("a", "t", 0, ended_at=None, started_at=START),
        trial("a", "t", 1, ended_at=None, started_at=None),
    ]
    assert results_over_time(frame(rows))["n_trials"].to_list() == [1]
    assert results_over_time(frame(rows[1:])).is_empty()


def test_windows_grow_with_what_they_have_to_hold() -> None:
    for days, expected in ((1, 1), (20, 6), (90, 24), (600, 168), (2000, 720)):
        ends = pl.Series([START, START + timedelta(days=days)])
        assert window_of(ends) == timedelta(hours=expected)


def test_a_window_with_a_stopped_cell_has_no_rate() -> None:
    rows = [trial("a", "t", 0, is_success=True, is_stopped_early=True)]
    (row,) = results_over_time(frame(rows)).to_dicts()
    assert row["success_rate"] is None
    assert row["mean_reward"] == 1.0
