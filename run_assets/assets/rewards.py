"""Rewards of each run: components, success rates, and training beside them."""

import dagster as dg
import polars as pl

from run_assets.assets.results import built, definition
from run_assets.diagnostics.roles import declared_parts
from run_assets.digests import code_digest_of
from run_assets.resources import LabResource
from run_assets.rewards.components import parts_of
from run_assets.rewards.table import reward_components as components_of
from run_assets.store.build import Build, Recipe

_NAME = "diagnostics.reward_components"
_INPUTS = ("core.metric_points", "raw.runs")
_CODE = (
    "run_assets.rewards",
    "run_assets.stats.trends",
    "run_assets.derived.metric_groups",
    "run_assets.diagnostics.roles",
    __name__,
)


@dg.asset(**definition(_NAME, {"python", "polars", "parquet"}, _INPUTS))
def reward_components(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run and metric that is a reward, a success rate or of training."""
    found = lab.lab
    settings, groups = found.config.rewards, found.config.metric_groups
    declared = declared_parts(found.config.diagnostics)

    def compute(build: Build) -> pl.DataFrame:
        runs = found.lake.read("raw.runs", build.inputs["raw.runs"])
        kept = runs.filter(~pl.col("is_deleted")).select("run_path")
        points = (
            found.lake.scan("core.metric_points", build.inputs["core.metric_points"])
            .select("run_path", "metric", "step", "value")
            .join(kept.lazy(), on="run_path", how="semi")
        )
        names = points.select(pl.col("metric").unique()).collect()["metric"]
        parts = parts_of(names, settings, groups, declared)
        mine = points.filter(pl.col("metric").is_in(list(parts)))
        return components_of(mine.collect(), parts, settings)

    metrics = found.config.diagnostics.model_dump(mode="json", include={"metrics"})
    config = [settings.model_dump(mode="json"), groups, metrics]
    return built(found, Recipe(_NAME, _INPUTS, code_digest_of(*_CODE), config), compute)
