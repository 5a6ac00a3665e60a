"""Looking at a server without reading from it: which runs it has, what they logged."""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

import polars as pl

from run_assets.config import Config, WandbApi
from run_assets.errors import NotFoundError, UsageError, did_you_mean
from run_assets.sources.wandb_api import clients_of
from run_assets.sources.wandb_api_client import WandbClient, server_address
from run_assets.sources.wandb_api_listing import list_runs
from run_assets.sources.wandb_api_queries import KEYS, RUN_FILE
from run_assets.sources.wandb_api_rows import is_internal, type_counts

REMOTE_RUNS = pl.Schema(
    {
        "run_path": pl.String(),
        "entity": pl.String(),
        "project": pl.String(),
        "run_name": pl.String(),
        "run_state": pl.String(),
        "created_at": pl.Datetime("us", "UTC"),
        "history_rows": pl.Int64(),
        "runtime_seconds": pl.Float64(),
        "run_group": pl.String(),
        "tags": pl.List(pl.String()),
        "is_stored": pl.Boolean(),
    }
)


def list_remote(config: Config, stored: Set[str], project: str | None) -> pl.DataFrame:
    """The runs of the configured projects as their servers list them.

    Args:
        config: The sources.
        stored: Run paths in the lake.
        project: Only this one, as ``project`` or ``entity/project``.

    Returns:
        Columns of ``REMOTE_RUNS``.

    Raises:
        UsageError: No server is configured.
    """
    asked = [
        (source, path)
        for source, path in _projects(config)
        if project in (None, path, path.rpartition("/")[2])
    ]
    clients = clients_of([source for source, _ in asked])
    rows = [
        {
            **run.columns(),
            "run_path": run.run_path,
            "entity": run.entity,
            "project": run.project,
            "history_rows": run.row_count,
            "is_stored": run.run_path in stored,
        }
        for source, path in asked
        for run in list_runs(clients[server_address(source.base_url)], source, path)
    ]
    chosen = [{name: row[name] for name in REMOTE_RUNS} for row in rows]
    return pl.DataFrame(chosen, schema=REMOTE_RUNS)


def available_metrics(config: Config, run_path: str) -> pl.DataFrame:
    """What a run logged, without downloading it.

    Returns:
        Columns metric, values (as the server counts them) and types.

    Raises:
        UsageError: The run's project is not configured.
        NotFoundError: The server has no such run.
    """
    _, found = _asked(config, run_path, "RunHistoryKeys", KEYS)
    rows = [
        (metric, sum(counts.values()), sorted(counts))
        for metric, counts in sorted(type_counts(found["historyKeys"]).items())
        if not is_internal(metric)
    ]
    schema: dict[str, Any] = {
        "metric": pl.String,
        "values": pl.Int64,
        "types": pl.List(pl.String),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def download_run_file(config: Config, run_path: str, name: str, target: Path) -> None:
    """Store a file of a run, such as ``media/table/eval.table.json``.

    Raises:
        UsageError: The run's project is not configured.
        NotFoundError: The server has no such run, or the run no such file.
    """
    client, found = _asked(config, run_path, "RunFiles", RUN_FILE, names=[name])
    edges = found["files"]["edges"]
    if not edges:
        msg = f"run {run_path} has no file {name!r} on {client.base_url}"
        raise NotFoundError(msg)
    url = edges[0]["node"]["directUrl"] or edges[0]["node"]["url"]
    client.download(url, target, "GET run file")


def _asked(
    config: Config, run_path: str, operation: str, document: str, **more: Any
) -> tuple[WandbClient, dict[str, Any]]:
    """What a run's server answers, and the client that asked it."""
    path, _, run = run_path.rpartition("/")
    known = {name: source for source, name in _projects(config)}
    if path not in known:
        msg = (
            f"project {path!r} is not one of the sources of run_assets.yaml"
            f"{did_you_mean(path, known)}; add it to ask its server"
        )
        raise UsageError(msg)
    [client] = clients_of([known[path]]).values()
    entity, _, project = path.partition("/")
    address = {"entity": entity, "project": project, "run": run}
    answer = client.query(operation, document, {**address, **more})
    found = (answer.get("project") or {}).get("run")
    if not found:
        msg = (
            f"no run {run_path} on {client.base_url}; "
            "`run-assets runs list --remote` shows all"
        )
        raise NotFoundError(msg)
    return client, found


def _projects(config: Config) -> Iterator[tuple[WandbApi, str]]:
    """Each project on a server, and its source."""
    servers = [source for source in config.sources if isinstance(source, WandbApi)]
    if not servers:
        msg = (
            "no source of run_assets.yaml is a server; add one, such as "
            "{kind: wandb_api, projects: [my-team/my-project]}"
        )
        raise UsageError(msg)
    for source in servers:
        for path in source.projects:
            yield source, path
