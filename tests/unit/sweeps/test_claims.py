import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from run_assets.sweeps import claims
from run_assets.sweeps.attempts import Attempt, Ended
from run_assets.sweeps.config import SweepConfig
from run_assets.sweeps.ledger import Ledger, open_ledger
from tests.support.sweeps import (
    assert_accounted,
    ended,
    query,
    statuses,
    toy,
    toy_ledger,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with toy_ledger(tmp_path) as ledger:
        yield ledger


class Manager:
    """A manager that does what a test says, at the time a test says."""

    def __init__(self, ledger: Ledger, config: SweepConfig | None = None) -> None:
        self.ledger = ledger
        self.config = config or ledger.config
        self.id = claims.join(ledger, 0.0, is_resume=False)

    def claim(self, slots: int = 1, now: float = 0.0) -> list[Attempt]:
        return self.report(slots=slots, now=now)

    def report(
        self, *ends: tuple[Ended, bool], slots: int = 0, now: float = 0.0
    ) -> list[Attempt]:
        return claims.exchange(
            self.ledger, self.id, self.config, ends, slots=slots, now=now
        )

    def is_gone(self) -> None:
        """As if its process had been killed and its pid were somebody else's."""
        with self.ledger.transaction() as connection:
            connection.execute(
                "update managers set process = 'gone' where manager_id = ?", (self.id,)
            )


def trial(ledger: Ledger, attempt: Attempt) -> dict[str, Any]:
    sql = "select * from trials where trial_id = ?"
    return dict(ledger.rows(sql, (attempt.trial_id,))[0])


def test_trials_are_claimed_in_order_and_in_batches(ledger: Ledger) -> None:
    manager = Manager(ledger)
    first, second = manager.claim(3), manager.claim(3)
    names = [f"{one.model}{one.task}{one.trial}" for one in (*first, *second)]
    assert names == ["ax0", "ax1", "bx0", "bx1", "ay0", "ay1"]
    assert {one.attempt for one in first} == {1}
    assert ledger.counts() == {"running": 6, "pending": 2}


def test_two_managers_never_have_the_same_trial(ledger: Ledger) -> None:
    one, other = Manager(ledger), Manager(ledger)
    claimed = [*one.claim(3), *other.claim(3), *one.claim(3), *other.claim(3)]
    assert len({attempt.trial_id for attempt in claimed}) == len(claimed) == 8


def test_many_threads_never_have_the_same_trial(tmp_path: Path) -> None:
    with toy_ledger(tmp_path, num_trials_per_config=50) as ledger:
        path = ledger.path
    claimed: list[str] = []

    def work() -> None:
        with open_ledger(path) as mine:
            manager = Manager(mine)
            while found := manager.claim(3):
                claimed.extend(attempt.trial_id for attempt in found)
                manager.report(*(ended(attempt) for attempt in found))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == len(set(claimed)) == 200
    assert statuses(path) == {"successful": 200}
    assert_accounted(path)


def test_a_result_and_its_status_arrive_together(ledger: Ledger) -> None:
    manager = Manager(ledger)
    (attempt,) = manager.claim()
    steps = [{"reward": 0.5, "tokens": 7}, {"reward": 0.25, "tokens": 8}]
    manager.report(
        ended(attempt, 60.0, trajectory=steps, cost=0.5, version=9, output={"a": [1]})
    )

    row = trial(ledger, attempt)
    assert row["status"] == "successful"
    assert (row["reward"], row["max_reward"], row["success"]) == (0.25, 0.5, 1)
    assert (row["steps"], row["tokens"], row["cost"]) == (2, 15, 0.5)
    assert (row["version"], row["instance"], row["seconds"]) == (9, None, 0.5)
    assert row["started_at"] == "1970-01-01T00:00:00.000000+00:00"
    assert row["finished_at"] == "1970-01-01T00:01:00.000000+00:00"
    assert row["output_json"] == '{"a": [1]}'
    columns = "model, trial, step, reward, tokens"
    found = query(ledger.path, f"select {columns} from trial_steps")
    assert found == [("a", 0, 0, 0.5, 7), ("a", 0, 1, 0.25, 8)]


def test_a_failure_is_tried_again_after_a_pause_until_it_is_final(
    tmp_path: Path,
) -> None:
    with toy_ledger(tmp_path, retry_delay_seconds=10, max_retries=1) as ledger:
        manager = Manager(ledger)
        (attempt,) = manager.claim()
        bad = {"error": "slow down", "error_class": "rate_limit", "cost": 0.1}
        manager.report(ended(attempt, 0.0, **bad))
        row = trial(ledger, attempt)
        assert (row["status"], row["error_class"]) == ("will_retry", "rate_limit")
        assert 5 <= row["not_before"] <= 15

        early = manager.claim(8, now=1.0)
        assert attempt.trial_id not in {one.trial_id for one in early}
        (again,) = manager.claim(8, now=16.0)
        assert (again.trial_id, again.attempt) == (attempt.trial_id, 2)
        manager.report(ended(again, 17.0, **bad))
        row = trial(ledger, attempt)
        assert row["status"] == "failed_final"
        assert (row["attempts"], row["failures"]) == (2, 2)
        assert row["error"] == "slow down"


def test_trials_of_a_dead_manager_are_taken_back_at_once(ledger: Ledger) -> None:
    dead, alive = Manager(ledger), Manager(ledger)
    (lost,) = dead.claim()
    assert claims.reclaim(ledger, alive.id, 1.0) == 0
    dead.is_gone()

    assert claims.reclaim(ledger, alive.id, 1.0) == 1
    row = trial(ledger, lost)
    assert (row["status"], row["error_class"]) == ("will_retry", "lost")
    assert (row["attempts"], row["failures"], row["losses"]) == (1, 0, 1)
    again = alive.claim(8, now=1.0)[-1]
    assert (again.trial_id, again.attempt) == (lost.trial_id, 2)
    told = "select attempt, status from attempts where trial_id = ? order by 1"
    assert query(ledger.path, told, lost.trial_id) == [(1, "lost"), (2, "running")]


def test_a_lease_runs_out_unless_its_manager_says_that_it_lives(ledger: Ledger) -> None:
    silent, other = Manager(ledger), Manager(ledger)
    silent.claim()
    late = claims.LEASE_SECONDS + 1

    claims.heartbeat(ledger, silent.id, 30.0)
    assert claims.reclaim(ledger, other.id, late) == 0
    assert claims.reclaim(ledger, other.id, late + 30) == 1


def test_a_result_that_comes_too_late_is_refused(ledger: Ledger) -> None:
    slow, other = Manager(ledger), Manager(ledger)
    (attempt,) = slow.claim()
    late = claims.LEASE_SECONDS + 1
    claims.reclaim(ledger, other.id, late)
    again = other.claim(8, now=late)[-1]

    slow.report(ended(attempt, late, reward=5.0))
    assert trial(ledger, attempt)["status"] == "running"
    other.report(ended(again, late, reward=7.0))
    slow.report(ended(attempt, late, reward=5.0))

    assert trial(ledger, attempt)["reward"] == 7.0
    told = "select attempt, status from attempts where trial_id = ? order by 1"
    found = query(ledger.path, told, attempt.trial_id)
    assert found == [(1, "lost"), (2, "successful")]


def test_a_result_counts_once_however_often_it_is_told(ledger: Ledger) -> None:
    manager = Manager(ledger)
    (attempt,) = manager.claim()
    done = ended(attempt, reward=1.0, trajectory=[{"reward": 1.0}])
    manager.report(done, done)
    manager.report(done)
    assert ledger.counts() == {"successful": 1, "pending": 7}
    assert_accounted(ledger.path)


def test_a_trial_that_its_managers_die_of_does_not_hold_up_the_others(
    ledger: Ledger,
) -> None:
    alive, dead = Manager(ledger), Manager(ledger)
    (lost,) = dead.claim()
    dead.is_gone()
    claims.reclaim(ledger, alive.id, 0.0)

    claimed = alive.claim(8)
    assert len(claimed) == 8
    assert claimed[-1].trial_id == lost.trial_id


def test_whoever_leaves_gives_its_trials_back(ledger: Ledger) -> None:
    manager = Manager(ledger)
    (attempt,) = manager.claim()
    claims.leave(ledger, manager.id, 0.0)
    row = trial(ledger, attempt)
    assert (row["status"], row["error_class"]) == ("will_retry", "interrupted")
    assert (row["failures"], row["losses"]) == (0, 0)


def test_a_process_is_told_from_another_with_its_number() -> None:
    assert claims.process_of(os.getpid()) == claims.process_of(os.getpid()) != ""
    assert claims.process_of(os.getpid()) != claims.process_of(1)


def test_success_skips_only_later_trials(tmp_path: Path) -> None:
    changes = {"num_trials_per_config": 5, "models": ["a"]}
    with toy_ledger(tmp_path, early_stop_on_success=True, **changes) as ledger:
        manager = Manager(ledger)
        first, second, third = manager.claim(3)
        manager.report(ended(first, error="oh"), ended(second, success=True, reward=0))

        told = query(
            ledger.path, "select trial, status from trials where task = 'x' order by 1"
        )
        assert told == [
            (0, "will_retry"),
            (1, "successful"),
            (2, "running"),
            (3, "skipped_early_stop"),
            (4, "skipped_early_stop"),
        ]
        manager.report(ended(third, error="oh"))
        assert trial(ledger, third)["status"] == "skipped_early_stop"
        assert ledger.value("select count(*) from trials where task = 'y'") == 5
        others = "select distinct status from trials where task = 'y'"
        assert query(ledger.path, others) == [("pending",)]


def test_a_lost_trial_of_a_solved_task_is_not_tried_again(tmp_path: Path) -> None:
    with toy_ledger(tmp_path, models=["a"], early_stop_on_success=True) as ledger:
        alive, dead, leaving = (Manager(ledger) for _ in range(3))
        first, second = alive.claim()[0], dead.claim()[0]
        y_first, y_second = alive.claim()[0], leaving.claim()[0]
        alive.report(ended(first, reward=1), ended(y_first, reward=1))
        dead.is_gone()
        claims.reclaim(ledger, alive.id, 0.0)
        claims.leave(ledger, leaving.id, 0.0)

        for one in (second, y_second):
            assert trial(ledger, one)["status"] == "skipped_early_stop"
        assert ledger.counts() == {"successful": 2, "skipped_early_stop": 2}
        assert_accounted(ledger.path)


def test_without_early_stops_success_skips_nothing(ledger: Ledger) -> None:
    manager = Manager(ledger)
    manager.report(ended(manager.claim()[0], success=True, reward=0))
    assert ledger.counts() == {"successful": 1, "pending": 7}


def test_limits_hold_over_all_managers(tmp_path: Path) -> None:
    servers = [{"name": "s1", "models": ["b"]}, {"name": "s2", "address": "http://s2"}]
    limits = {"max_concurrent_per_model": {"a": 1}, "server_configs": servers}
    with toy_ledger(tmp_path, **limits) as ledger:
        one, other = Manager(ledger), Manager(ledger)
        first, second = one.claim(8), other.claim(8)
        assert [(x.model, x.server) for x in first] == [("a", "http://s2"), ("b", "s1")]
        assert second == []
        one.report(ended(first[0]))
        assert [(x.model, x.server) for x in other.claim(8)] == [("a", "http://s2")]


def test_the_budget_stops_claims_over_all_managers(tmp_path: Path) -> None:
    with toy_ledger(tmp_path, max_cost=1.0) as ledger:
        one, other = Manager(ledger), Manager(ledger)
        first, second = one.claim(2)
        one.report(ended(first, reward=1, cost=0.3), ended(second, error="x", cost=0.3))
        assert len(other.claim(8)) == 1
        assert claims.budget_left(ledger, toy(max_cost=1.0)) == 0
        assert claims.budget_left(ledger, toy()) is None
        assert one.claim(8) == []
