"""One run, trained and logged by the real wandb SDK in offline mode."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import wandb

from .learning import Metrics, train
from .sweep import LAST_BREATH, PROJECT, SWEEP, Mishap, RunPlan

# The number of the epoch that was logged last.
ReportEpoch = Callable[[int], None]


def use_private_settings(scratch: Path) -> None:
    """Make this process's wandb forget its user: no account, settings or caches.

    A WANDB_MODE=disabled, a WANDB_RUN_ID or a settings file of the user would turn
    the example into something else, and without HOME the SDK complains.

    Args:
        scratch: A folder that may be thrown away after training.
    """
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            del os.environ[name]
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        os.environ[name] = str(scratch)
    os.environ["XDG_CACHE_HOME"] = str(scratch)
    os.environ["WANDB_ERROR_REPORTING"] = "false"


def record_run(plan: RunPlan, out: Path, report_epoch: ReportEpoch) -> None:
    """Train one run and log it to ``out/wandb/offline-run-<time>-<run_id>``.

    Args:
        plan: The run. If its mishap ends the process, this does not return.
        out: The folder that holds ``wandb``.
        report_epoch: Called after each epoch that was logged.

    Raises:
        UsageError: The curriculum filled the map; the run has exit code 1.
    """
    run = _start_run(plan, out)
    exit_code = 1
    try:
        _log_epochs(run, plan, report_epoch)
        exit_code = 0
    finally:
        run.finish(exit_code=exit_code)


def _log_epochs(run: wandb.Run, plan: RunPlan, report_epoch: ReportEpoch) -> None:
    run.define_metric("metric/agent_step", hidden=True)
    run.define_metric("*", step_metric="metric/agent_step")
    last_breath = int(LAST_BREATH * plan.parameters.epochs)
    for metrics in _timed(train(plan.parameters)):
        epoch = int(metrics["metric/epoch"])
        run.log(metrics, step=epoch)
        report_epoch(epoch)
        if epoch == last_breath:
            _suffer(plan.mishap)


def _start_run(plan: RunPlan, out: Path) -> wandb.Run:
    return wandb.init(
        project=PROJECT,
        id=plan.run_id,
        name=plan.name,
        group=SWEEP,
        job_type="train",
        tags=plan.tags,
        notes=plan.notes,
        config=plan.config(),
        dir=out,
        settings=wandb.Settings(
            mode="offline",
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            x_save_requirements=False,
            # Seconds; a run lasts about one, and the default of 15 would sample none.
            x_stats_sampling_interval=0.25,
        ),
    )


def _timed(epochs: Iterator[Metrics]) -> Iterator[Metrics]:
    """Add what each epoch took: wall clock seconds, and CPU time as a share of it."""
    wall, cpu = time.perf_counter(), time.process_time()
    for metrics in epochs:
        seconds = time.perf_counter() - wall
        busy = time.process_time() - cpu
        wall, cpu = wall + seconds, cpu + busy
        yield metrics | {
            "timing_per_epoch/total_s": seconds,
            "monitor/cpu_percent": 100 * busy / seconds,
        }


def _suffer(mishap: Mishap) -> None:
    """End the process, if that is the run's fate, with no chance to say goodbye."""
    if mishap is Mishap.KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if mishap is Mishap.EXITS:
        os._exit(139)
