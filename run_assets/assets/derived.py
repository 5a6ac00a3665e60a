"""Derived metrics and curves: what SQL says badly."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
import polars as pl

from run_assets.assets.results import built, definition
from run_assets.derived.curves import metric_curves as curves_of
from run_assets.derived.evaluation import (
    RunInputs,
    evaluate_per_run,
    evaluate_per_step,
    null_counts,
)
from run_assets.derived.grids import declared_grids, points_on_grids
from run_assets.derived.metric_groups import DEFAULT_METRIC_GROUPS, expand
from run_assets.derived.references import Vocabulary
from run_assets.digests import code_digest_of
from run_assets.lab import Lab
from run_assets.partitions import project_slug
from run_assets.resources import LabResource
from run_assets.store.build import Build, Recipe
from run_assets.store.lake import Part, empty

_KINDS = {"python", "polars", "parquet"}


_RUN_INPUTS = ("marts.run_summaries", "raw.runs", "core.run_configs")


@dg.asset(**definition("derived.run_metrics", _KINDS, _RUN_INPUTS))
def run_metrics(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run and derived metric of the config; or why there is no value."""
    vocabulary = _vocabulary(lab.lab)
    expressions = lab.lab.config.derived_metrics

    def compute(build: Build) -> pl.DataFrame:
        inputs = _run_inputs(lab.lab, build)
        return evaluate_per_run(expressions, inputs, vocabulary)

    recipe = _expression_recipe(lab.lab, "derived.run_metrics", _RUN_INPUTS)
    result = built(lab.lab, recipe, compute)
    return _with_null_counts(lab.lab, result, "derived.run_metrics")


_STEP_INPUTS = (*_RUN_INPUTS, "core.metric_points")


@dg.asset(**definition("derived.step_metrics", _KINDS, _STEP_INPUTS))
def step_metrics(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run, derived metric and step at which all it needs was logged."""
    vocabulary = _vocabulary(lab.lab)
    expressions = lab.lab.config.derived_metrics

    def compute(build: Build) -> pl.DataFrame:
        inputs = _run_inputs(lab.lab, build)
        points = _points(lab.lab, build, "metric", "step", "value")
        return evaluate_per_step(expressions, points, inputs, vocabulary)

    recipe = _expression_recipe(lab.lab, "derived.step_metrics", _STEP_INPUTS)
    return built(lab.lab, recipe, compute)


_GRID_INPUTS = ("marts.run_summaries", "marts.runs")


@dg.asset(**definition("derived.curve_grids", _KINDS, _GRID_INPUTS))
def curve_grids(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per project and metric: the bins on which its curves are compared."""
    lake = lab.lab.lake

    def compute(build: Build) -> pl.DataFrame:
        summaries = lake.read(
            "marts.run_summaries", build.inputs["marts.run_summaries"]
        )
        runs = lake.read("marts.runs", build.inputs["marts.runs"])
        before = lake.read("derived.curve_grids") if lake.header(build.part) else None
        wanted = _curve_metrics(lab.lab, summaries)
        chosen = summaries.filter(pl.col("metric").is_in(wanted))
        return declared_grids(chosen, runs, before)

    config = [lab.lab.config.curve_metrics, lab.lab.config.metric_groups]
    recipe = _recipe("derived.curve_grids", _GRID_INPUTS, config)
    return built(lab.lab, recipe, compute)


_CURVE_INPUTS = ("core.metric_points", "raw.runs")


@dg.asset(
    **definition(
        "derived.metric_curves",
        _KINDS,
        (*_CURVE_INPUTS, "derived.curve_grids"),
    )
)
def metric_curves(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run, metric and grid point: the mean of the bin, or interpolated."""
    grids = _grids_by_slug(lab.lab)

    def grid_of(part: Part) -> list[Any]:
        """A new run of a project moves a grid rarely, and then rewrites its curves."""
        mine = grids.get(part.project_slug)
        if mine is None:
            return []
        summaries = part.of("marts.run_summaries")
        read = lab.lab.lake.read("marts.run_summaries", [summaries])
        logged = read["metric"].unique().to_list()
        return mine.filter(pl.col("metric").is_in(logged)).rows()

    def compute(build: Build) -> pl.DataFrame:
        grid = grids.get(build.part.project_slug)
        if grid is None:
            return empty("derived.metric_curves")
        points = _points(lab.lab, build, "metric", "x_metric", "x", "value")
        runs = lab.lab.lake.read("raw.runs", build.inputs["raw.runs"])
        kept = points.join(runs.filter(~pl.col("is_deleted")), "run_path", how="semi")
        return curves_of(
            points_on_grids(kept, grid), grid.select("metric", "bin_width")
        )

    recipe = _recipe("derived.metric_curves", _CURVE_INPUTS, None)
    return built(lab.lab, recipe, compute, part_config=grid_of)


def _recipe(name: str, reads: tuple[str, ...], config: Any) -> Recipe:
    return Recipe(name, reads, code_digest_of("run_assets.derived", __name__), config)


def _expression_recipe(lab: Lab, name: str, reads: tuple[str, ...]) -> Recipe:
    return _recipe(name, reads, [lab.config.derived_metrics, lab.config.constants])


def _vocabulary(lab: Lab) -> Vocabulary:
    """Every name known in any part: a metric that only some runs log is no mistake."""
    return Vocabulary(
        metrics=_unique(lab, "marts.run_summaries", "metric"),
        config_keys=_unique(lab, "core.run_configs", "key"),
        constants=frozenset(lab.config.constants),
    )


def _unique(lab: Lab, name: str, column: str) -> frozenset[str]:
    return frozenset(
        lab.lake.scan(name).select(pl.col(column).unique()).collect()[column]
    )


def _run_inputs(lab: Lab, build: Build) -> RunInputs:
    def read(name: str) -> pl.DataFrame:
        return lab.lake.read(name, build.inputs[name])

    return RunInputs(
        summaries=read("marts.run_summaries"),
        runs=read("raw.runs").filter(~pl.col("is_deleted")),
        configs=read("core.run_configs"),
        constants=lab.config.constants,
    )


def _points(lab: Lab, build: Build, *columns: str) -> pl.DataFrame:
    parts = build.inputs["core.metric_points"]
    return (
        lab.lake.scan("core.metric_points", parts)
        .select("run_path", *columns)
        .collect()
    )


def _curve_metrics(lab: Lab, summaries: pl.DataFrame) -> list[str]:
    groups = {**DEFAULT_METRIC_GROUPS, **lab.config.metric_groups}
    known = summaries["metric"].unique().to_list()
    return expand(lab.config.curve_metrics, groups=groups, available=known)


def _grids_by_slug(lab: Lab) -> Mapping[str, pl.DataFrame]:
    grids = lab.lake.read("derived.curve_grids")
    return {
        project_slug(str(entity), str(project)): frame.drop("entity", "project")
        for (entity, project), frame in grids.group_by(
            "entity", "project", maintain_order=True
        )
    }


def _with_null_counts(
    lab: Lab,
    result: dg.MaterializeResult,  # type: ignore[type-arg]  # has no value
    name: str,
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
    counts = null_counts(lab.lake.read(name))
    lines = [f"- `{metric}`: {reason} ({n:,})" for metric, reason, n in counts.rows()]
    found = dg.MetadataValue.md("\n".join(lines) or "Every derived metric has a value.")
    return result._replace(metadata={**(result.metadata or {}), "nulls": found})
