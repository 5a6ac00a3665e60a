"""The refresh: ask the sources what changed; start Dagster only if something did."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

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
from run_assets.sources.runs import ChangedRun
from run_assets.store.lock import lake_lock

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
    """

    reread: bool = False
    project: str | None = None
    since: date | None = None
    partitions: frozenset[Partition] | None = None
    local_only: bool = False

    @property
    def is_whole(self) -> bool:
        """Every source is asked about every run."""
        return self.project is None and self.since is None and self.partitions is None

    def admits(self, change: ChangedRun) -> bool:
        """The run may be read."""
        names = (change.project, f"{change.entity}/{change.project}")
        if self.project is not None and self.project not in names:
            return False
        return self.since is None or change.created_at.date() >= self.since


@dataclass(frozen=True)
class Plan:
    """What a refresh would read.

    Attributes:
        changes: The runs, each with the reason.
    """

    changes: tuple[ChangedRun, ...]


@dataclass(frozen=True)
class Refreshed:
    """What a refresh did.

    Attributes:
        changes: The runs that were read.
        is_unchanged: Nothing had to be read or built.
        damaged: Locations with unreadable data.
        dagster_run_id: The run in Dagster; ``None`` where none was needed.
    """

    changes: tuple[ChangedRun, ...]
    is_unchanged: bool
    damaged: tuple[str, ...]
    dagster_run_id: str | None = None


def plan_refresh(lab: Lab, *, now: datetime, selection: Selection) -> Plan:
    """Ask every source what it knows differently than the lake; reads no history."""
    from run_assets.sources.wandb_folders import list_changes

    state = read_state(lab.lake)
    found = list_changes(
        lab.config.sources,
        lab.config.root,
        state,
        own=lab.config.data_path / "published",
        now=now,
        reread=None if selection.reread else unreadable_runs(lab.lake, state),
    )
    changes = [change for change in found if selection.admits(change)]
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
    return Plan(tuple(changes))


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
        if not plan.changes and is_built(lab):
            write_stamp(lab, now, is_whole=selection.is_whole)
            return Refreshed((), is_unchanged=True, damaged=damaged(lab))
        from run_assets.jobs import run_in_process

        lab.asks_all = selection.is_whole
        run_id = run_in_process(lab, selection)
        return Refreshed(
            plan.changes,
            is_unchanged=False,
            damaged=damaged(lab),
            dagster_run_id=run_id,
        )


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


def damaged(lab: Lab) -> tuple[str, ...]:
    """Locations with unreadable data, as the lake knows them."""
    bad = damaged_rows(read_state(lab.lake))
    return tuple(bad["source_location"].sort())


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
