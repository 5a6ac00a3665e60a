"""Sweeps, as far as the runs that name one tell of it."""

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.connections import connection, encoded
from tests.support.wandb_server.graphql import Node


def names(backend: Backend, project: tuple[str, str]) -> list[str]:
    """Sweeps that runs of the project belong to, in the order of their first run."""
    runs = backend.store.runs_of(*project)
    return list(dict.fromkeys(run.sweep_name for run in runs if run.sweep_name))


def sweep(backend: Backend, project: tuple[str, str], name: str) -> Node | None:
    """A sweep by name; None if no run belongs to it."""
    runs = [run for run in backend.store.runs_of(*project) if run.sweep_name == name]
    if not runs:
        return None
    return {
        "__typename": "Sweep",
        "id": encoded(f"Sweep:v1:{name}:{project[1]}:{project[0]}"),
        "name": name,
        "displayName": name,
        "method": "random",
        "state": "FINISHED",
        "description": None,
        "bestLoss": None,
        "config": "method: random\nparameters: {}\n",
        "createdAt": backend.shown(runs[0].created_at),
        "updatedAt": backend.shown(runs[-1].heartbeat_at),
        "runCount": len(runs),
        "runCountExpected": len(runs),
    }


def sweeps(
    backend: Backend, project: tuple[str, str], after: str | None, first: int | None
) -> Node:
    """The sweeps of a project."""
    found = names(backend, project)
    return connection(
        found, lambda name: sweep(backend, project, name) or {}, after, first
    )
