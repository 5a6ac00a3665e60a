"""Rows of result sources into the lake: whole or from where they ended, in batches.

A source's files are named in ``raw.result_sources``, which is written last: files that
it does not name are what a killed refresh left, and are deleted first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import polars as pl

from run_assets.config_evaluations import WandbRunResults
from run_assets.digests import digest_of
from run_assets.sources.result_mapping import STEPS, TRIALS, Query
from run_assets.sources.result_rows import Database, Facts, Since
from run_assets.sources.results import ChangedResults, opened
from run_assets.sources.results_wandb import trials_of_runs
from run_assets.store.lake import Lake, Part, empty, fitted

STATE = Part("raw.result_sources")
TARGETS = (TRIALS, STEPS)
BATCH_ROWS = 100_000
"""Rows of a file, and the most that are held in memory for it."""
_MERGED = 8  # files with changed rows beyond which everything is read anew
_WAITING = 2  # files on their way to the disk while more rows are read

Frames = Iterator[pl.DataFrame]
Progress = Callable[[str, int, int], None]


class Read(NamedTuple):
    """What was read of a source.

    Attributes:
        source: Its name.
        target: Table that the rows went to.
        n_rows: New and changed rows.
        is_whole: Everything was read anew.
    """

    source: str
    target: str
    n_rows: int
    is_whole: bool


def read_result_state(lake: Lake) -> pl.DataFrame:
    """``raw.result_sources``; empty before anything was read."""
    if lake.header(STATE) is None:
        return empty(STATE.table)
    return fitted(lake.read(STATE.table), STATE.table)


def is_stored(lake: Lake, row: Mapping[str, Any]) -> bool:
    """The files of a row of ``raw.result_sources`` hold all that was read."""
    headers = [lake.header(Part(row["target"], number)) for number in row["parts"]]
    return bool(sum(one.rows for one in headers if one) == row["row_count"])


def sound_state(lake: Lake) -> pl.DataFrame:
    """``raw.result_sources`` without the sources of which a file is lost or damaged."""
    state = read_result_state(lake)
    there = [is_stored(lake, row) for row in state.iter_rows(named=True)]
    return state.filter(pl.Series(there, dtype=pl.Boolean))


@dataclass
class ResultIngest:
    """Writes rows of result sources, one source after the other.

    Attributes:
        lake: Where to.
        now: When.
        progress: Told how many rows have been read.
        state: ``raw.result_sources`` as it is now, by source and table.
    """

    lake: Lake
    now: datetime
    progress: Progress
    state: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        rows = read_result_state(self.lake).iter_rows(named=True)
        self.state = {(row["source"], row["target"]): row for row in rows}

    def sweep(self) -> None:
        """Delete the files that no source is known to have."""
        for target in TARGETS:
            known = set(self._parts(target))
            for part in self.lake.parts(target):
                if part.number not in known:
                    self.lake.delete(part)

    def forget(self, kept: set[str]) -> None:
        """Drop the rows of every other source."""
        for key in [one for one in self.state if one[0] not in kept]:
            del self.state[key]
        self._publish()
        self.sweep()

    def read_runs(self, source: WandbRunResults) -> Read | None:
        """Take trials out of the W&B runs of the lake; ``None`` where none changed."""
        headers = [self.lake.header(part) for part in self.lake.parts("raw.runs")]
        token = digest_of([one.digest for one in headers if one])
        query = Query(source.name or source.kind, TRIALS, repr(source))
        known = self._known(query)
        if (known["mapping_digest"], known["state_token"]) == (query.digest, token):
            return None
        rows = trials_of_runs(source, self.lake.read("raw.runs"))
        return self.replace(query, Facts(rows.height, None, None, token), iter([rows]))

    def read(self, change: ChangedResults) -> Read:
        """Read what is new of a source, in one snapshot of its database.

        Raises:
            SourceError: The database cannot be read.
            ContractError: Two rows have one id, or a row has none.
        """
        query = change.query
        with opened(change.database) as database:
            facts = database.facts(query)
            since = None if change.is_reread else self._since(database, query, facts)
            if since is not None and since.updated_at is None:
                return self._extend(query, facts, database.rows(query, since))
            found = since and self._upsert(query, facts, database.rows(query, since))
            return found or self.replace(query, facts, database.rows(query, None))

    def replace(self, query: Query, facts: Facts, frames: Frames) -> Read:
        """Store all rows of a source anew."""
        old = self._known(query)
        numbers, n_rows = self._write(query, facts, frames, self._free(query.target))
        self._remember(query, facts, numbers)
        for number in old["parts"]:
            self.lake.delete(Part(query.target, number))
        return Read(query.source, query.target, n_rows, is_whole=True)

    def _since(self, database: Database, query: Query, facts: Facts) -> Since | None:
        """Where to read on; ``None`` where everything has to be read."""
        known = self._known(query)
        last = known["last_row_id"]
        is_same = known["mapping_digest"] == query.digest
        if not is_same or last is None or facts.last_row_id is None:
            return None
        if not is_stored(self.lake, known):
            return None
        # A row that was deleted, or committed late under a smaller id.
        if database.count_until(query, last) != known["row_count"]:
            return None
        return Since(last, known["last_updated_at"])

    def _extend(self, query: Query, facts: Facts, frames: Frames) -> Read:
        """Add rows with new ids; the last file is filled up first."""
        numbers = self._known(query)["parts"]
        tail = [
            Part(query.target, one) for one in numbers[-1:] if self._has_room(query)
        ]
        stored = [self.lake.read(query.target, tail)] if tail else []
        return self._exchange(query, facts, tail, chain(stored, frames))

    def _upsert(self, query: Query, facts: Facts, frames: Frames) -> Read | None:
        """Add new rows and replace changed ones; ``None`` if that is most of them."""
        fresh = pl.concat([empty(query.target), *frames], how="vertical_relaxed")
        ids = fresh["row_id"].implode()
        is_fresh = pl.col("row_id").is_in(ids)
        parts = [Part(query.target, one) for one in self._known(query)["parts"]]
        scans = {part: self.lake.scan(query.target, [part]) for part in parts}
        touched = [
            part
            for part, rows in scans.items()
            if not rows.filter(is_fresh).select("row_id").collect().is_empty()
            or (part == parts[-1] and self._has_room(query))
        ]
        if len(touched) > _MERGED:
            return None
        kept = [scans[part].filter(~is_fresh).collect() for part in touched]
        rows = pl.concat([*kept, fresh], how="vertical_relaxed").sort("row_id")
        return self._exchange(query, facts, touched, iter([rows]), fresh.height)

    def _has_room(self, query: Query) -> bool:
        known = self._known(query)
        last = Part(query.target, known["parts"][-1]) if known["parts"] else None
        header = self.lake.header(last) if last else None
        return header is not None and header.rows < BATCH_ROWS

    def _exchange(
        self,
        query: Query,
        facts: Facts,
        old: Sequence[Part],
        frames: Frames,
        n_rows: int | None = None,
    ) -> Read:
        """Write rows to new files instead of some old ones."""
        numbers = self._known(query)["parts"]
        gone = {part.number for part in old}
        n_stored = sum(self._rows_of(part) for part in old)
        new, n_written = self._write(query, facts, frames, self._free(query.target))
        self._remember(
            query, facts, [*(one for one in numbers if one not in gone), *new]
        )
        for part in old:
            self.lake.delete(part)
        n_new = n_written - n_stored if n_rows is None else n_rows
        return Read(query.source, query.target, n_new, is_whole=False)

    def _rows_of(self, part: Part) -> int:
        header = self.lake.header(part)
        return header.rows if header else 0

    def _write(
        self, query: Query, facts: Facts, frames: Frames, first: int
    ) -> tuple[list[int], int]:
        """Write rows to new files while more are read; returns their numbers."""
        numbers: list[int] = []
        waiting: list[Future[None]] = []
        n_rows = 0
        with ThreadPoolExecutor(1) as writer:
            for frame in in_files(frames, BATCH_ROWS):
                part = Part(query.target, first + len(numbers))
                numbers.append(part.number)
                waiting.append(writer.submit(self._put, part, frame, query, facts))
                n_rows += frame.height
                self.progress(f"rows of {query.source}", n_rows, facts.row_count)
                if len(waiting) > _WAITING:
                    waiting.pop(0).result()
            for one in waiting:
                one.result()
        return numbers, n_rows

    def _put(self, part: Part, frame: pl.DataFrame, query: Query, facts: Facts) -> None:
        digest = digest_of(query.digest, query.source, facts.token, part.number)
        self.lake.write(part, frame, digest=digest, code=query.digest)

    def _known(self, query: Query) -> dict[str, Any]:
        nothing = dict.fromkeys(empty(STATE.table).columns) | {"parts": []}
        return self.state.get((query.source, query.target), nothing)

    def _parts(self, target: str) -> list[int]:
        rows = self.state.values()
        return [
            part for one in rows if one["target"] == target for part in one["parts"]
        ]

    def _free(self, target: str) -> int:
        """A number that no file of a table has, nor one that was lost."""
        there = [part.number for part in self.lake.parts(target)]
        return max([*there, *self._parts(target)], default=-1) + 1

    def _remember(self, query: Query, facts: Facts, parts: list[int]) -> None:
        key = (query.source, query.target)
        updated = facts.last_updated_at
        self.state[key] = {
            "source": query.source,
            "target": query.target,
            "row_count": facts.row_count,
            "last_row_id": facts.last_row_id,
            "last_updated_at": updated and updated.astimezone(UTC),
            "mapping_digest": query.digest,
            "state_token": facts.token,
            "parts": parts,
            "fetched_at": self.now,
        }
        self._publish()

    def _publish(self) -> None:
        schema = empty(STATE.table).schema
        frame = pl.DataFrame(list(self.state.values()), schema=schema)
        facts = frame.drop("fetched_at").sort("source", "target").rows()
        self.lake.write(STATE, frame, digest=digest_of(facts))


def in_files(frames: Frames, most: int) -> Frames:
    """The same rows in frames of exactly ``most`` rows, and a last one with the rest.

    >>> frames = [pl.DataFrame({"x": [1, 2]}), pl.DataFrame({"x": [3, 4, 5]})]
    >>> [one["x"].to_list() for one in in_files(iter(frames), 3)]
    [[1, 2, 3], [4, 5]]
    """
    held: list[pl.DataFrame] = []
    n_held = 0
    for frame in frames:
        held.append(frame)
        n_held += frame.height
        while n_held >= most:
            together = pl.concat(held, how="vertical_relaxed")
            yield together.head(most)
            held, n_held = [together.slice(most)], n_held - most
    if n_held:
        yield pl.concat(held, how="vertical_relaxed")
