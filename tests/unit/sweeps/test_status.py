from typing import Any

import pytest

from run_assets.sweeps.status import cells, failures, matrix, seconds_left


def trial(status: str = "successful", **more: Any) -> dict[str, Any]:
    return {
        "model": "a",
        "task": "x",
        "trial": 0,
        "cost": None,
        "began": None,
        "success": 1 if status == "successful" else None,
        "status": status,
        **more,
    }


def test_each_model_on_each_task_is_a_cell() -> None:
    found = cells(
        [
            trial(cost=0.5),
            trial(success=0),
            trial("failed_final", cost=0.25),
            trial("pending"),
            trial("running", model="b"),
            trial("skipped_early_stop", task="y"),
        ]
    )
    assert found.select("task", "model", "trials", "solved", "cost").rows() == [
        ("x", "a", 4, 1, 0.75),
        ("x", "b", 1, 0, 0.0),
        ("y", "a", 1, 0, 0.0),
    ]
    assert found["success_rate"].to_list() == [0.5, None, None]
    assert matrix(found).to_dicts() == [
        {"task": "x", "a": "3/4  50% 1 failed", "b": "0/1 1 running"},
        {"task": "y", "a": "1/1 1 skipped", "b": None},
    ]


def test_without_trials_there_is_no_cell() -> None:
    assert cells([]).is_empty()
    assert matrix(cells([])).is_empty()


def attempt(seconds: float, model: str = "a", task: str = "x") -> dict[str, Any]:
    return {"model": model, "task": task, "seconds": seconds}


@pytest.mark.parametrize(
    ("trials", "attempts", "at_once", "left"),
    [
        ([trial()], [attempt(4)], 2, 0.0),
        ([trial("pending")], [], 2, None),
        ([trial("pending")] * 4, [attempt(4)], 2, 8.0),
        ([trial("pending")], [attempt(4)], 8, 4.0),
        ([trial("running", began=97.0)], [attempt(4)], 1, 1.0),
        ([trial("running", began=0.0)], [attempt(4)], 1, 0.0),
        ([trial("will_retry")], [attempt(4), attempt(8)], 1, 6.0),
        ([trial("pending", task="z")], [attempt(4), attempt(9, "b")], 1, 4.0),
        ([trial("pending", model="c")], [attempt(4), attempt(9, "b")], 1, 6.5),
    ],
)
def test_the_rest_takes_as_long_as_what_is_like_it_did(
    trials: list[Any], attempts: list[Any], at_once: int, left: float | None
) -> None:
    assert seconds_left(trials, attempts, at_once, 100.0) == left


def test_failures_are_counted_by_class() -> None:
    def failed(name: str | None, trial_id: str, status: str, error: str) -> Any:
        return {
            "error_class": name,
            "trial_id": trial_id,
            "trial_status": status,
            "error": error,
        }

    found = failures(
        [
            failed("timeout", "1", "successful", "slow"),
            failed("rate_limit", "2", "failed_final", "429"),
            failed("rate_limit", "2", "failed_final", "429 again"),
            failed(None, "3", "successful", ""),
            failed("rate_limit", "4", "will_retry", ""),
        ]
    )
    assert found.rows() == [
        ("rate_limit", 3, 2, 1, "429 again"),
        ("timeout", 1, 1, 0, "slow"),
    ]
    assert failures([]).is_empty()
