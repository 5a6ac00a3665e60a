"""What the server keeps: projects, runs, artifacts and bytes, all in memory."""

import json
import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from tests.support.wandb_server.connections import encoded
from tests.support.wandb_server.rows import flattened, type_name

JsonObject = dict[str, Any]
RunKey = tuple[str, str, str]
"""Entity, project, run id."""
ArtifactState = Literal["PENDING", "COMMITTED", "DELETED"]
CollectionKey = tuple[str, str, str]
"""Entity, project, artifact name."""


class History:
    """A run's logged lines as sent, each with its step."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[int] = []
        self.rewrites = 0
        self._keys: JsonObject = {}
        self._counted = 0

    def __len__(self) -> int:
        return len(self.lines)

    def write(self, offset: int, lines: Iterable[str]) -> None:
        """Store lines from number `offset` on; a repeat replaces the same lines."""
        for number, line in enumerate(lines, start=offset):
            step = json.loads(line).get("_step", number)
            if number < len(self.lines):
                self._replace(number, line, step)
            else:
                self.lines.append(line)
                self.steps.append(step)

    def _replace(self, number: int, line: str, step: int) -> None:
        if self.lines[number] != line:
            self.rewrites += 1
            self._keys, self._counted = {}, 0
        self.lines[number], self.steps[number] = line, step

    def window(self, min_step: int | None, max_step: int | None) -> range:
        """Numbers of the lines with ``min_step <= step < max_step``."""
        first = 0 if min_step is None else bisect_left(self.steps, min_step)
        last = len(self) if max_step is None else bisect_left(self.steps, max_step)
        return range(first, last)

    @property
    def last_step(self) -> int:
        """The last line's step, -1 before the first."""
        return self.steps[-1] if self.steps else -1

    def key_statistics(self) -> JsonObject:
        """Per key: how often it was logged as which type, and its last value."""
        for line in self.lines[self._counted :]:
            for key, value in flattened(json.loads(line)):
                self._count(key, value)
        self._counted = len(self.lines)
        return self._keys

    def _count(self, key: str, value: Any) -> None:
        fresh: JsonObject = {"typeCounts": [], "monotonic": False}
        entry = self._keys.setdefault(key, fresh)
        entry["previousValue"] = value
        name = type_name(value)
        for count in entry["typeCounts"]:
            if count["type"] == name:
                count["count"] += 1
                return
        entry["typeCounts"].append({"type": name, "count": 1})


@dataclass(frozen=True)
class FiledHistory:
    """Rows that exist as parquet files only, for runs too big to be kept as lines.

    They come before the lines; the row pages never repeat them.

    Attributes:
        paths: The files in the order of their steps.
        rows: Rows in all of them.
        last_step: The last row's step, -1 without rows.
        keys: What `History.key_statistics` would say.
    """

    paths: tuple[Path, ...] = ()
    rows: int = 0
    last_step: int = -1
    keys: JsonObject = field(default_factory=dict)


@dataclass
class Run:
    """A run; change any attribute to play someone who edits it in the browser.

    Attributes:
        name: The run id, which the API calls name.
        config: As sent: each top-level entry is ``{"value": …}``.
        events: Lines of system metrics.
        filed: Rows that come before `history`.
        exported_rows: Rows of `history` in parquet exports; None leaves it to the
            switches.
    """

    entity: str
    project: str
    name: str
    display_name: str
    created_at: datetime
    heartbeat_at: datetime
    state: str = "running"
    user_name: str = "me"
    group: str | None = None
    job_type: str | None = None
    notes: str | None = None
    description: str | None = None
    commit: str | None = None
    host: str | None = None
    sweep_name: str | None = None
    tags: list[str] = field(default_factory=list)
    config: JsonObject = field(default_factory=dict)
    summary: JsonObject = field(default_factory=dict)
    filed: FiledHistory = field(default_factory=FiledHistory)
    history: History = field(default_factory=History)
    events: list[str] = field(default_factory=list)
    console: dict[int, str] = field(default_factory=dict)
    alerts: list[JsonObject] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    exported_rows: int | None = None
    exit_code: int | None = None

    @property
    def key(self) -> RunKey:
        """Entity, project and run id."""
        return self.entity, self.project, self.name

    @property
    def id(self) -> str:
        """The opaque identifier that mutations use."""
        return encoded(f"Run:v1:{self.name}:{self.project}:{self.entity}")

    @property
    def last_step(self) -> int:
        """The last row's step, -1 before the first."""
        return max(self.history.last_step, self.filed.last_step)

    @property
    def row_count(self) -> int:
        """All rows, filed or not."""
        return self.filed.rows + len(self.history)


@dataclass
class Artifact:
    """One version of an artifact, or one that is still being written.

    Attributes:
        births: Path to the id of the version whose upload holds the bytes.
        run: The run that logged it.
        used_by: Runs that used it, in order.
    """

    id: str
    collection: CollectionKey
    digest: str
    version: int
    run: RunKey
    created_at: datetime
    description: str | None = None
    metadata: str | None = None
    state: ArtifactState = "PENDING"
    aliases: list[str] = field(default_factory=list)
    births: dict[str, str] = field(default_factory=dict)
    used_by: list[RunKey] = field(default_factory=list)


class Store:
    """All that the server knows; hold `lock` while reading or changing it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.projects: dict[tuple[str, str], int] = {}
        self.runs: dict[RunKey, Run] = {}
        self.artifacts: list[Artifact] = []
        self.artifact_types: dict[CollectionKey, str] = {}
        self.client_ids: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}

    def add_project(self, entity: str, project: str) -> int:
        """The project's number, new or old."""
        return self.projects.setdefault((entity, project), len(self.projects) + 1)

    def add_run(self, run: Run) -> Run:
        """Store a run and its project."""
        with self.lock:
            self.add_project(run.entity, run.project)
            self.runs[run.key] = run
            return run

    def run(self, path: str) -> Run:
        """The run at ``entity/project/run_id``; KeyError if there is none."""
        entity, project, name = path.split("/")
        with self.lock:
            return self.runs[entity, project, name]

    def delete_run(self, path: str) -> None:
        """Remove a run as someone in the browser would."""
        with self.lock:
            del self.runs[self.run(path).key]

    def runs_of(self, entity: str, project: str) -> list[Run]:
        """Runs of a project in the order of creation."""
        return [run for run in self.runs.values() if run.key[:2] == (entity, project)]

    def versions(self, collection: CollectionKey) -> list[Artifact]:
        """Committed versions of an artifact, oldest first."""
        return [
            artifact
            for artifact in self.artifacts
            if artifact.collection == collection and artifact.state == "COMMITTED"
        ]

    def next_version(self, collection: CollectionKey) -> int:
        """The number of the next version; deleted ones keep theirs."""
        return sum(
            artifact.collection == collection and artifact.state != "PENDING"
            for artifact in self.artifacts
        )

    def version(self, collection: CollectionKey, alias: str) -> Artifact | None:
        """The version with this alias or ``v<number>``."""
        for artifact in reversed(self.versions(collection)):
            if alias in artifact.aliases or alias == f"v{artifact.version}":
                return artifact
        return None

    def artifact(self, artifact_id: str) -> Artifact | None:
        """The artifact with this id, committed or not."""
        found = (item for item in self.artifacts if item.id == artifact_id)
        return next(found, None)

    def manifest(self, artifact: Artifact) -> Mapping[str, JsonObject]:
        """Path to manifest entry; empty before the manifest is uploaded."""
        blob = self.blobs.get(f"manifests/{artifact.id}")
        return json.loads(blob)["contents"] if blob else {}
