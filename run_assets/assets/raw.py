"""Raw tables: what the sources say, by day and project; the only partitioned assets."""

import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
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
from run_assets.config import Config, WandbApi
from run_assets.contracts.tables import table
from run_assets.digests import digest_of
from run_assets.ingest import PARTITIONED, Ingest, Written, place_runs, read_state
from run_assets.lab import Lab, Progress
from run_assets.partitions import Partition, parse_key
from run_assets.refresh import Plan, Selection, plan_refresh
from run_assets.reports.markdown import inline
from run_assets.reports.views import Name
from run_assets.resources import LabResource
from run_assets.sources.changes import INCOMING
from run_assets.sources.wandb_api_client import Traffic

PROJECTS = dg.DynamicPartitionsDefinition(name="project")
_RANGE_TAGS = (
    "dagster/asset_partition_range_start",
    "dagster/asset_partition_range_end",
)

_SLOWEST = 10
_DETAILED = 100
"""Partitions with own metadata: each costs Dagster a look at all that were chosen."""

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
    local_only: bool = False


class RunPartitions(dg.MultiPartitionsDefinition):
    """Day of creation x project, with its keys listed once a process.

    Dagster lists all of them for each edge and check of a raw table, at a cost of
    a second per 100,000; they only change with a new day or a new project.
    """

    def __init__(self, first_day: date) -> None:
        days = dg.DailyPartitionsDefinition(first_day.isoformat(), end_offset=1)
        super().__init__({"project": PROJECTS, "day": days})
        self._days = days
        self._listed: tuple[tuple[str | None, ...], Sequence[Any]] = ((), ())

    def get_partition_keys(
        self,
        current_time: datetime | None = None,
        dynamic_partitions_store: Any = None,
    ) -> Sequence[Any]:
        """Every key; those of now are remembered."""
        given = (current_time, dynamic_partitions_store)
        if current_time is not None:
            return super().get_partition_keys(*given)
        last = self._days.get_last_partition_key()
        found = (last, *PROJECTS.get_partition_keys(*given))
        if self._listed[0] != found:
            self._listed = (found, super().get_partition_keys(*given))
        return self._listed[1]


def run_partitions(config: Config) -> dg.MultiPartitionsDefinition:
    """Day of creation x project."""
    return RunPartitions(config.first_day)


def raw_runs(config: Config) -> dg.AssetsDefinition:
    """The asset that writes all raw tables of run sources."""
    partitions = run_partitions(config)  # one for all: it remembers its keys
    specs = [
        dg.AssetSpec(
            key(name),
            description=DESCRIPTIONS[name],
            group_name="raw",
            kinds={"wandb", "parquet"},
            owners=OWNERS,
            partitions_def=partitions,
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
        local_only=options.local_only,
    )


def asked_partitions(context: dg.AssetExecutionContext) -> frozenset[Partition] | None:
    """The partitions somebody chose; ``None`` for a refresh.

    Each run of a backfill launched from a job's page carries the tags of one key beside
    its range. Dagster then takes that key for the whole selection and says that it was
    materialized, though another run was given it. So range and key are read both.
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
        return frozenset(map(parse_key, keys)) | _named_partitions(context)
    return _named_partitions(context) or None


def _read(
    context: dg.AssetExecutionContext, lab: Lab, selection: Selection
) -> Iterator[dg.MaterializeResult]:  # type: ignore[type-arg]  # has no value
    now = datetime.now(UTC)
    lab.lake.sweep()
    plan = lab.plan or plan_refresh(lab, now=now, selection=selection)
    changes = plan.changes
    state = read_state(lab.lake)
    places = place_runs(
        lab.lake, state, changes, first_day=lab.config.first_day, today=now.date()
    )
    slugs = {place.partition.project_slug for place in places.values()}
    context.instance.add_dynamic_partitions(str(PROJECTS.name), sorted(slugs))
    ingest = Ingest(
        lab.lake,
        now=now,
        progress=_with_requests(lab.progress, plan),
        workers=_fetchers(lab.config),
    )
    parts: dict[Partition, list[Written]] = {}
    try:
        for written in ingest.run(changes, places):
            parts.setdefault(written.partition, []).append(written)
    finally:
        plan.asked.close()
    shutil.rmtree(lab.config.data_path / INCOMING, ignore_errors=True)
    _log_skipped(context, ingest.state, {change.run_path for change in changes})
    named = _named_partitions(context)
    for partition in sorted({*parts, *(selection.partitions or ())}):
        about = _metadata_by_table(parts.get(partition, []))
        if partition not in named:
            _log_partition(context, partition, about)
        elif len(named) <= _DETAILED:
            _describe_partition(context, partition, about)
    traffic = _traffic_metadata(plan.asked.traffic)
    for name in PARTITIONED:
        metadata = {
            **table_metadata(lab, name, ()),
            "runs_read": len(changes),
            **traffic,
        }
        if named:  # Dagster repeats it for each partition, as if each had all rows
            del metadata["dagster/row_count"]
        yield dg.MaterializeResult(asset_key=key(name), metadata=metadata)


def _with_requests(progress: Progress, plan: Plan) -> Progress:
    """Tell of the requests, too, whenever a run was read."""
    if not plan.asked.clients:
        return progress

    def told(name: str, done: int, of: int) -> None:
        progress(name, done, of)
        progress("requests", plan.asked.traffic.total, 0)

    return told


def _fetchers(config: Config) -> int:
    """How many runs are fetched at the same time."""
    asked = [one for one in config.sources if isinstance(one, WandbApi)]
    return max((one.concurrency for one in asked), default=1)


def _traffic_metadata(traffic: Traffic) -> dict[str, Any]:
    """What the servers were asked; nothing where there are none."""
    if not traffic.total:
        return {}
    requests = [
        f"- {inline(Name(name))}: {n:,}" for name, n in traffic.requests.items()
    ]
    slowest = [
        f"- {inline(Name(path))}: {seconds:.1f} s"
        for path, seconds in traffic.slowest(_SLOWEST)
    ]
    return {
        "requests": traffic.total,
        "requests_by_operation": dg.MetadataValue.md("\n".join(requests)),
        "received_bytes": traffic.received_bytes,
        "retries": traffic.retries,
        "waited_seconds": round(traffic.waited_seconds, 3),
        "slowest_runs": dg.MetadataValue.md("\n".join(slowest) or "none was fetched"),
    }


def _log_skipped(
    context: dg.AssetExecutionContext, state: pl.DataFrame, read: set[str]
) -> None:
    """Say of each file that was read now what could not be read of it."""
    rows = state.filter(pl.col("run_path").is_in(read)).select(
        "source_location", "skipped"
    )
    for location, skipped in rows.iter_rows():
        for one in skipped or ():
            context.log.warning("%s: skipped %s", location, one)


def _named_partitions(context: dg.AssetExecutionContext) -> frozenset[Partition]:
    """Partitions that Dagster says are materialized when the asset is."""
    if context.has_partition_key or context.has_partition_key_range:
        return frozenset(map(parse_key, context.partition_keys))
    return frozenset()


def _metadata_by_table(parts: list[Written]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "dagster/row_count": sum(part.rows[name] for part in parts),
            "runs_read": sum(len(part.run_paths) for part in parts),
            "input_digest": digest_of([part.digest for part in parts]),
        }
        for name in PARTITIONED
    }


def _log_partition(
    context: dg.AssetExecutionContext,
    partition: Partition,
    about: dict[str, dict[str, Any]],
) -> None:
    for name, metadata in about.items():
        context.log_event(
            dg.AssetMaterialization(
                key(name), partition=partition.key, metadata=metadata
            )
        )


def _describe_partition(
    context: dg.AssetExecutionContext,
    partition: Partition,
    about: dict[str, dict[str, Any]],
) -> None:
    for name, metadata in about.items():
        context.add_asset_metadata(
            metadata, asset_key=key(name), partition_key=partition.key
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
        f"- {inline(Name(location))}: {size:,} bytes ({_reasons(what)})"
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
