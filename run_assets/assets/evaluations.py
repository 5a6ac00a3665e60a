"""Evaluation results: raw tables of trials, and the statistics of models and tasks."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from run_assets.assets.results import (
    OWNERS,
    built,
    column_schema,
    key,
    keys,
    plots,
    table_metadata,
)
from run_assets.config_evaluations import SuccessRule, TaskRule
from run_assets.contracts.evaluations import EVALUATION_TABLES
from run_assets.contracts.tables import table
from run_assets.digests import code_digest_of
from run_assets.ingest.results import Read, ResultIngest
from run_assets.lab import Lab
from run_assets.refresh import plan_results
from run_assets.reports.markdown import inline
from run_assets.reports.views import Name
from run_assets.resources import LabResource
from run_assets.sources.results import has_results, result_databases, wandb_sources
from run_assets.stats.evaluation_answers import EVALUATION_STATISTICS, evaluation_rows
from run_assets.stats.task_rules import rule_rows
from run_assets.store.build import Build, Recipe, make
from run_assets.store.lake import conform, empty

TRIALS = "core.trials"
RAW = ("raw.success_rules", "raw.trajectory_steps", "raw.trials", "raw.result_sources")
EVALUATION_KEYS = frozenset(key(one.name) for one in EVALUATION_TABLES)
_EMPTY = (
    "No results: name a database under `evaluations.sources` in run_assets.yaml, "
    "or run a sweep in this lab."
)
_DESCRIPTIONS = {
    "raw.success_rules": "One row per rule of the configuration: what a success is.",
    "raw.trajectory_steps": "One row per step of a trial, as its source has it.",
    "raw.trials": "One row per trial, or agent of a trial, as its source has it.",
    "raw.result_sources": "One row per result source and table: what was last read.",
    "stats.success_rates": "One row per sweep, model and task: its success rate.",
    "stats.pass_at_k": "One row per sweep, model, task, statistic and k.",
    "stats.model_comparisons": "One row per sweep, measure and pair of models.",
    "stats.task_difficulty": "One row per sweep and task: how hard it is.",
    "stats.efficiency": "One row per sweep and model: what a success costs.",
    "stats.leaderboard": "One row per sweep, measure and model: its rank.",
    "stats.trial_outliers": "One row per trial and quantity that stands apart.",
    "stats.results_over_time": "One row per sweep, model and window of time.",
}


class ResultOptions(dg.Config):
    """What is read of result sources; the defaults are the nightly refresh."""

    reread: bool = False
    local_only: bool = False


def _spec(name: str, kinds: set[str], deps: list[dg.AssetKey]) -> dg.AssetSpec:
    return dg.AssetSpec(
        key(name),
        description=_DESCRIPTIONS[name],
        group_name=name.partition(".")[0],
        kinds=kinds,
        owners=OWNERS,
        deps=deps,
        metadata={"dagster/column_schema": column_schema(table(name))},
    )


@dg.multi_asset(
    name="raw_results",
    specs=[_spec(name, {"sql", "parquet"}, keys(["raw.runs"])) for name in RAW],
    can_subset=False,
)
def raw_results(
    config: ResultOptions, lab: LabResource
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]  # has no value
    """What the result sources say, read from where they ended."""
    found = lab.lab
    about: dict[str, Any] = {"empty": _EMPTY}
    if has_evaluations(found):
        about = _about(read_results(found, config))
        make(found.lake, _rules(found), lambda _: _rule_frame(found))
    for name in RAW:
        yield dg.MaterializeResult(
            asset_key=key(name), metadata={**table_metadata(found, name, ()), **about}
        )


def has_evaluations(lab: Lab) -> bool:
    """The lab has result sources, or rows that some had."""
    return has_results(lab.config) or bool(lab.lake.parts("raw.result_sources"))


def read_results(lab: Lab, options: ResultOptions) -> list[Read]:
    """Read what has changed of each result source into the lake."""
    ingest = ResultIngest(lab.lake, datetime.now(UTC), lab.progress)
    ingest.sweep()
    if lab.plan is not None:
        changed = lab.plan.results
    else:
        changed = plan_results(
            lab, reread=options.reread, local_only=options.local_only
        )
    read = [ingest.read(one) for one in changed]
    runs = wandb_sources(lab.config)
    read += [one for source in runs if (one := ingest.read_runs(source))]
    if options.reread and not options.local_only:
        kept = {one.name for one in result_databases(lab.config)}
        ingest.forget(kept | {one.name or one.kind for one in runs})
    return read


def _about(read: list[Read]) -> dict[str, Any]:
    lines = [
        f"- {inline(Name(one.source))}: {one.n_rows:,} rows of {one.target}"
        f"{', all of it' if one.is_whole else ''}"
        for one in read
    ]
    shown = "\n".join(lines) or "Nothing has changed."
    return {"read": dg.MetadataValue.md(shown)}


def _rules(lab: Lab) -> Recipe:
    asked = lab.config.evaluations
    used = asked.model_dump(mode="json", include={"success", "tasks", "errors"})
    code = code_digest_of("run_assets.stats.task_rules", __name__)
    return Recipe("raw.success_rules", (), code, used)


def _rule_frame(lab: Lab) -> pl.DataFrame:
    asked = lab.config.evaluations
    rules: list[TaskRule | SuccessRule] = [*asked.tasks, asked.success]
    rows = rule_rows(rules, is_error_failure=asked.errors == "fail")
    return pl.DataFrame(rows, schema=empty("raw.success_rules").schema)


@dg.multi_asset(
    name="evaluation_statistics",
    specs=[
        _spec(name, {"python", "polars", "parquet"}, keys([TRIALS]))
        for name in EVALUATION_STATISTICS
    ],
    can_subset=False,
)
def evaluation_statistics(
    lab: LabResource,
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]  # has no value
    """Every statistic of the trials; each is rewritten when trials or settings are."""
    found = lab.lab
    about = {} if has_evaluations(found) else {"empty": _EMPTY}
    results = {
        name: built(found, _recipe(found, name), lambda build: _statistic(found, build))
        for name in EVALUATION_STATISTICS
    }
    for name, result in results.items():  # pictures need several of the tables
        shown = plots(_figures(found, name))
        yield result._replace(metadata={**(result.metadata or {}), **shown, **about})


def _recipe(lab: Lab, name: str) -> Recipe:
    used = {"k", "paired_by", "correction", "confidence", "resamples", "seed"}
    config = lab.config.evaluations.model_dump(mode="json", include=used)
    code = code_digest_of("run_assets.stats", "run_assets.assets.evaluations")
    return Recipe(name, (TRIALS,), code, config)


def _statistic(lab: Lab, build: Build) -> pl.DataFrame:
    trials = lab.lake.read(TRIALS, build.inputs[TRIALS])
    name = build.part.table
    rows = evaluation_rows(name, lab.config.evaluations, trials)
    return conform(rows, table(name)) if rows.width else empty(name)


_PICTURES = {
    "stats.success_rates": "model_comparison",
    "stats.pass_at_k": "pass_at_k",
    "stats.task_difficulty": "task_difficulty",
    "stats.efficiency": "efficiency_scatter",
    "stats.results_over_time": "learning_curves",
}


def _figures(lab: Lab, name: str) -> Iterator[str]:
    """The picture of a table, of the newest sweep."""
    from run_assets.reports.evaluation_content import evaluation_of, shown_sweeps
    from run_assets.reports.evaluation_figures import EVALUATION_PLOTS

    if name not in _PICTURES:
        return
    newest = next(shown_sweeps(lab.lake.read(TRIALS)), None)
    if newest is None:
        return
    figure = EVALUATION_PLOTS[_PICTURES[name]](evaluation_of(newest, lab.lake.read))
    if figure is not None:
        yield figure.svg
