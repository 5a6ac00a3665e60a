"""How hard tasks are: models count alike, and stopped cells have no rate."""

import polars as pl

from run_assets.stats.task_difficulty import task_difficulty
from tests.support.trials import trials_of


def test_models_count_alike_however_many_trials_each_has() -> None:
    trials = trials_of({("a", "t"): (8, 8), ("b", "t"): (0, 2)})
    (row,) = task_difficulty(trials).to_dicts()
    assert (row["success_rate"], row["difficulty"]) == (0.5, 0.5)
    assert (row["best_model"], row["best_rate"], row["spread_rate"]) == ("a", 1.0, 1.0)
    assert (row["n_models"], row["n_solved"], row["success_class"]) == (2, 1, "some")


def test_the_hardest_comes_first_and_ties_go_by_name() -> None:
    counts = {("a", "y"): (1, 2), ("a", "x"): (1, 2), ("a", "z"): (0, 2)}
    assert task_difficulty(trials_of(counts))["task"].to_list() == ["z", "x", "y"]


def test_one_model_has_no_interval() -> None:
    (row,) = task_difficulty(trials_of({("a", "t"): (1, 2)})).to_dicts()
    assert row["ci_low"] is None
    assert row["notes"] == "no interval: one model"


def test_a_task_that_was_stopped_early_comes_last_without_a_rate() -> None:
    whole = trials_of({("a", "t"): (1, 2)})
    stopped = trials_of({("a", "s"): (1, 1)}, is_stopped_early=True)
    found = task_difficulty(pl.concat([whole, stopped]))
    assert found["task"].to_list() == ["t", "s"]
    assert found["success_rate"].to_list() == [0.5, None]
