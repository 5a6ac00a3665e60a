"""The fast decoder against the plain one, case by case; fuzzing is in properties."""

import json
import random
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from run_assets.sources import wandb_fast, wandb_kernel, wandb_records
from run_assets.sources.wandb_fast import fast_batches
from run_assets.sources.wandb_log import (
    BLOCK_BYTES,
    HEADER,
    LAST,
    MIDDLE,
    Batch,
    Reason,
    plain_batches,
)
from tests.support.wandb_log import (
    chunk,
    config_record,
    console_record,
    exit_record,
    history_record,
    log_bytes,
    raw_history_record,
    run_record,
    summary_record,
    typed_history_record,
    with_flipped_bit,
    with_zeroed_block,
)

START = len(HEADER)


def only(batches: Iterator[Batch]) -> Batch:
    (batch,) = batches
    return batch


def fast(data: bytes, **options: int) -> Batch:
    return only(fast_batches(BytesIO(data), start=START, **options))


def assert_same(data: bytes, **options: int) -> None:
    plain = only(plain_batches(BytesIO(data), start=START))
    batch = fast(data, **options)
    assert batch.history.equals(plain.history)
    assert batch.history.schema == plain.history.schema
    assert batch[1:] == plain[1:]


def run_of(steps: int, *, seed: int = 0) -> list[Any]:
    """What the SDK writes: two summaries and a history record a step, shuffled."""
    rng = random.Random(seed)
    records: list[Any] = [run_record(config={"lr": 0.1})]
    for step in range(steps):
        values: dict[str, Any] = {f"train/m{k}": rng.gauss(0, 1) for k in range(20)}
        values |= {"_step": step, "_timestamp": 1.7e9 + step / 7, "_runtime": step / 7}
        values |= {"is_best": step % 3 == 0, "epoch": step // 10, "note": "a b"}
        pairs = [((key,), json.dumps(value)) for key, value in values.items()]
        rng.shuffle(pairs)
        records.append(summary_record([(("_wandb", "runtime"), str(step))]))
        records.append(summary_record(pairs))
        records.append(raw_history_record(pairs))
        records[-1].history.step.num = step
    return [*records, exit_record(0)]


@pytest.fixture(scope="module")
def long_run() -> bytes:
    data = log_bytes(run_of(120))
    assert len(data) > 5 * BLOCK_BYTES
    return data


@pytest.mark.parametrize("window_bytes", [1, 100, 5000, BLOCK_BYTES, 2**23])
def test_windows_may_cut_records_anywhere(long_run: bytes, window_bytes: int) -> None:
    assert_same(long_run, window_bytes=window_bytes)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_nothing(long_run: bytes, threads: int) -> None:
    assert_same(long_run, window_bytes=BLOCK_BYTES, threads=threads)


def test_the_plain_shape_is_decoded_without_the_plain_code(
    long_run: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = fast(long_run).history
    seen: list[Any] = []
    plain_row = wandb_records.history_row

    def watched(history: Any) -> Any:
        seen.append(history)
        return plain_row(history)

    monkeypatch.setattr(wandb_fast, "history_row", watched)
    assert fast(long_run).history.equals(expected)
    n_keys = 27  # each key is looked at once, in whatever record it comes first
    assert len(seen) == n_keys


@pytest.mark.parametrize("offset", [8, 900, 40_000, 100_000])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_bad_checksum_costs_what_it_costs_the_plain_reader(
    long_run: bytes, offset: int, threads: int
) -> None:
    data = with_flipped_bit(long_run, offset)
    assert_same(data, window_bytes=BLOCK_BYTES, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_zeroed_blocks_garbage_and_cuts_are_reported_alike(
    long_run: bytes, threads: int
) -> None:
    for data in (
        with_zeroed_block(long_run, 1),
        with_zeroed_block(with_zeroed_block(long_run, 2), 4),
        long_run + bytes(BLOCK_BYTES),
        long_run + b"\xff" * 100,
        long_run + chunk(MIDDLE, b"no beginning"),
        long_run + chunk(9, b"unknown"),
        long_run[: 2 * BLOCK_BYTES] + long_run[3 * BLOCK_BYTES :],
        HEADER,
        HEADER + b"\x00",
    ):
        assert_same(data, window_bytes=BLOCK_BYTES, threads=threads)


def test_a_cut_at_any_byte_gives_what_the_plain_reader_gives() -> None:
    data = log_bytes(run_of(1))
    for end in range(START, len(data)):
        assert_same(data[:end], window_bytes=400)


def test_chunks_that_look_like_the_end_of_a_record_do_not_fool_a_thread() -> None:
    # Whether a window that begins with a LAST chunk lost something is only known
    # once the window before it has been read.
    around = len(log_bytes([console_record("x" * 20_000)])) - 20_000
    first = log_bytes([console_record("x" * (BLOCK_BYTES - around - 3))])
    data = first + bytes(3) + chunk(LAST, b"stray")
    data = log_bytes(run_of(30), written=data)
    assert_same(data, window_bytes=BLOCK_BYTES, threads=2)
    assert Reason.NO_BEGINNING in {lost.reason for lost in fast(data).skipped}


def test_a_record_longer_than_several_windows_is_read_whole() -> None:
    records = [*run_of(3), console_record("x" * 5 * BLOCK_BYTES), *run_of(3)]
    wide = history_record({f"m{k}": k / 7 for k in range(3000)})
    for threads in (1, 2):
        data = log_bytes([*records, wide, *run_of(2)])
        assert_same(data, window_bytes=BLOCK_BYTES, threads=threads)


def test_reading_on_from_any_batch_gives_the_rest(long_run: bytes) -> None:
    whole = fast(long_run).history
    pieces = list(
        fast_batches(BytesIO(long_run), start=START, batch_rows=200, window_bytes=5000)
    )
    assert len(pieces) > 10
    assert pl.concat([piece.history for piece in pieces]).equals(whole)
    n_rows = 0
    for piece in pieces:
        rest = only(fast_batches(BytesIO(long_run), start=piece.start_offset)).history
        expected = whole.filter(pl.col("row") >= n_rows)
        assert rest.with_columns(pl.col("row") + n_rows).equals(expected)
        n_rows += piece.n_rows


@pytest.mark.parametrize(
    "texts",
    [
        ["9007199254740992", "9007199254740993", "-18446744073709551615", "1" * 25],
        ["-0", "-0.0", "0e5", "00", "1.", "1e", "5e-324", "1e308", "1e309", "1e-999"],
        ["NaN", "Infinity", "-Infinity", "null", "true", "false", "Infinitx", "nulL"],
        ['""', '"NaN"', '"é"', '"a\\n"', "[1]", '{"a": [NaN]}', "", " 1", '"x" ', "{"],
    ],
)
def test_unusual_values_are_decoded_alike(texts: Sequence[str]) -> None:
    rows = [
        raw_history_record([("a", text), (("b",), text), (("_step",), text)])
        for text in texts
    ]
    assert_same(log_bytes(rows))
    assert_same(log_bytes(rows), window_bytes=30)


def test_numbers_are_the_nearest_doubles() -> None:
    rng = random.Random(5)
    texts = [repr(struct.unpack("<d", rng.randbytes(8))[0]) for _ in range(20_000)]
    texts += [
        f"{rng.randrange(10**17)}e{rng.randrange(-340, 300)}" for _ in range(5000)
    ]
    texts += [f"0.{rng.randrange(10**18):018}" for _ in range(5000)]
    texts = [text for text in texts if text[-1].isdigit()]
    data = log_bytes(
        raw_history_record(
            [(f"m{k}", text) for k, text in enumerate(texts[at : at + 50])]
        )
        for at in range(0, len(texts), 50)
    )
    got = fast(data).history["value"].to_numpy()
    expected = np.array([float(text) for text in texts])
    assert got.view(np.int64).tolist() == expected.view(np.int64).tolist()


def test_keys_are_told_apart_by_every_byte() -> None:
    names = [
        f"{'x' * at}{letter}{'x' * (30 - at)}" for at in range(31) for letter in "ab"
    ]
    names += ["x" * length for length in range(1, 40)]
    names += ["é", "a.b", "_step.x", "", "_Step", "y" * 2000]
    rows = [history_record(dict.fromkeys(names, float(k))) for k in range(3)]
    assert_same(log_bytes(rows))


def test_more_keys_than_the_table_holds_are_no_problem(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wandb_fast, "MOST_KEYS", 5)
    assert_same(log_bytes(run_of(10)), window_bytes=700)


def test_colliding_keys_only_make_it_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_fast, "N_SLOTS", 8)
    assert_same(log_bytes(run_of(10)))


def test_outputs_that_are_too_small_are_emptied_and_enlarged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wandb_fast, "N_LINES", 4)
    monkeypatch.setattr(wandb_fast, "N_TEXT_BYTES", 2)
    odd = raw_history_record([("é", '"é"'), ("b", "1"), ("b", "2"), ("c", '"cc"')])
    assert_same(log_bytes([*run_of(10), odd, odd, *run_of(2)]))


def test_odd_records_keep_their_place() -> None:
    records = [
        history_record({"a": 1, "_step": 0}),
        typed_history_record("a", number=0.5),
        raw_history_record([("a", "1"), ("a", "2"), (("a",), "3"), ("_step", "4")]),
        raw_history_record([]),
        history_record({"_step": 9}),
        raw_history_record([("a", "null")]),
        b"\x12\x03\x0a\x05x",  # a history record that is no protobuf
        history_record({"a": 5}),
        b"\x98\x06\x01" + history_record({"a": 6}).SerializeToString(),
    ]
    assert_same(log_bytes(records))
    assert fast(log_bytes(records)).n_rows == 8


def test_of_many_summaries_the_net_effect_is_kept() -> None:
    a, b, ab = ("a",), ("b",), ("a", "b")
    records = [
        summary_record([(a, "1"), (b, "1")]),
        summary_record([(ab, "2")]),
        summary_record([(a, "3"), (ab, "4")]),
        summary_record(remove=[b]),
        summary_record([(b, '"é"')]),
        config_record([(("lr",), "0.1")]),
        summary_record([(a, "5")], remove=[ab]),
        b"\x1a\x08\x0a\x06\x0a\x01\x61\x82\x01\xff",  # no protobuf
        b"\x1a\x09\x0a\x07\x0a\x01\x62\x82\x01\x01\xff",  # not UTF-8
        summary_record([(a, "6")]),
    ]
    assert_same(log_bytes(records))
    assert_same(log_bytes(records), window_bytes=20)
    assert len(fast(log_bytes(records)).skipped) == 2


def test_the_file_may_grow_or_shrink_while_it_is_read(long_run: bytes) -> None:
    class Growing(BytesIO):
        def readinto(self, buffer: Any) -> int:
            n = super().readinto(buffer)
            self.seek(0, 2)
            self.write(b"more")
            return n

    class Shrinking(BytesIO):
        def readinto(self, buffer: Any) -> int:
            self.truncate(3 * BLOCK_BYTES)
            return super().readinto(buffer)

    options = {"start": START, "window_bytes": BLOCK_BYTES}
    grown = only(fast_batches(Growing(long_run), **options))
    assert grown.history.equals(fast(long_run).history)
    shrunk = only(fast_batches(Shrinking(long_run), **options))
    assert shrunk.history.equals(fast(long_run[: 3 * BLOCK_BYTES]).history)


def test_a_batch_given_up_early_leaves_no_thread_behind(long_run: bytes) -> None:
    before = threading.active_count()
    batches = fast_batches(
        BytesIO(long_run),
        start=START,
        batch_rows=1,
        window_bytes=BLOCK_BYTES,
        threads=2,
    )
    assert next(batches).n_rows
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    assert threading.active_count() == before


def test_it_works_where_no_compiled_code_can_be_kept(tmp_path: Path) -> None:
    # Only the decoration: compiling again would take a quarter of a minute.
    code = (
        "import numba.core.caching as caching\n"
        "caching.CacheImpl._locator_classes = []\n"
        "import run_assets.sources.wandb_kernel as kernel\n"
        "print(type(kernel.decode).__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == type(wandb_kernel.decode).__name__
