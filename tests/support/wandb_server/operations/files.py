"""Files of a run."""

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import md5
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.connections import connection, encoded
from tests.support.wandb_server.graphql import Node
from tests.support.wandb_server.storage import Run


def files(
    backend: Backend,
    run: Run,
    names: Sequence[str] | None = None,
    after: str | None = None,
    first: int | None = None,
    pattern: str | None = None,
) -> Node:
    """A run's files by name; in `pattern` the sign % stands for anything."""
    matching = re.compile(re.escape(pattern or "%").replace("%", ".*"))
    chosen = [
        name
        for name in sorted(run.files)
        if (not names or name in names) and matching.fullmatch(name)
    ]
    return connection(chosen, lambda name: _file(backend, run, name), after, first)


def _file(backend: Backend, run: Run, name: str) -> Node:
    content = run.files[name]
    url = backend.url("files", *run.key, name)
    digest = b64encode(md5(content).digest()).decode()
    return {
        "__typename": "File",
        "id": encoded(name),
        "name": name,
        "displayName": name,
        "url": url,
        "directUrl": url,
        "uploadUrl": url,
        "sizeBytes": len(content),
        "size": str(len(content)),
        "mimetype": "",
        "updatedAt": backend.shown(run.heartbeat_at),
        "md5": digest,
        "storagePath": None,
    }


def create(backend: Backend, given: dict[str, Any]) -> Node:
    """Addresses to upload files of a run to."""
    key = (given["entityName"], given["projectName"], given["runName"])
    targets = [
        {"name": name, "uploadUrl": backend.url("files", *key, name)}
        for name in given["files"]
    ]
    return {"runID": key[2], "uploadHeaders": [], "files": targets}


def mark_uploaded(backend: Backend, given: dict[str, Any]) -> Node:
    """Confirm uploads, whose bytes must have arrived by now."""
    key = (given["entityName"], given["projectName"], given["runName"])
    run = backend.store.runs.get(key)
    uploaded = run.files if run else {}
    return {"success": all(name in uploaded for name in given["files"])}
