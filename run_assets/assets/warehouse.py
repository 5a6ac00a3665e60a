"""Staging views, core and marts: one asset for each SQL model."""

import dagster as dg
from dagster_duckdb import DuckDBResource

from run_assets.assets.results import (
    OWNERS,
    built,
    column_schema,
    key,
    keys,
    lineage,
)
from run_assets.resources import LabResource, engine
from run_assets.store.build import Build, Recipe
from run_assets.store.lake import conform
from run_assets.store.models import (
    Model,
    code_of,
    models,
    run_model,
    stored_inputs,
)


def model_assets() -> list[dg.AssetsDefinition]:
    """One asset a model, in the order of the flow."""
    return [_asset(model) for model in models().values()]


def _asset(model: Model) -> dg.AssetsDefinition:
    is_view = model.contract.layout == "view"

    @dg.asset(
        key=key(model.name),
        description=model.description,
        group_name=model.contract.schema,
        kinds={"duckdb", "sql"} if is_view else {"duckdb", "sql", "parquet"},
        owners=OWNERS,
        deps=keys(model.reads),
        metadata={"dagster/column_schema": column_schema(model.contract)},
    )
    def table(lab: LabResource, duckdb: DuckDBResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # has no value
        with engine(duckdb, lab.lab) as connection:
            if is_view:
                conform(run_model(connection, model.name, {}), model.contract)
                return dg.MaterializeResult(
                    metadata={
                        "dagster/column_lineage": lineage(model.name, model.reads)
                    }
                )
            lake = lab.lab.lake
            recipe = Recipe(model.name, stored_inputs(model.name), code_of(model.name))

            def compute(build: Build):  # type: ignore[no-untyped-def]  # noqa: ANN202
                files = {
                    name: [lake.path(part) for part in parts]
                    for name, parts in build.inputs.items()
                }
                return run_model(connection, model.name, files)

            return built(lab.lab, recipe, compute)

    return table
