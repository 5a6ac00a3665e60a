import math
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from run_assets.sweeps.early_stopping import first_k_rate
from run_assets.sweeps.summary import (
    by_model,
    by_task,
    metrics,
    pass_rates,
    trials_frame,
)


def rows(outcomes: dict[tuple[str, str], str]) -> list[dict[str, Any]]:
    """Trials by model and task: 1 and 0 ran, f failed, s was skipped, . is open."""
    statuses = {"f": "failed_final", "s": "skipped_early_stop", ".": "pending"}
    return [
        {
            "model": model,
            "task": task,
            "trial": number,
            "attempts": 1,
            "status": statuses.get(sign, "successful"),
            "error_class": "timeout" if sign == "f" else None,
            "success": int(sign) if sign in "01" else None,
            "reward": float(sign) * 2 if sign in "01" else None,
            "max_reward": 3.0 if sign in "01" else None,
            "steps": 4 if sign in "01" else None,
            "tokens": 10 if sign in "01" else None,
            "cost": 0.5 if sign in "01" else None,
            "seconds": 1.0,
        }
        for (model, task), signs in outcomes.items()
        for number, sign in enumerate(signs)
    ]


def rates(
    outcomes: dict[tuple[str, str], str], *ks: int, stops_early: bool = False
) -> dict[tuple[str, int], float | None]:
    frame = trials_frame(rows(outcomes))
    found = pass_rates(frame, ks, stops_early=stops_early)
    return {(row["statistic"], row["k"]): row["estimate"] for row in found.to_dicts()}


def counted(signs: str, k: int, rule: Callable[[Iterable[bool]], bool]) -> float:
    """By looking at every set of k trials."""
    sets = list(combinations(signs, k))
    good = [chosen for chosen in sets if rule(one == "1" for one in chosen)]
    return len(good) / len(sets)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_rates_are_those_of_every_set_of_k_trials_averaged_over_tasks(k: int) -> None:
    outcomes = {("a", "x"): "1000", ("a", "y"): "1101", ("a", "z"): "0000"}
    found = rates(outcomes, k)
    for statistic, rule in (("pass@k", any), ("pass^k", all)):
        told = [counted(signs, k, rule) for signs in outcomes.values()]
        assert found[statistic, k] == pytest.approx(math.fsum(told) / 3)


def test_one_solved_and_one_unsolved_task_give_a_half() -> None:
    found = rates({("a", "x"): "11111111", ("a", "y"): "00000000"}, 8)
    assert found["pass@k", 8] == 0.5


def test_too_few_trials_give_no_rate_and_a_reason() -> None:
    frame = trials_frame(rows({("a", "x"): "10f", ("a", "y"): "110"}))
    found = pass_rates(frame, [3], stops_early=False)
    assert found["estimate"].to_list() == [None, None]
    assert all("fewer than k = 3" in note for note in found["notes"])


def test_a_task_without_any_result_gives_no_rate() -> None:
    assert rates({("a", "x"): "1", ("a", "y"): "f"}, 1) == {
        ("pass@k", 1): None,
        ("pass^k", 1): None,
    }


def test_early_stops_are_not_mixed_in() -> None:
    stopped = {("a", "x"): "1sss", ("a", "y"): "01ss", ("a", "z"): "0000"}
    found = rates(stopped, 1, 2, 4, stops_early=True)
    assert found["pass@k", 1] == pytest.approx(1 / 3)
    assert found["pass@k", 2] == found["pass@k", 4] == pytest.approx(2 / 3)
    assert found["pass^k", 2] is None


def test_what_is_still_open_is_not_guessed() -> None:
    found = rates({("a", "x"): "0...", ("a", "y"): "1sss"}, 1, 2, stops_early=True)
    assert found["pass@k", 1] == 0.5
    assert found["pass@k", 2] is None


def test_the_first_k_estimate_is_unbiased_under_early_stops() -> None:
    """Against the truth, by simulating many tasks of known difficulty."""
    rng = np.random.default_rng(1)
    chances = rng.uniform(0, 0.6, 4_000)
    trials = []
    for task, chance in enumerate(chances):
        is_solved = False
        for number in range(8):
            ran = not is_solved
            success = bool(rng.random() < chance) if ran else None
            status = "successful" if ran else "skipped_early_stop"
            trials.append(
                {
                    "task": str(task),
                    "trial": number,
                    "status": status,
                    "success": success,
                }
            )
            is_solved = is_solved or bool(success)
    for k in (1, 3, 5, 8):
        truth = float(np.mean(1 - (1 - chances) ** k))
        found = first_k_rate(trials, k)
        assert found["estimate"] == pytest.approx(truth, abs=0.025)
        assert found["ci_low"] < truth < found["ci_high"]


def test_a_model_is_told_by_what_ran() -> None:
    (row,) = by_model(
        trials_frame(rows({("a", "x"): "10f.", ("a", "y"): "1s"}))
    ).to_dicts()
    counts = ("n_trials", "n_run", "n_success", "n_failed", "n_skipped", "n_open")
    assert [row[name] for name in counts] == [6, 3, 2, 1, 1, 1]
    assert row["success_rate"] == pytest.approx(2 / 3)
    assert row["mean_reward"] == pytest.approx(4 / 3)
    assert row["std_reward"] == pytest.approx(np.std([2, 0, 2], ddof=1))
    assert (row["max_reward"], row["mean_steps"]) == (3.0, 4.0)
    assert (row["tokens_per_success"], row["cost_per_success"]) == (15.0, 0.75)


def test_a_success_rate_is_that_of_first_trials_where_tasks_stop() -> None:
    frame = trials_frame(rows({("a", "x"): "1sss", ("a", "y"): "0001"}))
    assert by_model(frame)["success_rate"].to_list() == [2 / 5]
    assert by_model(frame, stops_early=True)["success_rate"].to_list() == [0.5]
    assert by_task(frame, stops_early=True)["success_rate"].to_list() == [0.0, 1.0]
    found = metrics(frame, [1], stops_early=True, hours=1.0)
    assert found["performance/success_rate"] == found["performance/pass_at_1"] == 0.5


def test_the_hardest_task_comes_first_and_one_nobody_ran_last() -> None:
    outcomes = {("a", "x"): "11", ("a", "y"): "00", ("b", "y"): "10", ("a", "z"): "f"}
    assert by_task(trials_frame(rows(outcomes)))["task"].to_list() == ["y", "x", "z"]


def test_without_a_success_nothing_costs_anything_per_success() -> None:
    (row,) = by_model(trials_frame(rows({("a", "x"): "00"}))).to_dicts()
    assert row["tokens_per_success"] is row["cost_per_success"] is None


def test_metrics_are_numbers_that_are_known() -> None:
    frame = trials_frame(rows({("a", "x"): "11", ("a", "y"): "10", ("b", "x"): "00"}))
    found = metrics(frame, [1, 2, 5], stops_early=False, hours=2.0)

    assert found["performance/success_rate"] == 0.5
    assert found["performance/pass_at_1"] == 0.5
    assert found["pass_at_k/pass_at_2"] == pytest.approx(2 / 3)
    assert "pass_at_k/pass_at_5" not in found
    assert found["by_model/a/success_rate"] == 0.75
    assert found["by_model/b/pass_at_1"] == 0.0
    assert found["by_task/x/success_rate"] == 0.5
    assert found["efficiency/tokens_per_success"] == 20
    assert found["sweep/best_model"] == "a"
    assert found["sweep/hardest_task"] == "x"
    assert found["sweep/total_time_hours"] == 2.0
    ends = [found[f"stats/success_rate_ci_95_{end}"] for end in ("lower", "upper")]
    low, high = map(float, ends)
    assert 0 < low < 0.5 < high < 1
    assert None not in found.values()


def test_metrics_before_the_first_end_are_few_but_right() -> None:
    frame = trials_frame(rows({("a", "x"): ".."}))
    found = metrics(frame, [1], stops_early=False, hours=0.0)
    assert found["stats/num_trajectories"] == 0
    assert found["sweep/pending"] == 2
    assert "performance/success_rate" not in found
