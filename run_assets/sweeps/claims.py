"""What managers do to a ledger: claim trials, report their ends, stay alive.

Only the manager that holds a trial's lease, for the attempt it claimed, can end it. A
result that comes after the lease was given away is refused, so that no trial ever has
two results.
"""

import json
import os
import secrets
import socket
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from run_assets.sweeps.attempts import Attempt, Ended
from run_assets.sweeps.config import SweepConfig
from run_assets.sweeps.ledger import Ledger, timestamp
from run_assets.sweeps.policy import (
    INTERRUPTED,
    LOST,
    Status,
    affordable,
    after_failure,
    retry_delay,
)
from run_assets.sweeps.results import Failure, Result
from run_assets.sweeps.room import Room

LEASE_SECONDS = 60.0


def join(ledger: Ledger, now: float, *, is_resume: bool) -> str:
    """Become a manager of the sweep; returns the manager's id."""
    manager_id = secrets.token_hex(8)
    at = timestamp(now)
    row = (manager_id, socket.gethostname(), os.getpid(), process_of(os.getpid()))
    with ledger.transaction() as connection:
        connection.execute(
            "insert into managers values (?, ?, ?, ?, ?, ?, ?, null)",
            (*row, is_resume, at, at),
        )
    return manager_id


def leave(ledger: Ledger, manager_id: str, now: float) -> None:
    """Stop being a manager; whatever is still under way is given back."""
    with ledger.transaction() as connection:
        _give_back(connection, ledger.config, [manager_id], now, INTERRUPTED)
        connection.execute(
            "update managers set ended_at = ? where manager_id = ?",
            (timestamp(now), manager_id),
        )


def heartbeat(ledger: Ledger, manager_id: str, now: float) -> None:
    """Renew the leases of a manager's trials."""
    with ledger.transaction() as connection:
        connection.execute(
            "update trials set lease_until = ?"
            " where status = 'running' and manager_id = ?",
            (now + LEASE_SECONDS, manager_id),
        )
        connection.execute(
            "update managers set seen_at = ? where manager_id = ?",
            (timestamp(now), manager_id),
        )


def reclaim(ledger: Ledger, manager_id: str, now: float) -> int:
    """Take trials back from other managers that are dead or silent.

    A manager on this machine is known to be dead by its process, at once; any other
    when its lease has run out.

    Returns:
        How many trials were taken back.
    """
    with ledger.transaction() as connection:
        rows = connection.execute(
            "select manager_id, min(lease_until), host, pid, process"
            " from trials inner join managers using (manager_id)"
            " where status = 'running' and manager_id != ? group by manager_id",
            (manager_id,),
        ).fetchall()
        dead = [one for one, until, *who in rows if until < now or _is_dead(*who)]
        return _give_back(connection, ledger.config, dead, now, LOST) if dead else 0


def exchange(
    ledger: Ledger,
    manager_id: str,
    config: SweepConfig,
    ended: Iterable[tuple[Ended, bool]],
    *,
    slots: int,
    now: float,
) -> list[Attempt]:
    """Report what has ended and claim what may start, in one transaction.

    Args:
        ledger: Of the sweep.
        manager_id: Of `join`.
        config: Of the sweep.
        ended: Attempts of this manager, and whether each is a success.
        slots: How many more trials it can run.
        now: Seconds since 1970.

    Returns:
        At most ``slots`` trials that are this manager's now, and running.
    """
    with ledger.transaction() as connection:
        for one, is_success in ended:
            _end(connection, manager_id, config, one, is_success=is_success)
        if slots < 1:
            return []
        return _claim(connection, manager_id, (ledger.sweep_id, config), slots, now)


def budget_left(ledger: Ledger, config: SweepConfig) -> int | None:
    """How many trials the cost limit still allows; ``None`` for any number."""
    with ledger.transaction() as connection:
        return _room(connection, config).affordable


def _spending(connection: sqlite3.Connection) -> tuple[float, float | None]:
    """Cost of all attempts, and the mean of those that said what they cost."""
    total, mean = connection.execute(
        "select sum(cost), avg(cost) from attempts"
    ).fetchone()
    return total or 0.0, mean


def process_of(pid: int) -> str:
    """When a process started, as Linux counts it: a pid that is used again differs."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[19]


def _is_dead(host: str, pid: int, process: str) -> bool:
    if host != socket.gethostname():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return process_of(pid) != process
    return process_of(pid) != process


def _give_back(
    connection: sqlite3.Connection,
    config: SweepConfig,
    managers: list[str],
    now: float,
    error_class: str,
) -> int:
    """Close attempts of managers that will not report them.

    That is no failure of the trial. But in case it is what its managers die of, the
    trials that have lost fewer managers go first.
    """
    attempt_status = "lost" if error_class == LOST else "interrupted"
    rows = connection.execute(
        "select trial_id, attempts, model, task, trial from trials"
        " where status = 'running'"
        " and manager_id in (select value from json_each(?))",
        (json.dumps(managers),),
    ).fetchall()
    at = timestamp(now)
    for trial_id, attempt, *cell in rows:
        connection.execute(
            "update attempts set status = ?, error_class = ?, finished_at = ?"
            " where trial_id = ? and attempt = ?",
            (attempt_status, error_class, at, trial_id, attempt),
        )
        connection.execute(
            "update trials set status = ?, error_class = ?, error = null,"
            " losses = losses + ?, manager_id = null, lease_until = null"
            " where trial_id = ?",
            (
                *(_open_again(connection, config, tuple(cell)), error_class),
                *(error_class == LOST, trial_id),
            ),
        )
    return len(rows)


def _open_again(
    connection: sqlite3.Connection, config: SweepConfig, cell: tuple[Any, ...]
) -> Status:
    """What a trial is that may be tried again: it may not be needed any more.

    Args:
        connection: Of the ledger.
        config: Of the sweep.
        cell: Model, task and number of the trial.
    """
    if not config.early_stop_on_success:
        return "will_retry"
    solved = connection.execute(
        "select 1 from trials where model = ? and task = ? and trial < ? and success",
        cell,
    ).fetchone()
    return "skipped_early_stop" if solved else "will_retry"


def _end(
    connection: sqlite3.Connection,
    manager_id: str,
    config: SweepConfig,
    one: Ended,
    *,
    is_success: bool,
) -> None:
    attempt = one.attempt
    key = (attempt.trial_id, attempt.attempt, manager_id)
    row = connection.execute(
        "select failures from trials where trial_id = ? and attempts = ?"
        " and manager_id = ? and status = 'running'",
        key,
    ).fetchone()
    if row is None:
        return  # the lease was given away: somebody else answers for the trial now
    if isinstance(one.outcome, Result):
        _succeed(connection, config, one, one.outcome, is_success=is_success)
    else:
        _fail(connection, config, one, one.outcome, int(row["failures"]) + 1)


def _succeed(
    connection: sqlite3.Connection,
    config: SweepConfig,
    one: Ended,
    result: Result,
    *,
    is_success: bool,
) -> None:
    attempt = one.attempt
    _close(connection, one, "successful", None)
    output = None if result.output is None else json.dumps(result.output)
    connection.execute(
        "update trials set status = 'successful', error_class = null, error = null,"
        " version = ?, instance = ?, reward = ?, max_reward = ?, success = ?,"
        " steps = ?, tokens = ?, cost = ?, seconds = ?, finished_at = ?,"
        " output_json = ?, lease_until = null where trial_id = ?",
        (
            *(result.version, result.instance, result.reward, result.highest_reward),
            *(is_success, result.step_count, result.token_count, result.cost),
            *(one.seconds, timestamp(one.at), output, attempt.trial_id),
        ),
    )
    cell = (attempt.model, attempt.task, attempt.trial)
    connection.executemany(
        "insert into trial_steps values (?, ?, ?, ?, ?, ?, ?)",
        (
            (attempt.sweep_id, *cell, number, step.reward, step.tokens)
            for number, step in enumerate(result.trajectory)
        ),
    )
    if is_success and config.early_stop_on_success:
        # Trials with a lower number run to their end: without them nobody could say
        # how many tries a success took.
        connection.execute(
            "update trials set status = 'skipped_early_stop' where model = ? and"
            " task = ? and trial > ? and status in ('pending', 'will_retry')",
            cell,
        )


def _fail(
    connection: sqlite3.Connection,
    config: SweepConfig,
    one: Ended,
    told: Failure,
    failures: int,
) -> None:
    attempt, trial_id = one.attempt, one.attempt.trial_id
    status: Status = after_failure(told.error_class, failures, config)
    if status == "will_retry":
        cell = (attempt.model, attempt.task, attempt.trial)
        status = _open_again(connection, config, cell)
    _close(connection, one, "failed", told.error_class)
    connection.execute(
        "update trials set status = ?, error_class = ?, error = ?, failures = ?,"
        " not_before = ?, tokens = ?, cost = ?, seconds = ?, finished_at = ?,"
        " lease_until = null where trial_id = ?",
        (
            *(status, told.error_class, told.error, failures),
            one.at + retry_delay(trial_id, failures, config),
            *(told.tokens, told.cost, one.seconds, timestamp(one.at), trial_id),
        ),
    )


def _close(
    connection: sqlite3.Connection, one: Ended, status: str, error_class: str | None
) -> None:
    told = one.outcome
    error = told.error if isinstance(told, Failure) else None
    tokens = told.token_count if isinstance(told, Result) else told.tokens
    connection.execute(
        "update attempts set status = ?, error_class = ?, error = ?, finished_at = ?,"
        " seconds = ?, tokens = ?, cost = ? where trial_id = ? and attempt = ?",
        (
            *(status, error_class, error),
            *(timestamp(one.at), one.seconds, tokens, told.cost),
            *(one.attempt.trial_id, one.attempt.attempt),
        ),
    )


def _claim(
    connection: sqlite3.Connection,
    manager_id: str,
    sweep: tuple[str, SweepConfig],
    slots: int,
    now: float,
) -> list[Attempt]:
    sweep_id, config = sweep
    room = _room(connection, config)
    most = slots if room.affordable is None else min(slots, room.affordable)
    claimed: list[Attempt] = []
    while len(claimed) < most:
        row = connection.execute(
            "select trial_id, model, task, trial, seed, attempts from trials"
            " where status in ('pending', 'will_retry') and not_before <= ?"
            " and model not in (select value from json_each(?))"
            " order by losses, position limit 1",
            (now, json.dumps(room.full)),
        ).fetchone()
        if row is None:
            break
        if not room.admits(row["model"]):
            continue
        server = room.take(row["model"])
        attempt = Attempt(
            sweep_id=sweep_id,
            trial_id=row["trial_id"],
            model=row["model"],
            task=row["task"],
            trial=row["trial"],
            seed=row["seed"],
            attempt=row["attempts"] + 1,
            options=config.options,
            server=server.place if server else None,
        )
        _begin(connection, manager_id, attempt, server.name if server else None, now)
        claimed.append(attempt)
    return claimed


def _room(connection: sqlite3.Connection, config: SweepConfig) -> Room:
    running: list[tuple[str, str | None, int]] = connection.execute(
        "select model, server, count(*) from trials where status = 'running'"
        " group by model, server"
    ).fetchall()
    count = sum(one for _, _, one in running)
    is_limited = config.max_cost is not None
    spent, mean = _spending(connection) if is_limited else (0.0, None)
    return Room(config, running, affordable(config.max_cost, spent, mean, count))


def _begin(
    connection: sqlite3.Connection,
    manager_id: str,
    attempt: Attempt,
    server: str | None,
    now: float,
) -> None:
    at = timestamp(now)
    connection.execute(
        "update trials set status = 'running', attempts = ?, server = ?,"
        " manager_id = ?, lease_until = ?, started_at = ?, finished_at = null"
        " where trial_id = ?",
        (
            attempt.attempt,
            server,
            manager_id,
            now + LEASE_SECONDS,
            at,
            attempt.trial_id,
        ),
    )
    connection.execute(
        "insert into attempts (trial_id, attempt, manager_id, server, status,"
        " started_at) values (?, ?, ?, ?, 'running', ?)",
        (attempt.trial_id, attempt.attempt, manager_id, server, at),
    )
