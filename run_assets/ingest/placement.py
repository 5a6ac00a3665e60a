"""Where a run is stored: chosen when it is first seen, and kept for life."""

from collections.abc import Iterable, Sequence
from datetime import date
from typing import NamedTuple

import polars as pl

from run_assets.partitions import Partition, project_slug, run_day
from run_assets.sources.runs import ChangedRun
from run_assets.store.lake import ROWS_PER_PART, Lake


class Place(NamedTuple):
    """Where a run is stored, for life.

    Attributes:
        partition: Its project and day.
        parts: Numbers of its parts; more than one for a very long run.
    """

    partition: Partition
    parts: tuple[int, ...]


def is_readable(change: ChangedRun) -> bool:
    """Some location of it is read; copies and our own runs are not."""
    return any(location.problem is None for location in change.locations)


def stored_places(state: pl.DataFrame) -> dict[str, Place]:
    """Where each run of ``raw.sync_state`` lies."""
    return {
        path: Place(Partition(slug, day), tuple(parts))
        for path, slug, day, parts in state.filter(pl.col("parts").list.len() > 0)
        .select("run_path", "project_slug", "day", "parts")
        .iter_rows()
    }


def place_runs(
    lake: Lake,
    state: pl.DataFrame,
    changes: Sequence[ChangedRun],
    *,
    first_day: date,
    today: date,
) -> dict[str, Place]:
    """Where each changed run lies: where it always was, or in a part with room."""
    known = stored_places(state)
    rooms: dict[Partition, _Rooms] = {}
    places: dict[str, Place] = {}
    for change in filter(is_readable, changes):
        if place := known.get(change.run_path):
            places[change.run_path] = place
            continue
        partition = Partition(
            project_slug(change.entity, change.project),
            run_day(change.created_at, first_day=first_day, today=today),
        )
        if partition not in rooms:
            rooms[partition] = _rooms(lake, partition, known.values())
        number = rooms[partition].take(change.estimated_rows)
        places[change.run_path] = Place(partition, (number,))
    return places


class _Rooms:
    """Rows in each part of a partition, to find one with room."""

    def __init__(self, rows: dict[int, int], used: set[int]) -> None:
        self.rows = rows
        self.used = used

    def take(self, estimated_rows: int) -> int:
        last = max(self.rows, default=None)
        fits = last is not None and self.rows[last] + estimated_rows <= ROWS_PER_PART
        if last is None or not fits:
            last = max(self.used | set(self.rows), default=-1) + 1
            self.rows[last] = 0
        self.rows[last] += estimated_rows
        return last


def _rooms(lake: Lake, partition: Partition, known: Iterable[Place]) -> _Rooms:
    mine = [place.parts for place in known if place.partition == partition]
    used = {number for parts in mine for number in parts}
    cut = {number for parts in mine if len(parts) > 1 for number in parts}
    rows = dict.fromkeys(used - cut, 0)
    slug, day = partition.project_slug, partition.day.isoformat()
    for part in lake.partition_parts("raw.history", slug, day):
        header = lake.header(part)
        if header and part.number in rows:
            rows[part.number] = header.rows
    return _Rooms(rows, used)
