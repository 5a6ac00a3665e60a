"""What all sources of a lab know differently than the lake does.

A run that lies in a local file and on a server is one run: the fuller history counts.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from itertools import chain

import polars as pl

from run_assets.config import Config, WandbApi, WandbFiles
from run_assets.sources.runs import (
    API,
    ChangedRun,
    RunContent,
    RunReading,
)
from run_assets.sources.wandb_api import Listing, clients_of, list_project, location
from run_assets.sources.wandb_api_client import Traffic, WandbClient, server_address
from run_assets.sources.wandb_folders import list_changes

INCOMING = "incoming"
"""Folder in the data folder that runs are fetched to."""


@dataclass(frozen=True)
class Asked:
    """What the sources said.

    Attributes:
        changes: The runs to read, oldest first.
        clients: Those who still can be asked.
    """

    changes: tuple[ChangedRun, ...]
    clients: tuple[WandbClient, ...] = ()

    @property
    def traffic(self) -> Traffic:
        """What was asked of all servers so far."""
        total = Traffic()
        for client in self.clients:
            total.add(client.traffic)
        return total

    def close(self) -> None:
        """Ask nothing more."""
        for client in self.clients:
            client.close()


@dataclass(frozen=True)
class Question:
    """What is asked of the sources.

    Attributes:
        now: Tells running from crashed runs.
        reread: Runs to read again in any case; ``None`` for all.
        project: Only this project, as ``project`` or ``entity/project``.
        local_only: Ask no server.
    """

    now: datetime
    reread: Set[str] | None
    project: str | None = None
    local_only: bool = False

    def concerns(self, path: str) -> bool:
        """A project's server is asked."""
        names = (None, path, path.rpartition("/")[2])
        return not self.local_only and self.project in names


def ask_sources(config: Config, state: pl.DataFrame, question: Question) -> Asked:
    """Ask every source what it knows differently than the lake; reads no history.

    Args:
        config: The sources.
        state: ``raw.sync_state``.
        question: Which of them, and what for.

    Raises:
        NotFoundError: A folder or a project does not exist.
        AuthenticationError: A server refuses the key, or there is none.
        TryAgainError: A server cannot be reached.
    """
    asked = [
        (source, path)
        for source in config.sources
        if isinstance(source, WandbApi)
        for path in source.projects
        if question.concerns(path)
    ]
    clients = clients_of([source for source, _ in asked])
    listings = [
        list_project(
            clients[server_address(source.base_url)],
            source,
            path,
            state,
            incoming=config.data_path / INCOMING,
            reread=question.reread,
        )
        for source, path in asked
    ]
    files = _file_changes(config, state, question, listings)
    changes = [*_joined(files, listings), *_deletions(listings)]
    changes.sort(key=lambda one: (one.created_at, one.run_path))
    return Asked(tuple(changes), tuple(clients.values()))


def _file_changes(
    config: Config, state: pl.DataFrame, question: Question, listings: Sequence[Listing]
) -> dict[str, ChangedRun]:
    """Changed runs in local files, and those that changed on a server."""
    touched = set(chain.from_iterable(one.touched for one in listings))
    reread = None if question.reread is None else question.reread | touched
    found = list_changes(
        [source for source in config.sources if isinstance(source, WandbFiles)],
        config.root,
        state,
        own=config.data_path / "published",
        now=question.now,
        reread=reread,
    )
    waiting = _stored_from_servers(config, state, listings)
    return {one.run_path: one for one in found if one.run_path not in waiting}


def _stored_from_servers(
    config: Config, state: pl.DataFrame, listings: Sequence[Listing]
) -> set[str]:
    """Runs that a server has more of, which is not asked this time."""
    asked = set(chain.from_iterable(one.runs for one in listings))
    projects = {
        path
        for source in config.sources
        if isinstance(source, WandbApi)
        for path in source.projects
    }
    stored = state.filter(pl.col("source") == API, pl.col("parts").list.len() > 0)
    return {
        path
        for path in stored["run_path"]
        if path not in asked and path.rpartition("/")[0] in projects
    }


def _joined(
    files: Mapping[str, ChangedRun], listings: Sequence[Listing]
) -> Iterator[ChangedRun]:
    """One change a run, whatever the number of sources that know it."""
    rest, seen = dict(files), set[str]()
    for listing in listings:
        for run_path in listing.runs:
            if run_path in seen:  # two sources name the project, with other filters
                continue
            seen.add(run_path)
            reason = listing.touched.get(run_path)
            file = rest.pop(run_path, None)
            if file is not None:
                whole = listing.change(run_path, "reread")
                remote = replace(whole, reason=reason or file.reason)
                yield _fuller(file, remote, listing)
            elif reason:
                yield listing.change(run_path, reason)
    yield from rest.values()


def _deletions(listings: Sequence[Listing]) -> Iterator[ChangedRun]:
    owners = {path: listing for listing in listings for path in listing.vanished}
    for run_path, listing in owners.items():
        yield listing.deletion(run_path)


def _fuller(file: ChangedRun, remote: ChangedRun, listing: Listing) -> ChangedRun:
    """A run in local files and on a server, as one change."""
    listed = listing.runs[remote.run_path]
    readable = [one for one in file.locations if one.problem is None]
    if not readable:  # a copy, or published by ourselves
        return replace(remote, locations=(*remote.locations, *file.locations))
    return replace(
        remote,
        locations=(location(listed), *file.locations),
        estimated_rows=max(file.estimated_rows, remote.estimated_rows),
        progress_json=None,
        read=partial(_read_fuller, file, remote, listed.row_count),
        fetch=None,
    )


def _read_fuller(
    file: ChangedRun, remote: ChangedRun, server_rows: int, now: datetime, _: str | None
) -> RunReading:
    """The files where they hold more rows than the server counts, else the server.

    Files are read once more to count their rows: nothing short of that tells.
    """
    file_rows = file.read(now, None).finish().run["history_rows"]
    if file_rows > server_rows:
        why = f"the local files hold {file_rows} rows, the server {server_rows}"
        return _Preferred(file.read(now, None), {remote.locations[0].name: why})
    why = f"the server holds {server_rows} rows, the local files {file_rows}"
    return _Preferred(
        remote.read(now, None),
        {one.name: why for one in file.locations if one.problem is None},
    )


@dataclass
class _Preferred:
    """The reading of the fuller source, which knows of the other one."""

    reading: RunReading
    unread: dict[str, str]

    @property
    def is_continued(self) -> bool:
        return self.reading.is_continued

    def history(self) -> Iterator[pl.DataFrame]:
        return self.reading.history()

    def finish(self) -> RunContent:
        content = self.reading.finish()
        return replace(content, unread={**content.unread, **self.unread})
