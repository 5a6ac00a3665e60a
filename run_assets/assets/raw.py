"""Raw tables: what the sources say, by day and project; the only partitioned assets."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import polars as pl

from run_assets.assets.results import (
    OWNERS,
    column_schema,
    definition,
    key,
    table_metadata,
)
from run_assets.config import Config
from run_assets.contracts.tables import table
from run_assets.ingest import PARTITIONED, Ingest, Written, place_runs, read_state
from run_assets.lab import Lab
from run_assets.partitions import Partition, parse_key
from run_assets.refresh import Selection, plan_refresh
from run_assets.resources import LabResource

PROJECTS = dg.DynamicPartitionsDefinition(name="project")
_RANGE_TAGS = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)

DESCRIPTIONS = {
    "raw.runs": "One row per run, in its latest known state.",
    "raw.history": "One row per run, metric and step: everything that was logged.",
    "raw.system_metrics": "One row per run, system metric and sample.",
    "raw.artifacts": "One row per artifact version that a run logged or used.",
    "raw.metric_definitions": "One row per define_metric of a run.",
}


class RefreshOptions(dg.Config):
    """What a refresh may read; the defaults are the nightly refresh."""

    reread: bool = False
    project: str | None = None
    since: str | None = None


def run_partitions(config: Config) -> dg.MultiPartitionsDefinition:
    """Day of creation x project."""
    days = dg.DailyPartitionsDefinition(config.first_day.isoformat(), end_offset=1)
    return dg.MultiPartitionsDefinition({"project": PROJECTS, "day": days})


def raw_runs(config: Config) -> dg.AssetsDefinition:
    """The asset that writes all raw tables of run sources."""
    specs = [
        dg.AssetSpec(
            key(name),
            description=DESCRIPTIONS[name],
            group_name="raw",
            kinds={"wandb", "parquet"},
            owners=OWNERS,
            partitions_def=run_partitions(config),
            metadata={"dagster/column_schema": column_schema(table(name))},
        )
        for name in PARTITIONED
    ]

    @dg.multi_asset(
        name="raw_runs",
        specs=specs,
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=False,
    )
    def runs(
        context: dg.AssetExecutionContext, config: RefreshOptions, lab: LabResource
    ) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]  # has no value
        yield from _read(context, lab.lab, _selection(context, config))

    return runs


def _selection(context: dg.AssetExecutionContext, options: RefreshOptions) -> Selection:
    asked = asked_partitions(context)
    if asked is None:
        context.log.info("No partition asked for: reading whatever changed.")
    since = options.since and datetime.fromisoformat(options.since).date()
    return Selection(
        reread=options.reread or asked is not None,
        project=options.project,
        since=since or None,
        partitions=asked,
    )


def asked_partitions(context: dg.AssetExecutionContext) -> frozenset[Partition] | None:
    """The partitions somebody chose; ``None`` for a refresh.

    A backfill launched from a job's page carries the tags of its first key beside the
    range, and ``context.partition_keys`` then is that key alone: the range counts.
    """
    tags = context.run.tags
    if all(tag in tags for tag in _RANGE_TAGS):
        definition = context.assets_def.partitions_def
        span = dg.PartitionKeyRange(*(tags[tag] for tag in _RANGE_TAGS))
        if definition is None:
            return None
        keys = definition.get_partition_keys_in_range(
            span, dynamic_partitions_store=context.instance
        )
        return frozenset(map(parse_key, keys))
    if context.has_partition_key or context.has_partition_key_range:
        return frozenset(map(parse_key, context.partition_keys))
    return None


def _read(
    context: dg.AssetExecutionContext, lab: Lab, selection: Selection
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]  # has no value
    now = datetime.now(UTC)
    changes = plan_refresh(lab, now=now, selection=selection).changes
    state = read_state(lab.lake)
    places = place_runs(
        lab.lake, state, changes, first_day=lab.config.first_day, today=now.date()
    )
    slugs = {place.partition.project_slug for place in places.values()}
    context.instance.add_dynamic_partitions(str(PROJECTS.name), sorted(slugs))
    ingest = Ingest(lab.lake, now=now, progress=lab.progress)
    by_partition: dict[Partition, list[Written]] = {}
    for written in ingest.run(changes, places):
        by_partition.setdefault(written.partition, []).append(written)
    for partition, parts in sorted(by_partition.items()):
        _log_partition(context, partition, parts)
    for name in PARTITIONED:
        yield dg.MaterializeResult(
            asset_key=key(name),
            metadata={**table_metadata(lab, name, ()), "runs_read": len(changes)},
        )


def _log_partition(
    context: dg.AssetExecutionContext, partition: Partition, parts: list[Written]
) -> None:
    asked = context.has_partition_key or context.has_partition_key_range
    if asked:
        return  # the run's own events name every partition that was asked for
    for name in PARTITIONED:
        context.log_event(
            dg.AssetMaterialization(
                key(name),
                partition=partition.key,
                metadata={
                    "dagster/row_count": sum(part.rows[name] for part in parts),
                    "runs_read": sum(len(part.run_paths) for part in parts),
                    "input_digest": parts[-1].digest,
                },
            )
        )


@dg.asset(
    **definition("raw.sync_state", {"parquet"}, ["raw.runs"]),
)
def sync_state(lab: LabResource) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """One row per run, source and location: what was last read from where."""
    state = read_state(lab.lab.lake)
    return dg.MaterializeResult(
        metadata={
            **table_metadata(lab.lab, "raw.sync_state", ()),
            **_coverage(state),
        }
    )


def _coverage(state: pl.DataFrame) -> dict[str, Any]:
    bad = state.filter(pl.col("skipped_bytes") > 0)
    lines = [
        f"- `{location}`: {size:,} bytes ({_reasons(what)})"
        for location, size, what in bad.select(
            "source_location", "skipped_bytes", "skipped"
        )
        .head(50)
        .iter_rows()
    ]
    return {
        "skipped_bytes": int(state["skipped_bytes"].sum()),
        "damaged_locations": int(state["is_damaged"].sum()),
        "skipped": dg.MetadataValue.md("\n".join(lines) or "Nothing was skipped."),
    }


def _reasons(skipped: list[dict[str, Any]]) -> str:
    return ", ".join(sorted({one["reason"] for one in skipped}))
