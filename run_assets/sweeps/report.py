"""The report of a sweep: the same numbers as JSON and as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from run_assets.reports.markdown import inline
from run_assets.reports.views import Name
from run_assets.sweeps.config import SweepConfig, stored_values
from run_assets.sweeps.summary import (
    by_model,
    by_task,
    pass_rates,
    trials_frame,
)

SCHEMA_VERSION = 1
_MODELS = {
    "model": "model",
    "n_run": "run",
    "n_failed": "failed",
    "n_skipped": "skipped",
    "n_open": "open",
    "success_rate": "success rate",
    "mean_reward": "mean reward",
    "mean_steps": "steps",
    "tokens_per_success": "tokens per success",
    "cost_per_success": "cost per success",
    "mean_seconds": "seconds",
}
_TASKS = {"task": "task", **{k: _MODELS[k] for k in ("n_run", "n_failed")}}
_TASKS |= {k: _MODELS[k] for k in ("success_rate", "mean_reward", "mean_seconds")}
_RATES = {
    "model": "model",
    "statistic": "statistic",
    "k": "k",
    "estimate": "estimate",
    "ci_low": "95 % from",
    "ci_high": "to",
    "notes": "notes",
}
_FAILURES = {
    "error_class": "class",
    "attempts": "attempts",
    "trials": "trials",
    "failed_final": "given up",
    "last_error": "last message",
}
_NAMES = ("model", "task", "error_class", "last_error")
_LONGEST = 120


def sweep_report(
    *,
    sweep_id: str,
    config: SweepConfig,
    trials: Sequence[Mapping[str, Any]],
    failures: pl.DataFrame,
    totals: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything the report says, as JSON-like values.

    Args:
        sweep_id: The sweep.
        config: Of the sweep.
        trials: Rows of the ledger.
        failures: As `status.failures` gives it.
        totals: Counts, cost and times of the sweep.
    """
    frame = trials_frame(trials)
    stops_early = config.early_stop_on_success
    rates = pass_rates(frame, config.k_values, stops_early=stops_early)
    return {
        "schema_version": SCHEMA_VERSION,
        "sweep_id": sweep_id,
        "totals": dict(totals),
        "models": by_model(frame, stops_early=stops_early).to_dicts(),
        "tasks": by_task(frame, stops_early=stops_early).to_dicts(),
        "pass_rates": rates.to_dicts(),
        "failures": failures.to_dicts(),
        "config": stored_values(config),
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The report as a short text; names stand in code spans."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    totals, config = report["totals"], report["config"]
    yield f"# {inline(Name(report['sweep_id']))}"
    if config["description"]:
        yield f"\n{inline(Name(config['description']))}"
    yield ""
    yield (
        f"{totals.get('successful', 0)} trials run, "
        f"{totals.get('failed_final', 0)} failed for good, "
        f"{totals.get('skipped_early_stop', 0)} skipped after a success, "
        f"{_still_open(totals)} open; {totals['attempts']} attempts, "
        f"cost {totals['cost']:.6g}, {totals['tokens']:,} tokens."
    )
    yield from _section("Models", report["models"], _MODELS)
    yield from _section("Pass rates", report["pass_rates"], _RATES)
    yield (
        "\npass@k: at least one of k trials of a task succeeds; pass^k: all k do; "
        "averaged over tasks."
    )
    yield from _section("Tasks, the hardest first", report["tasks"], _TASKS)
    if report["failures"]:
        yield from _section("Failures", report["failures"], _FAILURES)


def _still_open(totals: Mapping[str, Any]) -> int:
    return sum(totals.get(one, 0) for one in ("pending", "will_retry", "running"))


def _section(
    title: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> Iterator[str]:
    """A heading and a table; columns in which nobody says anything are left out."""
    shown = {
        key: text
        for key, text in columns.items()
        if any(row[key] not in (None, "") for row in rows)
    }
    yield f"\n## {title}\n"
    yield f"| {' | '.join(shown.values())} |"
    yield f"| {' | '.join('---' if _is_text(key) else '---:' for key in shown)} |"
    for row in rows:
        yield f"| {' | '.join(_text(key, row[key]) for key in shown)} |"


def _is_text(key: str) -> bool:
    return key in (*_NAMES, "statistic", "notes")


def _text(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1_000 else f"{value:,.0f}"
    text = str(value)
    if key in _NAMES:
        return inline(Name(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"))
    return inline(text)
