"""What a success costs, and who is on the Pareto front."""

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from run_assets.stats.trial_costs import pareto_front, trial_costs
from tests.support.trials import frame, trial, trials_of


def test_failures_are_paid_for_by_the_successes() -> None:
    trials = trials_of({("a", "t"): (1, 4), ("a", "u"): (3, 4)})
    (row,) = trial_costs(trials).to_dicts()
    assert row["tokens_per_success"] == 8 * 1000 / 4
    assert row["tokens_per_successful_trial"] == 1000
    assert row["cost_per_success"] == 8 * 0.5 / 4
    assert row["reward_per_token"] == 4 / 8000
    assert row["tokens_ci_low"] is None  # two tasks: a success might be impossible


def test_many_tasks_have_an_interval() -> None:
    trials = trials_of({("a", f"t{i}"): (1 + i % 3, 4) for i in range(12)})
    (row,) = trial_costs(trials).to_dicts()
    assert row["tokens_ci_low"] < row["tokens_per_success"] == 2000
    assert 2000 < row["tokens_ci_high"] < 3000


def test_a_trial_that_does_not_say_its_tokens_counts_in_neither_sum() -> None:
    rows = [
        trial("a", "t", 0, is_success=True),
        trial("a", "t", 1, is_success=True, total_tokens=None),
        trial("a", "t", 2, is_success=False),
    ]
    (row,) = trial_costs(frame(rows)).to_dicts()
    assert row["tokens_per_success"] == 2000


def test_without_a_success_or_tokens_there_is_no_number() -> None:
    trials = trials_of({("a", "t"): (0, 4)}, cost=None)
    (row,) = trial_costs(trials).to_dicts()
    assert row["tokens_per_success"] is None
    assert "cost: no trial says" in row["notes"]


def test_a_model_that_was_stopped_early_has_costs_and_no_place_on_the_front() -> None:
    stopped = trials_of({("a", "t"): (1, 1)}, is_stopped_early=True)
    rows = trial_costs(pl.concat([stopped, trials_of({("b", "t"): (1, 4)})]))
    assert rows["is_token_efficient"].to_list() == [None, True]
    assert rows["tokens_per_success"].to_list() == [1000.0, 4000.0]


POINTS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12
)


@given(POINTS)
def test_what_is_not_on_the_front_is_beaten_by_what_is(
    points: list[tuple[int, int]],
) -> None:
    is_front = pareto_front(points)
    front = [point for point, there in zip(points, is_front, strict=True) if there]
    assert front
    for (good, cost), there in zip(points, is_front, strict=True):
        beaten = any(
            g >= good and c <= cost and (g > good or c < cost) for g, c in front
        )
        assert beaten is not there


def test_numbers_are_of_the_models_own_trials_alone() -> None:
    both = trials_of({("a", "t"): (1, 4), ("b", "t"): (2, 4)}, cost=1.0)
    alone = trial_costs(both.filter(model="a")).drop(
        "is_token_efficient", "is_cost_efficient"
    )
    together = trial_costs(both).filter(model="a").select(alone.columns)
    assert together.equals(alone)
