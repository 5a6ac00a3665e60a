from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import pytest

from run_assets.sweeps.plan import new_sweep_id, planned
from tests.support.sweeps import SWEEP_ID, toy

ORDERS: tuple[dict[str, Any], ...] = (
    {"shuffle_execution_order": True},
    {"shuffle_execution_order": False},
    {"task_inner_loop_mode": True},
)


def names(**changes: Any) -> list[str]:
    trials = planned(toy(**changes), SWEEP_ID)
    return [f"{one.model}{one.task}{one.trial}" for one in trials]


@pytest.mark.parametrize("order", ORDERS)
def test_every_trial_is_planned_once_by_number_within_its_cell(
    order: dict[str, Any],
) -> None:
    trials = planned(toy(num_trials_per_config=5, **order), SWEEP_ID)

    assert len({one.trial_id for one in trials}) == len(trials) == 20
    assert [one.position for one in trials] == list(range(20))
    cells = sorted(trials, key=lambda one: (one.model, one.task))
    for _, mine in groupby(cells, key=lambda one: (one.model, one.task)):
        assert [one.trial for one in mine] == [0, 1, 2, 3, 4]


def test_task_by_task() -> None:
    assert names() == ["ax0", "ax1", "bx0", "bx1", "ay0", "ay1", "by0", "by1"]


def test_the_inner_loop_is_over_tasks() -> None:
    order = names(task_inner_loop_mode=True, shuffle_execution_order=True)
    assert order == ["ax0", "ay0", "bx0", "by0", "ax1", "ay1", "bx1", "by1"]


def test_shuffling_depends_on_the_seed_alone() -> None:
    shuffled: dict[str, Any] = {
        "shuffle_execution_order": True,
        "num_trials_per_config": 4,
    }

    assert names(**shuffled, seed=1) == names(**shuffled, seed=1)
    assert names(**shuffled, seed=1) != names(**shuffled, seed=2)
    assert names(**shuffled, seed=1) != names(num_trials_per_config=4, seed=1)


def test_more_tasks_do_not_turn_the_others_around() -> None:
    before = names(shuffle_execution_order=True)
    after = names(shuffle_execution_order=True, tasks=["x", "y", "z"])
    assert [one for one in after if "z" not in one] == before


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"max_concurrent_processes": 9, "max_retries": 7}, True),
        ({"shuffle_execution_order": True, "timeout_seconds": 3}, True),
        ({"server_configs": [{"name": "s"}], "max_cost": 3}, True),
        ({"options": {"temperature": 1}}, False),
        ({"command": "false"}, False),
        ({"seed": 1}, False),
    ],
)
def test_how_a_trial_is_run_is_no_part_of_it(
    changes: dict[str, Any], *, is_same: bool
) -> None:
    def ids(**more: Any) -> set[str]:
        return {one.trial_id for one in planned(toy(**more), SWEEP_ID)}

    assert (ids() == ids(**changes)) is is_same


def test_another_sweep_has_other_trials() -> None:
    first, second = (
        {one.trial_id for one in planned(toy(), sweep)} for sweep in ("a", "b")
    )
    assert not first & second


def test_models_share_the_seed_of_a_task_and_trial() -> None:
    seeds: dict[tuple[str, int], set[int]] = {}
    for one in planned(toy(), SWEEP_ID):
        seeds.setdefault((one.task, one.trial), set()).add(one.seed)
    assert {len(found) for found in seeds.values()} == {1}
    assert len(set.union(*seeds.values())) == 4


def test_an_id_tells_name_and_second_and_is_unique() -> None:
    now = datetime(2024, 12, 1, 12, 0, 0, tzinfo=UTC)
    first, second = (new_sweep_id("my_experiment", now) for _ in range(2))
    assert first.startswith("my_experiment_20241201_120000_")
    assert len(first) == len("my_experiment_20241201_120000_abcd1234")
    assert first != second
