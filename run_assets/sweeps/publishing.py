"""A sweep in W&B while it runs: what ended, how it goes, what failed for good."""

import fcntl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from run_assets.errors import RunAssetsError, SourceError
from run_assets.lab import Lab
from run_assets.publish.wandb import is_disabled
from run_assets.publish.wandb_sweeps import SweepTarget, WandbSweep
from run_assets.sweeps.config import stored_values
from run_assets.sweeps.ledger import Ledger, as_mappings, open_ledger
from run_assets.sweeps.policy import TERMINAL

Say = Callable[[str], None]
"""Takes a sentence for people."""

_LOOK_SECONDS = 2.0
_ALERT_SECONDS = 60.0
_BATCH = 500
_SETTINGS = (
    *("models", "tasks", "num_trials_per_config", "options", "seed", "max_retries"),
    *("early_stop_on_success", "description"),
)
_ATTEMPTS = """
    select attempts.*, trials.model, trials.task, trials.trial, trials.seed,
        trials.status as trial_status, trials.attempts, trials.reward,
        trials.max_reward, trials.success, trials.steps, trials.version, trials.instance
    from attempts inner join trials using (trial_id)
    where attempts.finished_at is not null and attempts.published_as is null
    order by attempts.finished_at, attempts.trial_id limit ?
"""


class Publication:
    """Sends a sweep to W&B beside the pool; a pool never waits for it.

    Attributes:
        error: What kept W&B from getting everything; the ledger has it.
    """

    def __init__(
        self, path: Path, target: SweepTarget, say: Say, *, is_resume: bool
    ) -> None:
        """Nothing is sent before the publication is entered.

        Args:
            path: The ledger.
            target: Where the runs go; nothing is sent where its mode is disabled.
            say: Told at once what keeps W&B from getting everything.
            is_resume: The sweep was begun before.
        """
        self.error: RunAssetsError | None = None
        self._path, self._target, self._is_resume = path, target, is_resume
        self._say = say
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._publish, name="wandb", daemon=True)
        self._alerted_at = -_ALERT_SECONDS
        self._failed: list[Mapping[str, Any]] = []

    def __enter__(self) -> Self:
        if self._target.mode != "disabled":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _publish(self) -> None:
        try:
            with _only_one(self._target.folder) as is_first:
                if is_first:
                    self._send_all()
        except RunAssetsError as error:
            self.error = error
        except OSError as error:
            msg = f"{self._target.folder} could not be written: {error}; make room"
            self.error = SourceError(msg)
        if self.error:
            self._say(f"the sweep goes on without W&B: {self.error}")

    def _send_all(self) -> None:
        with open_ledger(self._path) as ledger:
            config = ledger.config
            about = {"is_resume": self._is_resume, "completion_status": "running"}
            with WandbSweep(self._target, _run_config(ledger, about)) as run:
                logged_at = time.monotonic()
                while not self._is_over.wait(_LOOK_SECONDS):
                    self._send_ended(ledger, run)
                    self._alert(run, _ALERT_SECONDS)
                    if time.monotonic() - logged_at >= config.log_interval_minutes * 60:
                        run.log([_metrics(ledger)])
                        logged_at = time.monotonic()
                self._send_ended(ledger, run)
                self._alert(run, 0.0)
                status = completion_status(ledger.counts())
                run.finish(_metrics(ledger), {"completion_status": status})

    def _send_ended(self, ledger: Ledger, run: WandbSweep) -> None:
        """Everything that ended and was not sent; each attempt once."""
        while rows := as_mappings(ledger.rows(_ATTEMPTS, (_BATCH,))):
            run.log([_trajectory(one) for one in rows if one["status"] == "successful"])
            names = ["sweep"] * len(rows)
            if ledger.config.wandb_trials:
                names = [run.log_trial(_trial_run(ledger, one)) for one in rows]
            with ledger.transaction() as connection:
                connection.executemany(
                    "update attempts set published_as = ?"
                    " where trial_id = ? and attempt = ?",
                    (
                        (name, one["trial_id"], one["attempt"])
                        for name, one in zip(names, rows, strict=True)
                    ),
                )
            self._failed += [one for one in rows if _is_final_failure(one)]

    def _alert(self, run: WandbSweep, patience: float) -> None:
        """One message for all trials that failed for good since the last one."""
        now = time.monotonic()
        if not self._failed or now - self._alerted_at < patience:
            return
        classes = Counter(one["error_class"] for one in self._failed)
        told = ", ".join(f"{name} {count}" for name, count in classes.most_common())
        first = self._failed[0]
        run.alert(
            f"{len(self._failed)} trials failed for good",
            f"{self._target.sweep_id}: {told}. The first: {first['model']} on "
            f"{first['task']}, trial {first['trial']}: {first['error'] or ''}",
        )
        self._failed, self._alerted_at = [], now


def published(lab: Lab, ledger: Ledger, say: Say, *, is_resume: bool) -> Publication:
    """The publication of a sweep, to be entered while it runs; see `Publication`."""
    config, given = ledger.config, lab.config.publish.wandb
    is_off = not config.enable_wandb or is_disabled(given.mode)
    folder = lab.config.data_path / "published" / "sweeps" / ledger.sweep_id / "wandb"
    target = SweepTarget(
        sweep_id=ledger.sweep_id,
        mode="disabled" if is_off else given.mode,
        project=config.wandb_project or given.project,
        entity=config.wandb_entity or given.entity,
        folder=folder.absolute(),
    )
    return Publication(ledger.path, target, say, is_resume=is_resume)


def completion_status(counts: Mapping[str, int]) -> str:
    """Of a sweep, in the words that trials have.

    >>> completion_status({"successful": 3}), completion_status({"pending": 1})
    ('successful', 'will_retry')
    """
    if any(status not in TERMINAL for status in counts):
        return "will_retry"
    return "failed_final" if counts.get("failed_final") else "successful"


@contextmanager
def _only_one(folder: Path) -> Iterator[bool]:
    """True for the one manager of a sweep that publishes it; released by a kill."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _run_config(ledger: Ledger, about: Mapping[str, Any]) -> dict[str, Any]:
    values = stored_values(ledger.config)
    return {
        "sweep_id": ledger.sweep_id,
        # W&B keeps no empty mapping.
        **{name: values[name] for name in _SETTINGS if values[name] not in ({}, None)},
        "retry_count": 0,
        **about,
    }


def _metrics(ledger: Ledger) -> dict[str, Any]:
    from run_assets.sweeps.summary import metrics, trials_frame

    config = ledger.config
    trials = trials_frame(as_mappings(ledger.rows("select * from trials")))
    hours = (time.time() - ledger.created_at.timestamp()) / 3_600
    return metrics(
        trials, config.k_values, stops_early=config.early_stop_on_success, hours=hours
    )


def _trajectory(one: Mapping[str, Any]) -> dict[str, Any]:
    """A trial's end as one row of the sweep's history."""
    steps, tokens = one["steps"], one["tokens"]
    named = {
        **{name: one[name] for name in ("version", "instance", "reward", "max_reward")},
        **{name: one[name] for name in ("model", "task", "trial", "success")},
        "step": steps,
        "elapsed_time": one["seconds"],
        "tokens_used": tokens,
        "tokens_per_step": tokens / steps if steps and tokens is not None else None,
    }
    return {f"trajectory/{name}": v for name, v in named.items() if v is not None}


def _trial_run(ledger: Ledger, one: Mapping[str, Any]) -> dict[str, Any]:
    """An attempt as a W&B run of its own."""
    steps = ledger.rows(
        "select step, reward, tokens from trial_steps where model = ? and task = ?"
        " and trial = ? order by step",
        (one["model"], one["task"], one["trial"]),
    )
    is_success = one["status"] == "successful"
    status = "successful" if is_success else _failed_as(one)
    history = [
        {f"trajectory/{name}": v for name, v in step.items() if v is not None}
        for step in as_mappings(steps)
        if is_success
    ]
    number = f"{one['trial_id'][:16]}{one['attempt']:02d}"
    return {
        "run_id": number,
        "name": f"{one['model']}_{one['task']}_trial{one['trial']:02d}",
        "config": {
            "sweep_id": ledger.sweep_id,
            **{name: one[name] for name in ("model", "task", "trial", "seed")},
            "retry_count": one["attempt"] - 1,
            "completion_status": status,
        },
        "history": history,
        "summary": _trajectory(one) if is_success else {"error": one["error_class"]},
        "exit_code": 0 if is_success else 1,
    }


def _failed_as(one: Mapping[str, Any]) -> str:
    return "failed_final" if _is_final_failure(one) else "will_retry"


def _is_final_failure(one: Mapping[str, Any]) -> bool:
    """The attempt was the trial's last one, and it failed."""
    is_last: bool = one["attempt"] == one["attempts"]
    statuses = (one["status"], one["trial_status"])
    return is_last and statuses == ("failed", "failed_final")
