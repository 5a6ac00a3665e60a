"""The frames of a `.wandb` file: which bytes are whole records, and which are lost.

A `.wandb` file is a LevelDB log: a 7 byte header, then blocks of 32 KiB (counted from
the start of the file) filled with chunks; a record is one FULL chunk or FIRST, MIDDLE
and LAST ones. What a record means is in `wandb_records.py`, what a run is in
`wandb_files.py`.

Source: https://github.com/google/leveldb/blob/main/doc/log_format.md; W&B uses plain
CRC-32 (IEEE, unmasked) over the type byte and the payload.
"""

from collections.abc import Iterator
from enum import StrEnum
from os import SEEK_END
from struct import Struct
from typing import BinaryIO, NamedTuple
from zlib import crc32

import numpy as np
import polars as pl

from run_assets.sources.wandb_records import (
    CONSOLE_KINDS,
    HistoryRow,
    SummaryChanges,
    history_row,
    parse_record,
)

BATCH_BYTES = 128 * 1024 * 1024
BLOCK_BYTES = 32 * 1024
HEADER = b":W&B\xe1\xbe\x00"
CHUNK_HEADER = Struct("<IHB")  # checksum, length of the payload, type
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4

HISTORY_SCHEMA = pl.Schema(
    {
        "row": pl.Int64(),
        "metric": pl.String(),
        "logged_step": pl.Int64(),
        "logged_at": pl.Datetime("us", "UTC"),
        "runtime_seconds": pl.Float64(),
        "value": pl.Float64(),
        "value_json": pl.String(),
    }
)


class Reason(StrEnum):
    """Why bytes of a file were skipped."""

    CUT_OFF = "cut off"
    TRAILING_GARBAGE = "trailing garbage"
    BAD_CHECKSUM = "bad checksum"
    BAD_LENGTH = "bad length"
    ZEROED = "zeroed block"
    NO_BEGINNING = "record without its beginning"
    NO_END = "record without its end"
    UNKNOWN_CHUNK = "unknown chunk type"
    UNDECODABLE = "undecodable record"
    WRONG_HEADER = "wrong header"

    @property
    def is_damage(self) -> bool:
        """Whether written data is unreadable; a cut-off tail is normal for a live run.

        >>> Reason.BAD_CHECKSUM.is_damage, Reason.CUT_OFF.is_damage
        (True, False)
        """
        return self not in {Reason.CUT_OFF, Reason.TRAILING_GARBAGE}


class Skipped(NamedTuple):
    """Bytes of a file that hold no readable record.

    Between two whole records there is at most one loss of framing; its reason is the
    first thing that was wrong.
    """

    offset: int
    size_bytes: int
    reason: Reason


class Record(NamedTuple):
    """One whole record as it lies in the file; `offset` is that of its first chunk."""

    offset: int
    end: int
    payload: bytes


class Batch(NamedTuple):
    """A stretch of whole records, decoded.

    Attributes:
        history: `HISTORY_SCHEMA`; (row, metric) is unique, rows ascend. `row` is the
            ordinal of the history record, 0 for the first one after `start`.
            `logged_step` is the record's own `_step` item, null when it has none that
            is an integer. `_step`, `_timestamp` and `_runtime` are columns, not
            metrics. A record that logged no value still has one line, with a null
            metric: its step counts. `value_json` is the text as it is in the file.
        n_rows: History records in the batch.
        records: Payloads of all other records, in file order, without console text.
            Of the summary records only the net effect is kept, and comes last.
        start_offset: Where reading started, in bytes.
        end_offset: Behind the last whole record, in bytes: reading on starts here.
        skipped: What could not be read between `start_offset` and the next batch.
    """

    history: pl.DataFrame
    n_rows: int
    records: list[bytes]
    start_offset: int
    end_offset: int
    skipped: tuple[Skipped, ...]


def read_records(stream: BinaryIO, *, start: int) -> Iterator[Record | Skipped]:
    """Whole records and lost stretches of a file, in order.

    Like the official reader: a bad chunk costs the rest of its block, and reading goes
    on at the next block; an incomplete chunk at the end of the file ends it.

    Args:
        stream: Seekable; read up to the size it has now, however it grows meanwhile.
        start: `len(HEADER)`, or the `end` of a record, in bytes.
    """
    size = stream.seek(0, SEEK_END)
    parts: list[_Chunk] = []
    lost: list[Skipped] = []  # at most one
    for chunk in _chunks(stream, start, size):
        if chunk.reason in _TAILS:
            parts.append(chunk)
            break
        if reason := chunk.reason or _misplaced(chunk.kind, is_open=bool(parts)):
            lost = _extended(lost, parts, chunk, reason)
            parts = []
            if reason is not Reason.NO_END:
                continue
        parts.append(chunk)
        if chunk.kind in {FULL, LAST}:
            yield from lost
            yield _joined(parts)
            parts, lost = [], []
    yield from lost
    if parts:
        begin = parts[0].offset
        yield Skipped(begin, size - begin, parts[-1].reason or Reason.CUT_OFF)


def plain_batches(
    stream: BinaryIO, *, start: int, batch_rows: int = 1_000_000
) -> Iterator[Batch]:
    """Decode a file record by record, in memory bounded by the batch.

    Args:
        stream: Seekable, at any position.
        start: `len(HEADER)`, or the `end_offset` of an earlier batch, in bytes.
        batch_rows: About how many rows of history a batch has; a batch also ends after
            `BATCH_BYTES` of records.

    Yields:
        At least one batch, the last one perhaps without rows.
    """
    batch = _OpenBatch(start, first_row=0)
    for item in read_records(stream, start=start):
        if isinstance(item, Skipped):
            batch.skipped.append(item)
            continue
        batch.add(item)
        if len(batch.metrics) >= batch_rows or batch.n_bytes >= BATCH_BYTES:
            yield batch.close()
            batch = _OpenBatch(item.end, first_row=batch.next_row)
    yield batch.close()


class _OpenBatch:
    """A batch being filled; columns of a record and columns of a value."""

    def __init__(self, start_offset: int, *, first_row: int) -> None:
        self.start_offset = self.end_offset = start_offset
        self.first_row = first_row
        self.n_bytes = 0
        self.records: list[bytes] = []
        self.skipped: list[Skipped] = []
        self.summary = SummaryChanges()
        self.rows: list[tuple[int | None, int | None, float | None]] = []
        self.n_lines: list[int] = []
        self.metrics: list[str | None] = []
        self.values: list[float | None] = []
        self.values_json: list[str | None] = []

    @property
    def next_row(self) -> int:
        return self.first_row + len(self.rows)

    def add(self, item: Record) -> None:
        self.end_offset = item.end
        self.n_bytes += len(item.payload)
        record = parse_record(item.payload)
        if record is None:
            size = item.end - item.offset
            self.skipped.append(Skipped(item.offset, size, Reason.UNDECODABLE))
            return
        kind = record.WhichOneof("record_type")
        if kind == "history":
            self.add_row(history_row(record.history))
        elif kind == "summary":
            self.summary.add(record.summary)
        elif kind not in CONSOLE_KINDS:
            self.records.append(item.payload)

    def add_row(self, row: HistoryRow) -> None:
        self.rows.append((row.logged_step, row.logged_at_us, row.runtime_seconds))
        self.n_lines.append(max(1, len(row.values)))
        if not row.values:
            self.metrics.append(None)
            self.values.append(None)
            self.values_json.append(None)
        for metric, (value, value_json) in row.values.items():
            self.metrics.append(metric)
            self.values.append(value)
            self.values_json.append(value_json)

    def close(self) -> Batch:
        return Batch(
            history=self._history(),
            n_rows=len(self.rows),
            records=self.records + self.summary.payloads(),
            start_offset=self.start_offset,
            end_offset=self.end_offset,
            skipped=tuple(self.skipped),
        )

    def _history(self) -> pl.DataFrame:
        per_row = pl.DataFrame(
            self.rows,
            schema={"logged_step": pl.Int64, "us": pl.Int64, "runtime": pl.Float64},
            orient="row",
        )
        row = np.repeat(np.arange(len(self.rows)), self.n_lines)
        per_line = per_row[row]
        return pl.DataFrame(
            {
                "row": row + self.first_row,
                "metric": self.metrics,
                "logged_step": per_line["logged_step"],
                "logged_at": per_line["us"].cast(pl.Datetime("us", "UTC")),
                "runtime_seconds": per_line["runtime"],
                "value": self.values,
                "value_json": self.values_json,
            },
            schema=HISTORY_SCHEMA,
        )


class _Chunk(NamedTuple):
    """One chunk; with a `reason` it is unreadable and stands for all bytes to `end`."""

    offset: int
    end: int
    kind: int
    payload: bytes
    reason: Reason | None


_TAILS = frozenset({Reason.CUT_OFF, Reason.TRAILING_GARBAGE})


def _chunks(stream: BinaryIO, start: int, size: int) -> Iterator[_Chunk]:
    offset = start
    stream.seek(start)
    while offset < size:
        room = BLOCK_BYTES - offset % BLOCK_BYTES
        block = stream.read(min(room, size - offset))
        if not block:  # the file was truncated under our eyes
            return
        yield from _chunks_of_block(block, offset, room)
        offset += room


def _chunks_of_block(block: bytes, offset: int, room: int) -> Iterator[_Chunk]:
    """Chunks of the rest of one block.

    Args:
        block: The bytes that exist; shorter than `room` where the file ends.
        offset: Of `block` in the file.
        room: Bytes from `offset` to the end of the block.
    """
    at = 0
    header_bytes = CHUNK_HEADER.size
    while at < len(block) and room - at >= header_bytes:
        stop, kind, reason = at, 0, _tail_reason(block, at, room)
        if reason is None:
            checksum, length, kind = CHUNK_HEADER.unpack_from(block, at)
            stop = at + header_bytes + length
            reason = _damage(block, at, stop, checksum)
        if reason:
            yield _Chunk(offset + at, offset + len(block), kind, b"", reason)
            return
        payload = block[at + header_bytes : stop]
        yield _Chunk(offset + at, offset + stop, kind, payload, None)
        at = stop


def _tail_reason(block: bytes, at: int, room: int) -> Reason | None:
    """Why the chunk at `at` cannot be whole because the file ends, if so."""
    if len(block) - at < CHUNK_HEADER.size:
        return Reason.CUT_OFF
    stop = at + CHUNK_HEADER.size + CHUNK_HEADER.unpack_from(block, at)[1]
    if stop <= len(block) or len(block) == room:
        return None
    return Reason.CUT_OFF if stop <= room else Reason.TRAILING_GARBAGE


def _damage(block: bytes, at: int, stop: int, checksum: int) -> Reason | None:
    if stop > len(block):
        return Reason.BAD_LENGTH
    if crc32(block[at + CHUNK_HEADER.size - 1 : stop]) == checksum:
        return None
    is_zeroed = not any(block[at : at + CHUNK_HEADER.size])
    return Reason.ZEROED if is_zeroed else Reason.BAD_CHECKSUM


def _misplaced(kind: int, *, is_open: bool) -> Reason | None:
    if kind in {FULL, FIRST}:
        return Reason.NO_END if is_open else None
    if kind in {MIDDLE, LAST}:
        return None if is_open else Reason.NO_BEGINNING
    return Reason.UNKNOWN_CHUNK


def _extended(
    lost: list[Skipped], parts: list[_Chunk], chunk: _Chunk, reason: Reason
) -> list[Skipped]:
    """The loss with the open record and, unless it begins a new one, the chunk."""
    end = chunk.offset if reason is Reason.NO_END else chunk.end
    if lost:
        return [Skipped(lost[0].offset, end - lost[0].offset, lost[0].reason)]
    begin = parts[0].offset if parts else chunk.offset
    return [Skipped(begin, end - begin, reason)]


def _joined(parts: list[_Chunk]) -> Record:
    payload = b"".join([part.payload for part in parts])
    return Record(parts[0].offset, parts[-1].end, payload)
