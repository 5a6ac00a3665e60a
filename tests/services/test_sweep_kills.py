"""kill -9 of managers and workers, two managers at once, Ctrl-C: nothing runs twice."""

import signal
import time
from pathlib import Path

import pytest

from run_assets.sweeps.ledger import ledger_path
from tests.support.sweep_kills import killed_sweep, prepared, resuming
from tests.support.sweeps import assert_accounted, query, statuses, sweep_lab


@pytest.mark.timeout(280)
def test_a_sweep_survives_five_kills_of_its_manager_and_kills_of_workers(
    tmp_path: Path,
) -> None:
    told = killed_sweep(tmp_path, kills=5, seed=7, trial_seconds=0.05)
    print("\n".join(told.lines()))  # noqa: T201  # the counts are the result

    assert told.managers_killed == 5
    assert told.workers_killed > 0
    assert told.trials == told.successful == 200
    assert (told.doubled, told.run_after_success, told.unaccounted) == (0, 0, 0)
    assert told.attempts == 200 + told.lost + told.killed
    assert told.lost > 0
    # Each result was made by a worker that came to its end; of the others only those
    # can have that were not reported before their manager died.
    assert 200 <= told.finished <= told.attempts


@pytest.mark.timeout(120)
def test_two_managers_share_the_trials_of_one_ledger(tmp_path: Path) -> None:
    lab = sweep_lab(tmp_path)
    sweep_id = prepared(lab, trial_seconds=0.1, trials=120)
    first, second = resuming(lab, sweep_id), resuming(lab, sweep_id)
    for one in (first, second):
        _, errors = one.communicate(timeout=100)
        assert one.returncode == 0, errors

    path = ledger_path(lab.config.data_path, sweep_id)
    assert statuses(path) == {"successful": 120}
    assert_accounted(path)
    shares = query(path, "select count(*) from attempts group by manager_id")
    assert len(shares) == 2
    assert sum(count for (count,) in shares) == 120
    assert min(count for (count,) in shares) >= 10
    # Nobody worked twice: each trial noted its end once.
    lines = (tmp_path / "finished.txt").read_text().splitlines()
    assert len(lines) == len(set(lines)) == 120


@pytest.mark.timeout(120)
def test_ctrl_c_lets_running_trials_finish_and_starts_no_other(tmp_path: Path) -> None:
    lab = sweep_lab(tmp_path)
    sweep_id = prepared(lab, trial_seconds=0.5, trials=80)
    path = ledger_path(lab.config.data_path, sweep_id)
    manager = resuming(lab, sweep_id)
    while statuses(path).get("running", 0) < 4:
        time.sleep(0.02)
    manager.send_signal(signal.SIGINT)
    manager.communicate(timeout=60)

    assert manager.returncode == 130
    found = statuses(path)
    assert set(found) == {"successful", "pending"}
    assert 4 <= found["successful"] < 20
    assert_accounted(path)
    assert query(path, "select distinct status from attempts") == [("successful",)]
