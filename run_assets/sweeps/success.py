"""Whether a trial solved its task: as it says itself, else as the lab's rules say."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from run_assets.config_evaluations import Evaluations, SuccessRule
from run_assets.sweeps.config import SweepConfig
from run_assets.sweeps.results import Result

Judge = Callable[[str, Result], bool]
"""From a task and a result to success."""


def judge_of(config: SweepConfig, rules: Evaluations) -> Judge:
    """How trials of a sweep are judged.

    Args:
        config: Of the sweep; its ``success_threshold`` wins over rules.
        rules: Those of the lab, so that a sweep and its statistics never disagree.

    >>> from pathlib import Path
    >>> config = SweepConfig(name="a", models=("m",), tasks=("t",), command="x")
    >>> rules = Evaluations(tasks=({"match": "*_ore", "quota": 16},))
    >>> judge = judge_of(config, rules)
    >>> judge("iron_ore", Result(reward=16)), judge("iron_ore", Result(reward=15))
    (True, False)
    >>> judge("maze", Result(reward=0)), judge("maze", Result(reward=0, success=True))
    (False, True)
    """

    def judge(task: str, result: Result) -> bool:
        if result.success is not None:
            return result.success
        if config.success_threshold is not None:
            return result.reward > config.success_threshold
        matching = (one for one in rules.tasks if fnmatchcase(task, one.match))
        return _passes(next(matching, rules.success), result)

    return judge


def _passes(rule: SuccessRule, result: Result) -> bool:
    """A trial of a sweep has a final and a highest reward, and no other."""
    reward = result.highest_reward if rule.reward == "max" else result.reward
    return reward >= rule.limit if rule.quota is not None else reward > rule.limit
