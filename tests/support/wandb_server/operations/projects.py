"""Entities and projects, and the runs of a project."""

from functools import partial
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.connections import connection, encoded
from tests.support.wandb_server.filters import selected
from tests.support.wandb_server.graphql import Node
from tests.support.wandb_server.operations import artifacts, runs, sweeps, viewer
from tests.support.wandb_server.storage import Run


def project_node(backend: Backend, entity: str, name: str) -> Node:
    """A project's own fields."""
    number = backend.store.projects[entity, name]
    return {
        "__typename": "Project",
        "id": encoded(f"Project:{name}"),
        "internalId": str(number),
        "name": name,
        "entity": {"id": encoded(f"Entity:{entity}"), "name": entity},
        "entityName": entity,
        "description": None,
        "access": "PRIVATE",
        "views": "{}",
        "user": None,
        "createdAt": backend.shown(backend.now()),
        "isBenchmark": False,
        "readOnly": False,
        "isReadOnly": False,
    }


def project(
    backend: Backend, name: str | None = None, entity_name: str | None = None
) -> Node | None:
    """A project with all that can be asked of it; None if it does not exist."""
    entity = entity_name or viewer.ENTITY
    if name is None or (entity, name) not in backend.store.projects:
        return None
    key = (entity, name)
    return {
        **project_node(backend, entity, name),
        "runCount": lambda filters=None: len(_selected(backend, key, filters)),
        "runs": partial(_runs, backend, key),
        "run": lambda name: runs.found(backend, (*key, name)),
        "bucket": lambda name, **_: runs.found(backend, (*key, name)),
        "sweep": lambda sweep_name, **_: sweeps.sweep(backend, key, sweep_name),
        "sweeps": lambda after=None, first=None, **_: sweeps.sweeps(
            backend, key, after, first
        ),
        "totalSweeps": lambda **_: len(sweeps.names(backend, key)),
        **artifacts.project_fields(backend, key),
    }


def _selected(
    backend: Backend,
    key: tuple[str, str],
    filters: str | None,
    order: str | None = None,
) -> list[Run]:
    found = backend.store.runs_of(*key)
    return selected(found, filters, order, backend.switches.tie_order)


def _runs(
    backend: Backend,
    key: tuple[str, str],
    filters: str | None = None,
    after: str | None = None,
    first: int | None = None,
    order: str | None = None,
) -> Node:
    chosen = _selected(backend, key, filters, order)
    return connection(chosen, lambda run: runs.run_node(backend, run), after, first)


def projects(
    backend: Backend,
    entity_name: str | None = None,
    after: str | None = None,
    first: int | None = None,
) -> Node:
    """The projects of an entity."""
    entity = entity_name or viewer.ENTITY
    keys = [key for key in backend.store.projects if key[0] == entity]
    return connection(keys, lambda key: project_node(backend, *key), after, first)


def entity(backend: Backend, name: str) -> Node:
    """A user or team."""
    return {
        "__typename": "Entity",
        "id": encoded(f"Entity:{name}"),
        "name": name,
        "xxhashDigestsEnabled": False,
        "organization": None,
        "projects": lambda after=None, first=None, **_: projects(
            backend, name, after, first
        ),
    }


def upsert(backend: Backend, given: dict[str, Any]) -> Node:
    """Create a project."""
    entity_name, name = given.get("entityName") or viewer.ENTITY, given["name"]
    is_new = (entity_name, name) not in backend.store.projects
    backend.store.add_project(entity_name, name)
    node = project_node(backend, entity_name, name)
    return {"project": node, "model": node, "inserted": is_new}
