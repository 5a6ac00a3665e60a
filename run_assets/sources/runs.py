"""What every source of runs says about a run, and what reading one yields."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import polars as pl

Reason = Literal["new", "grown", "changed", "state", "reread"]


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
        name: The file's path.
        size_bytes: Its size when listed.
        modified_ns: Its time of change when listed.
        problem: Why it is not read, for example because it is a copy.
    """

    name: str
    size_bytes: int
    modified_ns: int
    problem: str | None = None


@dataclass(frozen=True)
class ChangedRun:
    """A run that a source knows differently than the lake does.

    Attributes:
        source: Kind of source.
        locations: Where it is read from, in order, and where it is not and why.
        estimated_rows: Values it is expected to have, to give it a part.
        progress_json: Where to read on; ``None`` to read all of it.
        read: Reads it.
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
    read: "Callable[[datetime], RunReading]" = field(compare=False, repr=False)
    progress_json: str | None = None


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
