"""The refresh: ask the sources what changed; start Dagster only if something did."""

import json
import os
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from run_assets.digests import digest_of
from run_assets.errors import RunAssetsError
from run_assets.ingest import (
    damaged_rows,
    place_runs,
    read_state,
    unreadable_runs,
)
from run_assets.lab import Lab
from run_assets.partitions import Partition
from run_assets.sources.runs import API, ChangedRun
from run_assets.store.lock import lake_lock

if TYPE_CHECKING:
    import polars as pl

    from run_assets.sources.changes import Asked
    from run_assets.sources.results import ChangedResults

STAMP = "last_refresh.json"


class RefreshFailedError(RunAssetsError):
    """A Dagster run of the refresh ended in failure."""


@dataclass(frozen=True)
class Selection:
    """Which runs a refresh may read; everything by default.

    Attributes:
        reread: Read runs again although nothing about them changed.
        project: Only this project, as ``project`` or ``entity/project``.
        since: Only runs created on this UTC day or later.
        partitions: Exactly the runs of these partitions.
        local_only: Ask no server.
        run_paths: Only these runs.
    """

    reread: bool = False
    project: str | None = None
    since: date | None = None
    partitions: frozenset[Partition] | None = None
    local_only: bool = False
    run_paths: frozenset[str] | None = None

    @property
    def is_whole(self) -> bool:
        """Every source is asked about every run."""
        some = (self.project, self.since, self.partitions, self.run_paths)
        return all(one is None for one in some)

    def admits(self, change: ChangedRun) -> bool:
        """The run may be read."""
        if self.run_paths is not None and change.run_path not in self.run_paths:
            return False
        names = (change.project, f"{change.entity}/{change.project}")
        if self.project is not None and self.project not in names:
            return False
        return self.since is None or change.created_at.date() >= self.since


@dataclass(frozen=True)
class Plan:
    """What a refresh would read.

    Attributes:
        changes: The runs, each with the reason.
        asked: The servers that were asked, and can be asked for these runs.
        results: Tables of result sources that have changed.
    """

    changes: tuple[ChangedRun, ...]
    asked: "Asked"
    results: "tuple[ChangedResults, ...]" = ()

    @property
    def is_empty(self) -> bool:
        """There is nothing to read."""
        return not (self.changes or self.results)


class Damage(NamedTuple):
    """A location that could not be read, whole or in part.

    Attributes:
        location: A file, or a run's page on its server.
        source: Kind of source.
        problem: What was wrong, where it is not a matter of some bytes.
    """

    location: str
    source: str
    problem: str | None


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        changes: The runs that were read.
        is_unchanged: Nothing had to be read or built.
        damaged: What could not be read, whole or in part.
        dagster_run_id: The run in Dagster; ``None`` where none was needed.
        results: Names of the result sources that were read.
    """

    changes: tuple[ChangedRun, ...]
    is_unchanged: bool
    damaged: tuple[Damage, ...]
    dagster_run_id: str | None = None
    results: tuple[str, ...] = ()


def plan_refresh(lab: Lab, *, now: datetime, selection: Selection) -> Plan:
    """Ask every source what it knows differently than the lake; reads no history."""
    from run_assets.sources.changes import Question, ask_sources

    state = read_state(lab.lake)
    question = Question(
        now=now,
        reread=_reread(lab, state, selection),
        project=selection.project,
        local_only=selection.local_only,
    )
    asked = ask_sources(lab.config, state, question)
    changes = [change for change in asked.changes if selection.admits(change)]
    if selection.partitions is not None:
        places = place_runs(
            lab.lake, state, changes, first_day=lab.config.first_day, today=now.date()
        )
        changes = [
            change
            for change in changes
            if (place := places.get(change.run_path))
            and place.partition in selection.partitions
        ]
    results = plan_results(
        lab, reread=selection.reread, local_only=selection.local_only
    )
    return Plan(tuple(changes), asked, results)


def plan_results(
    lab: Lab, *, reread: bool, local_only: bool
) -> "tuple[ChangedResults, ...]":
    """Ask every result source what has changed; nothing where there is none."""
    from run_assets.sources.results import changed_results, has_results

    if not has_results(lab.config):
        return ()
    from run_assets.ingest.results import sound_state

    state = sound_state(lab.lake)
    found = changed_results(lab.config, state, reread=reread, local_only=local_only)
    return tuple(found)


def _reread(
    lab: Lab, state: "pl.DataFrame", selection: Selection
) -> AbstractSet[str] | None:
    """Runs to read although nothing about them changed; ``None`` for all."""
    if not selection.reread:
        return unreadable_runs(lab.lake, state)
    return selection.run_paths


def refresh(
    lab: Lab,
    *,
    selection: Selection | None = None,
    now: datetime | None = None,
) -> Refreshed:
    """Read what changed and rebuild what depends on it.

    Raises:
        TryAgainError: Another refresh is writing.
        RefreshFailedError: A step failed; the message names it.
    """
    selection = selection or Selection()
    now = now or datetime.now(UTC)
    with lake_lock(lab.config.data_path):
        lab.lake.sweep()
        plan = plan_refresh(lab, now=now, selection=selection)
        if plan.is_empty and is_built(lab):
            write_stamp(lab, now, is_whole=_asks_all(lab, selection))
            return Refreshed((), is_unchanged=True, damaged=damaged(lab))
        from run_assets.jobs import run_in_process

        lab.asks_all, lab.plan = _asks_all(lab, selection), plan
        try:
            run_id = run_in_process(lab, selection)
        finally:
            lab.plan = None
            plan.asked.close()
        return Refreshed(
            plan.changes,
            is_unchanged=False,
            damaged=damaged(lab),
            dagster_run_id=run_id,
            results=tuple(dict.fromkeys(one.database.name for one in plan.results)),
        )


def _asks_all(lab: Lab, selection: Selection) -> bool:
    """Every source of the lab is asked about every run."""
    servers = [one for one in lab.config.sources if one.kind == API]
    return selection.is_whole and not (servers and selection.local_only)


def is_built(lab: Lab) -> bool:
    """Everything was built from what is there now: code, config and lake files."""
    stamp = read_stamp(lab)
    return stamp is not None and stamp.get("fingerprint") == fingerprint(lab)


def read_stamp(lab: Lab) -> dict[str, Any] | None:
    """What the last refresh left; ``None`` before the first or if unreadable."""
    try:
        stamp = json.loads((lab.config.data_path / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def write_stamp(lab: Lab, now: datetime, *, is_whole: bool) -> None:
    """Say that everything is built, and when all sources were last asked."""
    from run_assets.store.lake import publish_file

    asked_at = None if is_whole else (read_stamp(lab) or {}).get("refreshed_at")
    stamp = {
        "refreshed_at": asked_at or now.isoformat(timespec="milliseconds"),
        "fingerprint": fingerprint(lab),
    }
    text = json.dumps(stamp, indent=2)
    publish_file(
        lab.config.data_path / STAMP,
        lambda path: _write_text(path, text),
    )


def fingerprint(lab: Lab) -> str:
    """Digest of the code, the configuration and every file that was built."""
    files = [(entry.path, *_identity(entry)) for entry in lab.lake.files()]
    products = [lab.warehouse, *(lab.reports / "latest").glob("report.*")]
    files += [(str(one), *_identity(one)) for one in sorted(products) if one.exists()]
    return digest_of(_code_identity(), lab.config.model_dump(mode="json"), files)


def damaged(lab: Lab) -> tuple[Damage, ...]:
    """What could not be read, whole or in part, as the lake knows it."""
    bad = damaged_rows(read_state(lab.lake)).sort("source_location")
    columns = bad.select("source_location", "source", "problem")
    return tuple(Damage(*row) for row in columns.iter_rows())


def _identity(file: Any) -> tuple[int, int]:
    about = file.stat()
    return about.st_size, about.st_mtime_ns


def _code_identity() -> list[tuple[str, int, int]]:
    from run_assets.store.models import sql_folder

    package = Path(__file__).parent
    files = [
        *package.rglob("*.py"),
        *package.rglob("*.jinja"),
        *sql_folder().rglob("*.sql"),
    ]
    return sorted((str(file), *_identity(file)) for file in files)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + os.linesep, encoding="utf-8")
