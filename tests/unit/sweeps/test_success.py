from typing import Any

import pytest

from run_assets.config_evaluations import Evaluations
from run_assets.sweeps.results import Result
from run_assets.sweeps.success import judge_of
from tests.support.sweeps import function, query, sweep_lab, toy

RULES = {
    "success": {"threshold": 0.5},
    "tasks": [
        {"match": "iron_*", "quota": 16},
        {"match": "*_ore", "quota": 400, "reward": "max"},
    ],
}


@pytest.mark.parametrize(
    ("task", "values", "is_success"),
    [
        ("maze", {"reward": 0.5}, False),
        ("maze", {"reward": 0.6}, True),
        ("maze", {"reward": 0, "success": True}, True),
        ("maze", {"reward": 9, "success": False}, False),
        ("iron_ore", {"reward": 16}, True),
        ("iron_ore", {"reward": 15, "max_reward": 500}, False),
        ("coal_ore", {"reward": 15, "max_reward": 400}, True),
        ("coal_ore", {"reward": 399}, False),
        ("Iron_ore", {"reward": 16}, False),
    ],
)
def test_the_first_rule_of_the_lab_that_matches_judges(
    task: str, values: dict[str, Any], *, is_success: bool
) -> None:
    judge = judge_of(toy(), Evaluations.model_validate(RULES))
    assert judge(task, Result.model_validate(values)) is is_success


def test_a_threshold_of_the_sweep_wins_over_the_lab() -> None:
    judge = judge_of(toy(success_threshold=3), Evaluations.model_validate(RULES))
    assert not judge("iron_ore", Result(reward=3))
    assert judge("iron_ore", Result(reward=4))


def test_a_sweep_is_judged_as_its_lab_says(tmp_path: Any) -> None:
    from run_assets.sweeps import run_sweep

    lab = sweep_lab(tmp_path, evaluations={"tasks": [{"match": "x", "quota": 7}]})
    body = "return {'reward': 6 + attempt.trial}"
    ran = run_sweep(lab, toy(tmp_path, function=function(tmp_path, body)))
    told = "select task, trial, success from trials where model = 'a' order by 1, 2"
    assert query(ran.ledger, told) == [
        ("x", 0, 0),
        ("x", 1, 1),
        ("y", 0, 1),
        ("y", 1, 1),
    ]
