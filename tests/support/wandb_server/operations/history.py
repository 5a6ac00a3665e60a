"""A run's rows: pages, samples, keys, exports, system metrics."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from tests.support.wandb_server.backend import Backend
from tests.support.wandb_server.graphql import Node
from tests.support.wandb_server.rows import flattened, respelled, sampled, spelled
from tests.support.wandb_server.storage import Run


def history_fields(backend: Backend, run: Run) -> Node:
    """The fields of a run that tell of its history."""
    return {
        "historyLineCount": run.row_count,
        "eventsLineCount": len(run.events),
        "historyTail": lambda: json.dumps(run.history.lines[-1:]),
        "eventsTail": lambda: json.dumps(run.events[-1:]),
        "systemMetrics": lambda: run.events[-1] if run.events else "{}",
        "historyKeys": partial(_keys, run),
        "history": partial(_page, backend, run),
        "sampledHistory": partial(_sampled, backend, run),
        "parquetHistory": partial(_exports, backend, run),
        "events": partial(_events, backend, run),
    }


def _keys(run: Run) -> Node | None:
    keys = {**run.filed.keys, **run.history.key_statistics()}
    if not keys:
        return None
    shown = {
        key: {**entry, "previousValue": spelled(entry["previousValue"], "text")}
        for key, entry in keys.items()
    }
    return {"sets": [], "keys": shown, "lastStep": run.last_step}


def _page(
    backend: Backend,
    run: Run,
    samples: int | None = 500,
    min_step: int | None = None,
    max_step: int | None = None,
    **_: object,
) -> list[str]:
    """Lines with ``min_step <= step < max_step``; no window is the whole history."""
    numbers = _live_window(backend, run, min_step, max_step)
    chosen = sampled(numbers, samples, backend.switches.sampling)
    encoding = backend.switches.nan_in_history
    return [respelled(run.history.lines[number], encoding) for number in chosen]


def _live_window(
    backend: Backend, run: Run, min_step: int | None, max_step: int | None
) -> range:
    """Line numbers in a window of steps; only a window can leave exported rows out."""
    numbers = run.history.window(min_step, max_step)
    if min_step is None or backend.switches.live_repeats_exported:
        return numbers
    first = max(numbers.start, backend.exported_rows(run))
    return range(first, max(first, numbers.stop))


def _sampled(backend: Backend, run: Run, specs: list[Any]) -> list[list[Node]]:
    parsed = [json.loads(spec) if isinstance(spec, str) else spec for spec in specs]
    return [_sample(backend, run, spec) for spec in parsed]


def _sample(backend: Backend, run: Run, spec: dict[str, Any]) -> list[Node]:
    """Rows that have all keys asked for, reduced to those keys."""
    keys = dict.fromkeys(spec["keys"])
    complete = []
    for number in _live_window(backend, run, spec.get("minStep"), spec.get("maxStep")):
        row = json.loads(run.history.lines[number])
        known = {**dict(flattened(row)), **row}
        if all(key in known for key in keys):
            complete.append({key: known[key] for key in keys})
    chosen = sampled(complete, spec.get("samples", 500), backend.switches.sampling)
    return [spelled(row, backend.switches.nan_in_sampled) for row in chosen]


def _exports(
    backend: Backend, run: Run, live_keys: Sequence[str] | None = None
) -> Node:
    """Addresses of the parquet files, and the rows that are not in them yet."""
    urls = [
        backend.url("exports", *run.key, name) for name in backend.export_names(run)
    ]
    live = range(backend.exported_rows(run), len(run.history))
    keys = list(live_keys or ["_step"])
    rows = [_live_row(backend, run, number, keys) for number in live]
    return {"parquetUrls": urls, "liveData": rows}


def _live_row(backend: Backend, run: Run, number: int, keys: list[str]) -> Node:
    if keys == ["_step"]:
        return {"_step": run.history.steps[number]}
    row = json.loads(run.history.lines[number])
    picked = {key: row.get(key) for key in keys}
    encoded: Node = spelled(picked, backend.switches.nan_in_sampled)
    return encoded


def _events(
    backend: Backend, run: Run, samples: int | None = 500, **_: object
) -> list[str]:
    chosen = sampled(run.events, samples, backend.switches.sampling)
    encoding = backend.switches.nan_in_history
    return [respelled(line, encoding) for line in chosen]
