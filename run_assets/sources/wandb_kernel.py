"""The compiled inner loop of `wandb_fast.py`: bytes of a `.wandb` file to columns.

One function, `decode`, walks chunks, checks checksums, reads the protobuf wire format
and the numbers, over arrays. Its parts are inlined by numba before it compiles, because
an array that is passed between compiled functions costs reference counts on every call.

It never guesses. What is not in the plain shape that the SDK writes is handed back
to Python: a record (`ODD`), a key (`NEW_KEY`), a loss of framing (`DAMAGED`).

Memory is safe whatever the bytes say. A position never exceeds the end of what holds
it: every length is compared with the room that is left before it is added. The
look-ahead of `word` and `read_length` stays within `PAD` bytes that every array of
bytes has behind its last used one. Output arrays are checked before each write.
"""

# Numba compiles `x in (a, b)` to a loop, and has no keyword-only arguments.
# ruff: noqa: FBT001, PLR0913, PLR0917, PLR1714, SIM109

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.sources import wandb_fusion, wandb_numbers
from run_assets.sources.wandb_fusion import called, compiled, inlined
from run_assets.sources.wandb_log import BLOCK_BYTES, CHUNK_HEADER
from run_assets.sources.wandb_log import FIRST as FIRST_CHUNK
from run_assets.sources.wandb_log import FULL as FULL_CHUNK
from run_assets.sources.wandb_log import LAST as LAST_CHUNK
from run_assets.sources.wandb_log import MIDDLE as MIDDLE_CHUNK
from run_assets.sources.wandb_numbers import (
    BAD,
    FLOAT,
    I64,
    INTEGER,
    LOW_BYTE,
    LOW_HALF,
    MIX_1,
    MIX_2,
    NOTHING,
    NULL,
    WITH_TEXT,
    Bytes,
    U,
    checksum,
    first_bytes,
    read_value,
    word,
)

Integers = NDArray[np.int64]

PROBES = 32  # slots that may hold a key; a table full of collisions stays fast
HEADER_BYTES = CHUNK_HEADER.size
MISSING = -(2**63)  # no `_step`, no `_timestamp`
# Times before 1970 and after 2286 are left to the slow decoder.
LAST_PLAIN_SECOND = 1e10

# What `decode` says when it returns.
DONE = 0  # the next record begins at or behind `STOP`
NEED_DATA = 1  # the next record ends behind `FILLED`
DAMAGED = 2  # the chunks from `POSITION` on are no record
ROOM = 3  # an output array is full
NEW_KEY = 4  # the key at `KEY_START` is not in the table
ODD = 5  # the history record at `START` is not in the plain shape
RECORD = 6  # internal: go on

# Where things are in `state`.
POSITION = 0  # in the window; behind the last record
FILLED = 1  # bytes in the window
STOP = 2  # no record is begun at or behind it
PHASE = 3  # file offset of the window's first byte, modulo BLOCK_BYTES
SEEKING = 4  # 1: chunks that continue a record begun before the window are passed over
BEGIN = 5  # of the current record's first chunk
START = 6  # payload of the current record, joined
END = 7
PENDING = 8  # 1: the current record is yet to be decoded
REFUSED = 9  # 1: the current record is to be called odd
STAMP = 10  # differs for every attempt at a record
NEXT_ROW = 11  # ordinal of the next history record
N_LINES = 12
N_TEXTS = 13
N_TEXT_BYTES = 14
N_LOCATED = 15
KEY_START = 16
KEY_LENGTH = 17
KEY_HASH = 18
# What the record being decoded adds, until it is known to be plain.
NEW_LINES = 19
NEW_TEXTS = 20
NEW_TEXT_BYTES = 21
NEW_STEP = 22
NEW_TIMESTAMP = 23
NEW_RUNTIME = 24  # the bits of a double
NEW_SUMMARY_KEYS = 25
NEW_NOT_ASCII = 26  # bytes known not to be ASCII
FIRST_BEGIN = 27  # of the first record, after SEEKING
STATE_SIZE = 28

# Columns of `Keys.entries`.
# LAST_SUMMARY: place in `Output.located` of the last summary record that sets the key.
WORD_0, WORD_1, LENGTH, ARENA, CODE, NOT_ASCII, LAST_SUMMARY = range(7)
ENTRY_SIZE = 7
# Codes of keys; the codes from FIRST_METRIC on are places in the list of names.
REFUSED_KEY = -1
NO_METRIC, STEP, TIMESTAMP, RUNTIME, FIRST_METRIC = range(5)
# Columns of `Output.located`.
LOCATED_BEGIN, LOCATED_START, LOCATED_END, LOCATED_NEXT, LOCATED_SUMMARY = range(5)
LOCATED_SIZE = 5
# Rows of `Output.lines`, `Output.numbers` and `Output.texts`.
ROW, LOGGED_STEP, LOGGED_AT = range(3)
VALUE, RUNTIME_SECONDS = range(2)
TEXT_LINE, TEXT_KIND, TEXT_END = range(3)
HISTORY_TAG, SUMMARY_TAG = 18, 26  # fields 2 and 3 of a Record


class Keys(NamedTuple):
    """A hash table of raw key bytes, filled by Python and searched by `decode`."""

    slots: NDArray[np.int32]  # entry + 1, or 0; the size is a power of two
    entries: Integers  # (entries, ENTRY_SIZE)
    arena: Bytes  # the keys
    seen: Integers  # code -> STAMP of the last record that set it
    touched: Integers  # scratch: the entries that a summary record sets


class Output(NamedTuple):
    """What `decode` fills; a line is one value of one history record."""

    codes: NDArray[np.uint32]  # (lines,): of the metric
    lines: Integers  # (3, lines): ROW, LOGGED_STEP, LOGGED_AT
    numbers: NDArray[np.float64]  # (2, lines): VALUE, RUNTIME_SECONDS
    texts: Integers  # (3, texts): TEXT_LINE, TEXT_KIND, TEXT_END
    text: Bytes
    located: Integers  # (records, LOCATED_SIZE): records that are not history


NAN_BITS = int(np.float64(np.nan).view(np.int64))


# Frames.


@inlined
def read_length(data: Bytes, i: int, stop: int) -> tuple[int, int]:
    """A varint that is the length of what follows: (position behind it, length).

    The length is -1 if it is longer than the room to `stop` or than three bytes.
    """
    n = data[i]
    i += 1
    if n >= 128:
        second = data[i]
        n += (second - 1) << 7
        i += 1
        if second >= 128:
            third = data[i]
            n += (third - 1) << 14
            i += 1
            if third >= 128:
                i = stop + 1
    if i > stop or n > stop - i:
        n = I64(-1)
    return i, n


@inlined
def next_record(data: Bytes, state: Integers) -> int:  # noqa: C901, PLR0912, PLR0915 - one walk
    """Find the next whole record and join its chunks in place, if all is well."""
    filled = state[FILLED]
    i = state[POSITION]
    begin = i
    start = end = 0
    joining = False
    verdict = -1
    while verdict < 0:
        room = BLOCK_BYTES - ((i + state[PHASE]) & (BLOCK_BYTES - 1))
        if room < HEADER_BYTES:
            i += room
            continue
        if not joining:
            begin = i
            if i >= state[STOP]:
                verdict = DONE
                break
        if filled - i < HEADER_BYTES:
            verdict = NEED_DATA
            break
        header = word(data, i)
        size = I64((header >> U(32)) & U(0xFFFF))
        kind = I64((header >> U(48)) & LOW_BYTE)
        if size > room - HEADER_BYTES:
            verdict = DAMAGED
            break
        payload = i + HEADER_BYTES
        if size > filled - payload:
            verdict = NEED_DATA
            break
        i = payload + size
        if checksum(data, payload - 1, i) != header & LOW_HALF:
            verdict = DAMAGED
        elif joining and (kind == MIDDLE_CHUNK or kind == LAST_CHUNK):
            for k in range(size):
                data[U(end + k)] = data[U(payload + k)]
            end += size
            if kind == LAST_CHUNK:
                verdict = RECORD
        elif not joining and (kind == FULL_CHUNK or kind == FIRST_CHUNK):
            start = payload
            end = i
            joining = kind == FIRST_CHUNK
            if not joining:
                verdict = RECORD
        elif state[SEEKING] == 0 or (kind != MIDDLE_CHUNK and kind != LAST_CHUNK):
            verdict = DAMAGED
    if verdict == RECORD:
        state[BEGIN] = begin
        state[POSITION] = i
        state[START] = start
        state[END] = end
        state[PENDING] = 1
        state[REFUSED] = 0
        if state[SEEKING] == 1:
            state[SEEKING] = 0
            state[FIRST_BEGIN] = begin
    return verdict


# Keys.


@inlined
def key_end(data: Bytes, i: int, stop: int) -> int:
    """The end of the `key` and `nested_key` fields that begin at i, -1 if malformed."""
    while i >= 0 and i < stop:
        tag = data[i]
        if tag != 10 and tag != 18:
            break
        i, n = read_length(data, i + 1, stop)
        i = i + n if n >= 0 else I64(-1)
    return i


@inlined
def find_key(data: Bytes, start: int, length: int, state: Integers, keys: Keys) -> int:
    """The entry of a key, -1 if it is unknown, -2 if too many others are in its way."""
    last = max(length - 8, 0)
    word_0 = first_bytes(word(data, start), min(length, 8))
    # The last bytes; with short keys some or all of them are the first ones again.
    word_1 = first_bytes(word(data, start + last), min(length, 8))
    mixed = (U(length) * MIX_1 ^ word_0) * MIX_2
    mixed = (mixed ^ (mixed >> U(29)) ^ word_1) * MIX_2
    i = I64(8)
    while i < last:
        mixed = (mixed ^ (mixed >> U(29)) ^ word(data, start + i)) * MIX_2
        i += 8
    key_hash = I64(mixed ^ (mixed >> U(32)))
    mask = keys.slots.size - 1
    found = I64(-2)
    for probe in range(PROBES):
        entry = I64(keys.slots[U((key_hash + probe) & mask)]) - 1
        if entry < 0:
            found = I64(-1)
            state[KEY_START] = start
            state[KEY_LENGTH] = length
            state[KEY_HASH] = key_hash
            break
        e = U(entry)
        if (
            keys.entries[e, WORD_0] == I64(word_0)
            and keys.entries[e, WORD_1] == I64(word_1)
            and keys.entries[e, LENGTH] == length
        ):
            arena_start = keys.entries[e, ARENA]
            i = I64(8)
            while i < last and word(data, start + i) == word(
                keys.arena, arena_start + i
            ):
                i += 8
            if i >= last:
                found = entry
                break
    return found


# Records.


@inlined
def payload_start(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """Where the one payload of a plain record begins, and its tag: (position, tag).

    A plain record is its number and one payload that reaches to its end; the tag is 0
    if it is another.
    """
    i = start
    if data[i] == 8:  # num
        i += 1
        while i - start < 9 and data[i] >= 128:
            i += 1
        i += 1
    tag = I64(0)
    if i < end and i - start < 10:
        tag = data[i]
        i, n = read_length(data, i + 1, end)
        if n < 0 or n != end - i or tag & 7 != 2:
            tag = I64(0)
    return i, tag


@called
def is_history_step(data: Bytes, i: int, end: int) -> bool:
    """Whether data[i:end] is a `HistoryStep` field with one plain varint or nothing."""
    n = end - i - 2
    plain = n == 0 or (n >= 2 and n <= 10 and data[i + 2] == 8)
    if data[i + 1] != n:
        plain = False
    if plain:
        for k in range(i + 3, end):
            if (data[k] >= 128) != (k < end - 1):
                plain = False
    return plain


@called
def count_not_ascii(data: Bytes, start: int, end: int) -> int:
    """How many of data[start:end] are 128 or more."""
    count = I64(0)
    for i in range(start, end):
        count += I64(data[U(i)] >> np.uint8(7))
    return count


@inlined
def add_text(
    data: Bytes, start: int, length: int, kind: int, state: Integers, output: Output
) -> bool:
    """Note for the newest line that it has a text, or no value: is there room?"""
    n = state[NEW_TEXTS]
    n_bytes = state[NEW_TEXT_BYTES]
    fits = bool(n < output.texts.shape[1] and length <= output.text.size - n_bytes)
    if fits:
        for k in range(length):
            output.text[n_bytes + k] = data[start + k]
        output.texts[TEXT_LINE, n] = state[NEW_LINES]
        output.texts[TEXT_KIND, n] = kind
        output.texts[TEXT_END, n] = n_bytes + length
        state[NEW_TEXTS] = n + 1
        state[NEW_TEXT_BYTES] = n_bytes + length
    return fits


@inlined
def add_line(
    data: Bytes,
    start: int,
    length: int,
    code: int,
    kind: int,
    value: float,
    state: Integers,
    output: Output,
) -> bool:
    """Add a line to the record being decoded: is there room?"""
    n = state[NEW_LINES]
    fits = bool(n < output.codes.size)
    if fits and kind >= WITH_TEXT:
        fits = add_text(data, start, length, kind, state, output)
    if fits:
        output.codes[n] = code
        output.numbers[VALUE, n] = value
        state[NEW_LINES] = n + 1
    return fits


@inlined
def add_value(
    data: Bytes,
    start: int,
    length: int,
    code: int,
    state: Integers,
    keys: Keys,
    output: Output,
) -> int:
    """Decode one item of a history record: a verdict."""
    verdict = RECORD
    kind, value = read_value(data, start, length)
    is_repeated = keys.seen[code] == state[STAMP]
    keys.seen[code] = state[STAMP]
    if kind == BAD or is_repeated:
        verdict = ODD
    elif code >= FIRST_METRIC:
        if kind != NULL and not add_line(
            data, start, length, code, kind, value, state, output
        ):
            verdict = ROOM
    elif code == STEP:
        state[NEW_STEP] = I64(value)
        if kind != INTEGER:
            verdict = ODD
    elif (kind != FLOAT and kind != INTEGER) or not abs(value) < LAST_PLAIN_SECOND:
        verdict = ODD
    elif code == TIMESTAMP:
        state[NEW_TIMESTAMP] = I64(np.rint(value * 1e6))
    else:
        state[NEW_RUNTIME] = np.float64(value).view(np.int64)
    return verdict


@inlined
def read_item(data: Bytes, i: int, end: int) -> tuple[int, int, int, int]:
    """An item of one key and one `value_json`: (end of the key, value, stop).

    All are -1 if it is anything else.
    """
    key, n = read_length(data, i + 1, end)
    stop = key + n
    key_stop = value = I64(-1)
    if data[i] == 10 and n > 0:
        key_stop = key_end(data, key, stop)
    if key_stop > key and stop - key_stop >= 4:
        value, length = read_length(data, key_stop + 2, stop)
        is_value = data[key_stop] == 130 and data[key_stop + 1] == 1
        if not is_value or length < 1 or length != stop - value:
            value = I64(-1)
    return key, key_stop, value, stop


@inlined
def begin_record(state: Integers) -> None:
    """Forget what the record before, or an earlier attempt at this one, added."""
    state[STAMP] += 1
    state[NEW_LINES] = state[N_LINES]
    state[NEW_TEXTS] = state[N_TEXTS]
    state[NEW_TEXT_BYTES] = state[N_TEXT_BYTES]
    state[NEW_STEP] = MISSING
    state[NEW_TIMESTAMP] = MISSING
    state[NEW_RUNTIME] = NAN_BITS
    state[NEW_SUMMARY_KEYS] = 0
    state[NEW_NOT_ASCII] = 0


@inlined
def finish_history(state: Integers, output: Output) -> None:
    """Give the lines of a record what they have in common."""
    row = state[NEXT_ROW]
    step = state[NEW_STEP]
    timestamp = state[NEW_TIMESTAMP]
    runtime = np.int64(state[NEW_RUNTIME]).view(np.float64)
    for k in range(state[N_LINES], state[NEW_LINES]):
        output.lines[ROW, k] = row
        output.lines[LOGGED_STEP, k] = step
        output.lines[LOGGED_AT, k] = timestamp
        output.numbers[RUNTIME_SECONDS, k] = runtime
    state[NEXT_ROW] = row + 1
    state[N_LINES] = state[NEW_LINES]
    state[N_TEXTS] = state[NEW_TEXTS]
    state[N_TEXT_BYTES] = state[NEW_TEXT_BYTES]


@inlined
def locate_record(
    is_plain_summary: bool, state: Integers, keys: Keys, output: Output
) -> bool:
    """Note where a record is that is no history: is there room?"""
    n = state[N_LOCATED]
    fits = bool(n < output.located.shape[0])
    if fits:
        output.located[n, LOCATED_BEGIN] = state[BEGIN]
        output.located[n, LOCATED_START] = state[START]
        output.located[n, LOCATED_END] = state[END]
        output.located[n, LOCATED_NEXT] = state[POSITION]
        output.located[n, LOCATED_SUMMARY] = is_plain_summary
        if is_plain_summary:
            for k in range(state[NEW_SUMMARY_KEYS]):
                keys.entries[keys.touched[k], LAST_SUMMARY] = n
        state[N_LOCATED] = n + 1
    return fits


@inlined
def decode_item(
    data: Bytes,
    i: int,
    end: int,
    is_history: bool,
    state: Integers,
    keys: Keys,
    output: Output,
) -> tuple[int, int]:
    """Decode one item of a history or summary record: (verdict, position behind it)."""
    verdict = RECORD
    key, key_stop, value, stop = read_item(data, i, end)
    if value < 0:
        verdict = ODD
    else:
        entry = find_key(data, key, key_stop - key, state, keys)
        n = state[NEW_SUMMARY_KEYS]
        if entry < 0:
            verdict = NEW_KEY if entry == -1 else ODD
        elif keys.entries[entry, CODE] < 0 or n == keys.touched.size:
            verdict = ODD
        elif is_history:
            code = keys.entries[entry, CODE]
            verdict = add_value(data, value, stop - value, code, state, keys, output)
        else:
            # Not ASCII: the tag of the value, and all but the last of each length.
            known = key - i + value - key_stop - 4 + keys.entries[entry, NOT_ASCII]
            state[NEW_NOT_ASCII] += known
            keys.touched[n] = entry
            state[NEW_SUMMARY_KEYS] = n + 1
    return verdict, stop


@inlined
def decode_items(
    data: Bytes,
    start: int,
    end: int,
    tag: int,
    state: Integers,
    keys: Keys,
    output: Output,
) -> int:
    """Decode the items of a record if they are in the plain shape: a verdict."""
    begin_record(state)
    is_history = tag == HISTORY_TAG
    is_plain = state[REFUSED] == 0 and (is_history or tag == SUMMARY_TAG)
    verdict = RECORD if is_plain else ODD
    i = start
    while i < end and verdict == RECORD:
        if is_history and data[i] == 18:
            verdict = RECORD if is_history_step(data, i, end) else ODD
            break
        verdict, i = decode_item(data, i, end, is_history, state, keys, output)
    # The values of a summary are not read, but they have to be UTF-8.
    high = count_not_ascii(data, start, end) if tag == SUMMARY_TAG else 0
    if high != state[NEW_NOT_ASCII] and verdict == RECORD:
        verdict = ODD
    return verdict


@inlined
def place_record(
    data: Bytes, tag: int, verdict: int, state: Integers, keys: Keys, output: Output
) -> int:
    """Finish a history record, or note where another one is: the final verdict."""
    is_known = verdict == RECORD or verdict == ODD
    if tag == HISTORY_TAG and verdict == RECORD:
        # A record without values has one line too: its step counts.
        if state[NEW_LINES] > state[N_LINES] or add_line(
            data, 0, 0, NO_METRIC, NOTHING, np.nan, state, output
        ):
            finish_history(state, output)
        else:
            verdict = ROOM
    elif tag != HISTORY_TAG and tag != 0 and is_known:
        fits = locate_record(verdict == RECORD, state, keys, output)
        verdict = RECORD if fits else ROOM
    return verdict


@compiled(wandb_fusion.__file__, wandb_numbers.__file__)
def decode(data: Bytes, state: Integers, keys: Keys, output: Output) -> int:
    """Decode the records of a window until Python is needed; says what for.

    Args:
        data: The window, with `PAD` bytes behind the first ``state[FILLED]``. Records
            of several chunks are joined in it, so that what lies before
            ``state[POSITION]`` is no longer as it was in the file.
        state: Shape ``(STATE_SIZE,)``; where decoding stands.
        keys: All keys known so far.
        output: What was decoded; the first ``state[N_LINES]`` lines count.
    """
    while True:
        if state[PENDING] == 0:
            verdict = next_record(data, state)
            if verdict != RECORD:
                return verdict
        end = state[END]
        start, tag = payload_start(data, state[START], end)
        verdict = decode_items(data, start, end, tag, state, keys, output)
        verdict = place_record(data, tag, verdict, state, keys, output)
        if verdict == ROOM or verdict == NEW_KEY:
            return verdict
        state[PENDING] = 0
        if verdict == ODD:
            return verdict
