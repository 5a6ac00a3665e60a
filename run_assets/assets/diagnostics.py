"""Findings, health and laws of scale; every rule is in ``run_assets.diagnostics``."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from run_assets.assets.results import built, definition, key
from run_assets.diagnostics import diagnose, health, roles
from run_assets.diagnostics.gathering import runs_of
from run_assets.diagnostics.registry import FAMILIES
from run_assets.digests import code_digest_of
from run_assets.lab import Lab
from run_assets.reports.markdown import inline
from run_assets.reports.views import Name
from run_assets.resources import LabResource
from run_assets.run_tables import RUN_TABLES, run_tables
from run_assets.store.build import Build, Recipe

_KINDS = {"python", "numpy", "parquet"}
_LISTED = 20


@dg.asset(**definition("diagnostics.findings", _KINDS, RUN_TABLES))
def findings(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run, rule and metric: fired, clear, or why it is not testable."""
    asked = diagnose.settings(lab.lab.config.diagnostics)

    def compute(build: Build) -> pl.DataFrame:
        tables = run_tables(lab.lab.lake, build.inputs)
        return diagnose.findings(runs_of(tables, asked.parts), asked)

    result = built(
        lab.lab, _recipe(lab.lab, "diagnostics.findings", RUN_TABLES), compute
    )
    fired = health.worst_first(lab.lab.lake.read("diagnostics.findings"))
    counted = dict(fired.group_by("severity").len().sort("severity").rows())
    return result._replace(metadata={**(result.metadata or {}), **counted})


_HEALTH_INPUTS = ("diagnostics.findings", "raw.runs")


@dg.asset(**definition("diagnostics.run_health", _KINDS, _HEALTH_INPUTS))
def run_health(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run: its worst finding, counts and one sentence."""
    lake = lab.lab.lake

    def compute(build: Build) -> pl.DataFrame:
        runs = lake.read("raw.runs", build.inputs["raw.runs"])
        known = lake.read("diagnostics.findings", build.inputs["diagnostics.findings"])
        return health.run_health(known, runs.filter(~pl.col("is_deleted")))

    recipe = _recipe(lab.lab, "diagnostics.run_health", _HEALTH_INPUTS)
    return built(lab.lab, recipe, compute)


_LAW_INPUTS = ("core.metric_points", "raw.runs", "core.run_configs")
_LAW_ROLES = (
    *("compute", "performance_at_compute", "loss", "reward"),
    *("training_tokens", "model_parameters"),
)


@dg.asset(**definition("diagnostics.scaling_fits", _KINDS, _LAW_INPUTS))
def scaling_fits(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run or project, metric and form of the law, with its exponent."""
    from run_assets.diagnostics import laws  # with scipy: only where it is used

    asked = diagnose.settings(lab.lab.config.diagnostics)

    def compute(build: Build) -> pl.DataFrame:
        metrics = _law_metrics(lab.lab, asked.parts)
        tables = run_tables(lab.lab.lake, build.inputs, metrics=metrics)
        return laws.scaling_fits(runs_of(tables, asked.parts))

    recipe = _recipe(lab.lab, "diagnostics.scaling_fits", _LAW_INPUTS)
    return built(lab.lab, recipe, compute)


def _law_metrics(lab: Lab, parts: roles.Parts) -> list[str]:
    """Metrics that a law needs: none where nobody logged compute."""
    scan = lab.lake.scan("marts.run_summaries")
    known = tuple(scan.select(pl.col("metric").unique()).collect()["metric"].to_list())
    if not parts.players("compute", known):
        return []
    return sorted({one for role in _LAW_ROLES for one in parts.players(role, known)})


def _recipe(lab: Lab, name: str, reads: tuple[str, ...]) -> Recipe:
    config = lab.config.diagnostics.model_dump(mode="json")
    return Recipe(
        name, reads, code_digest_of("run_assets.diagnostics", __name__), config
    )


@dg.multi_asset_check(
    name="diagnosis",
    specs=[
        dg.AssetCheckSpec(
            family,
            asset=key("diagnostics.findings"),
            description=f"No run has a warning or an error where {meaning}.",
        )
        for family, meaning in FAMILIES.items()
    ],
    can_subset=True,
)
def diagnosis(
    context: dg.AssetCheckExecutionContext, lab: LabResource
) -> Iterator[dg.AssetCheckResult]:
    """The findings of each family; they warn, since the pipeline itself is well."""
    known = lab.lab.lake.read("diagnostics.findings")
    fired = health.worst_first(known)
    for check in sorted(context.selected_asset_check_keys, key=lambda one: one.name):
        mine = fired.filter(pl.col("family") == check.name)
        bad = mine.filter(pl.col("severity") != "info")
        tested = known.filter(family=check.name, outcome="clear").height
        yield dg.AssetCheckResult(
            asset_key=check.asset_key,
            check_name=check.name,
            passed=bad.is_empty(),
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{bad.height} warnings and errors" if bad.height else None,
            metadata={
                "clear": tested,
                "fired": mine.height,
                "findings": dg.MetadataValue.md(_listed(mine)),
            },
        )


def _listed(fired: pl.DataFrame) -> str:
    lines = [
        f"- **{row['severity']}** {inline(Name(row['run_path']))}: "
        f"{inline(health.told_briefly(row))}"
        for row in fired.head(_LISTED).iter_rows(named=True)
    ]
    if fired.height > _LISTED:
        lines.append(f"- and {fired.height - _LISTED} more in `diagnostics.findings`")
    return "\n".join(lines) or "None."
