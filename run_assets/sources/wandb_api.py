"""Runs on a W&B server: which have changed, and reading them.

The only door to the API. Behind it: ``wandb_api_client.py`` (requests),
``wandb_api_queries.py`` (what is asked), ``wandb_api_listing.py`` (which runs there
are), ``wandb_api_fetch.py`` (one run onto the disk), ``wandb_api_rows.py`` (its history
as rows) and ``wandb_api_reading.py`` (from the disk into the lake).
"""

import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl

from run_assets.config import WandbApi
from run_assets.errors import NotFoundError
from run_assets.sources.runs import (
    API,
    DELETED,
    ChangedRun,
    Location,
    Reason,
    RunReading,
)
from run_assets.sources.wandb_api_client import (
    WandbClient,
    server_address,
    web_address,
)
from run_assets.sources.wandb_api_fetch import (
    Fetched,
    KnownHistory,
    fetch_folder,
    fetch_run,
)
from run_assets.sources.wandb_api_listing import ListedRun, list_runs, vanished_runs
from run_assets.sources.wandb_api_reading import ApiReading, known_history


class _Known(NamedTuple):
    """What ``raw.sync_state`` says of a run on the server."""

    location: str
    listing_digest: str | None
    server_rows: int | None
    heartbeat_at: datetime | None
    content_digest: str | None
    progress_json: str | None
    problem: str | None


@dataclass(frozen=True)
class Listing:
    """What a server says of the runs of one project.

    Attributes:
        client: Asks the server.
        runs: By run path; what we published ourselves is left out.
        touched: Why a run has to be read, by run path.
        vanished: Stored runs that the server no longer has: run path and location.
        incoming: Folder that runs are fetched to.
    """

    client: WandbClient
    runs: Mapping[str, ListedRun]
    touched: Mapping[str, Reason]
    vanished: Mapping[str, str]
    incoming: Path
    known: Mapping[str, _Known]

    def change(self, run_path: str, reason: Reason) -> ChangedRun:
        """A run to read."""
        listed, known = self.runs[run_path], self.known.get(run_path)
        whole = known is None or reason == "reread" or known.problem == DELETED
        history = None if whole or not known else known_history(known.progress_json)
        is_still = (
            history is not None
            and known is not None
            and known.server_rows == listed.row_count == history.rows
            and known.heartbeat_at == listed.heartbeat_at
        )
        folder = fetch_folder(self.incoming, listed, history)
        arrival = _Arrival(
            listed,
            history,
            partial(fetch_run, self.client, listed, history, folder, is_still=is_still),
        )
        return ChangedRun(
            run_path=run_path,
            entity=listed.entity,
            project=listed.project,
            run_id=listed.run_id,
            created_at=listed.created_at,
            source=API,
            locations=(location(listed),),
            estimated_rows=listed.row_count * max(1, len(listed.summary)),
            reason=reason,
            read=arrival.read,
            progress_json=known.progress_json if history and known else None,
            fetch=arrival.fetch,
            release=partial(_release, folder),
        )

    def deletion(self, run_path: str) -> ChangedRun:
        """A stored run that has to be flagged."""
        entity, project, run_id = run_path.split("/")
        return ChangedRun(
            run_path=run_path,
            entity=entity,
            project=project,
            run_id=run_id,
            created_at=datetime.fromtimestamp(0).astimezone(),
            source=API,
            locations=(Location(API, self.vanished[run_path]),),
            estimated_rows=0,
            reason="deleted",
            read=_unreadable,
        )


@dataclass
class _Arrival:
    """A run that is fetched, and decoded if it is small, before it is read."""

    listed: ListedRun
    known: KnownHistory | None
    bring: Callable[[], Fetched]
    _ready: ApiReading | None = None

    def fetch(self) -> None:
        reading = ApiReading(self.listed, self.bring(), self.known)
        reading.decode_if_small()
        self._ready = reading

    def read(self, _now: datetime, _after: str | None) -> RunReading:
        ready, self._ready = self._ready, None
        return ready or ApiReading(self.listed, self.bring(), self.known)


def location(listed: ListedRun) -> Location:
    """Where a run lies on the server."""
    return Location(
        API,
        listed.url,
        listing_digest=listed.digest,
        server_rows=listed.row_count,
    )


def list_project(
    client: WandbClient,
    source: WandbApi,
    path: str,
    state: pl.DataFrame,
    *,
    incoming: Path,
    reread: Set[str] | None,
) -> Listing:
    """Ask what a project holds: one request per 1,000 runs.

    Args:
        client: Asks the server.
        source: The filter.
        path: ``entity/project``.
        state: ``raw.sync_state``.
        incoming: Folder that runs are fetched to.
        reread: Runs to read again in any case; ``None`` for all.

    Raises:
        NotFoundError: There is no such project, or the key may not see it.
        AuthenticationError: The server refuses the key.
        TryAgainError: The server cannot be reached.
    """
    listed = {run.run_path: run for run in list_runs(client, source, path)}
    mine = {path: run for path, run in listed.items() if not run.is_own}
    known = _known(state, client.base_url, path)
    absent = {
        run_path: one
        for run_path, one in known.items()
        if run_path not in listed and one.problem != DELETED
    }
    gone = _gone(client, path, absent) if not source.max_runs else set()
    touched = {
        run_path: reason
        for run_path, run in mine.items()
        if (reason := _reason(run, known.get(run_path), reread))
    }
    return Listing(
        client=client,
        runs=mine,
        touched=touched,
        vanished={run_path: absent[run_path].location for run_path in gone},
        incoming=incoming,
        known=known,
    )


def _known(state: pl.DataFrame, base_url: str, path: str) -> dict[str, _Known]:
    """Runs of a project that were read from this server."""
    before = f"{web_address(base_url)}/{path}/runs/"
    mine = state.filter(
        pl.col("source") == API, pl.col("source_location").str.starts_with(before)
    )
    columns = mine.select(
        "run_path",
        "source_location",
        "listing_digest",
        "server_rows",
        "heartbeat_at",
        "content_digest",
        "progress_json",
        "problem",
    )
    return {row[0]: _Known(*row[1:]) for row in columns.iter_rows()}


def _reason(
    run: ListedRun, known: _Known | None, reread: Set[str] | None
) -> Reason | None:
    if known is None:
        return "new"
    if reread is None or run.run_path in reread or known.content_digest is None:
        return "reread"
    if run.digest == known.listing_digest:
        return None
    if known.problem == DELETED:
        return "changed"
    return "grown" if run.row_count > (known.server_rows or 0) else "changed"


def _gone(client: WandbClient, path: str, absent: Mapping[str, _Known]) -> set[str]:
    entity, _, project = path.partition("/")
    ids = {one.rpartition("/")[2]: one for one in absent}
    return {ids[name] for name in vanished_runs(client, entity, project, ids)}


def _release(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _unreadable(_now: datetime, _after: str | None) -> RunReading:
    msg = "a run that its server deleted is kept as it is stored, not read"
    raise NotFoundError(msg)


def clients_of(sources: Sequence[WandbApi]) -> dict[str, WandbClient]:
    """A fresh client for each server; nothing is remembered from an earlier refresh."""
    clients: dict[str, WandbClient] = {}
    for source in sources:
        address = server_address(source.base_url)
        if address not in clients:
            clients[address] = WandbClient(
                address, timeout_seconds=source.timeout_seconds
            )
    return clients
