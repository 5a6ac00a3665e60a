"""What the records of a `.wandb` file say: protobuf and JSON in, plain values out.

One record at a time and no file: framing is in `wandb_log.py`, a whole run is in
`wandb_files.py`. Whatever a stranger wrote into a record, nothing here raises.
"""

import json
import math
import re
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

Path = tuple[str, ...]

CONSOLE_KINDS = frozenset({"output", "output_raw", "output_logger"})
EXACT_INTEGER = 2**53  # above it a double no longer holds every integer
# A step beyond 18 digits is no step: later ones could not be numbered in 64 bits.
LARGEST_STEP = 10**18 - 1
FIRST_SECOND = -62_135_596_800  # year 1
LAST_SECOND = 253_402_300_799  # year 9999

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_STEP = re.compile(r"[+-]?[0-9]{1,18}")
_WORDS: dict[str, tuple[float, str | None]] = {
    "true": (1.0, "true"),
    "false": (0.0, "false"),
    "NaN": (math.nan, None),
    "Infinity": (math.inf, None),
    "-Infinity": (-math.inf, None),
}
DEEPEST = 100  # levels of nesting; what lies deeper is kept as text


@cache
def protobufs() -> Any:
    """W&B's record types; imported when first needed (0.3 s)."""
    from wandb.proto import wandb_internal_pb2

    return wandb_internal_pb2


def parse_record(payload: bytes) -> Any:
    """The `Record` message in a frame, or None if the bytes are not one."""
    # protobuf ships no types
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        return protobufs().Record.FromString(payload)
    except DecodeError:
        return None


# What a history record says.


class HistoryRow(NamedTuple):
    """One history record: its own step and times, and metric -> (value, value_json)."""

    logged_step: int | None
    logged_at_us: int | None
    runtime_seconds: float | None
    values: dict[str, tuple[float | None, str | None]]


def history_row(history: Any) -> HistoryRow:
    """Decode a `HistoryRecord`; a metric that it names twice has the last value.

    `HistoryRecord.step` is not read: the server numbers rows by the `_step` item.

    Source: wandb 0.31, core/internal/stream/historystep.go.
    """
    texts: dict[str, str] = {}
    for item in history.item:
        name = ".".join(item.nested_key) or item.key
        if name != "_step" or name not in texts:  # of several steps the first counts
            texts[name] = item.value_json or _typed_json(item)
    step = texts.pop("_step", "")
    logged_at = texts.pop("_timestamp", "")
    runtime = _finite(texts.pop("_runtime", ""))
    decoded = {name: decode_value(text) for name, text in texts.items()}
    return HistoryRow(
        int(step) if _STEP.fullmatch(step) else None,
        _microseconds(_finite(logged_at)),
        runtime,
        {name: pair for name, pair in decoded.items() if pair is not None},
    )


def decode_value(text: str) -> tuple[float | None, str | None] | None:
    """A logged JSON text as (value, value_json); None for `null`, which is no value.

    Numbers, NaN and infinities are the value; booleans and integers beyond 2^53 keep
    their text beside it; all else is only text.

    >>> decode_value("0.5"), decode_value("true"), decode_value('"NaN"')
    ((0.5, None), (1.0, 'true'), (None, '"NaN"'))
    >>> decode_value("9007199254740993")
    (9007199254740992.0, '9007199254740993')
    >>> decode_value("null") is None
    True
    """
    if match := _NUMBER.fullmatch(text):
        is_integer = match.lastindex is None
        return float(text), text if is_integer and _is_inexact(text) else None
    if word := _WORDS.get(text):
        return word
    if text in {"", "null"}:
        return None
    bare = text.strip(" \t\r\n")
    return (None, text) if bare == text else decode_value(bare)


def _is_inexact(integer: str) -> bool:
    if len(integer) < 16:
        return False
    return len(integer) > 20 or abs(int(integer)) > EXACT_INTEGER


def _typed_json(item: Any) -> str:
    """The value of an item in the typed fields of SDK 0.31, as JSON."""
    kind = item.WhichOneof("value")
    if kind is None or kind == "none":
        return "null"
    value = getattr(item, kind)
    return str(value) if kind == "json" else json.dumps(value, ensure_ascii=False)


def _finite(text: str) -> float | None:
    """A JSON number; None for anything else, NaN and infinities included."""
    if not _NUMBER.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def _microseconds(seconds: float | None) -> int | None:
    """Since 1970; None outside the years 1 to 9999, which no `datetime` can hold."""
    if seconds is None or not FIRST_SECOND <= seconds <= LAST_SECOND:
        return None
    return round(seconds * 1e6)


def timestamp_us(timestamp: Any) -> int | None:
    """A protobuf `Timestamp` in microseconds since 1970; None when unset or absurd."""
    seconds = timestamp.seconds
    if seconds == 0 or not FIRST_SECOND <= seconds <= LAST_SECOND:
        return None
    nanos = min(max(timestamp.nanos, 0), 999_999_999)
    return int(seconds * 1_000_000 + nanos // 1000)


# JSON from strangers.


def parse_json(text: str) -> Any:
    """A JSON text, NaN and infinities allowed; what is no JSON stays a string."""
    try:
        value = json.loads(text, parse_int=_integer)
    except (ValueError, RecursionError):
        return text
    brackets = text.count("[") + text.count("{")
    return text if brackets > DEEPEST and _depth(value) > DEEPEST else value


def _integer(digits: str) -> int | float:
    # Python refuses to convert longer ones, whose cost grows with the square.
    return int(digits) if len(digits) <= 4000 else float(digits)


def is_too_deep(value: Any) -> bool:
    """Nested more than ``DEEPEST`` levels; asked without recursion."""
    return isinstance(value, dict | list) and _depth(value) > DEEPEST


def _depth(value: Any) -> int:
    depth = 0
    level = [value]
    while level := [child for parent in level for child in _children(parent)]:
        depth += 1
    return depth


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def json_text(value: Any) -> str:
    """Strict JSON with sorted keys and exact integers.

    JSON has no NaN and no infinities: inside a document they become the strings
    "NaN", "Infinity" and "-Infinity", as in W&B's own exports. Half a surrogate pair,
    which no UTF-8 file can hold, becomes a question mark.

    >>> json_text({"b": float("nan"), "a": 2**60})
    '{"a": 1152921504606846976, "b": "NaN"}'
    """
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(_spelled_out(value), sort_keys=True, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode()


def _spelled_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _spelled_out(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_spelled_out(child) for child in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def canonical_json(value: Any) -> str:
    """The one spelling of a logged document, whatever route it took.

    Keys are sorted; entries that are null are left out, as parquet cannot tell them
    from missing ones; whole numbers have no decimal point.

    >>> canonical_json({"b": [1.0, float("nan")], "a": None})
    '{"b": [1, "NaN"]}'
    """
    return json_text(_canonical(value))


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        known = {key: child for key, child in value.items() if child is not None}
        return {key: _canonical(child) for key, child in known.items()}
    if isinstance(value, list):
        return [_canonical(child) for child in value]
    is_whole = isinstance(value, float) and value.is_integer()
    return int(value) if is_whole and abs(value) <= EXACT_INTEGER else value


# Config and summary are trees.


def item_path(item: Any) -> Path:
    """Where a config or summary item belongs; absurdly deep paths become one key."""
    path = tuple(item.nested_key) or (item.key,)
    return path if len(path) <= DEEPEST else (".".join(path),)


def set_at(tree: dict[str, Any], path: Path, value: Any) -> None:
    """Set a leaf; whatever stands in its way is replaced by a branch.

    >>> tree = {"a": 1}
    >>> set_at(tree, ("a", "b"), 2); tree
    {'a': {'b': 2}}
    """
    for key in path[:-1]:
        branch = tree.get(key)
        if not isinstance(branch, dict):
            branch = tree[key] = {}
        tree = branch
    tree[path[-1]] = value


def remove_at(tree: dict[str, Any], path: Path) -> None:
    """Remove a leaf or branch, and the branches that this leaves empty.

    >>> tree = {"a": {"b": 2}, "c": 3}
    >>> remove_at(tree, ("a", "b")); tree
    {'c': 3}
    """
    branches = [tree]
    for key in path[:-1]:
        branch = branches[-1].get(key)
        if not isinstance(branch, dict):
            return
        branches.append(branch)
    for branch, key in zip(reversed(branches), reversed(path), strict=True):
        branch.pop(key, None)
        if branch:
            return


class SummaryChanges:
    """The net effect of many summary records: every `log()` writes two of them."""

    def __init__(self) -> None:
        self._latest: dict[Path, tuple[str, Any]] = {}

    def add(self, summary: Any) -> None:
        """Take in a `SummaryRecord`: only the last change of a path decides."""
        for change in ("update", "remove"):
            for item in getattr(summary, change):
                path = item_path(item)
                self._latest.pop(path, None)
                self._latest[path] = (change, item)

    def payloads(self) -> list[bytes]:
        """The changes as records, in the order in which they happened."""
        pb = protobufs()
        records: list[Any] = []
        last = ""
        for change, item in self._latest.values():
            # In one record the updates count first, then the removals.
            if not records or (last, change) == ("remove", "update"):
                records.append(pb.Record(summary=pb.SummaryRecord()))
            getattr(records[-1].summary, change).append(item)
            last = change
        return [record.SerializeToString() for record in records]
