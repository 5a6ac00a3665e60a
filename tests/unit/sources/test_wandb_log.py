"""Which bytes of a file are whole records, and which are reported as lost."""

from io import BytesIO

import polars as pl
import pytest

from run_assets.sources.wandb_log import (
    BLOCK_BYTES,
    FIRST,
    FULL,
    HEADER,
    HISTORY_SCHEMA,
    LAST,
    MIDDLE,
    Batch,
    Reason,
    Record,
    Skipped,
    plain_batches,
    read_records,
)
from tests.support.wandb_log import (
    chunk,
    console_record,
    exit_record,
    history_record,
    log_bytes,
    run_record,
    summary_record,
    with_flipped_bit,
    with_zeroed_block,
)

START = len(HEADER)


def split(data: bytes, start: int = START) -> tuple[list[bytes], list[Skipped]]:
    items = list(read_records(BytesIO(data), start=start))
    payloads = [item.payload for item in items if isinstance(item, Record)]
    return payloads, [item for item in items if isinstance(item, Skipped)]


def batches(data: bytes, *, start: int = START, batch_rows: int = 1000) -> list[Batch]:
    return list(plain_batches(BytesIO(data), start=start, batch_rows=batch_rows))


def four_blocks() -> tuple[list[bytes], bytes]:
    payloads = [bytes([65 + i % 26]) * 1000 for i in range(110)]
    return payloads, log_bytes(payloads)


def test_what_is_written_is_read() -> None:
    payloads, data = four_blocks()
    assert split(data) == (payloads, [])


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES + 5])
def test_a_record_may_have_any_size(size: int) -> None:
    payloads = [b"before", b"x" * size, b"after"]
    assert split(log_bytes(payloads)) == (payloads, [])


@pytest.mark.parametrize("left", range(9))
def test_a_block_end_too_small_for_a_chunk_is_padding(left: int) -> None:
    filler = b"x" * (BLOCK_BYTES - START - 7 - left)
    payloads = [filler, b"after"]
    assert split(log_bytes(payloads)) == (payloads, [])


def test_reading_on_from_the_end_of_any_record_gives_the_rest() -> None:
    payloads, data = four_blocks()
    ends = [
        item.end
        for item in read_records(BytesIO(data), start=START)
        if isinstance(item, Record)
    ]
    for n_read, end in enumerate(ends, start=1):
        assert split(data, start=end) == (payloads[n_read:], [])


def test_a_cut_anywhere_leaves_the_whole_records_before_it() -> None:
    payloads = [b"a" * 10, b"b" * 70_000, b"c" * 3]
    data = log_bytes(payloads)
    ends = [
        item.end
        for item in read_records(BytesIO(data), start=START)
        if isinstance(item, Record)
    ]
    for cut in [
        *range(START, 60),
        *range(BLOCK_BYTES - 9, BLOCK_BYTES + 9),
        *range(len(data) - 40, len(data)),
    ]:
        whole = sum(end <= cut for end in ends)
        last_end = ends[whole - 1] if whole else START
        read, skipped = split(data[:cut])
        assert read == payloads[:whole]
        expected = [Skipped(last_end, cut - last_end, Reason.CUT_OFF)]
        assert skipped == (expected if cut > last_end else [])


def test_a_bad_checksum_costs_the_rest_of_its_block_and_no_more() -> None:
    payloads, data = four_blocks()
    hit = BLOCK_BYTES + 5000
    read, (lost,) = split(with_flipped_bit(data, hit))
    assert lost.reason is Reason.BAD_CHECKSUM
    n_before = next(i for i, payload in enumerate(read) if payload != payloads[i])
    n_lost = len(payloads) - len(read)
    assert read == payloads[:n_before] + payloads[n_before + n_lost :]
    assert lost.offset <= hit < lost.offset + lost.size_bytes
    # The record that crosses into the next block is lost with its beginning.
    assert 2 * BLOCK_BYTES < lost.offset + lost.size_bytes < 2 * BLOCK_BYTES + 1007


def test_a_zeroed_block_is_skipped_as_one_loss() -> None:
    payloads, data = four_blocks()
    read, (lost,) = split(with_zeroed_block(data, 1))
    assert lost.reason is Reason.ZEROED
    assert set(read) <= set(payloads)
    assert len(payloads) - len(read) in {33, 34}


def test_the_first_thing_wrong_gives_the_reason() -> None:
    _payloads, data = four_blocks()
    broken = with_flipped_bit(with_zeroed_block(data, 1), 2 * BLOCK_BYTES + 2)
    _read, (lost,) = split(broken)
    assert lost.reason is Reason.ZEROED
    assert lost.offset + lost.size_bytes > 3 * BLOCK_BYTES


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"\x01", Reason.CUT_OFF),
        (b"ragged", Reason.CUT_OFF),
        (chunk(FULL, b"half a record")[:-3], Reason.CUT_OFF),
        (chunk(FIRST, b"begun"), Reason.CUT_OFF),
        (b"\xff" * 100, Reason.TRAILING_GARBAGE),
        (bytes(100), Reason.ZEROED),
        (chunk(FULL, b"record")[:-1] + b"?", Reason.BAD_CHECKSUM),
        (chunk(LAST, b"orphan"), Reason.NO_BEGINNING),
        (chunk(MIDDLE, b"orphan"), Reason.NO_BEGINNING),
        (chunk(9, b"from the future"), Reason.UNKNOWN_CHUNK),
    ],
)
def test_a_bad_tail_is_named_and_takes_nothing_with_it(
    tail: bytes, reason: Reason
) -> None:
    data = log_bytes([b"whole"])
    expected = [Skipped(len(data), len(tail), reason)]
    assert split(data + tail) == ([b"whole"], expected)


def test_a_record_that_never_ends_does_not_take_the_next_one_with_it() -> None:
    begun = chunk(FIRST, b"begun") + chunk(MIDDLE, b"and so on")
    data = HEADER + begun + chunk(FULL, b"whole")
    lost = Skipped(START, len(begun), Reason.NO_END)
    assert split(data) == ([b"whole"], [lost])


def test_a_length_beyond_the_block_is_damage_where_the_file_goes_on() -> None:
    _payloads, data = four_blocks()
    second = BLOCK_BYTES + 100
    broken = bytearray(data)
    first_end = next(
        item.end
        for item in read_records(BytesIO(data), start=START)
        if isinstance(item, Record) and item.end > second
    )
    broken[first_end + 4 : first_end + 6] = b"\xff\xff"
    _read, (lost,) = split(bytes(broken))
    assert (lost.offset, lost.reason) == (first_end, Reason.BAD_LENGTH)


def test_the_last_loss_is_told_apart_from_the_cut_behind_it() -> None:
    data = HEADER + chunk(LAST, b"orphan") + b"cut"
    orphan = len(chunk(LAST, b"orphan"))
    _read, skipped = split(data)
    assert skipped == [
        Skipped(START, orphan, Reason.NO_BEGINNING),
        Skipped(START + orphan, 3, Reason.CUT_OFF),
    ]


def test_a_batch_holds_rows_and_the_other_records_without_console_text() -> None:
    run, end = run_record(), exit_record(0)
    records = [
        run,
        console_record("hello"),
        history_record({"_step": 3, "a": 0.5}),
        end,
    ]
    data = log_bytes(records)
    (batch,) = batches(data)
    assert batch.history.to_dicts() == [
        {
            "row": 0,
            "metric": "a",
            "logged_step": 3,
            "logged_at": None,
            "runtime_seconds": None,
            "value": 0.5,
            "value_json": None,
        }
    ]
    assert batch.n_rows == 1
    assert batch.records == [run.SerializeToString(), end.SerializeToString()]
    assert (batch.start_offset, batch.end_offset) == (START, len(data))


def test_an_empty_stretch_is_one_batch_without_rows() -> None:
    (batch,) = batches(HEADER)
    assert batch.history.is_empty()
    assert batch.history.schema == HISTORY_SCHEMA
    assert (batch.n_rows, batch.records, batch.end_offset) == (0, [], START)


def test_a_row_without_values_still_carries_its_step() -> None:
    (batch,) = batches(log_bytes([history_record({"_step": 7, "a": None})]))
    assert batch.history["metric"].to_list() == [None]
    assert batch.history["logged_step"].to_list() == [7]


@pytest.mark.parametrize("batch_rows", [1, 2, 7, 1000])
def test_batches_of_any_size_hold_the_same_rows(batch_rows: int) -> None:
    records = [history_record({"_step": i, "a": i, "b": -i}) for i in range(20)]
    data = log_bytes([run_record(), *records, exit_record(0)])
    pieces = batches(data, batch_rows=batch_rows)
    (whole,) = batches(data)
    assert pl.concat([piece.history for piece in pieces]).equals(whole.history)
    assert sum(piece.n_rows for piece in pieces) == 20
    offsets = [piece.start_offset for piece in pieces]
    assert offsets[1:] == [piece.end_offset for piece in pieces[:-1]]


def test_of_many_summaries_only_the_net_effect_is_kept() -> None:
    summaries = [summary_record([(("a",), str(i)), (("b",), "1")]) for i in range(50)]
    (batch,) = batches(log_bytes([*summaries, summary_record(remove=[("b",)])]))
    expected = summary_record([(("a",), "49")], remove=[("b",)])
    assert batch.records == [expected.SerializeToString()]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff" * 20,
        b"\x12\xff\xff\xff\xff\x0f",
        b"\x0a\x05ab",
        b"\x12\x04\x0a\x02\x0a\xff",
    ],
)
def test_bytes_that_are_no_record_are_skipped(payload: bytes) -> None:
    good = history_record({"a": 1.0})
    data = log_bytes([good, payload, good])
    (batch,) = batches(data)
    (lost,) = batch.skipped
    assert lost.reason is Reason.UNDECODABLE
    assert lost.size_bytes == 7 + len(payload)
    assert batch.n_rows == 2
    assert batch.end_offset == len(data)


def test_a_file_that_grows_while_it_is_read_ends_where_it_ended() -> None:
    stream = BytesIO(log_bytes([b"one", b"two"]))
    reading = read_records(stream, start=START)
    first = next(reading)
    at = stream.seek(0, 2)
    stream.write(log_bytes([b"three"])[START:])
    stream.seek(at)
    assert isinstance(first, Record)
    assert [item.payload for item in reading if isinstance(item, Record)] == [b"two"]
