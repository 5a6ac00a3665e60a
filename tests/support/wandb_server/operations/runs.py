"""Runs: create, read, edit, resume, delete."""

import json
from functools import partial
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.connections import connection
from tests.support.wandb_server.graphql import GraphQLRefusalError, Node
from tests.support.wandb_server.operations import (
    artifacts,
    files,
    history,
    projects,
    viewer,
)
from tests.support.wandb_server.rows import spelled
from tests.support.wandb_server.storage import Run, RunKey

EDITABLE = {
    "displayName": "display_name",
    "groupName": "group",
    "jobType": "job_type",
    "notes": "notes",
    "description": "description",
    "commit": "commit",
    "host": "host",
    "tags": "tags",
    "sweep": "sweep_name",
    "state": "state",
}
"""Fields of an upsert and the attributes that they set."""


def found(backend: Backend, key: RunKey) -> Node | None:
    """The run's node, None if there is no such run."""
    run = backend.store.runs.get(key)
    return run_node(backend, run) if run else None


def run_node(backend: Backend, run: Run) -> Node:
    """All that can be asked of a run; what costs time is computed when asked for."""
    return {
        "__typename": "Run",
        "__interfaces": ("RunInfo",),
        **_columns(backend, run),
        "summaryMetrics": lambda: _summary(backend, run),
        "config": lambda: json.dumps(run.config),
        "wandbConfig": partial(_wandb_config, run),
        "user": viewer.user(run.user_name),
        "project": lambda: projects.project_node(backend, run.entity, run.project),
        "logLineCount": len(run.console),
        "logLines": partial(_log_lines, run),
        "fileCount": len(run.files),
        "files": partial(files.files, backend, run),
        **history.history_fields(backend, run),
        **artifacts.run_fields(backend, run),
    }


def _columns(backend: Backend, run: Run) -> Node:
    return {
        "id": run.id,
        "name": run.name,
        "projectId": backend.store.projects[run.entity, run.project],
        "displayName": run.display_name,
        "state": run.state,
        "tags": run.tags,
        "group": run.group,
        "jobType": run.job_type,
        "notes": run.notes,
        "description": run.description,
        "commit": run.commit,
        "host": run.host,
        "sweepName": run.sweep_name,
        "createdAt": backend.shown(run.created_at),
        "heartbeatAt": backend.shown(run.heartbeat_at),
        "updatedAt": backend.shown(run.heartbeat_at),
        "readOnly": False,
        "stopped": False,
    }


def _summary(backend: Backend, run: Run) -> str:
    return json.dumps(spelled(run.summary, backend.switches.nan_in_summary))


def _wandb_config(run: Run, keys: list[str] | None = None) -> str:
    """The SDK's own section of the config, which a resumed run asks back."""
    own = run.config.get("_wandb", {}).get("value", {})
    return json.dumps({key: own[key] for key in keys or () if key in own})


def _log_lines(
    run: Run,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    **_: object,
) -> Node:
    numbered = sorted(run.console.items())
    return connection(numbered[-last:] if last else numbered, _log_line, after, first)


def _log_line(numbered: tuple[int, str]) -> Node:
    number, line = numbered
    blank = dict.fromkeys(("timestamp", "level", "label"))
    return {"number": number, "line": line, **blank}


def upsert(backend: Backend, given: dict[str, Any]) -> Node:
    """Create a run, take it up again, or edit it."""
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("entityName", viewer.ENTITY) in backend.switches.closed_entities:
        message = "permission denied"
        raise GraphQLRefusalError(message, status=403)
    run = _existing(backend, given)
    is_new = run is None
    if run is None:
        run = backend.store.add_run(_new_run(backend, given))
    for name, attribute in EDITABLE.items():
        if name in given:
            setattr(run, attribute, given[name])
    if "config" in given:
        run.config = json.loads(given["config"])
    if "summaryMetrics" in given:
        run.summary = json.loads(given["summaryMetrics"])
    return {"bucket": run_node(backend, run), "inserted": is_new}


def _existing(backend: Backend, given: dict[str, Any]) -> Run | None:
    if "id" in given:
        return _by_id(backend, given["id"])
    return backend.store.runs.get(_key(given))


def _key(given: dict[str, Any]) -> RunKey:
    entity = given.get("entityName", viewer.ENTITY)
    return entity, given.get("modelName", "uncategorized"), given.get("name", "")


def _new_run(backend: Backend, given: dict[str, Any]) -> Run:
    if "name" not in given:
        message = "a run that does not exist needs a name"
        raise GraphQLRefusalError(message)
    entity, project, name = _key(given)
    number = len(backend.store.runs) + 1
    now = backend.now()
    return Run(entity, project, name, f"run-{number}", now, now)


def _by_id(backend: Backend, run_id: str) -> Run:
    for run in backend.store.runs.values():
        if run.id == run_id:
            return run
    message = f"run {run_id!r} not found"
    raise GraphQLRefusalError(message)


def update_state(backend: Backend, given: dict[str, Any]) -> Node:
    """Set a run's state without logging to it."""
    _by_id(backend, given["id"]).state = given["state"]
    return {"success": True}


def alert(backend: Backend, given: dict[str, Any]) -> Node:
    """Keep what a run wants people to be told."""
    key = (given["entityName"], given["projectName"], given["runName"])
    kept = {name: given[name] for name in ("title", "text", "severity")}
    backend.store.runs[key].alerts.append(kept)
    return {"success": True}


def stop(backend: Backend, given: dict[str, Any]) -> Node:
    """Ask a run to stop; nobody listens here."""
    _by_id(backend, given["id"])
    return {"success": True}


def delete(backend: Backend, given: dict[str, Any]) -> Node:
    """Delete a run; its artifacts stay."""
    del backend.store.runs[_by_id(backend, given["id"]).key]
    return {"clientMutationId": None}
