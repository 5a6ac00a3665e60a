"""Ranks by each measure by itself."""

import polars as pl

from run_assets.stats.leaderboard import leaderboard
from tests.support.trials import trials_of

COUNTS = {
    **{("good", f"t{i}"): (7, 8) for i in range(5)},
    **{("bad", f"t{i}"): (2, 8) for i in range(5)},
}


def test_the_better_model_is_first_with_the_chance_of_it() -> None:
    found = leaderboard(trials_of(COUNTS), resamples=500)
    first = found.filter(measure="success").row(0, named=True)
    assert (first["model"], first["rank"]) == ("good", 1.0)
    assert first["probability_best"] > 0.99


def test_a_large_reward_moves_no_rank_by_success() -> None:
    trials = trials_of(COUNTS).with_columns(
        reward=pl.when(pl.col("model") == "bad").then(100.0).otherwise("reward")
    )
    found = leaderboard(trials, resamples=200)
    by_success = found.filter(measure="success")["model"].to_list()
    by_reward = found.filter(measure="reward")["model"].to_list()
    assert (by_success, by_reward) == (["good", "bad"], ["bad", "good"])


def test_equal_models_share_the_first_place() -> None:
    twins = {**COUNTS, **{("twin", f"t{i}"): (7, 8) for i in range(5)}}
    found = leaderboard(trials_of(twins), resamples=500).filter(measure="success")
    ranks = dict(found.select("model", "rank").iter_rows())
    assert ranks["good"] == ranks["twin"] == 1.5


def test_a_model_that_was_stopped_early_has_no_rank() -> None:
    stopped = trials_of({("lucky", "t0"): (1, 1)}, is_stopped_early=True)
    found = leaderboard(pl.concat([trials_of(COUNTS), stopped]), resamples=200)
    row = found.filter(measure="success", model="lucky").row(0, named=True)
    assert row["rank"] is None
    assert "stopped at the first success" in row["notes"]
    assert found.filter(measure="success", model="good")["rank"].item() == 1


def test_the_same_seed_gives_the_same_ranks_whoever_else_is_there() -> None:
    trials = trials_of(COUNTS)
    one = leaderboard(trials, resamples=300, seed=3)
    assert leaderboard(trials.reverse(), resamples=300, seed=3).equals(one)
