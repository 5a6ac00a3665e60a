"""Logged rows: spelling of NaN, nested keys, sampling; every function is pure."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from tests.support.wandb_server.switches import NanEncoding, Sampling

T = TypeVar("T")


def spelled(value: Any, encoding: NanEncoding) -> Any:
    """`value` with each NaN and infinity in it spelled as `encoding` says.

    >>> spelled({"loss": float("nan"), "steps": [1, float("-inf")]}, "text")
    {'loss': 'NaN', 'steps': [1, '-Infinity']}
    """
    if encoding == "literal":
        return value
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value) if encoding == "text" else None
    if isinstance(value, Mapping):
        return {key: spelled(item, encoding) for key, item in value.items()}
    if isinstance(value, list):
        return [spelled(item, encoding) for item in value]
    return value


def respelled(line: str, encoding: NanEncoding) -> str:
    """A logged line, which holds literals, in the given spelling."""
    if encoding == "literal" or ("NaN" not in line and "Infinity" not in line):
        return line
    return json.dumps(spelled(json.loads(line), encoding))


def flattened(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of a row with dotted keys; typed objects such as tables are leaves.

    >>> dict(flattened({"a": {"b": 1}, "t": {"_type": "table-file"}}))
    {'a.b': 1, 't': {'_type': 'table-file'}}
    """
    for key, value in row.items():
        if isinstance(value, dict) and "_type" not in value:
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def sampled(rows: Sequence[T], count: int | None, sampling: Sampling) -> Sequence[T]:
    """At most `count` of the rows, in order.

    >>> sampled(range(10), 5, "stride")
    [0, 2, 4, 6, 8]
    """
    if not count or len(rows) <= count:
        return rows
    if sampling == "first":
        return rows[:count]
    if sampling == "random":
        chosen = sorted(Random(len(rows)).sample(range(len(rows)), count))
        return [rows[index] for index in chosen]
    return [rows[index * len(rows) // count] for index in range(count)]


def type_name(value: Any) -> str:
    """The type that W&B counts a logged value under."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "nil" if value is None else "map"
