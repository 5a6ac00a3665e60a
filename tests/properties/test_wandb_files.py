"""What holds for every `.wandb` file, however strange its records and its damage."""

import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from run_assets.sources.wandb_files import HISTORY, Reason, read_run, stream_run
from run_assets.sources.wandb_log import BLOCK_BYTES, HEADER, Record, read_records
from tests.support.wandb_log import (
    artifact_record,
    config_record,
    exit_record,
    history_record,
    log_bytes,
    metric_record,
    raw_history_record,
    run_record,
    stats_record,
    summary_record,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
# A temporary folder may be shared by examples: each one overwrites its file.
quick = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)

names = st.text(max_size=12).filter(lambda name: not name.startswith("_"))
numbers = st.one_of(st.floats(), st.integers(), st.integers(-(2**70), 2**70))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=20)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3)
    ),
    max_leaves=5,
)
rows = st.dictionaries(names, values, max_size=5)
steps = st.one_of(st.none(), st.integers(-5, 60))
logged = st.lists(st.tuples(steps, rows), max_size=30)

paths = st.lists(names, min_size=1, max_size=3).map(tuple)
texts = values.map(json.dumps) | st.text(max_size=20)
changes = st.lists(st.tuples(paths, texts), max_size=4)
records = st.one_of(
    st.lists(st.tuples(names | paths, texts), max_size=5).map(raw_history_record),
    st.builds(config_record, changes, st.lists(paths, max_size=2)),
    st.builds(summary_record, changes, st.lists(paths, max_size=2)),
    st.dictionaries(names, values, max_size=3).map(lambda v: stats_record(NOW, v)),
    st.integers(0, 255).map(exit_record),
    st.builds(run_record, names, project=names, tags=st.lists(names, max_size=2)),
    st.builds(artifact_record, names, st.lists(st.integers(-5, 2**62), max_size=3)),
    st.builds(metric_record, glob_name=names, step_metric=names),
    st.binary(max_size=60),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run-r1.wandb"


def history_records(rows: list[tuple[int | None, dict[str, Any]]]) -> Iterator[Any]:
    for step, row in rows:
        yield history_record(row if step is None else {"_step": step, **row})


def expected_points(
    rows: list[tuple[int | None, dict[str, Any]]],
) -> dict[tuple[str, int], Any]:
    """The server's step rule and last-wins, one row after the other."""
    points: dict[tuple[str, int], Any] = {}
    next_step = 0
    for own, row in rows:
        step = next_step if own is None else max(own, next_step)
        points |= {
            (key, step): value for key, value in row.items() if value is not None
        }
        next_step = step + 1
    return points


def spelled_out(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: spelled_out(child) for key, child in value.items()}
    if isinstance(value, list):
        return [spelled_out(child) for child in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def is_same(value: float | None, text: str | None, logged: Any) -> bool:
    if isinstance(logged, bool):
        return value == float(logged) and text == json.dumps(logged)
    if isinstance(logged, float):
        assert value is not None
        is_nan = math.isnan(value) and math.isnan(logged)
        return text is None and (value == logged or is_nan)
    if isinstance(logged, int):
        expected = None if abs(logged) <= 2**53 else str(logged)
        return value == float(logged) and text == expected
    return (
        value is None
        and text is not None
        and json.loads(text) == without_nulls(spelled_out(logged))
    )


def without_nulls(value: Any) -> Any:
    """An entry that is null is the same as none, as in a parquet file."""
    if isinstance(value, dict):
        known = {key: one for key, one in value.items() if one is not None}
        return {key: without_nulls(one) for key, one in known.items()}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


@quick
@given(logged)
def test_what_was_logged_is_what_is_read(
    path: Path, logged: list[tuple[int | None, dict[str, Any]]]
) -> None:
    path.write_bytes(log_bytes([run_record(), *history_records(logged)]))
    run = read_run(path, now=NOW)
    read = {
        (metric, step): (value, text)
        for metric, step, _at, _runtime, value, text in run.history.iter_rows()
    }
    expected = expected_points(logged)
    assert read.keys() == expected.keys()
    assert len(read) == run.history.height
    for key, value in expected.items():
        assert is_same(*read[key], value), (key, read[key], value)
    assert run.history_rows == len(logged)


@quick
@given(st.lists(records, max_size=25), st.integers(1, 8))
def test_any_records_are_read_and_pieces_make_the_whole(
    path: Path, written: list[Any], batch_rows: int
) -> None:
    path.write_bytes(log_bytes(written))
    whole = read_run(path, now=NOW)
    stream = stream_run(path, now=NOW, batch_rows=batch_rows)
    pieces = pl.concat([HISTORY.to_frame(), *stream])
    assert_frame_equal(pieces, whole.history)
    assert stream.finish().progress == whole.progress
    assert whole.history.select("metric", "step").is_unique().all()
    assert not whole.is_cut_off
    json.loads(whole.config_json, parse_constant=pytest.fail)
    json.loads(whole.summary_json, parse_constant=pytest.fail)
    for text in whole.history["value_json"].drop_nulls():
        json.loads(text, parse_constant=pytest.fail)


@quick
@given(st.lists(records, max_size=15), st.data())
def test_a_cut_at_any_byte_leaves_a_prefix_to_read_on_from(
    path: Path, written: list[Any], data: st.DataObject
) -> None:
    complete = log_bytes(written)
    cut = data.draw(st.integers(0, len(complete)))
    path.write_bytes(complete[:cut])
    early = read_run(path, now=NOW)
    path.write_bytes(complete)
    whole = read_run(path, now=NOW)
    assert_frame_equal(early.history, whole.history.head(early.history.height))
    late = read_run(path, now=NOW, after=early.progress)
    assert_frame_equal(pl.concat([early.history, late.history]), whole.history)
    assert late.progress.to_json() == whole.progress.to_json()
    assert late.skipped == whole.skipped
    assert late.summary_json == whole.summary_json
    assert_frame_equal(late.artifacts, whole.artifacts)
    assert_frame_equal(late.metric_definitions, whole.metric_definitions)


sizes = st.one_of(
    st.integers(0, 300),
    st.integers(BLOCK_BYTES - 30, BLOCK_BYTES + 30),
    st.integers(2 * BLOCK_BYTES - 30, 2 * BLOCK_BYTES + 30),
)


@quick
@given(st.lists(sizes, min_size=1, max_size=8), st.data())
@example([BLOCK_BYTES - 7 - 7], None)
def test_bytes_are_either_in_a_record_or_reported(
    payload_sizes: list[int], data: st.DataObject | None
) -> None:
    payloads = [bytes([i + 1]) * size for i, size in enumerate(payload_sizes)]
    broken = bytearray(log_bytes(payloads))
    spots = st.lists(st.integers(len(HEADER), len(broken) - 1), max_size=4)
    for spot in data.draw(spots) if data else []:
        broken[spot] ^= 0xFF
    items = list(read_records(BytesIO(bytes(broken)), start=len(HEADER)))
    at = len(HEADER)
    for item in items:
        end = item.end if isinstance(item, Record) else item.offset + item.size_bytes
        padding = broken[at : item.offset]
        assert len(padding) < 7
        assert end > item.offset
        at = end
    assert len(broken) - at < 7
    survived = [item.payload for item in items if isinstance(item, Record)]
    assert set(survived) <= set(payloads)
    if bytes(broken) == log_bytes(payloads):
        assert survived == payloads


@quick
@given(st.binary(max_size=300))
def test_no_bytes_raise(path: Path, junk: bytes) -> None:
    path.write_bytes(HEADER + junk)
    run = read_run(path, now=NOW)
    assert run.progress.offset + sum(
        lost.size_bytes for lost in run.skipped.get(str(path), ())
    ) >= min(len(HEADER), path.stat().st_size)
    path.write_bytes(junk)
    run = read_run(path, now=NOW)
    if not HEADER.startswith(junk[: len(HEADER)]):
        assert run.skipped[str(path)] == ((0, len(junk), Reason.WRONG_HEADER),)


@quick
@given(st.lists(records, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_mutated_records_behind_right_checksums_never_raise(
    path: Path, written: list[Any], random: Any
) -> None:
    """A stranger can write anything into a frame with a valid checksum."""
    mutated = []
    for record in written:
        payload = bytearray(
            record if isinstance(record, bytes) else record.SerializeToString()
        )
        for _ in range(random.randint(0, 3)):
            if payload:
                payload[random.randrange(len(payload))] = random.randrange(256)
        mutated.append(bytes(payload))
    path.write_bytes(log_bytes(mutated))
    run = read_run(path, now=NOW)
    assert run.progress.offset == path.stat().st_size
    assert {lost.reason for lost in run.skipped.get(str(path), ())} <= {
        Reason.UNDECODABLE
    }
    assert type(run.progress).from_json(run.progress.to_json()).offset > 0
    run.history.write_parquet(BytesIO())
    run.system_metrics.write_parquet(BytesIO())
    run.artifacts.write_parquet(BytesIO())
