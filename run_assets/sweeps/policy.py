"""Decisions of a sweep: try again or not, when, and whether there is budget left."""

from fnmatch import fnmatchcase
from random import Random
from typing import Literal

from run_assets.sweeps.config import SweepConfig

Status = Literal[
    "pending",
    "running",
    "successful",
    "will_retry",
    "failed_final",
    "skipped_early_stop",
]
"""What a trial may be; a trial that ran is successful, whether it solved the task."""

OPEN: tuple[Status, ...] = ("pending", "will_retry")
TERMINAL: tuple[Status, ...] = ("successful", "failed_final", "skipped_early_stop")

LOST = "lost"
"""Class of an attempt whose manager died."""
INTERRUPTED = "interrupted"
"""Class of an attempt that somebody stopped."""

_LONGEST_DELAY = 3_600.0


def after_failure(error_class: str, failures: int, config: SweepConfig) -> Status:
    """What becomes of a trial.

    Args:
        error_class: Of the failure.
        failures: How often the trial has failed, this time included.
        config: Of the sweep.
    """
    is_hopeless = any(fnmatchcase(error_class, one) for one in config.never_retry)
    if not config.retry_failed_runs or is_hopeless or failures > config.max_retries:
        return "failed_final"
    return "will_retry"


def retry_delay(trial_id: str, failures: int, config: SweepConfig) -> float:
    """Seconds until the next try: doubled each time, give or take half.

    The same trial waits as long in every sweep with this seed.

    >>> from pathlib import Path
    >>> config = SweepConfig(name="a", models=("m",), tasks=("t",), command="x")
    >>> 0.5 <= retry_delay("a", 1, config) <= 1.5 <= 2 <= retry_delay("a", 3, config)
    True
    """
    rng = Random(f"{config.seed}/{trial_id}/{failures}")  # noqa: S311  # no secret
    exponent = min(failures - 1, 32)
    delay = config.retry_delay_seconds * 2.0**exponent * rng.uniform(0.5, 1.5)
    return min(delay, _LONGEST_DELAY)


def affordable(
    limit: float | None, spent: float, mean: float | None, running: int
) -> int | None:
    """How many more trials may start within a cost limit; ``None`` for any number.

    Running trials are expected to cost what the others did on average.

    Args:
        limit: Of the sweep.
        spent: Cost of all attempts so far.
        mean: Of the attempts that said their cost; ``None`` where none did.
        running: Trials under way.

    >>> affordable(10.0, 6.0, 1.0, 2)
    2
    >>> affordable(10.0, 10.0, None, 0)
    0
    """
    if limit is None:
        return None
    if spent >= limit:
        return 0
    if not mean:
        return None
    return max(0, int((limit - spent) / mean + 1e-9) - running)
