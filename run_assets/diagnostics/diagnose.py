"""Run the rules over runs; what they say becomes rows of ``diagnostics.findings``."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from run_assets.config import Diagnostics
from run_assets.diagnostics.model import Outcome, Run
from run_assets.diagnostics.registry import Limits, Rule, chosen, rule
from run_assets.diagnostics.roles import Parts, declared_parts
from run_assets.errors import UsageError, did_you_mean

FINDING_TYPES: Mapping[str, pl.DataType] = {
    "run_path": pl.String(),
    "rule_code": pl.String(),
    "rule_name": pl.String(),
    "family": pl.String(),
    "outcome": pl.String(),
    "severity": pl.String(),
    "metric": pl.String(),
    "first_step": pl.Int64(),
    "last_step": pl.Int64(),
    "statistic": pl.Float64(),
    "threshold": pl.Float64(),
    "n_points": pl.Int64(),
    "effect_size": pl.Float64(),
    "ci_low": pl.Float64(),
    "ci_high": pl.Float64(),
    "evidence_json": pl.String(),
    "hypothesis": pl.String(),
    "suggestion": pl.String(),
    "reason": pl.String(),
}


@dataclass(frozen=True)
class Settings:
    """What is asked of every run.

    Attributes:
        rules: In the order of their codes.
        parts: Which metric plays which part.
        limits: Thresholds of each rule, by code.
    """

    rules: tuple[Rule, ...]
    parts: Parts
    limits: Mapping[str, Limits] = field(default_factory=dict)


def settings(config: Diagnostics) -> Settings:
    """The rules, thresholds and parts of a configuration.

    Raises:
        UsageError: It names an unknown rule or threshold, or a new part without
            patterns.

    >>> settings(Diagnostics(select=("cache",))).rules[0].code
    'RUN050'
    """
    rules = tuple(chosen(config.select, config.ignore))
    changed = {rule(name).code: one for name, one in config.thresholds.items()}
    known = {code: rule(code).thresholds for code in changed}
    for code, one in changed.items():
        for name in set(one) - set(known[code]):
            hint = did_you_mean(name, known[code])
            msg = f"diagnostics.thresholds.{code}: no threshold {name!r}{hint}"
            raise UsageError(msg)
    limits = {
        one.code: {**one.thresholds, **changed.get(one.code, {})} for one in rules
    }
    return Settings(rules, declared_parts(config), limits)


def diagnose(run: Run, asked: Settings) -> list[tuple[Rule, Outcome]]:
    """What every rule says of a run."""
    # Runs that overflowed hold values near the largest double.
    with np.errstate(all="ignore"):
        return [
            (one, outcome)
            for one in asked.rules
            for outcome in one.check(run, asked.limits[one.code])
        ]


def findings(runs: Iterable[Run], asked: Settings) -> pl.DataFrame:
    """One row per run, rule and metric: fired, clear, or why it could not be tested."""
    rows = [
        _row(run.path, one, outcome)
        for run in runs
        for one, outcome in diagnose(run, asked)
    ]
    return pl.DataFrame(rows, schema=dict(FINDING_TYPES), orient="row")


def _row(path: str, one: Rule, outcome: Outcome) -> tuple[Any, ...]:
    has_fired = outcome.state == "fired"
    effect = outcome.effect
    return (
        path,
        one.code,
        one.name,
        one.family,
        outcome.state,
        outcome.severity or one.severity,
        outcome.metric,
        *outcome.steps,
        _finite(outcome.statistic),
        _finite(outcome.threshold),
        outcome.n_points,
        _finite(effect.size if effect else None),
        _finite(effect.low if effect else None),
        _finite(effect.high if effect else None),
        json.dumps(_plain(outcome.evidence), sort_keys=True, allow_nan=False),
        one.hypothesis if has_fired else None,
        one.suggestion if has_fired else None,
        outcome.reason,
    )


def _finite(value: float | None) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    """Values that JSON knows; what is not finite becomes null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return _finite(value) if isinstance(value, float) else value
