import numpy as np
import pytest

from run_assets.errors import ContractError
from run_assets.sweeps.results import Failure, Result, failure, outcome_of


def result(**values: object) -> Result:
    found = outcome_of(values)
    assert isinstance(found, Result)
    return found


def test_a_reward_is_enough() -> None:
    found = result(reward=0.5)
    assert found.highest_reward == 0.5
    assert (found.step_count, found.token_count) == (None, None)


def test_a_trajectory_says_what_is_not_said_otherwise() -> None:
    found = result(
        trajectory=[
            {"reward": 0, "tokens": 5},
            {"reward": 3, "tokens": 6},
            {"reward": 1, "tokens": 7},
        ]
    )
    assert (found.reward, found.highest_reward) == (1.0, 3.0)
    assert (found.step_count, found.token_count) == (3, 18)


def test_what_is_said_wins_over_the_trajectory() -> None:
    steps = [{"reward": 1, "tokens": 5}, {"reward": None}]
    found = result(reward=2, max_reward=9, steps=7, tokens=1, trajectory=steps)
    assert (found.reward, found.highest_reward) == (2.0, 9.0)
    assert (found.step_count, found.token_count) == (7, 1)
    assert result(reward=0, trajectory=steps).token_count is None


def test_numbers_of_numpy_and_tuples_are_values() -> None:
    found = result(
        reward=np.float32(0.5),
        steps=np.int64(3),
        success=np.float64(1) > 0,
        output=(1, 2),
    )
    assert (found.reward, found.steps, found.success) == (0.5, 3, True)
    assert found.output == [1, 2]


def test_a_trial_may_say_that_it_failed() -> None:
    found = outcome_of({"error": "429", "error_class": "rate_limit", "cost": 0.25})
    assert found == Failure(error="429", error_class="rate_limit", cost=0.25)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "got NoneType"),
        ([1.0], "got list"),
        ({}, "reward is missing"),
        ({"reward": None}, "reward"),
        ({"reward": "high"}, "reward"),
        ({"reward": float("nan")}, "reward"),
        ({"reward": float("inf")}, "reward"),
        ({"reward": 1, "rewrad": 2}, "unknown key rewrad; did you mean 'reward'?"),
        ({"reward": 2, "max_reward": 1}, "max_reward 1.0 is below reward 2.0"),
        ({"reward": 1, "tokens": -1}, "tokens"),
        ({"reward": 1, "cost": float("nan")}, "cost"),
        ({"reward": 1, "output": object()}, "object is no JSON value"),
        ({"reward": 1, "trajectory": [{"rewards": 1}]}, "rewards"),
        ({"error": "x", "reward": 1}, "unknown key reward"),
    ],
)
def test_anything_else_is_refused(given: object, said: str) -> None:
    with pytest.raises(ContractError) as raised:
        outcome_of(given)
    assert said in str(raised.value)


def test_a_long_text_keeps_its_end() -> None:
    text = failure("x", "begin" + "." * 5_000 + "end").error
    assert len(text) < 2_100
    assert text.endswith("end")
