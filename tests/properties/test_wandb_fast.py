"""Fuzzing: whatever the bytes, the fast decoder gives what the plain one gives.

`RUN_ASSETS_FUZZ_CASES=100000 pytest tests/properties/test_wandb_fast.py` goes on for
long; with `NUMBA_BOUNDSCHECK=1` and a fresh `NUMBA_CACHE_DIR`, numba also checks each
index.
"""

import json
import os
import random
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from run_assets.sources.wandb_fast import fast_batches
from run_assets.sources.wandb_log import BLOCK_BYTES, HEADER, Batch, plain_batches
from tests.support.wandb_log import (
    console_record,
    exit_record,
    log_bytes,
    raw_history_record,
    run_record,
    summary_record,
    typed_history_record,
)

CASES = int(os.environ.get("RUN_ASSETS_FUZZ_CASES", "400"))
START = len(HEADER)
NUMBERS = [
    *("0", "-0", "1", "-7", "10", "0.0", "-0.0", "1.5", "1e5", "1E+5", "0.1e-7", "2e0"),
    *("9007199254740992", "9007199254740993", "-9007199254740993"),
    *("9223372036854775807", "18446744073709551615", "18446744073709551616"),
    *("123456789012345678901234567890", "0.30000000000000004", "1e22", "1e23"),
    *("5e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "1e309", "1e-400"),
    *("8.5e22", "4503599627370496.5", "9007199254740993.0", "0.000012345678901234567"),
]
ODD_NUMBERS = [
    *(
        "01",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "--1",
        "-",
        "1_0",
        "0x10",
        "1 ",
        " 1",
        "1\n",
    ),
    *("1e99999999999", "0." + "1" * 40, "9" * 400, "1.e5", "٣"),
]
WORDS = ["NaN", "Infinity", "-Infinity", "null", "true", "false", "nan", "-NaN", "nul"]
TEXTS = [
    *('""', '"NaN"', '"x y"', '"\\u00e9"', '"é"', '"\x00"', "[1, 2]", '{"a": 1}', "{"),
    *('"no end', "[1] ", "", "\t", '"' + "x" * 300 + '"'),
]
KEYS: list[str | tuple[str, ...]] = [
    *("loss", "a/b", "é", "", "x" * 9, "x" * 17, "x" * 200, "_runtime", "_timestamp"),
    *(("loss",), ("a", "b"), ("a.b",), ("_step",), ("_timestamp",), ("_runtime",)),
    *(("nested", "é"), ("_step", "x"), ("y" * 130,), ("", "")),
]
numbers = st.one_of(
    st.sampled_from(NUMBERS),
    st.floats().map(json.dumps),
    st.integers(-(2**70), 2**70).map(str),
    st.from_regex(
        r"-?[0-9]{1,22}(\.[0-9]{1,22})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
    ),
)
texts = st.one_of(numbers, st.sampled_from([*ODD_NUMBERS, *WORDS, *TEXTS]))
items = st.lists(st.tuples(st.sampled_from(KEYS), texts), max_size=8)
paths = st.sampled_from([key for key in KEYS if isinstance(key, tuple)])
records = st.one_of(
    items.map(raw_history_record),
    items.map(raw_history_record),
    st.builds(
        summary_record,
        st.lists(st.tuples(paths, texts), max_size=6),
        st.one_of(st.just([]), st.lists(paths, max_size=2)),
    ),
    st.builds(typed_history_record, st.just("t"), number=st.floats()),
    st.just(run_record(config={"lr": 0.1})),
    st.just(console_record("epoch 1\n")),
    st.just(exit_record(0)),
    st.binary(max_size=60),
    st.integers(1, 3 * BLOCK_BYTES).map(lambda n: console_record("x" * n)),
)
patient = settings(
    deadline=None,
    max_examples=max(60, CASES // 10),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def whole(batches: Iterator[Batch]) -> dict[str, Any]:
    """All that a decoder says, floats by their bits."""
    (batch,) = batches
    history = batch.history
    doubles = history.select("value", "runtime_seconds")
    return {
        "history": history.drop("value", "runtime_seconds").to_dict(as_series=False),
        "nulls": [column.is_null().to_list() for column in doubles],
        "bits": [column.fill_null(0).to_numpy().tobytes() for column in doubles],
        "schema": history.schema,
        "rest": batch[1:],
    }


def assert_same(data: bytes, **options: int) -> None:
    plain = whole(plain_batches(BytesIO(data), start=START))
    assert whole(fast_batches(BytesIO(data), start=START, **options)) == plain


@patient
@given(st.lists(records, max_size=12), st.sampled_from([64, 700, 2**20]))
def test_any_records_decode_alike(written: list[Any], window_bytes: int) -> None:
    assert_same(log_bytes(written), window_bytes=window_bytes)


@patient
@given(st.lists(texts, min_size=1, max_size=40))
def test_any_value_decodes_alike(values: list[str]) -> None:
    rows = [raw_history_record([("x", text), (("y",), "1")]) for text in values]
    assert_same(log_bytes(rows))


def mutated_payload(rng: random.Random, payload: bytes) -> bytes:
    """Protobuf with a few bytes changed, lengths blown up, parts cut or doubled."""
    bytes_ = bytearray(payload)
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        at = rng.randrange(len(bytes_) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(bytes_):
            bytes_[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(bytes_):
            bytes_[at] = rng.choice([0, 1, 8, 10, 18, 26, 127, 128, 130, 255])
        elif kind == 2:
            bytes_[at:at] = rng.choice(
                [b"\xff" * 9 + b"\x01", b"\x80", b"\xff\xff\x7f"]
            )
        elif kind == 3:
            del bytes_[at : at + rng.randrange(6)]
        else:
            end = rng.randrange(at, len(bytes_) + 1)
            bytes_[at:at] = bytes_[at:end][:200]
    return bytes(bytes_)


def any_record(rng: random.Random, step: int) -> bytes:
    texts = [*NUMBERS, *WORDS, repr(rng.gauss(0, 1)), repr(rng.gauss(0, 1)), '"text"']
    if rng.random() < 0.1:
        texts += [*ODD_NUMBERS, *TEXTS]
    names = [f"metric_{k:02d}" for k in range(12)] + [
        "eval/a/very/long/name/of/a/metric"
    ]
    chosen = rng.sample(names, rng.randrange(len(names)))
    pairs = [((name,), rng.choice(texts)) for name in chosen]
    pairs += [(("_step",), str(step)), (("_timestamp",), f"17e8{step % 10}"[:4])]
    rng.shuffle(pairs)
    is_history = rng.random() < 0.7
    record = raw_history_record(pairs) if is_history else summary_record(pairs)
    record.num = rng.choice([0, 1, step, 2**40, -1])
    if rng.random() < 0.3 and record.HasField("history"):
        record.history.step.num = step
    return bytes(record.SerializeToString(deterministic=True))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_records_behind_right_checksums_decode_alike(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(CASES // 8):
        written = [any_record(rng, step) for step in range(rng.randrange(1, 20))]
        written = [mutated_payload(rng, payload) for payload in written]
        if rng.random() < 0.2:
            written.insert(0, rng.randbytes(BLOCK_BYTES - rng.randrange(400)))
        data = log_bytes(written)
        assert_same(data, window_bytes=rng.choice([50, 300, 2**20]))


@pytest.mark.parametrize("seed", range(4))
def test_mutated_files_decode_alike(seed: int) -> None:
    rng = random.Random(100 + seed)
    whole_file = log_bytes(any_record(rng, step) for step in range(300))
    for _ in range(CASES // 40):
        data = bytearray(whole_file[: rng.randrange(START, len(whole_file) + 1)])
        for _ in range(rng.randrange(4)):
            at = rng.randrange(START, len(data) + 1)
            junk = rng.choice([rng.randbytes(rng.randrange(50)), bytes(BLOCK_BYTES)])
            data[at : at + len(junk)] = junk
        threads = rng.choice([1, 2])
        window_bytes = rng.choice([1000, BLOCK_BYTES, 3 * BLOCK_BYTES])
        assert_same(bytes(data), threads=threads, window_bytes=window_bytes)
