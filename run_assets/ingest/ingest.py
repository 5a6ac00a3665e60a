"""From what sources say to the raw lake: who is stored where, and writing it there.

The order of writing is what makes a kill harmless: first ``raw.sync_state`` says which
runs go to which parts, without a digest; then the parts are written; then the digests.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import polars as pl

from run_assets.contracts.tables import table
from run_assets.digests import digest_of
from run_assets.errors import RunAssetsError
from run_assets.ingest.ahead import fetched_ahead
from run_assets.ingest.parts import (
    PARTITIONED,
    PartWriter,
    Written,
    code_digest,
    part_of,
    refit,
)
from run_assets.ingest.placement import Place, is_readable, stored_places
from run_assets.ingest.state import STATE, read_state, state_row
from run_assets.lab import Progress
from run_assets.partitions import Partition
from run_assets.sources.runs import ChangedRun
from run_assets.store.lake import Lake, Part, schema_of

_SECONDS_BETWEEN_STATES = 2.0


class _Count:
    """How many runs and values were read."""

    def __init__(self, progress: Progress, runs: int) -> None:
        self._progress = progress
        self._of = runs
        self._runs = self._values = 0

    def add(self, values: int) -> None:
        """One more run, with so many values."""
        self._runs += 1
        self._values += values
        self._progress("history rows", self._values, 0)
        self._progress("runs read", self._runs, self._of)


class Ingest:
    """Writes changed runs to the raw lake, part by part."""

    def __init__(
        self, lake: Lake, *, now: datetime, progress: Progress, workers: int = 1
    ) -> None:
        self.lake = lake
        self.now = now
        self.progress = progress
        self.workers = workers
        self._unreleased: list[ChangedRun] = []
        self.state = read_state(lake)
        self._saved_at = time.monotonic()

    def run(
        self, changes: Sequence[ChangedRun], places: Mapping[str, Place]
    ) -> Iterator[Written]:
        """Read each run and write its part; yields after each part.

        Args:
            changes: What to read, in any order.
            places: Where each of them lies.
        """
        if changes:
            yield from self._run(changes, places)
        # last, because a file of today's code is taken for read by today's code
        refit(self.lake, self.state)

    def _run(
        self, changes: Sequence[ChangedRun], places: Mapping[str, Place]
    ) -> Iterator[Written]:
        lost = self._announce(changes, places)
        groups: dict[Part, list[ChangedRun]] = defaultdict(list)
        for part in lost.values():
            groups[part] = []
        for change in sorted(filter(is_readable, changes), key=_order):
            place = places[change.run_path]
            groups[part_of("raw.history", place.partition, place.parts[0])].append(
                change
            )
        ordered = sorted(groups.items())
        in_order = [change for _, some in ordered for change in some]
        try:
            with fetched_ahead(in_order, self.workers) as arrival:
                count = _Count(self.progress, len(in_order))
                for part, some in ordered:
                    gone = {path for path, of in lost.items() if of == part}
                    writer = PartWriter(
                        self.lake,
                        part,
                        state=self.state,
                        places=places,
                        now=self.now,
                        arrival=arrival,
                    )
                    yield self._written(writer.write(some, gone, count.add), some, gone)
        except (RunAssetsError, KeyboardInterrupt):
            self.save()  # what was done before it had to end is done
            raise
        self.save()

    def _written(
        self, written: Written, changes: list[ChangedRun], gone: set[str]
    ) -> Written:
        """Take note of a part that was written."""
        self.replace_state(set(written.run_paths), written.state_rows)
        self.state = self.state.filter(~pl.col("run_path").is_in(gone))
        self._unreleased += changes
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_STATES:
            self.save()
        return written

    def save(self) -> None:
        """Write ``raw.sync_state``."""
        told = ("run_path", "source_location", "content_digest", "problem")
        digest = digest_of(self.state.select(told).sort(told).rows())
        self.lake.write(
            STATE, self.state, digest=digest, code=code_digest("raw.sync_state")
        )
        self._saved_at = time.monotonic()
        for change in self._unreleased:
            if change.release:
                change.release()
        self._unreleased.clear()

    def _announce(
        self, changes: Sequence[ChangedRun], places: Mapping[str, Place]
    ) -> dict[str, Part]:
        """Say where runs will lie before they do, so that a kill leaves no orphans.

        Returns:
            Runs whose only file turned out to be another run's, and their parts.
        """
        before, old = stored_places(self.state), self.state
        rows = [
            state_row(change, location, places.get(change.run_path))
            for change in changes
            for location in change.locations
        ]
        self.replace_state({change.run_path for change in changes}, rows)
        known = set(self.state["run_path"])
        lost = {
            path: part_of("raw.history", place.partition, place.parts[0])
            for path, place in before.items()
            if path not in known
        }
        # they stay on record until their part is written without them
        pending = old.filter(pl.col("run_path").is_in(list(lost)))
        unread = pl.lit(None, pl.String).alias("content_digest")
        self.state = pl.concat([self.state, pending.with_columns(unread)])
        self.save()
        for partition in {place.partition for place in places.values()}:
            self._drop_orphans(partition)
        return lost

    def replace_state(self, paths: set[str], rows: list[dict[str, Any]]) -> None:
        """Exchange the rows of some runs."""
        fresh = pl.DataFrame(rows, schema=schema_of(table("raw.sync_state")))
        found = fresh.select("source", "source_location")
        kept = self.state.join(found, ["source", "source_location"], how="anti")
        # a location that vanished stays on record, but says no longer where the run is
        vanished = pl.col("run_path").is_in(paths)
        nothing = pl.lit([], dtype=pl.List(pl.Int64))
        parts = pl.when(vanished).then(nothing).otherwise(pl.col("parts"))
        self.state = pl.concat([kept.with_columns(parts.alias("parts")), fresh])

    def _drop_orphans(self, partition: Partition) -> None:
        """Remove parts that no run lies in: a killed refresh wrote beyond its plan."""
        mine = self.state.filter(project_slug=partition.project_slug, day=partition.day)
        used = set(mine.select(pl.col("parts").explode()).to_series().to_list())
        for name in PARTITIONED:
            day = partition.day.isoformat()
            for part in self.lake.partition_parts(name, partition.project_slug, day):
                if part.number not in used:
                    self.lake.delete(part)


def _order(change: ChangedRun) -> tuple[datetime, str]:
    return change.created_at, change.run_path
