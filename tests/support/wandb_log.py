"""Writes `.wandb` files byte by byte, right ones and broken ones."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from zlib import crc32

from run_assets.sources.wandb_log import (
    BLOCK_BYTES,
    CHUNK_HEADER,
    FIRST,
    FULL,
    HEADER,
    LAST,
    MIDDLE,
)
from run_assets.sources.wandb_records import protobufs


def chunk(kind: int, payload: bytes) -> bytes:
    checksum = crc32(bytes([kind]) + payload)
    return CHUNK_HEADER.pack(checksum, len(payload), kind) + payload


def log_bytes(records: Iterable[Any], *, written: bytes = HEADER) -> bytes:
    """A file of records (messages or payloads), or one more stretch behind another."""
    data = bytearray(written)
    for record in records:
        payload = record if isinstance(record, bytes) else record.SerializeToString()
        _append(data, payload)
    return bytes(data)


def _append(data: bytearray, payload: bytes) -> None:
    at, is_first = 0, True
    while is_first or at < len(payload):
        room = BLOCK_BYTES - len(data) % BLOCK_BYTES
        if room < CHUNK_HEADER.size:
            data += bytes(room)
            continue
        part = payload[at : at + room - CHUNK_HEADER.size]
        at += len(part)
        is_last = at == len(payload)
        data += chunk(_kind(is_first=is_first, is_last=is_last), part)
        is_first = False
        if is_last:
            return


def _kind(*, is_first: bool, is_last: bool) -> int:
    if is_first:
        return FULL if is_last else FIRST
    return LAST if is_last else MIDDLE


def write_run_file(folder: Path, run_id: str, records: Iterable[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"run-{run_id}.wandb"
    path.write_bytes(log_bytes(records))
    return path


def run_record(
    run_id: str = "r1",
    *,
    started_at: datetime | None = None,
    config: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Any:
    pb = protobufs()
    record = pb.Record(run=pb.RunRecord(run_id=run_id, **fields))
    if started_at:
        record.run.start_time.FromDatetime(started_at)
    for key, value in (config or {}).items():
        record.run.config.update.add(key=key, value_json=json.dumps(value))
    return record


def history_record(values: Mapping[str, Any]) -> Any:
    """Values are JSON-encoded as the SDK does; a `.` in a key stays in the key."""
    return raw_history_record(
        [(key, json.dumps(value)) for key, value in values.items()]
    )


def raw_history_record(items: Iterable[tuple[str | tuple[str, ...], str]]) -> Any:
    """Items as (flat key or path, JSON text)."""
    record = protobufs().Record()
    record.history.SetInParent()
    for key, text in items:
        path = {"key": key} if isinstance(key, str) else {"nested_key": key}
        record.history.item.add(value_json=text, **path)
    return record


def typed_history_record(key: str, **value: Any) -> Any:
    """One item in a typed field of SDK 0.31, for example `integer=3`."""
    record = protobufs().Record()
    record.history.item.add(nested_key=[key], **value)
    return record


def config_record(
    update: Iterable[tuple[tuple[str, ...], str]] = (),
    remove: Iterable[tuple[str, ...]] = (),
) -> Any:
    record = protobufs().Record()
    _change(record.config, update, remove)
    return record


def summary_record(
    update: Iterable[tuple[tuple[str, ...], str]] = (),
    remove: Iterable[tuple[str, ...]] = (),
) -> Any:
    record = protobufs().Record()
    _change(record.summary, update, remove)
    return record


def _change(
    message: Any,
    update: Iterable[tuple[tuple[str, ...], str]],
    remove: Iterable[tuple[str, ...]],
) -> None:
    message.SetInParent()
    for path, text in update:
        message.update.add(nested_key=path, value_json=text)
    for path in remove:
        message.remove.add(nested_key=path)


def stats_record(at: datetime, values: Mapping[str, Any]) -> Any:
    record = protobufs().Record()
    record.stats.timestamp.FromDatetime(at)
    for key, value in values.items():
        record.stats.item.add(key=key, value_json=json.dumps(value))
    return record


def exit_record(code: int, runtime: int = 0) -> Any:
    pb = protobufs()
    return pb.Record(exit=pb.RunExitRecord(exit_code=code, runtime=runtime))


def artifact_record(name: str, sizes: Iterable[int], **fields: Any) -> Any:
    pb = protobufs()
    entries = [
        pb.ArtifactManifestEntry(path=f"{i}.bin", size=size)
        for i, size in enumerate(sizes)
    ]
    manifest = pb.ArtifactManifest(contents=entries)
    return pb.Record(artifact=pb.ArtifactRecord(name=name, manifest=manifest, **fields))


def metric_record(**fields: Any) -> Any:
    pb = protobufs()
    return pb.Record(metric=pb.MetricRecord(**fields))


def console_record(text: str) -> Any:
    pb = protobufs()
    return pb.Record(output_raw=pb.OutputRawRecord(line=text))


def with_flipped_bit(data: bytes, offset: int) -> bytes:
    broken = bytearray(data)
    broken[offset] ^= 1
    return bytes(broken)


def with_zeroed_block(data: bytes, block: int) -> bytes:
    begin, end = block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES
    return data[:begin] + bytes(len(data[begin:end])) + data[end:]
