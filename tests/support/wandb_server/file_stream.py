"""The stream that a live run sends its rows, summary and console to."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.storage import JsonObject, Run


def receive(backend: Backend, run: Run, body: JsonObject) -> None:
    """Apply one message; sent twice it changes nothing, since lines have offsets."""
    run.heartbeat_at = backend.now()
    for name, chunk in (body.get("files") or {}).items():
        if name in STREAMS:
            STREAMS[name](run, chunk["offset"], chunk["content"])
        else:
            backend.requests.add_unknown(f"file_stream.{name}")
    if body.get("complete"):
        run.exit_code = body.get("exitcode")
        run.state = "finished" if run.exit_code == 0 else "failed"
    elif "wandb-history.jsonl" in (body.get("files") or {}):
        run.state = "running"


def _history(run: Run, offset: int, lines: list[str]) -> None:
    run.history.write(offset, lines)


def _events(run: Run, offset: int, lines: list[str]) -> None:
    run.events[offset:] = lines


def _summary(run: Run, _: int, lines: list[str]) -> None:
    run.summary = json.loads(lines[-1])


def _console(run: Run, offset: int, lines: list[str]) -> None:
    run.console.update(enumerate(lines, start=offset))


Stream = Callable[[Run, int, list[Any]], None]

STREAMS: Mapping[str, Stream] = {
    "wandb-history.jsonl": _history,
    "wandb-events.jsonl": _events,
    "wandb-summary.json": _summary,
    "output.log": _console,
}
