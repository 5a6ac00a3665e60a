"""Which runs lie in local W&B folders, and which of them the lake knows differently."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from run_assets.config import WandbFiles
from run_assets.digests import digest_of
from run_assets.errors import NotFoundError
from run_assets.sources.runs import (
    FILES,
    ChangedRun,
    Location,
    Reason,
    RunContent,
)
from run_assets.sources.runs import Skipped as SkippedBytes
from run_assets.sources.wandb_files import (
    HEARTBEAT_TIMEOUT,
    NO_PROJECT,
    FoundFile,
    Fragments,
    Progress,
    RunFile,
    continues,
    find_run_files,
    fragments,
    read_header,
    stream_run,
)
from run_assets.sources.wandb_found import printable

BYTES_PER_VALUE = 90
"""Measured: a file of 100,000 steps x 20 metrics has 94 bytes a value."""
OWN_RUN = "published by run_assets itself: not read"

_RUN_COLUMNS = (
    "run_name",
    "run_group",
    "job_type",
    "tags",
    "notes",
    "run_state",
    "created_at",
    "heartbeat_at",
    "runtime_seconds",
    "last_step",
    "history_rows",
    "config_json",
    "summary_json",
    "user_name",
    "host_name",
    "program",
    "git_commit",
    "sdk_version",
    "sweep_name",
    "source_location",
)


class _Known(NamedTuple):
    run_path: str
    size_bytes: int | None
    modified_ns: int | None
    run_state: str | None
    heartbeat_at: datetime | None
    content_digest: str | None
    progress_json: str | None
    is_read: bool


@dataclass(frozen=True)
class _Found:
    """A file and who owns runs that name no owner."""

    file: FoundFile
    entity: str
    name: str


def list_changes(
    sources: Sequence[WandbFiles],
    root: Path,
    state: pl.DataFrame,
    *,
    own: Path,
    now: datetime,
    reread: Set[str] | None,
) -> list[ChangedRun]:
    """The runs whose files are new, have changed or have fallen silent.

    Costs a directory scan and the first records of files that are not known.

    Args:
        sources: Folders of the configuration.
        root: Where their relative paths start.
        state: ``raw.sync_state``.
        own: Folder of the runs that we publish; never looked into.
        now: Tells which running runs have fallen silent.
        reread: Runs to read again in any case; ``None`` for all.

    Raises:
        NotFoundError: A folder of the configuration does not exist.
    """
    known = _known(state)
    found = {one.name: one for one in _find(sources, root, own)}
    touched = {
        name: reason
        for name, one in found.items()
        if (reason := _reason(one.file, known.get(name), now, reread))
    }
    runs = _runs_of(touched, found, known)
    changes = [
        _changed_run(identity, names, found, known, touched)
        for identity, names in runs.items()
    ]
    return sorted(changes, key=lambda one: (one.created_at, one.run_path))


class _Identity(NamedTuple):
    entity: str
    project: str
    run_id: str

    @property
    def run_path(self) -> str:
        return "/".join(self)


def _known(state: pl.DataFrame) -> dict[str, _Known]:
    rows = state.filter(source=FILES).select(
        "source_location",
        "run_path",
        "size_bytes",
        "modified_ns",
        "run_state",
        "heartbeat_at",
        "content_digest",
        "progress_json",
        pl.col("problem").is_null() | (pl.col("parts").list.len() > 0),
    )
    return {row[0]: _Known(*row[1:]) for row in rows.iter_rows()}


def _find(sources: Sequence[WandbFiles], root: Path, own: Path) -> Iterator[_Found]:
    """Each file once, even if folders overlap; the first source's entity counts."""
    seen: set[tuple[int, int]] = set()
    for source in sources:
        folder = (root / Path(source.path).expanduser()).absolute()
        try:
            files = find_run_files(folder)
        except NotFoundError as error:
            msg = (
                f"source {source.path!r} of run_assets.yaml: {error}; "
                "correct its path, or log a run there first"
            )
            raise NotFoundError(msg) from None
        for file in files:
            if own in file.location.parents or not _is_new(file, seen):
                continue
            yield _Found(file, source.entity, printable(file.location))


def _is_new(file: FoundFile, seen: set[tuple[int, int]]) -> bool:
    try:
        status = file.location.stat()
    except OSError:
        return False  # it vanished since the folder was listed
    identity = (status.st_dev, status.st_ino)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _reason(
    file: FoundFile, known: _Known | None, now: datetime, reread: Set[str] | None
) -> Reason | None:
    if known is None:
        return "new"
    if reread is None or known.run_path in reread:
        return "reread"
    if (file.size, file.modified_ns) != (known.size_bytes, known.modified_ns):
        return "grown" if file.size > (known.size_bytes or 0) else "changed"
    if known.is_read and known.content_digest is None:
        return "reread"  # a refresh was killed while it read this run
    return "state" if _fell_silent(known, now) else None


def _fell_silent(known: _Known, now: datetime) -> bool:
    if known.run_state != "running" or known.heartbeat_at is None:
        return False
    return now - known.heartbeat_at > HEARTBEAT_TIMEOUT


def _runs_of(
    touched: Iterable[str], found: Mapping[str, _Found], known: Mapping[str, _Known]
) -> dict[_Identity, list[str]]:
    """The runs to read, each with all files that are known or found to be of it."""
    runs: dict[_Identity, list[str]] = defaultdict(list)
    for name in touched:
        runs[_identity(found[name])].append(name)
    by_path = {identity.run_path: identity for identity in runs}
    for name, one in known.items():
        identity = by_path.get(one.run_path)
        if identity and name in found and name not in runs[identity]:
            runs[identity].append(name)
    return runs


def _identity(found: _Found) -> _Identity:
    header = read_header(found.file.location)
    names = (header.entity or found.entity, header.project or NO_PROJECT, header.run_id)
    return _Identity(*(name.replace("/", "%2F") for name in names))


def _changed_run(
    identity: _Identity,
    names: list[str],
    found: Mapping[str, _Found],
    known: Mapping[str, _Known],
    touched: Mapping[str, Reason],
) -> ChangedRun:
    headers = {name: read_header(found[name].file.location) for name in sorted(names)}
    own = [name for name, header in headers.items() if header.is_own]
    others = [header for header in headers.values() if not header.is_own]
    chosen = fragments(others) if others else Fragments((), ())
    files = [printable(header.location) for header in chosen.files]
    copies = [printable(header.location) for header in chosen.copies]
    first_name = (files or own)[0]
    first = headers[first_name]
    progress = _progress(identity, files, known, touched)
    size = sum(found[name].file.size for name in files)
    paths = tuple(found[name].file.location for name in files)
    problems = dict.fromkeys(own, OWN_RUN)
    problems |= dict.fromkeys(copies, f"a copy of {first_name}")
    return ChangedRun(
        run_path=identity.run_path,
        entity=identity.entity,
        project=identity.project,
        run_id=identity.run_id,
        created_at=first.created_at or datetime.fromtimestamp(0).astimezone(),
        source=FILES,
        locations=tuple(
            _location(found[name], problems.get(name))
            for name in (*files, *copies, *own)
        ),
        estimated_rows=size // BYTES_PER_VALUE,
        reason=next(
            touched[name] for name in (*files, *copies, *own) if name in touched
        ),
        read=lambda now, after: FolderReading(paths, after, now, identity.run_path),
        progress_json=progress,
    )


def _location(found: _Found, problem: str | None) -> Location:
    file = found.file
    return Location(FILES, found.name, file.size, file.modified_ns, problem=problem)


def _progress(
    identity: _Identity,
    files: list[str],
    known: Mapping[str, _Known],
    touched: Mapping[str, Reason],
) -> str | None:
    """Where to read on: in the one file of the run, grown since it was read."""
    mine = [name for name, one in known.items() if one.run_path == identity.run_path]
    if len(files) != 1 or mine != files:
        return None
    before = known[files[0]]
    is_longer = touched.get(files[0]) in ("grown", "state")
    return before.progress_json if is_longer and before.content_digest else None


@dataclass
class FolderReading:
    """A run being read from its files.

    Attributes:
        paths: Fragments in the order of their start.
        progress_json: Where to read on; ``None`` to read everything.
        now: Tells a running from a crashed run.
        run_path: Part of the content's digest.
    """

    paths: tuple[Path, ...]
    progress_json: str | None
    now: datetime
    run_path: str
    is_continued: bool = field(init=False)

    def __post_init__(self) -> None:
        after = Progress.from_json(self.progress_json) if self.progress_json else None
        if after and not continues(self.paths[0], after):
            after = None
        self.is_continued = after is not None
        self._stream = stream_run(self.paths, now=self.now, after=after)

    def history(self) -> Iterator[pl.DataFrame]:
        """Pieces of history; see ``RunReading``."""
        return iter(self._stream)

    def finish(self) -> RunContent:
        """Everything else; see ``RunReading``."""
        return _content(self._stream.finish(), self.paths, self.run_path)


def _content(file: RunFile, paths: tuple[Path, ...], run_path: str) -> RunContent:
    run: dict[str, Any] = {name: getattr(file, name) for name in _RUN_COLUMNS}
    progress = file.progress.to_json()
    damaged = {
        location
        for location, skipped in file.skipped.items()
        if any(one.reason.is_damage for one in skipped)
    }
    return RunContent(
        run={**run, "tags": list(file.tags)},
        system_metrics=file.system_metrics,
        artifacts=file.artifacts.with_row_index("sequence"),
        metric_definitions=file.metric_definitions,
        content_digest=digest_of(
            run_path, list(map(str, paths)), file.run_state, progress
        ),
        skipped={
            location: tuple(
                SkippedBytes(one.offset, one.size_bytes, str(one.reason))
                for one in skipped
            )
            for location, skipped in file.skipped.items()
        },
        problems={},
        damaged=frozenset(damaged),
        progress_json=progress if len(paths) == 1 else None,
        source=FILES,
    )
