"""What a ledger says to people: how far the sweep is, and its report."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from run_assets.store.lake import publish_file
from run_assets.sweeps.claims import LEASE_SECONDS
from run_assets.sweeps.ledger import Ledger, as_mappings, timestamp
from run_assets.sweeps.report import markdown, sweep_report
from run_assets.sweeps.status import cells, failures, seconds_left
from run_assets.sweeps.summary import pass_rates, trials_frame

REPORT = "sweep_report"
"""Name of the report's files, ``.json`` and ``.md``."""
EXPORTS = {
    "trials": "select * from trials order by model, task, trial",
    "attempts": "select attempts.*, model, task, trial from attempts inner join trials"
    " using (trial_id) order by model, task, trial, attempt",
    "steps": "select * from trial_steps order by model, task, trial, step",
}
_ENDED = """
    select attempts.*, model, task, trials.status as trial_status
    from attempts inner join trials using (trial_id)
    where attempts.finished_at is not null order by attempts.finished_at
"""


@dataclass(frozen=True)
class Overview:
    """A sweep at one moment.

    Attributes:
        sweep_id: The sweep.
        cells: As `status.cells` gives it.
        failures: As `status.failures` gives it.
        counts: How many trials have which status.
        attempts: How often a trial was tried.
        managers: Processes that work on it.
        cost: Of all attempts.
        tokens: Of all attempts.
        seconds_left: Until the last trial ends; ``None`` where nobody knows.
        created_at: When it was planned.
        ended_at: Last end of a trial; ``None`` before the first.
    """

    sweep_id: str
    cells: pl.DataFrame
    failures: pl.DataFrame
    counts: dict[str, int]
    attempts: int
    managers: int
    cost: float
    tokens: int
    seconds_left: float | None
    created_at: datetime
    ended_at: datetime | None

    @property
    def is_over(self) -> bool:
        """Every trial is terminal."""
        return self.seconds_left == 0.0

    @property
    def totals(self) -> dict[str, Any]:
        """Counts, cost and times, as JSON-like values."""
        return {
            "created_at": self.created_at.isoformat(),
            "ended_at": self.ended_at and self.ended_at.isoformat(),
            "attempts": self.attempts,
            "cost": self.cost,
            "tokens": self.tokens,
            **self.counts,
        }


def overview(ledger: Ledger, now: float | None = None) -> Overview:
    """Read how far a sweep has come, in one look."""
    now = time.time() if now is None else now
    trials = [_with_begin(one) for one in trial_rows(ledger)]
    attempts = as_mappings(ledger.rows(_ENDED))
    cost, tokens, count = ledger.rows(
        "select coalesce(sum(cost), 0.0), coalesce(sum(tokens), 0), count(*)"
        " from attempts"
    )[0]
    managers = _managers(ledger, now)
    return Overview(
        sweep_id=ledger.sweep_id,
        cells=cells(trials),
        failures=failures(attempts),
        counts=ledger.counts(),
        attempts=count,
        managers=managers,
        cost=cost,
        tokens=tokens,
        seconds_left=seconds_left(
            trials,
            [one for one in attempts if one["seconds"] is not None],
            ledger.config.max_concurrent_processes * max(1, managers),
            now,
        ),
        created_at=ledger.created_at,
        ended_at=_time(attempts[-1]["finished_at"]) if attempts else None,
    )


def trial_rows(ledger: Ledger) -> list[Mapping[str, Any]]:
    """Every trial, in the order of the plan."""
    return as_mappings(ledger.rows("select * from trials order by position"))


def report_of(ledger: Ledger) -> dict[str, Any]:
    """The report of a sweep as JSON-like values."""
    found = overview(ledger)
    return sweep_report(
        sweep_id=ledger.sweep_id,
        config=ledger.config,
        trials=trial_rows(ledger),
        failures=found.failures,
        totals=found.totals,
    )


def is_reported(ledger: Ledger, folder: Path) -> bool:
    """The report that lies there says what the ledger says now."""
    try:
        report = json.loads((folder / f"{REPORT}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("totals") == overview(ledger).totals


def write_report(ledger: Ledger, folder: Path) -> dict[str, Path]:
    """Write the report of a sweep; returns its files by ending."""
    report = report_of(ledger)
    texts = {
        "json": json.dumps(report, indent=2, allow_nan=False) + "\n",
        "md": markdown(report),
    }
    files = {ending: folder / f"{REPORT}.{ending}" for ending in texts}
    for ending, file in files.items():
        publish_file(file, partial(_write, texts[ending]))
    return files


def pass_rates_of(ledger: Ledger) -> pl.DataFrame:
    """The pass rates of a sweep, as far as they are known."""
    config = ledger.config
    return pass_rates(
        trials_frame(trial_rows(ledger)),
        config.k_values,
        stops_early=config.early_stop_on_success,
    )


def write_pass_rates(ledger: Ledger, folder: Path) -> tuple[Path, pl.DataFrame]:
    """Write the pass rates of a sweep as parquet; returns the file and its rows."""
    rates = pass_rates_of(ledger)
    file = folder / "pass_rates.parquet"
    publish_file(file, rates.write_parquet)
    return file, rates


def exported(ledger: Ledger, what: str) -> pl.DataFrame:
    """The rows of a ledger as a frame: ``trials``, ``attempts`` or ``steps``."""
    frame = pl.DataFrame(
        as_mappings(ledger.rows(EXPORTS[what])), schema=_schema(ledger, what)
    )
    times = [name for name in frame.columns if name.endswith("_at")]
    moments = [pl.col(one).str.to_datetime(time_zone="UTC") for one in times]
    flags = [pl.col(one).cast(pl.Boolean) for one in frame.columns if one == "success"]
    return frame.with_columns(*moments, *flags)


_TYPES = {"TEXT": pl.String, "INTEGER": pl.Int64, "REAL": pl.Float64}


def _schema(ledger: Ledger, what: str) -> dict[str, Any]:
    known: dict[str, Any] = {}
    for table in ("trials", "attempts", "trial_steps"):
        for row in ledger.rows("select name, type from pragma_table_info(?)", (table,)):
            known[row["name"]] = _TYPES[row["type"]]
    names = ledger.columns(EXPORTS[what])
    return {name: known[name] for name in names}


def _with_begin(one: Mapping[str, Any]) -> dict[str, Any]:
    began = one["started_at"]
    return {**one, "began": _time(began).timestamp() if began else None}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _managers(ledger: Ledger, now: float) -> int:
    """Processes that have reported lately and have not left."""
    return int(
        ledger.value(
            "select count(*) from managers where ended_at is null and seen_at > ?",
            (timestamp(now - LEASE_SECONDS),),
        )
    )


def _write(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")
