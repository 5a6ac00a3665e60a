"""Small sweeps: their configuration, their ledgers, and functions that run a trial."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from run_assets.config_evaluations import Evaluations
from run_assets.lab import Lab
from run_assets.sweeps.attempts import Attempt, Ended
from run_assets.sweeps.config import SweepConfig, sweep_config
from run_assets.sweeps.ledger import Ledger, create_ledger
from run_assets.sweeps.plan import planned
from run_assets.sweeps.results import Result, outcome_of
from run_assets.sweeps.success import judge_of
from tests.support.labs import make_lab

SWEEP_ID = "toy_20260102_030405_0123abcd"


def toy(root: Path = Path(), **changes: Any) -> SweepConfig:
    """Two models on two tasks, two trials each, in plain order."""
    values: dict[str, Any] = {
        "name": "toy",
        "models": ["a", "b"],
        "tasks": ["x", "y"],
        "num_trials_per_config": 2,
        "command": "true",
        "shuffle_execution_order": False,
        "retry_delay_seconds": 0.0,
        "enable_wandb": False,
        **changes,
    }
    if "function" in changes and "command" not in changes:
        del values["command"]
    return sweep_config(values, root)


def toy_ledger(folder: Path, **changes: Any) -> Ledger:
    config = toy(folder, **changes)
    trials = planned(config, SWEEP_ID)
    return create_ledger(folder / f"{SWEEP_ID}.sqlite", SWEEP_ID, config, trials)


def function(folder: Path, body: str) -> str:
    """A module with ``run(attempt)`` of this body; its name as a sweep wants it."""
    name = f"trial_{uuid4().hex}"
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    text = f"import time, threading\nseen = []\n\ndef run(attempt):\n{lines}\n"
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return f"{name}:run"


def sweep_lab(folder: Path, **config: Any) -> Lab:
    return make_lab(folder, runs=0, sources=[], analyses=[], **config)


def ended(attempt: Attempt, at: float = 0.0, **answer: Any) -> tuple[Ended, bool]:
    """The end of an attempt with the answer of a trial; a reward above 0 is success."""
    outcome = outcome_of(answer or {"reward": 1.0})
    told = judge_of(toy(), Evaluations())
    is_success = isinstance(outcome, Result) and told(attempt.task, outcome)
    return Ended(attempt, outcome, 0.5, at), is_success


def query(ledger: Path, sql: str, *parameters: Any) -> list[Any]:
    """Rows as another program reads them."""
    with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True) as connection:
        return connection.execute(sql, parameters).fetchall()


def statuses(ledger: Path) -> Mapping[str, int]:
    return Counter(status for (status,) in query(ledger, "select status from trials"))


def assert_accounted(ledger: Path) -> None:
    """Every success is one result, and every attempt is closed and counted."""
    assert not query(
        ledger,
        "select trial_id from trials left join (select trial_id, count(*) as n,"
        " max(attempt) as last, sum(status = 'successful') as good,"
        " sum(status = 'running') as open from attempts group by trial_id)"
        " using (trial_id) where coalesce(n, 0) != attempts"
        " or coalesce(last, 0) != attempts or coalesce(open, 0) != 0"
        " or coalesce(good, 0) != (status = 'successful')",
    )
    # Nothing runs again once it has succeeded.
    assert not query(
        ledger,
        "select * from attempts as good inner join attempts as later using (trial_id)"
        " where good.status = 'successful' and later.attempt > good.attempt",
    )
