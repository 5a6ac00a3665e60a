"""Sweeps whose managers and workers are killed by ``kill -9`` at random instants."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, fields
from pathlib import Path

from run_assets.lab import Lab
from run_assets.sweeps import load_sweep, start_sweep
from run_assets.sweeps.ledger import ledger_path
from tests.support.sweeps import query, sweep_lab

_TRIAL = """\
sleep {seconds}
echo "$1 $2 $3" >> finished.txt
echo "{{\\"reward\\": $3}}"
"""
_CLI = (sys.executable, "-m", "run_assets.cli", "--quiet", "sweep", "resume")


@dataclass(frozen=True)
class Survived:
    """Counts after a sweep whose processes were killed.

    Attributes:
        managers_killed: Managers ended by SIGKILL while trials were left.
        workers_killed: Workers ended by SIGKILL, besides those of killed managers.
        trials: Trials of the sweep.
        successful: Trials with a result.
        doubled: Trials with more than one successful attempt.
        run_after_success: Attempts that began after the trial had succeeded.
        unaccounted: Attempts without an end, or that no trial counts.
        attempts: All attempts.
        lost: Attempts whose manager died.
        killed: Attempts whose worker died.
        finished: How often a worker came to its end, as it noted itself.
    """

    managers_killed: int
    workers_killed: int
    trials: int
    successful: int
    doubled: int
    run_after_success: int
    unaccounted: int
    attempts: int
    lost: int
    killed: int
    finished: int

    def lines(self) -> list[str]:
        return [f"{one.name:<18}{getattr(self, one.name):>6}" for one in fields(self)]


def killed_sweep(
    folder: Path, *, kills: int, seed: int, trial_seconds: float, trials: int = 200
) -> Survived:
    """Run a sweep under fire, then let it come to its end.

    Args:
        folder: For a lab of its own.
        kills: Managers to kill; each time also up to two of its workers before.
        seed: For the instants.
        trial_seconds: How long a trial sleeps.
        trials: Of the sweep, a multiple of 4.
    """
    lab = sweep_lab(folder)
    sweep_id = prepared(lab, trial_seconds=trial_seconds, trials=trials)
    rng = random.Random(seed)
    path = ledger_path(lab.config.data_path, sweep_id)
    managers = workers = 0
    while managers < kills:
        manager = resuming(lab, sweep_id)
        deadline = time.monotonic() + 30
        while not _children(manager.pid) and time.monotonic() < deadline:
            if manager.poll() is not None:
                break
            time.sleep(0.005)
        for _ in range(rng.randint(0, 2)):
            time.sleep(rng.uniform(0, 0.3))
            workers += _kill_one(_children(manager.pid), rng)
        time.sleep(rng.uniform(0, 0.3))
        if manager.poll() is not None:
            break
        manager.send_signal(signal.SIGKILL)
        manager.communicate()
        managers += 1
    last = resuming(lab, sweep_id)
    _, errors = last.communicate(timeout=240)
    assert last.returncode == 0, errors
    return _counted(path, folder, managers, workers)


def prepared(lab: Lab, *, trial_seconds: float, trials: int) -> str:
    """A sweep of commands that nobody works on yet."""
    root = lab.config.root
    text = _TRIAL.format(seconds=trial_seconds)
    (root / "trial.sh").write_text(text, encoding="utf-8")
    (root / "sweep.yaml").write_text(
        "name: killed\nmodels: [a, b]\ntasks: [x, y]\nenable_wandb: false\n"
        "command: sh trial.sh {model} {task} {trial}\n"
        f"num_trials_per_config: {trials // 4}\n"
        "max_retries: 20\nretry_delay_seconds: 0.01\n",
        encoding="utf-8",
    )
    file = root / "sweep.yaml"
    return start_sweep(lab, load_sweep(file), file=file)


def resuming(lab: Lab, sweep_id: str) -> subprocess.Popen[str]:
    """A manager of the sweep as a process of its own."""
    return subprocess.Popen(
        [*_CLI, sweep_id],
        cwd=lab.config.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, file.read_text().split())
        except OSError:
            continue
    return found


def _kill_one(pids: list[int], rng: random.Random) -> int:
    """Kill a worker, or what it runs; 1 if there was one."""
    if not pids:
        return 0
    pid = rng.choice(pids)
    below = _children(pid)
    try:
        os.kill(rng.choice([pid, *below]), signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


def _counted(path: Path, folder: Path, managers: int, workers: int) -> Survived:
    def count(sql: str) -> int:
        return int(query(path, f"select count(*) from ({sql})")[0][0])

    return Survived(
        managers_killed=managers,
        workers_killed=workers,
        trials=count("select 1 from trials"),
        successful=count("select 1 from trials where status = 'successful'"),
        doubled=count(
            "select 1 from attempts where status = 'successful' group by trial_id"
            " having count(*) > 1"
        ),
        run_after_success=count(
            "select 1 from attempts as good inner join attempts as later"
            " using (trial_id) where good.status = 'successful'"
            " and later.attempt > good.attempt"
        ),
        unaccounted=count("select 1 from attempts where finished_at is null")
        + abs(
            count("select 1 from attempts")
            - int(query(path, "select sum(attempts) from trials")[0][0])
        ),
        attempts=count("select 1 from attempts"),
        lost=count("select 1 from attempts where status = 'lost'"),
        killed=count("select 1 from attempts where error_class = 'killed'"),
        finished=len((folder / "finished.txt").read_text().splitlines()),
    )
