import threading
import time
from pathlib import Path
from typing import Any

import pytest

from run_assets.errors import UsageError
from run_assets.lab import Lab
from run_assets.sweeps import Ran, resume_sweep, run_sweep
from run_assets.sweeps.engine import Stop
from tests.support.sweeps import (
    assert_accounted,
    function,
    query,
    statuses,
    sweep_lab,
    toy,
)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return sweep_lab(tmp_path)


def run(lab: Lab, body: str, stop: Stop | None = None, **changes: Any) -> Ran:
    root = lab.config.root
    config = toy(root, function=function(root, body), **changes)
    return run_sweep(lab, config, stop=stop)


def test_every_trial_runs_once(lab: Lab) -> None:
    ran = run(lab, "return {'reward': attempt.trial}", num_trials_per_config=20)

    assert ran.ending == "complete"
    assert ran.counts == {"successful": 80}
    assert_accounted(ran.ledger)
    assert query(ran.ledger, "select sum(reward), sum(success) from trials") == [
        (760.0, 76)
    ]


def test_a_trial_is_told_who_it_is(lab: Lab) -> None:
    body = (
        "from dataclasses import asdict\n"
        "return {'reward': 1, 'output': asdict(attempt)}"
    )
    ran = run(lab, body, options={"temperature": 0.5})
    row = query(
        ran.ledger,
        "select json_extract(output_json, '$.model'), json_extract(output_json,"
        " '$.options.temperature'), json_extract(output_json, '$.seed') = seed"
        " from trials where model = 'b' and task = 'y' and trial = 1",
    )
    assert row == [("b", 0.5, 1)]


def test_no_more_than_asked_run_at_once(lab: Lab) -> None:
    body = (
        "seen.append(threading.active_count())\n"
        "time.sleep(0.02)\n"
        "return {'reward': max(seen)}"
    )
    before = threading.active_count()
    ran = run(lab, body, max_concurrent_processes=3, num_trials_per_config=5)
    most = query(ran.ledger, "select max(reward) from trials")[0][0] - before
    assert most == 3


def test_what_fails_is_tried_again_and_then_given_up(lab: Lab) -> None:
    body = (
        "if attempt.model == 'a' and attempt.attempt < 3:\n"
        "    raise ConnectionError('no way')\n"
        "if attempt.task == 'y':\n"
        "    return {'reward': 'high'}\n"
        "return {'reward': 1}"
    )
    ran = run(lab, body)

    assert ran.counts == {"successful": 4, "failed_final": 4}
    told = query(
        ran.ledger,
        "select distinct model, task, status, error_class, attempts from trials"
        " order by 1, 2",
    )
    assert told == [
        ("a", "x", "successful", None, 3),
        ("a", "y", "failed_final", "bad_result", 3),
        ("b", "x", "successful", None, 1),
        ("b", "y", "failed_final", "bad_result", 1),
    ]
    assert_accounted(ran.ledger)


@pytest.mark.parametrize(
    "raised", ["SystemExit(3)", "KeyboardInterrupt()", "GeneratorExit()"]
)
def test_a_trial_cannot_end_the_sweep(lab: Lab, raised: str) -> None:
    ran = run(lab, f"raise {raised}", max_retries=0)
    assert ran.counts == {"failed_final": 8}


def test_a_function_that_hangs_is_left_behind(lab: Lab) -> None:
    body = (
        "if attempt.trial == 0 and attempt.attempt == 1:\n"
        "    time.sleep(1.5)\n"
        "    return {'reward': 99}\n"
        "return {'reward': 1}"
    )
    ran = run(lab, body, timeout_seconds=0.2, max_concurrent_processes=2)
    assert ran.counts == {"successful": 8}
    classes = "select error_class, count(*) from attempts group by 1 order by 1"
    assert query(ran.ledger, classes) == [(None, 8), ("timeout", 4)]
    time.sleep(1.5)
    assert query(ran.ledger, "select max(reward) from trials") == [(1.0,)]


def test_a_signal_drains_and_a_resume_runs_the_rest(lab: Lab) -> None:
    stop = Stop()
    threading.Timer(0.3, stop.ask).start()
    body = "time.sleep(0.1)\nreturn {'reward': 1}"
    ran = run(lab, body, stop, num_trials_per_config=5, max_concurrent_processes=2)

    assert ran.ending == "drained"
    done = ran.counts["successful"]
    assert 0 < done < 20
    assert ran.counts == {"successful": done, "pending": 20 - done}
    assert ran.n_open == 20 - done

    again = resume_sweep(lab, ran.sweep_id)
    assert again.counts == {"successful": 20}
    assert query(ran.ledger, "select count(*) from attempts") == [(20,)]
    assert query(ran.ledger, "select is_resume from managers order by started_at") == [
        (0,),
        (1,),
    ]


def test_a_second_signal_does_not_wait_and_blames_nobody(lab: Lab) -> None:
    stop = Stop()
    threading.Timer(0.2, stop.ask).start()
    threading.Timer(0.4, stop.ask).start()
    began = time.monotonic()
    ran = run(lab, "time.sleep(5)\nreturn {'reward': 1}", stop)

    assert time.monotonic() - began < 4
    assert ran.ending == "stopped"
    assert ran.counts == {"will_retry": 4, "pending": 4}
    told = "select distinct status, error_class from attempts"
    assert query(ran.ledger, told) == [("interrupted", "interrupted")]
    assert query(ran.ledger, "select max(failures) from trials") == [(0,)]


def test_the_budget_ends_a_sweep_that_can_go_on_with_more(lab: Lab) -> None:
    body = "return {'reward': 1, 'cost': 0.5}"
    ran = run(lab, body, max_cost=2.0, max_concurrent_processes=1)
    assert (ran.ending, ran.cost) == ("cost", 2.0)
    assert ran.counts == {"successful": 4, "pending": 4}

    from run_assets.sweeps.ledger import open_ledger

    with open_ledger(ran.ledger) as ledger:
        more = ledger.config.model_copy(update={"max_cost": None})
    assert resume_sweep(lab, None, more).counts == {"successful": 8}


def test_time_is_a_budget_too(lab: Lab) -> None:
    body = "time.sleep(0.2)\nreturn {'reward': 1}"
    ran = run(lab, body, max_hours=0.1 / 3600, max_concurrent_processes=1)
    assert ran.ending == "time"
    assert ran.counts == {"successful": 1, "pending": 7}


def test_early_stops_leave_the_end_out(lab: Lab) -> None:
    body = "return {'reward': attempt.trial - 1}"  # the third trial succeeds
    changes: dict[str, Any] = {"early_stop_on_success": True}
    changes |= {"num_trials_per_config": 6, "max_concurrent_processes": 1}
    ran = run(lab, body, **changes)
    assert ran.ending == "complete"
    told = "select trial, status, success, count(*) from trials group by 1, 2, 3"
    assert query(ran.ledger, told) == [
        (0, "successful", 0, 4),
        (1, "successful", 0, 4),
        (2, "successful", 1, 4),
        *[(n, "skipped_early_stop", None, 4) for n in (3, 4, 5)],
    ]


def test_a_resume_asks_before_it_runs_something_else(lab: Lab) -> None:
    ran = run(lab, "return {'reward': 1}")
    bigger = toy(
        lab.config.root,
        function=query(
            ran.ledger, "select json_extract(config_json, '$.function') from sweep"
        )[0][0],
        tasks=["x", "y", "z"],
        max_retries=7,
    )
    with pytest.raises(UsageError) as raised:
        resume_sweep(lab, ran.sweep_id, bigger)
    assert "tasks: ['x', 'y'] -> ['x', 'y', 'z']" in str(raised.value)
    assert "max_retries: 2 -> 7" in str(raised.value)
    assert statuses(ran.ledger) == {"successful": 8}

    again = resume_sweep(lab, ran.sweep_id, bigger, allow_amend=True)
    assert again.counts == {"successful": 12}
    assert query(ran.ledger, "select count(*) from attempts") == [(12,)]


def test_a_sweep_whose_folder_has_moved_goes_on_from_there(
    lab: Lab, tmp_path: Path
) -> None:
    ran = run(lab, "return {'reward': 1}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = toy(
        elsewhere,
        function=query(
            ran.ledger, "select json_extract(config_json, '$.function') from sweep"
        )[0][0],
    )
    resume_sweep(lab, ran.sweep_id, moved)
    assert query(ran.ledger, "select root from sweep") == [(str(elsewhere),)]


def test_a_function_that_is_not_there_is_refused_before_anything_is_written(
    lab: Lab,
) -> None:
    for name in ("no_such_module:run", "os:no_such_function", "os:environ"):
        with pytest.raises(UsageError, match=name):
            run_sweep(lab, toy(lab.config.root, function=name))
    assert not (lab.config.data_path / "sweeps").exists()
