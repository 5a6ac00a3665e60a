"""Mongo-style filters and orders over runs."""

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from random import SystemRandom
from typing import Any

from tests.support.wandb_server.graphql import GraphQLRefusalError
from tests.support.wandb_server.storage import Run
from tests.support.wandb_server.switches import TieOrder

MISSING = object()
"""Stands for a key that a run does not have: neither null nor any value."""

COLUMNS = {
    "displayName": "display_name",
    "display_name": "display_name",
    "name": "name",
    "state": "state",
    "group": "group",
    "jobType": "job_type",
    "job_type": "job_type",
    "createdAt": "created_at",
    "created_at": "created_at",
    "heartbeatAt": "heartbeat_at",
    "heartbeat_at": "heartbeat_at",
    "updatedAt": "heartbeat_at",
    "tags": "tags",
    "sweep": "sweep_name",
    "username": "user_name",
    "notes": "notes",
}


def field_value(run: Run, name: str) -> Any:
    """The value that a filter or order names.

    Raises:
        GraphQLRefusalError: Runs have no such field.
    """
    if name in COLUMNS:
        return getattr(run, COLUMNS[name])
    section, _, key = name.partition(".")
    if section == "config":
        return _config_value(run.config, key.removesuffix(".value"))
    if section in ("summary_metrics", "summaryMetrics"):
        summary = run.summary
        return summary[key] if key in summary else _dug(summary, key.split("."))
    message = f"runs cannot be filtered or ordered by {name!r}"
    raise GraphQLRefusalError(message)


def _config_value(config: Mapping[str, Any], key: str) -> Any:
    """A config value; the SDK wraps each top-level one as ``{"value": …}``."""
    if key in config:
        return _unwrapped(config[key])
    head, _, rest = key.partition(".")
    return _dug(_unwrapped(config.get(head, MISSING)), rest.split("."))


def _unwrapped(entry: Any) -> Any:
    return entry.get("value") if isinstance(entry, dict) and "value" in entry else entry


def _dug(value: Any, path: Sequence[str]) -> Any:
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return MISSING
        value = value[key]
    return value


def matches(run: Run, query: Mapping[str, Any]) -> bool:
    """Whether a run passes a filter.

    Raises:
        GraphQLRefusalError: An operator or field is unknown.
    """
    return all(_passes(run, key, wanted) for key, wanted in query.items())


def _passes(run: Run, key: str, wanted: Any) -> bool:
    match key:
        case "$and":
            return all(matches(run, part) for part in wanted)
        case "$or":
            return any(matches(run, part) for part in wanted)
        case "$nor":
            return not any(matches(run, part) for part in wanted)
        case "$not":
            return not matches(run, wanted)
    value = field_value(run, key)
    if isinstance(wanted, dict) and any(name.startswith("$") for name in wanted):
        return _all_hold(value, wanted)
    return _equals(value, wanted)


def _compares(value: Any, name: str, wanted: Any) -> bool:
    if name not in OPERATORS:
        message = f"unknown filter operator {name!r}"
        raise GraphQLRefusalError(message)
    return OPERATORS[name](value, wanted)


def _is_in(value: Any, wanted: Any) -> bool:
    return any(_equals(value, item) for item in wanted)


def _all_hold(value: Any, conditions: Mapping[str, Any]) -> bool:
    return all(_compares(value, name, item) for name, item in conditions.items())


def _matches_text(value: Any, pattern: Any) -> bool:
    return isinstance(value, str) and re.search(pattern, value) is not None


def _equals(value: Any, wanted: Any) -> bool:
    if isinstance(value, datetime) and isinstance(wanted, str):
        return value == _instant(wanted)
    if isinstance(value, list) and not isinstance(wanted, list):
        return wanted in value
    return bool(value == wanted) or (value is MISSING and wanted is None)


def _is_ordered(compare: Callable[[Any, Any], bool], value: Any, wanted: Any) -> bool:
    if isinstance(value, datetime) and isinstance(wanted, str):
        return compare(value, _instant(wanted))
    is_text = isinstance(value, str)
    if value is MISSING or value is None or is_text != isinstance(wanted, str):
        return False
    return not isinstance(value, list | dict) and compare(value, wanted)


OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$eq": _equals,
    "$ne": lambda value, wanted: not _equals(value, wanted),
    "$in": _is_in,
    "$nin": lambda value, wanted: not _is_in(value, wanted),
    "$exists": lambda value, wanted: (value is not MISSING) == bool(wanted),
    "$regex": _matches_text,
    "$not": lambda value, wanted: not _all_hold(value, wanted),
    "$gt": partial(_is_ordered, operator.gt),
    "$gte": partial(_is_ordered, operator.ge),
    "$lt": partial(_is_ordered, operator.lt),
    "$lte": partial(_is_ordered, operator.le),
}


def _instant(text: str) -> datetime:
    """A time without zone is UTC."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def selected(
    runs: Sequence[Run], filters: str | None, order: str | None, ties: TieOrder
) -> list[Run]:
    """Runs that pass the filter, in order.

    Args:
        runs: All runs of a project in the order of creation.
        filters: Mongo-style filter as JSON text.
        order: Comma-separated names, each with + (default) or - before it.
        ties: The order among runs that `order` leaves equal.
    """
    query = json.loads(filters) if filters else {}
    chosen = _tied([run for run in runs if matches(run, query)], ties)
    for part in reversed((order or "-created_at").split(",")):
        chosen = _ordered(chosen, part.lstrip("+-"), is_descending=part.startswith("-"))
    return chosen


def _ordered(runs: list[Run], name: str, *, is_descending: bool) -> list[Run]:
    """Sorted by one field, runs without it last."""
    keyed = [(field_value(run, name), run) for run in runs]
    present = [pair for pair in keyed if pair[0] is not MISSING and pair[0] is not None]
    absent = [run for value, run in keyed if value is MISSING or value is None]
    present.sort(key=lambda pair: _sort_key(pair[0]), reverse=is_descending)
    return [run for _, run in present] + absent


def _sort_key(value: Any) -> tuple[bool, Any]:
    if isinstance(value, datetime):
        value = value.timestamp()
    is_number = isinstance(value, int | float)
    return (not is_number, value if is_number else str(value))


def _tied(runs: list[Run], ties: TieOrder) -> list[Run]:
    match ties:
        case "created":
            return runs
        case "reversed":
            return runs[::-1]
        case "hashed":
            return sorted(runs, key=lambda run: blake2b(run.id.encode()).digest())
        case "unstable":
            return SystemRandom().sample(runs, len(runs))
