"""From what sources say to the raw lake: who is stored where, and writing it there.

The order of writing is what makes a kill harmless: first ``raw.sync_state`` says which
runs go to which parts, without a digest; then the parts are written; then the digests.
"""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import count
from typing import Any, NamedTuple

import polars as pl

from run_assets.contracts.tables import table
from run_assets.digests import digest_of
from run_assets.errors import RunAssetsError, SourceError
from run_assets.lab import Progress
from run_assets.partitions import Partition, project_slug, run_day
from run_assets.sources.runs import ChangedRun, Location, RunContent
from run_assets.store.lake import ROWS_PER_PART, Lake, Part, empty, schema_of

READER_VERSION = "1"
"""Changes when the same source content must give other rows."""

STATE = Part("raw.sync_state")
PARTITIONED = (
    "raw.runs",
    "raw.history",
    "raw.system_metrics",
    "raw.artifacts",
    "raw.metric_definitions",
)
_WHOLE = tuple(name for name in PARTITIONED if name != "raw.history")
_SECONDS_BETWEEN_STATES = 2.0


class Place(NamedTuple):
    """Where a run is stored, for life.

    Attributes:
        partition: Its project and day.
        parts: Numbers of its parts; more than one for a very long run.
    """

    partition: Partition
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Written:
    """A partition that was written.

    Attributes:
        rows: Rows of each raw table in the parts written.
        digest: Changes with the content of the parts.
    """

    partition: Partition
    run_paths: tuple[str, ...]
    rows: dict[str, int]
    digest: str


def code_digest(name: str) -> str:
    """Digest of the contract and the reader that a raw file was written with."""
    return digest_of(table(name).digest, READER_VERSION)


def read_state(lake: Lake) -> pl.DataFrame:
    """What was last read from where; empty before the first refresh."""
    if lake.header(STATE) is None:
        return empty("raw.sync_state")
    return lake.read("raw.sync_state")


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


def place_runs(
    lake: Lake,
    state: pl.DataFrame,
    changes: Sequence[ChangedRun],
    *,
    first_day: date,
    today: date,
) -> dict[str, Place]:
    """Where each changed run lies: where it always was, or in a part with room."""
    known = {
        path: Place(Partition(slug, day), tuple(parts))
        for path, slug, day, parts in state.filter(pl.col("parts").list.len() > 0)
        .select("run_path", "project_slug", "day", "parts")
        .iter_rows()
    }
    rooms: dict[Partition, _Rooms] = {}
    places: dict[str, Place] = {}
    for change in filter(_is_readable, changes):
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


class _KeptError(SourceError):
    """What was read is less than what is stored."""


class Ingest:
    """Writes changed runs to the raw lake, part by part."""

    def __init__(self, lake: Lake, *, now: datetime, progress: Progress) -> None:
        self.lake = lake
        self.now = now
        self.progress = progress
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
        if not changes:
            return
        self._announce(changes, places)
        groups: dict[Part, list[ChangedRun]] = defaultdict(list)
        for change in sorted(filter(_is_readable, changes), key=_order):
            place = places[change.run_path]
            groups[_part("raw.history", place.partition, place.parts[0])].append(change)
        done = 0
        for part in sorted(groups):
            written = _PartWriter(self, part, places).write(groups[part])
            done += len(groups[part])
            self.progress("runs read", done, len(changes))
            self._save_sometimes()
            yield written
        self.save()

    def save(self) -> None:
        """Write ``raw.sync_state``."""
        told = ("run_path", "source_location", "content_digest", "problem")
        digest = digest_of(self.state.select(told).sort(told).rows())
        self.lake.write(
            STATE, self.state, digest=digest, code=code_digest("raw.sync_state")
        )
        self._saved_at = time.monotonic()

    def _save_sometimes(self) -> None:
        if time.monotonic() - self._saved_at > _SECONDS_BETWEEN_STATES:
            self.save()

    def _announce(
        self, changes: Sequence[ChangedRun], places: Mapping[str, Place]
    ) -> None:
        """Say where runs will lie before they do, so that a kill leaves no orphans."""
        rows = [
            _state_row(change, location, places.get(change.run_path))
            for change in changes
            for location in change.locations
        ]
        self.replace_state({change.run_path for change in changes}, rows)
        self.save()
        for partition in {place.partition for place in places.values()}:
            self._drop_orphans(partition)

    def replace_state(self, paths: set[str], rows: list[dict[str, Any]]) -> None:
        """Exchange the rows of some runs."""
        fresh = pl.DataFrame(rows, schema=schema_of(table("raw.sync_state")))
        found = fresh["source_location"].to_list()
        kept = self.state.filter(
            ~pl.col("run_path").is_in(paths) | ~pl.col("source_location").is_in(found)
        )
        self.state = pl.concat([kept, fresh])

    def _drop_orphans(self, partition: Partition) -> None:
        """Remove parts that no run lies in: a killed refresh wrote beyond its plan."""
        mine = self.state.filter(project_slug=partition.project_slug, day=partition.day)
        used = set(mine.select(pl.col("parts").explode()).to_series().to_list())
        for name in PARTITIONED:
            day = partition.day.isoformat()
            for part in self.lake.partition_parts(name, partition.project_slug, day):
                if part.number not in used:
                    self.lake.delete(part)


@dataclass
class _Rows:
    """What a part will hold, per table."""

    frames: dict[str, list[pl.DataFrame]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def add(self, name: str, run_path: str, frame: pl.DataFrame) -> None:
        keyed = frame.select(pl.lit(run_path).alias("run_path"), pl.all())
        self.frames[name].append(fitted(keyed, name))

    def joined(self, name: str) -> pl.DataFrame:
        return pl.concat([empty(name), *self.frames.pop(name, [])])


class _PartWriter:
    """Rewrites one part, and the further parts of a very long run."""

    def __init__(self, ingest: Ingest, part: Part, places: Mapping[str, Place]) -> None:
        self.ingest = ingest
        self.lake = ingest.lake
        self.part = part
        self.places = dict(places)
        self.planned = dict(places)
        self.stored_rows = self._stored_rows()
        self.rows = _Rows()
        self.counts: dict[str, int] = dict.fromkeys(PARTITIONED, 0)

    def _stored_rows(self) -> dict[str, int]:
        part = self.part.of("raw.runs")
        if self.lake.header(part) is None:
            return {}
        runs = fitted(self.lake.read("raw.runs", [part]), "raw.runs")
        return dict(runs.select("run_path", "history_rows").drop_nulls().iter_rows())

    def write(self, changes: list[ChangedRun]) -> Written:
        paths = {change.run_path for change in changes}
        self._keep("raw.history", paths)
        for name in _WHOLE:
            self._keep(name, paths)
        state_rows: list[dict[str, Any]] = []
        for change in changes:
            state_rows += self._read(change)
        digest = self._digest(paths, state_rows)
        last = max(self.places[change.run_path].parts[-1] for change in changes)
        self._write_history(last, digest)
        for name in _WHOLE:
            self._write(self.part.of(name), self.rows.joined(name), digest)
        self._drop_old_parts(paths)
        self.ingest.replace_state(paths, state_rows)
        partition = self.places[changes[0].run_path].partition
        return Written(partition, tuple(sorted(paths)), self.counts, digest)

    def _keep(self, name: str, replaced: set[str]) -> None:
        part = self.part.of(name)
        if self.lake.header(part) is None:
            return
        frame = fitted(self.lake.read(name, [part]), name)
        self.rows.frames[name].append(frame.filter(~pl.col("run_path").is_in(replaced)))

    def _read(self, change: ChangedRun) -> list[dict[str, Any]]:
        place = self.places[change.run_path]
        try:
            reading = change.read(self.ingest.now)
            if reading.is_continued:
                self._keep_run(change.run_path, place)
            else:
                place = place._replace(parts=place.parts[:1])
            for piece in reading.history():
                self.rows.add("raw.history", change.run_path, piece)
                place = self._spill(change, place)
            content = reading.finish()
            self._refuse_loss(change, content)
        except RunAssetsError as error:
            return self._unread(change, place, error)
        self._add(change, content)
        self.places[change.run_path] = place
        return _final_rows(change, place, content, self.ingest.now)

    def _refuse_loss(self, change: ChangedRun, content: RunContent) -> None:
        """A run of which a file vanished is kept as stored rather than shortened."""
        mine = self.ingest.state.filter(run_path=change.run_path)
        gone = set(mine["source_location"]) - {one.name for one in change.locations}
        stored = self.stored_rows.get(change.run_path, 0)
        if gone and content.run["history_rows"] < stored:
            msg = (
                f"{', '.join(sorted(gone))} vanished, and what is left has "
                f"{content.run['history_rows']} of {stored} rows; kept as stored"
            )
            raise _KeptError(msg)

    def _keep_run(self, run_path: str, place: Place) -> None:
        """The stored rows of a run that is read on: its last part, and the rest."""
        for name in ("raw.history", "raw.system_metrics"):
            number = place.parts[-1] if name == "raw.history" else place.parts[0]
            part = _part(name, place.partition, number)
            if self.lake.header(part):
                frame = fitted(self.lake.read(name, [part]), name)
                self.rows.frames[name].append(frame.filter(run_path=run_path))

    def _add(self, change: ChangedRun, content: RunContent) -> None:
        path = change.run_path
        run = {
            **content.run,
            "run_path": path,
            "entity": change.entity,
            "project": change.project,
            "run_id": change.run_id,
            "source": change.source,
            "is_deleted": False,
            "fetched_at": self.ingest.now,
        }
        frame = pl.DataFrame([run], schema=schema_of(table("raw.runs")))
        self.rows.frames["raw.runs"].append(frame)
        self.rows.add("raw.system_metrics", path, content.system_metrics)
        self.rows.add("raw.artifacts", path, content.artifacts)
        self.rows.add("raw.metric_definitions", path, content.metric_definitions)

    def _unread(
        self, change: ChangedRun, place: Place, error: RunAssetsError
    ) -> list[dict[str, Any]]:
        """Keep what was stored of a run that could not be read, and say why."""
        for name in PARTITIONED:
            frames = self.rows.frames[name]
            frames[:] = [
                f.filter(pl.col("run_path") != change.run_path) for f in frames
            ]
            part = self.part.of(name)
            if self.lake.header(part):
                stored = fitted(self.lake.read(name, [part]), name)
                frames.append(stored.filter(run_path=change.run_path))
        # without a digest the next refresh tries again, whatever the file looks like
        digest = digest_of(str(error)) if isinstance(error, _KeptError) else None
        told = {"problem": str(error), "is_damaged": True, "content_digest": digest}
        rows = [_state_row(change, location, place) for location in change.locations]
        return [{**row, **told} for row in rows]

    def _spill(self, change: ChangedRun, place: Place) -> Place:
        """Write full parts of a very long run while it is read."""
        held = self.rows.frames["raw.history"]
        if not self._is_alone(change.run_path):
            return place
        while sum(frame.height for frame in held) > ROWS_PER_PART:
            joined = pl.concat(held).sort("step", maintain_order=True)
            cut = int(joined.item(ROWS_PER_PART, "step"))
            full = joined.filter(pl.col("step") < cut)
            if full.is_empty():
                break
            digest = digest_of(change.run_path, cut, full.height)
            self._write(
                _part("raw.history", place.partition, place.parts[-1]), full, digest
            )
            held[:] = [joined.filter(pl.col("step") >= cut)]
            place = place._replace(parts=(*place.parts, self._next_number(place)))
            self.places[change.run_path] = place
        return place

    def _is_alone(self, run_path: str) -> bool:
        """Only a run with parts of its own is cut by step."""
        others = self.ingest.state.filter(
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
        mine = self.ingest.state.filter(
            project_slug=place.partition.project_slug, day=place.partition.day
        )
        used = set(mine.select(pl.col("parts").explode()).to_series().to_list())
        used.update(n for one in self.places.values() for n in one.parts)
        return next(number for number in count() if number not in used)

    def _digest(self, paths: set[str], state_rows: list[dict[str, Any]]) -> str:
        """Of the content of every run that begins in this part."""
        kept = self.ingest.state.filter(
            ~pl.col("run_path").is_in(paths),
            pl.col("parts").list.first() == self.part.number,
            project_slug=self.part.project_slug,
            day=date.fromisoformat(self.part.day),
        )
        contents = set(kept.select("run_path", "content_digest").rows())
        contents |= {
            (row["run_path"], row["content_digest"])
            for row in state_rows
            if row["parts"]
        }
        return digest_of(sorted(contents, key=str))

    def _write_history(self, number: int, digest: str) -> None:
        part = self.part._replace(number=number)
        self._write(part, self.rows.joined("raw.history"), digest)

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


def fitted(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    """A frame with the columns of today's contract, whatever its file's was."""
    schema = schema_of(table(name))
    return frame.select(
        (pl.col(column) if column in frame.columns else pl.lit(None))
        .cast(kind)
        .alias(column)
        for column, kind in schema.items()
    )


def _rooms(lake: Lake, partition: Partition, known: Any) -> _Rooms:
    used = {
        number
        for place in known
        if place.partition == partition
        for number in place.parts
    }
    rows = dict.fromkeys(used, 0)
    slug, day = partition.project_slug, partition.day.isoformat()
    for part in lake.partition_parts("raw.history", slug, day):
        header = lake.header(part)
        if header and part.number in used:
            rows[part.number] = header.rows
    return _Rooms(rows, used)


def _part(name: str, partition: Partition, number: int) -> Part:
    return Part(name, number, partition.project_slug, partition.day.isoformat())


def _is_current(lake: Lake, history: Part) -> bool:
    header = lake.header(history)
    if header is None or header.code != code_digest("raw.history"):
        return False
    if header.first_part != history.number:
        return True
    others = [(name, lake.header(history.of(name))) for name in _WHOLE]
    return all(found and found.code == code_digest(name) for name, found in others)


def _order(change: ChangedRun) -> tuple[datetime, str]:
    return change.created_at, change.run_path


def _is_readable(change: ChangedRun) -> bool:
    return any(location.problem is None for location in change.locations)


def _state_row(
    change: ChangedRun, location: Location, place: Place | None
) -> dict[str, Any]:
    is_read = location.problem is None and place is not None
    return {
        "run_path": change.run_path,
        "source": change.source,
        "source_location": location.name,
        "size_bytes": location.size_bytes,
        "modified_ns": location.modified_ns,
        "project_slug": place.partition.project_slug if place else None,
        "day": place.partition.day if place else None,
        "parts": list(place.parts) if place and is_read else [],
        "content_digest": None,
        "problem": location.problem,
        "skipped": [],
        "skipped_bytes": 0,
        "is_damaged": False,
    }


def _final_rows(
    change: ChangedRun, place: Place, content: RunContent, now: datetime
) -> list[dict[str, Any]]:
    rows = []
    for location in change.locations:
        row = _state_row(change, location, place)
        if location.problem is None:
            skipped = content.skipped.get(location.name, ())
            row |= {
                "content_digest": content.content_digest,
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
        rows.append({**row, "fetched_at": now})
    return rows
