"""Runs in local `.wandb` files: find them, read them, read on where they have grown.

The only door to this kind of file. Behind it: `wandb_found.py` (which files there are),
`wandb_log.py` (whole records in a file), `wandb_records.py` (one record),
`wandb_facts.py` (what all records but the history say together), `wandb_history.py`
(steps and values), `wandb_progress.py` (where to read on) and `wandb_fast.py` (the
decoder for big files).
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from run_assets.errors import SourceError, UsageError
from run_assets.sources.wandb_facts import (
    INTERNAL,
    RunFacts,
    SystemSample,
    begin_file,
    fold,
)
from run_assets.sources.wandb_found import (
    FoundFile,
    Fragments,
    RunHeader,
    created_at,
    find_run_files,
    fragments,
    header_problem,
    id_in_name,
    instant,
    printable,
    read_header,
)
from run_assets.sources.wandb_history import (
    HISTORY,
    decode_batches,
    logged_values,
    numbered,
)
from run_assets.sources.wandb_log import (
    HEADER,
    Batch,
    Reason,
    Skipped,
)
from run_assets.sources.wandb_progress import (
    Progress,
    check_same_file,
    continues,
    fingerprint,
    merged_losses,
)
from run_assets.sources.wandb_records import json_text, parse_record

__all__ = [
    "HEARTBEAT_TIMEOUT",
    "HISTORY",
    "NO_PROJECT",
    "FoundFile",
    "Fragments",
    "Progress",
    "Reason",
    "RunFile",
    "RunHeader",
    "RunStream",
    "Skipped",
    "continues",
    "find_run_files",
    "fragments",
    "read_header",
    "read_run",
    "stream_run",
]

BATCH_ROWS = 1_000_000
HEARTBEAT_TIMEOUT = timedelta(minutes=5)
"""Source: a run that is silent for longer is shown as crashed by the W&B server."""
LONGEST_SECONDS = 1e12  # 30,000 years
NO_PROJECT = "uncategorized"

TIME = pl.Datetime("us", "UTC")
SYSTEM_METRICS = pl.Schema(
    {
        "metric": pl.String(),
        "logged_at": TIME,
        "runtime_seconds": pl.Float64(),
        "value": pl.Float64(),
    }
)
ARTIFACTS = pl.Schema(
    {
        "direction": pl.String(),
        "artifact_type": pl.String(),
        "artifact_name": pl.String(),
        "version": pl.String(),
        "aliases": pl.List(pl.String()),
        "files": pl.List(pl.Struct({"name": pl.String(), "size_bytes": pl.Int64()})),
        "size_bytes": pl.Int64(),
        "digest": pl.String(),
        "created_at": TIME,
    }
)
METRIC_DEFINITIONS = pl.Schema(
    {
        "pattern": pl.String(),
        "step_metric": pl.String(),
        "summary": pl.String(),
        "goal": pl.String(),
    }
)


@dataclass(frozen=True)
class RunFile:
    """One run as its files tell it; columns are those of the `raw` tables.

    Read on from an earlier `Progress`, `history` and `system_metrics` hold what came
    after it, and everything else the whole run.

    Attributes:
        run_state: `finished` or `failed` by the exit record; without one `running`
            while the heartbeat is young, else `crashed`; `unknown` without run record.
        config_json: See `json_text`; W&B's own branch left out, as in `summary_json`.
        skipped: By location: what could not be read.
        progress: Of the last file.
    """

    run_id: str
    entity: str | None
    project: str
    run_name: str | None
    run_group: str | None
    job_type: str | None
    tags: tuple[str, ...]
    notes: str | None
    run_state: str
    created_at: datetime
    heartbeat_at: datetime
    runtime_seconds: float | None
    last_step: int | None
    history_rows: int
    config_json: str
    summary_json: str
    user_name: str | None
    host_name: str | None
    program: str | None
    git_commit: str | None
    sdk_version: str | None
    sweep_name: str | None
    source_location: str
    history: pl.DataFrame
    system_metrics: pl.DataFrame
    artifacts: pl.DataFrame
    metric_definitions: pl.DataFrame
    skipped: dict[str, tuple[Skipped, ...]]
    progress: Progress

    @property
    def is_cut_off(self) -> bool:
        """A file ends inside a record: the run is live, or was killed."""
        return any(not skipped.reason.is_damage for skipped in self._all_skipped())

    @property
    def is_damaged(self) -> bool:
        """Something was written and can no longer be read."""
        return any(skipped.reason.is_damage for skipped in self._all_skipped())

    def _all_skipped(self) -> Iterator[Skipped]:
        for skipped in self.skipped.values():
            yield from skipped


def read_run(
    path: Path | Sequence[Path], *, now: datetime, after: Progress | None = None
) -> RunFile:
    """Read a run, its history in one frame; arguments and errors as `stream_run`."""
    stream = stream_run(path, now=now, after=after)
    history = pl.concat([HISTORY.to_frame(), *stream])
    return replace(stream.finish(), history=history)


def stream_run(
    path: Path | Sequence[Path],
    *,
    now: datetime,
    after: Progress | None = None,
    batch_rows: int = BATCH_ROWS,
) -> "RunStream":
    """Read a run in pieces of history, in memory bounded by one piece.

    Args:
        path: The file, or the fragments of one run in the order of their start.
        now: Tells a running from a crashed run.
        after: Read on from here; only for a single file.
        batch_rows: About how many rows a piece has.

    Raises:
        UsageError: No file, or several of them and `after`.
        SourceError: While reading: a file cannot be opened; or it is no longer the one
            that `after` was made of (shorter, or other bytes), so read it whole.
    """
    paths = (path,) if isinstance(path, Path) else tuple(path)
    if not paths or (after and len(paths) > 1):
        message = (
            f"a run must have one or more files, and just one to read on from a "
            f"saved offset, got {len(paths)} files; read a run in fragments whole"
        )
        raise UsageError(message)
    return RunStream(paths, now=now, after=after, batch_rows=batch_rows)


class RunStream:
    """A run being read: iterate over frames of history, then `finish()`."""

    def __init__(
        self,
        paths: tuple[Path, ...],
        *,
        now: datetime,
        after: Progress | None,
        batch_rows: int,
    ) -> None:
        self._paths = paths
        self._now = now
        self._reading = _Reading(batch_rows)
        self._frames = self._read(after)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        """Frames of the schema `HISTORY`, steps ascending; (metric, step) is unique."""
        return self._frames

    def finish(self) -> RunFile:
        """Everything but the history; reads what has not been iterated over."""
        for _frame in self._frames:
            pass
        return _run_file(self._reading, self._paths, self._now)

    def _read(self, after: Progress | None) -> Iterator[pl.DataFrame]:
        for path in self._paths:
            try:
                with path.open("rb") as stream:
                    yield from self._reading.read(path, stream, after)
            except OSError as error:
                message = (
                    f"a run file must be readable, got {error.strerror!r} for "
                    f"{printable(path)}; check that it exists and its permissions"
                )
                raise SourceError(message) from error


class _Reading:
    """What is known so far; the one thing that changes while a run is read."""

    def __init__(self, batch_rows: int) -> None:
        self.batch_rows = batch_rows
        self.facts = RunFacts()
        self.next_step = 0
        self.history_rows = 0
        self.samples: list[SystemSample] = []
        self.skipped: dict[str, tuple[Skipped, ...]] = {}
        self.modified_at: datetime | None = None
        self.progress = Progress(0, "", 0, 0, (), {})

    def read(
        self, path: Path, stream: BinaryIO, after: Progress | None
    ) -> Iterator[pl.DataFrame]:
        """The history of one file."""
        status = os.fstat(stream.fileno())
        self.modified_at = instant(status.st_mtime_ns // 1000)
        rows_before_file = 0 if after else self.history_rows
        if after:
            check_same_file(path, stream, after)
            self._restore(after)
        else:
            begin_file(self.facts)
        offset = after.offset if after else 0
        found = list(after.skipped) if after else []
        if loss := _header_loss(stream, status.st_size):
            found.append(loss)
        elif status.st_size:
            rows_before_reading = self.history_rows
            start = max(offset, len(HEADER))
            for batch in decode_batches(stream, start, self.batch_rows):
                found += batch.skipped
                offset = batch.end_offset
                self._take_records(batch)
                if self.history_rows == rows_before_file:
                    self.next_step = max(self.next_step, self.facts.starting_step)
                yield self._take_history(batch, rows_before_reading)
        found = merged_losses(found)
        if found:
            self.skipped[printable(path)] = tuple(found)
        self._save(stream, offset, found)

    def _restore(self, after: Progress) -> None:
        self.facts = RunFacts.from_dict(after.facts)
        self.next_step = after.next_step
        self.history_rows = after.history_rows

    def _save(self, stream: BinaryIO, offset: int, found: list[Skipped]) -> None:
        self.progress = Progress(
            offset=offset,
            fingerprint=fingerprint(stream, offset),
            next_step=self.next_step,
            history_rows=self.history_rows,
            # What lies behind the offset will be seen again, perhaps whole by then.
            skipped=tuple(lost for lost in found if lost.offset < offset),
            facts=self.facts.to_dict(),
        )

    def _take_records(self, batch: Batch) -> None:
        for payload in batch.records:
            record = parse_record(payload)
            if record is not None:
                self.samples += fold(self.facts, record)

    def _take_history(self, batch: Batch, rows_before_reading: int) -> pl.DataFrame:
        first_row = self.history_rows - rows_before_reading
        history, self.next_step = numbered(
            batch.history, first_row, batch.n_rows, self.next_step
        )
        self.history_rows += batch.n_rows
        latest = history["logged_at"].dt.epoch("us").max()
        self.facts.saw(latest if isinstance(latest, int) else None)
        runtimes = history["runtime_seconds"].drop_nulls()
        if not runtimes.is_empty():
            self.facts.logged_runtime_seconds = runtimes[-1]
        return logged_values(history)


def _header_loss(stream: BinaryIO, size: int) -> Skipped | None:
    if header_problem(stream):
        return Skipped(0, size, Reason.WRONG_HEADER)
    is_cut_off = 0 < size < len(HEADER)
    return Skipped(0, size, Reason.CUT_OFF) if is_cut_off else None


def _run_file(reading: _Reading, paths: tuple[Path, ...], now: datetime) -> RunFile:
    facts = reading.facts
    modified_at = min(reading.modified_at or now, now)
    heartbeat_at = _heartbeat_at(facts, modified_at, now)
    last_step = reading.next_step - 1 if reading.history_rows else None
    names = facts.names
    return RunFile(
        run_id=names.get("run_id") or id_in_name(paths[0]),
        entity=names.get("entity"),
        project=names.get("project") or NO_PROJECT,
        run_name=names.get("run_name"),
        run_group=names.get("run_group"),
        job_type=names.get("job_type"),
        tags=tuple(facts.tags),
        notes=names.get("notes"),
        run_state=run_state(facts, heartbeat_at, now),
        created_at=created_at(facts, paths[0], modified_at) or modified_at,
        heartbeat_at=heartbeat_at,
        runtime_seconds=_runtime_seconds(facts),
        last_step=last_step,
        history_rows=reading.history_rows,
        config_json=json_text(facts.config),
        summary_json=json_text(_summary(facts, last_step)),
        user_name=names.get("user_name"),
        host_name=names.get("host_name"),
        program=names.get("program"),
        git_commit=names.get("git_commit"),
        sdk_version=names.get("sdk_version"),
        sweep_name=names.get("sweep_name"),
        source_location=printable(paths[0]),
        history=HISTORY.to_frame(),
        system_metrics=_system_metrics(reading.samples, facts.created_us),
        artifacts=pl.DataFrame(
            list(facts.artifacts.values()), schema=ARTIFACTS, orient="row"
        ),
        metric_definitions=pl.DataFrame(
            [
                {"pattern": pattern, **definition}
                for pattern, definition in facts.metric_definitions.items()
            ],
            schema=METRIC_DEFINITIONS,
            orient="row",
        ),
        skipped=reading.skipped,
        progress=reading.progress,
    )


def _heartbeat_at(facts: RunFacts, modified_at: datetime, now: datetime) -> datetime:
    """The latest time stamp, unless it lies in the future: scripts may log any."""
    latest = instant(facts.heartbeat_us)
    if latest is None or latest > now + HEARTBEAT_TIMEOUT:
        return modified_at
    return latest


def run_state(facts: RunFacts, heartbeat_at: datetime, now: datetime) -> str:
    """The state of a run, one of those of `raw.runs`."""
    if not facts.has_run_record:
        return "unknown"
    if facts.exit_code is not None:
        return "failed" if facts.exit_code else "finished"
    return "running" if now - heartbeat_at <= HEARTBEAT_TIMEOUT else "crashed"


def _runtime_seconds(facts: RunFacts) -> float | None:
    internal = facts.summary.get(INTERNAL)
    runtime = internal.get("runtime") if isinstance(internal, dict) else None
    for seconds in (runtime, facts.exit_runtime_seconds, facts.logged_runtime_seconds):
        # What a stranger wrote may be an integer that no double can hold, or NaN.
        if isinstance(seconds, int | float) and abs(seconds) < LONGEST_SECONDS:
            return float(seconds)
    return None


def _summary(facts: RunFacts, last_step: int | None) -> dict[str, Any]:
    """Without W&B's own branch; `_step` is the last one, as after a sync."""
    summary = {key: value for key, value in facts.summary.items() if key != INTERNAL}
    return summary if last_step is None else summary | {"_step": last_step}


def _system_metrics(
    samples: list[SystemSample], started_us: int | None
) -> pl.DataFrame:
    logged_at = pl.col("logged_at")
    frame = pl.DataFrame(
        samples,
        schema={"metric": pl.String, "logged_at": pl.Int64, "value": pl.Float64},
        orient="row",
    )
    return frame.select(
        "metric",
        logged_at.cast(TIME),
        ((logged_at - pl.lit(started_us, dtype=pl.Int64)) / 1e6).alias(
            "runtime_seconds"
        ),
        "value",
    )
