"""What every source of runs says about a run, and what reading one yields."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import polars as pl

FILES = "wandb_files"
API = "wandb_api"
"""Kinds of sources."""

DELETED = "deleted on the server"
"""What ``raw.sync_state`` says of a run that its server no longer has."""

Reason = Literal["new", "grown", "changed", "state", "reread", "deleted"]


class Skipped(NamedTuple):
    """Bytes that could not be read.

    Attributes:
        start_byte: Offset in the file.
        size_bytes: How many bytes were passed over.
        reason: Why.
    """

    start_byte: int
    size_bytes: int
    reason: str


@dataclass(frozen=True)
class Location:
    """A place that a run was found in.

    Attributes:
        source: Kind of source.
        name: The file's path, or the run's page on the server.
        size_bytes: The file's size when listed.
        modified_ns: The file's time of change when listed.
        listing_digest: Digest of what the server said of the run when listed.
        server_rows: History rows that the server counted when listed.
        problem: Why it is not read, for example because it is a copy.
    """

    source: str
    name: str
    size_bytes: int | None = None
    modified_ns: int | None = None
    listing_digest: str | None = None
    server_rows: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class ChangedRun:
    """A run that a source knows differently than the lake does.

    Attributes:
        source: Kind of source.
        locations: Where it is read from, in order, and where it is not and why.
        estimated_rows: Values it is expected to have, to give it a part.
        progress_json: Where to read on; ``None`` to read all of it.
        read: Reads it, as of now, from where `progress_json` says.
        fetch: Brings everything that `read` needs onto this machine; may run ahead of
            it, in another thread.
        release: The run is stored: what was fetched is no longer needed.
    """

    run_path: str
    entity: str
    project: str
    run_id: str
    created_at: datetime
    source: str
    locations: tuple[Location, ...]
    estimated_rows: int
    reason: Reason
    read: "Callable[[datetime, str | None], RunReading]" = field(
        compare=False, repr=False
    )
    progress_json: str | None = None
    fetch: Callable[[], object] | None = field(default=None, compare=False, repr=False)
    release: Callable[[], None] | None = field(default=None, compare=False, repr=False)


class RunReading(Protocol):
    """A run while it is read: history first, in pieces, then everything else."""

    @property
    def is_continued(self) -> bool:
        """The history goes on where the lake ends; otherwise it replaces it."""

    def history(self) -> Iterator[pl.DataFrame]:
        """Pieces of ``raw.history`` in the order of steps, without ``run_path``."""

    def finish(self) -> "RunContent":
        """What is known after the last piece."""


@dataclass(frozen=True)
class RunContent:
    """Everything about a run but its history.

    Attributes:
        run: Columns of ``raw.runs`` that the source knows.
        system_metrics: As ``raw.system_metrics``, without ``run_path``.
        artifacts: As ``raw.artifacts``, without ``run_path``.
        metric_definitions: As ``raw.metric_definitions``, without ``run_path``.
        content_digest: Digest of what was read.
        skipped: What could not be read, per location.
        problems: What a reader must know, per location.
        damaged: Locations with unreadable data.
        progress_json: Where to read on next time.
        source: Kind of the source that the run was read from.
        unread: Locations that another one was preferred to, and why.
        export_rows: Rows that came as the server's history export.
    """

    run: dict[str, Any]
    system_metrics: pl.DataFrame
    artifacts: pl.DataFrame
    metric_definitions: pl.DataFrame
    content_digest: str
    skipped: dict[str, tuple[Skipped, ...]]
    problems: dict[str, str]
    damaged: frozenset[str]
    progress_json: str | None
    source: str
    unread: dict[str, str] = field(default_factory=dict)
    export_rows: int | None = None
