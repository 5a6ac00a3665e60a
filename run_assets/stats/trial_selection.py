"""Which trials a question is about."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

import polars as pl

from run_assets.errors import NotFoundError, did_you_mean


@dataclass(frozen=True)
class TrialSelection:
    """What trials must be; None and nothing mean anything.

    Attributes:
        models: One of these.
        tasks: A task that one of these wildcards matches.
        sweeps: Of one of these sweeps.
        versions: One of these, as the source calls them.
        since: Ended, or at least begun, then or later.
        min_trials: Models with fewer trials with an outcome are left out.
    """

    models: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    since: datetime | None = None
    min_trials: int = 0


def select_trials(trials: pl.DataFrame, asked: TrialSelection) -> pl.DataFrame:
    """The trials that are asked for.

    Args:
        trials: ``core.trials``.
        asked: What they must be.

    Raises:
        NotFoundError: No trial is of a model, sweep or version that is named, or no
            task matches; the message names the nearest.
    """
    for column, wanted in (
        ("model", asked.models),
        ("sweep_id", asked.sweeps),
        ("version", asked.versions),
    ):
        trials = _named(trials, column, wanted)
    trials = _matching(trials, asked.tasks)
    if asked.since is not None:
        at = pl.coalesce("ended_at", "started_at")
        trials = trials.filter(at >= asked.since)
    if asked.min_trials > 1:
        enough = pl.col("is_success").count().over("model") >= asked.min_trials
        trials = trials.filter(enough)
    return trials


def _named(trials: pl.DataFrame, column: str, wanted: tuple[str, ...]) -> pl.DataFrame:
    if not wanted:
        return trials
    known = set(trials[column].drop_nulls())
    if missing := [one for one in wanted if one not in known]:
        what = column.removesuffix("_id")
        msg = f"no trial of {what} {missing[0]!r}{did_you_mean(missing[0], known)}"
        raise NotFoundError(msg)
    return trials.filter(pl.col(column).is_in(wanted))


def _matching(trials: pl.DataFrame, wildcards: tuple[str, ...]) -> pl.DataFrame:
    if not wildcards:
        return trials
    known = trials["task"].unique().to_list()
    chosen = [
        task for task in known if any(fnmatchcase(task, one) for one in wildcards)
    ]
    if not chosen:
        asked = " or ".join(map(repr, wildcards))
        msg = f"no task matches {asked}{did_you_mean(wildcards[0], known)}"
        raise NotFoundError(msg)
    return trials.filter(pl.col("task").is_in(chosen))


def hours_before(now: datetime, hours: float) -> datetime:
    """A moment some hours ago."""
    return now - timedelta(hours=hours)
