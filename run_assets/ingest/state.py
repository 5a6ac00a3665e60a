"""``raw.sync_state``: what was last read from where."""

from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from run_assets.ingest.placement import Place
from run_assets.sources.runs import FILES, ChangedRun, Location, RunContent
from run_assets.store.lake import Lake, Part, empty, fitted

STATE = Part("raw.sync_state")


def read_state(lake: Lake) -> pl.DataFrame:
    """What was last read from where; empty before the first refresh."""
    if lake.header(STATE) is None:
        return _recovered(lake)
    return fitted(lake.read("raw.sync_state"), "raw.sync_state")


def _recovered(lake: Lake) -> pl.DataFrame:
    """Where runs lie, from the lake itself: a lost state must not orphan its runs."""
    first_parts: dict[Part, list[int]] = defaultdict(list)
    for part in lake.parts("raw.history"):
        if header := lake.header(part):
            first = part._replace(number=header.first_part)
            first_parts[first.of("raw.runs")].append(part.number)
    frames = [empty("raw.sync_state")]
    for part, numbers in first_parts.items():
        if lake.header(part):
            more = sorted({*numbers} - {part.number})
            runs = lake.read("raw.runs", [part]).with_columns(
                pl.lit(part.project_slug).alias("project_slug"),
                pl.lit(part.day).str.to_date().alias("day"),
                pl.lit([part.number, *more]).alias("parts"),
            )
            frames.append(fitted(runs, "raw.sync_state"))
    return pl.concat(frames)


def damaged_rows(state: pl.DataFrame) -> pl.DataFrame:
    """Locations that could not be read, whole or in part, and are still there."""
    bad = state.filter(pl.col("is_damaged"))
    there = [
        source != FILES or Path(location).exists()
        for source, location in bad.select("source", "source_location").iter_rows()
    ]
    return bad.filter(pl.Series(there, dtype=pl.Boolean))


def state_row(
    change: ChangedRun, location: Location, place: Place | None
) -> dict[str, Any]:
    """What is known of a location before it is read."""
    is_read = location.problem is None and place is not None
    return {
        "run_path": change.run_path,
        "source": location.source,
        "source_location": location.name,
        "size_bytes": location.size_bytes,
        "modified_ns": location.modified_ns,
        "listing_digest": location.listing_digest,
        "server_rows": location.server_rows,
        "project_slug": place.partition.project_slug if place else None,
        "day": place.partition.day if place else None,
        "parts": list(place.parts) if place and is_read else [],
        "content_digest": None,
        "problem": location.problem,
        "skipped": [],
        "skipped_bytes": 0,
        "is_damaged": False,
    }


def state_rows(
    change: ChangedRun,
    place: Place,
    content: RunContent,
    *,
    values: int,
    now: datetime,
) -> list[dict[str, Any]]:
    """What is known of a run's locations after it was read."""
    rows = []
    for location in change.locations:
        row = state_row(change, location, place)
        if location.problem is None:
            skipped = content.skipped.get(location.name, ())
            row |= {
                "content_digest": content.content_digest,
                "history_values": values,
                "progress_json": content.progress_json,
                "skipped": [one._asdict() for one in skipped],
                "skipped_bytes": sum(one.size_bytes for one in skipped),
                "is_damaged": location.name in content.damaged,
                "problem": content.problems.get(location.name),
            }
            row |= {
                name: content.run.get(name)
                for name in ("run_state", "heartbeat_at", "last_step", "history_rows")
            }
            if location.source == content.source:
                row["export_rows"] = content.export_rows
        if why := content.unread.get(location.name):
            row |= {"problem": why, "parts": [], "progress_json": None}
        rows.append({**row, "fetched_at": now})
    return rows
