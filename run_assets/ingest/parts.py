"""A part of the raw lake: the runs in it are read, merged with the others, written."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count, pairwise
from operator import itemgetter
from typing import Any

import polars as pl

from run_assets.contracts.tables import table
from run_assets.digests import digest_of
from run_assets.errors import (
    AuthenticationError,
    RunAssetsError,
    SourceError,
    TryAgainError,
)
from run_assets.ingest.ahead import Arrival
from run_assets.ingest.placement import Place
from run_assets.ingest.state import state_row, state_rows
from run_assets.partitions import Partition
from run_assets.sources.runs import API, DELETED, ChangedRun, RunContent
from run_assets.store.lake import (
    ROWS_PER_PART,
    Lake,
    Part,
    empty,
    fitted,
    schema_of,
)

READER_VERSION = "2"
"""Changes when the same source content must give other rows."""

PARTITIONED = (
    "raw.runs",
    "raw.history",
    "raw.system_metrics",
    "raw.artifacts",
    "raw.metric_definitions",
)
_ROWS_PER_BLOCK = 100
_WHOLE = tuple(name for name in PARTITIONED if name != "raw.history")


@dataclass(frozen=True)
class Written:
    """A partition that was written.

    Attributes:
        rows: Rows of each raw table in the parts written.
        digest: Changes with the content of the parts.
        state_rows: What ``raw.sync_state`` then says of the runs.
    """

    partition: Partition
    run_paths: tuple[str, ...]
    rows: dict[str, int]
    digest: str
    state_rows: list[dict[str, Any]]


def code_digest(name: str) -> str:
    """Digest of the contract and the reader that a raw file was written with."""
    return digest_of(table(name).digest, READER_VERSION)


def unreadable_runs(lake: Lake, state: pl.DataFrame) -> set[str]:
    """Runs whose raw files are missing, damaged or written by other code."""
    stored = state.filter(pl.col("parts").list.len() > 0).select(
        "run_path", "project_slug", pl.col("day").cast(pl.String), "parts"
    )
    bad: set[str] = set()
    for slug, day, number, paths in (
        stored.explode("parts")
        .group_by("project_slug", "day", "parts", maintain_order=True)
        .agg("run_path")
        .iter_rows()
    ):
        if not _is_current(lake, Part("raw.history", number, slug, day)):
            bad.update(paths)
    return bad


class _KeptError(SourceError):
    """What was read is less than what is stored."""


@dataclass
class _Rows:
    """What a part will hold, per table.

    Attributes:
        runs: Rows of ``raw.runs`` of runs that were read.
        added: Values of the history of the run that was read last.
    """

    frames: dict[str, list[pl.DataFrame]] = field(
        default_factory=lambda: defaultdict(list)
    )
    runs: list[dict[str, Any]] = field(default_factory=list)
    added: int = 0

    def add(self, name: str, run_path: str, frame: pl.DataFrame) -> None:
        if not frame.is_empty():
            path = pl.repeat(run_path, frame.height, dtype=pl.String, eager=True)
            keyed = frame.with_columns(path.alias("run_path"))
            self.frames[name].append(fitted(keyed, name))

    def joined(self, name: str) -> pl.DataFrame:
        frames = [empty(name), *self.frames.pop(name, [])]
        if name == "raw.runs":
            frames.append(pl.DataFrame(self.runs, schema=schema_of(table(name))))
        return _by_metric(frames) if name == "raw.history" else pl.concat(frames)


def _by_metric(frames: list[pl.DataFrame]) -> pl.DataFrame:
    """Blocks of rows of one metric and run, put in the order of the file.

    A history that comes column by column is in order but for its blocks, and moving
    those costs a sixth of sorting the rows. Other rows are left for the lake to sort.
    """
    starts = [frame.select(_STARTS_BLOCK)["metric"] for frame in frames]
    rows = sum(frame.height for frame in frames)
    if sum(one.len() for one in starts) * _ROWS_PER_BLOCK > rows:
        return pl.concat(frames)
    blocks = [
        block
        for frame, first in zip(frames, starts, strict=True)
        for block in _blocks(frame, first.to_list())
    ]
    blocks.sort(key=itemgetter(0))
    return pl.concat([frames[0].clear(), *(block for _, block in blocks)], rechunk=True)


def _blocks(
    frame: pl.DataFrame, starts: list[int]
) -> Iterator[tuple[tuple[Any, ...], pl.DataFrame]]:
    """Each block, and by what it is ordered."""
    keys = frame.select("metric", "run_path", "step")
    for start, end in pairwise([*starts, frame.height]):
        yield keys.row(start), frame.slice(start, end - start)


_STARTS_BLOCK = (
    pl.any_horizontal(
        pl.col(name) != pl.col(name).shift(1) for name in ("metric", "run_path")
    )
    .fill_null(value=True)
    .arg_true()
)


class PartWriter:
    """Rewrites one part, and the further parts of a very long run.

    Attributes:
        state: ``raw.sync_state`` before the part is written.
        places: Where each run lies; grows with a run that is cut by step.
        arrival: Waits for what is fetched ahead of reading.
    """

    def __init__(
        self,
        lake: Lake,
        part: Part,
        *,
        state: pl.DataFrame,
        places: Mapping[str, Place],
        now: datetime,
        arrival: Arrival,
    ) -> None:
        self.lake = lake
        self.part = part
        self.state = state
        self.now = now
        self.arrival = arrival
        self.places = dict(places)
        self.planned = dict(places)
        self.stored = self._stored_runs()
        self.known = set(state["run_path"])
        self.rows = _Rows()
        self.counts: dict[str, int] = dict.fromkeys(PARTITIONED, 0)

    def _stored_runs(self) -> dict[str, dict[str, Any]]:
        part = self.part.of("raw.runs")
        if self.lake.header(part) is None:
            return {}
        runs = fitted(self.lake.read("raw.runs", [part]), "raw.runs")
        return {row["run_path"]: row for row in runs.iter_rows(named=True)}

    def write(
        self,
        changes: list[ChangedRun],
        gone: set[str],
        on_read: Callable[[int], None],
    ) -> Written:
        """Read the changed runs and write the part with them, without some others.

        Args:
            changes: The runs to read.
            gone: Runs that the part held and does not hold any more.
            on_read: Told after each run how many values it brought.
        """
        paths = {change.run_path for change in changes} | gone
        for name in PARTITIONED:
            self._keep(name, paths)
        told: list[dict[str, Any]] = []
        for change in changes:
            told += self._read(change)
            on_read(self.rows.added)
        digest = self._digest(paths, told)
        for name in PARTITIONED:
            self._write(self.part.of(name), self.rows.joined(name), digest)
        self._drop_old_parts({change.run_path for change in changes})
        day = date.fromisoformat(self.part.day)
        partition = Partition(self.part.project_slug, day)
        return Written(partition, tuple(sorted(paths)), self.counts, digest, told)

    def _keep(self, name: str, replaced: set[str]) -> None:
        part = self.part.of(name)
        if self.lake.header(part) is None:
            return
        frame = fitted(self.lake.read(name, [part]), name)
        kept = self.known - replaced
        self.rows.frames[name].append(frame.filter(pl.col("run_path").is_in(kept)))

    def _read(self, change: ChangedRun) -> list[dict[str, Any]]:
        planned = self.places[change.run_path]
        if change.reason == "deleted":
            return self._flag_deleted(change, planned)
        place, values = planned._replace(parts=planned.parts[:1]), 0
        try:
            self.arrival(change)
            reading = change.read(self.now, change.progress_json)
            if reading.is_continued:
                place, values = planned, self._keep_run(change.run_path, planned)
            self.rows.added = 0
            for piece in reading.history():
                self.rows.add("raw.history", change.run_path, piece)
                values += piece.height
                self.rows.added += piece.height
                place = self._spill(change, place)
            content = reading.finish()
            self._refuse_loss(change, content)
        except (AuthenticationError, TryAgainError):
            raise  # every further run would end the same way
        except RunAssetsError as error:
            for number in set(place.parts) - set(planned.parts):
                self.lake.delete(self.part._replace(number=number))
            return self._unread(change, planned, error)
        self._add(change, content)
        self.places[change.run_path] = place
        return state_rows(change, place, content, values=values, now=self.now)

    def _refuse_loss(self, change: ChangedRun, content: RunContent) -> None:
        """A run whose file vanished or was cut is kept as stored, not shortened."""
        stored = self.stored.get(change.run_path, {})
        rows, found = stored.get("history_rows") or 0, content.run["history_rows"]
        is_servers = content.source == stored.get("source") == API  # it was rewound
        if found >= rows or is_servers:
            return
        mine = self.state.filter(run_path=change.run_path)
        gone = set(mine["source_location"]) - {one.name for one in change.locations}
        names = ("created_at", "config_json")
        is_same = all(stored[name] == content.run[name] for name in names)
        if gone or is_same:
            what = f"{', '.join(sorted(gone))} vanished" if gone else "the file was cut"
            msg = f"{what}: {found} of {rows} rows are left; the run is kept as stored"
            raise _KeptError(msg)

    def _keep_run(self, run_path: str, place: Place) -> int:
        """Keep the stored rows of a run that is read on; how many of history."""
        for name in ("raw.history", "raw.system_metrics"):
            self._keep_rows(name, run_path)
        return self._values(run_path, place)

    def _keep_rows(self, name: str, run_path: str) -> None:
        part = self.part.of(name)
        if self.lake.header(part):
            frame = fitted(self.lake.read(name, [part]), name)
            self.rows.frames[name].append(frame.filter(run_path=run_path))

    def _values(self, run_path: str, place: Place) -> int:
        """Rows of history of a run: those held for its first part, and the others."""
        held = self.rows.frames["raw.history"]
        headers = [
            self.lake.header(self.part._replace(number=n)) for n in place.parts[1:]
        ]
        return sum(frame.filter(run_path=run_path).height for frame in held) + sum(
            header.rows for header in headers if header
        )

    def _add(self, change: ChangedRun, content: RunContent) -> None:
        path = change.run_path
        run = {
            **content.run,
            "run_path": path,
            "entity": change.entity,
            "project": change.project,
            "run_id": change.run_id,
            "source": content.source,
            "is_deleted": False,
            "fetched_at": self.now,
        }
        self.rows.runs.append(run)
        self.rows.add("raw.system_metrics", path, content.system_metrics)
        self.rows.add("raw.artifacts", path, content.artifacts)
        self.rows.add("raw.metric_definitions", path, content.metric_definitions)

    def _flag_deleted(self, change: ChangedRun, place: Place) -> list[dict[str, Any]]:
        """Keep all that was stored of a run that its server no longer has."""
        path, stored = change.run_path, self.stored.get(change.run_path, {})
        for name in PARTITIONED:
            self._keep_rows(name, path)
        frames = self.rows.frames["raw.runs"]
        gone = pl.when(run_path=path).then(True).otherwise("is_deleted")  # noqa: FBT003
        frames[:] = [frame.with_columns(is_deleted=gone) for frame in frames]
        told = {
            name: stored.get(name)
            for name in ("run_state", "heartbeat_at", "last_step", "history_rows")
        }
        told |= {
            "problem": DELETED,
            "content_digest": digest_of(DELETED, path),
            "history_values": self._values(path, place),
            "fetched_at": self.now,
        }
        if not stored:  # it was gone before it could be read for the first time
            told["parts"] = []
        rows = [state_row(change, location, place) for location in change.locations]
        return [{**row, **told} for row in rows]

    def _unread(
        self, change: ChangedRun, place: Place, error: RunAssetsError
    ) -> list[dict[str, Any]]:
        """Keep what was stored of a run that could not be read, and say why."""
        for name in PARTITIONED:
            frames = self.rows.frames[name]
            frames[:] = [
                f.filter(pl.col("run_path") != change.run_path) for f in frames
            ]
            self._keep_rows(name, change.run_path)
        # without a digest the next refresh tries again, whatever the file looks like
        digest = digest_of(str(error)) if isinstance(error, _KeptError) else None
        told = {
            "problem": str(error),
            "is_damaged": True,
            "content_digest": digest,
            "history_values": self._values(change.run_path, place),
        }
        rows = [state_row(change, location, place) for location in change.locations]
        return [{**row, **told} for row in rows]

    def _spill(self, change: ChangedRun, place: Place) -> Place:
        """Write full parts of a very long run while it is read.

        They get new numbers, so that what is stored stays until all of it was read;
        the newest steps go to the run's first part, the only one that grows.
        """
        held = self.rows.frames["raw.history"]
        if sum(frame.height for frame in held) <= ROWS_PER_PART:
            return place
        if not self._is_alone(change.run_path):
            return place
        while sum(frame.height for frame in held) > ROWS_PER_PART:
            joined = pl.concat(held).sort("step", maintain_order=True)
            cut = int(joined.item(ROWS_PER_PART, "step"))
            full = joined.filter(pl.col("step") < cut)
            if full.is_empty():
                break
            number = self._next_number(place)
            digest = digest_of(change.run_path, cut, full.height)
            self._write(self.part._replace(number=number), full, digest)
            held[:] = [joined.filter(pl.col("step") >= cut)]
            place = place._replace(parts=(*place.parts, number))
        return place

    def _is_alone(self, run_path: str) -> bool:
        """Only a run with parts of its own is cut by step."""
        others = self.state.filter(
            pl.col("parts").list.first() == self.part.number,
            pl.col("run_path") != run_path,
            project_slug=self.part.project_slug,
            day=date.fromisoformat(self.part.day),
        )
        return others.is_empty()

    def _drop_old_parts(self, paths: set[str]) -> None:
        """Remove further parts of runs that were read anew and need fewer."""
        for path in paths:
            for number in set(self.planned[path].parts) - set(self.places[path].parts):
                self.lake.delete(self.part._replace(number=number))

    def _next_number(self, place: Place) -> int:
        mine = self.state.filter(
            project_slug=place.partition.project_slug, day=place.partition.day
        )
        used = set(mine.select(pl.col("parts").explode()).to_series().to_list())
        used.update(n for one in self.places.values() for n in one.parts)
        used.update(place.parts)
        return next(number for number in count() if number not in used)

    def _digest(self, paths: set[str], told: list[dict[str, Any]]) -> str:
        """Of the content of every run that begins in this part."""
        kept = self.state.filter(
            ~pl.col("run_path").is_in(paths),
            pl.col("parts").list.first() == self.part.number,
            project_slug=self.part.project_slug,
            day=date.fromisoformat(self.part.day),
        )
        contents = set(kept.select("run_path", "content_digest").rows())
        contents |= {
            (row["run_path"], row["content_digest"]) for row in told if row["parts"]
        }
        return digest_of(sorted(contents, key=str))

    def _write(self, part: Part, frame: pl.DataFrame, digest: str) -> None:
        if part.table == "raw.system_metrics":
            frame = frame.unique(table(part.table).key, keep="last")
        code = code_digest(part.table)
        self.lake.write(
            part,
            frame,
            digest=digest_of(code, digest),
            code=code,
            first_part=self.part.number,
        )
        self.counts[part.table] += frame.height


def refit(lake: Lake, state: pl.DataFrame) -> None:
    """Give raw files today's columns where their runs may never be read again."""
    for slug, day in (
        state.select("project_slug", pl.col("day").cast(pl.String))
        .drop_nulls()
        .unique(maintain_order=True)
        .iter_rows()
    ):
        for name in PARTITIONED:
            for part in lake.partition_parts(name, slug, day):
                _refit_part(lake, part)


def _refit_part(lake: Lake, part: Part) -> None:
    header, code = lake.header(part), code_digest(part.table)
    if header is None or header.code == code:
        return
    lake.write(
        part,
        fitted(lake.read(part.table, [part]), part.table),
        digest=digest_of(code, header.digest),
        code=code,
        first_part=header.first_part,
    )


def part_of(name: str, partition: Partition, number: int) -> Part:
    """The part of a table with a number, in a partition."""
    return Part(name, number, partition.project_slug, partition.day.isoformat())


def _is_current(lake: Lake, history: Part) -> bool:
    header = lake.header(history)
    if header is None or header.code != code_digest("raw.history"):
        return False
    if header.first_part != history.number:
        return True
    others = [(name, lake.header(history.of(name))) for name in _WHOLE]
    return all(found and found.code == code_digest(name) for name, found in others)
