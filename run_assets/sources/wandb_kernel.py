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

All compiled code is in this file: numba's cache notices a change of this file only.
"""

from collections import Counter
from collections.abc import Callable, Container
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numba import njit
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, PassManager, register_pass
from numba.core.ir_utils import build_definitions, replace_vars
from numba.core.postproc import PostProcessor
from numba.core.untyped_passes import InlineInlinables
from numpy.typing import NDArray

from run_assets.sources.wandb_log import BLOCK_BYTES, CHUNK_HEADER
from run_assets.sources.wandb_log import FIRST as FIRST_CHUNK
from run_assets.sources.wandb_log import FULL as FULL_CHUNK
from run_assets.sources.wandb_log import LAST as LAST_CHUNK
from run_assets.sources.wandb_log import MIDDLE as MIDDLE_CHUNK

Bytes = NDArray[np.uint8]
Integers = NDArray[np.int64]
Compiled = TypeVar("Compiled", bound=Callable[..., object])

PAD = 64  # bytes that look-ahead may read behind the last used one
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
FIRST_BEGIN = 26  # of the first record, after SEEKING
STATE_SIZE = 27

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
# Kinds of values; from WITH_TEXT on a line has an entry in `Output.texts`.
BAD, NULL, FLOAT, INTEGER, WITH_TEXT, TEXT_ONLY, NOTHING = range(7)


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


def _checksum_tables() -> NDArray[np.uint32]:
    """Tables to advance a CRC-32 by 16 bytes at once, ``(16 * 256,)``.

    Source: Kounavis and Berry 2005, "A Systematic Approach to Building High
    Performance Software-based CRC Generators".
    """
    tables = np.empty((16, 256), np.uint32)
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = np.where(crc & 1, (crc >> 1) ^ np.uint32(0xEDB88320), crc >> 1)
    tables[0] = crc
    for k in range(1, 16):
        tables[k] = (tables[k - 1] >> 8) ^ crc[tables[k - 1] & 0xFF]
    return tables.ravel()


def _powers_of_five() -> NDArray[np.uint64]:
    """The leading 128 bits of 5**q, ``(exponents, 2)``: high word, low word.

    Rounded up from -27 to -1, where products may be exact ties; down elsewhere.

    Source: Lemire 2021, "Number parsing at a gigabyte per second", section 5.
    """
    rows = []
    for q in range(SMALLEST_POWER, LARGEST_POWER + 1):
        power = 5 ** abs(q)
        if q >= 0:
            shift = power.bit_length() - 128
            bits = power >> shift if shift > 0 else power << -shift
        else:
            bits = (1 << (power.bit_length() + 127)) // power + (q >= -27)
        rows.append((bits >> 64, bits & (2**64 - 1)))
    return np.array(rows, np.uint64)


SMALLEST_POWER, LARGEST_POWER = -342, 308
CRC = _checksum_tables()
POWERS_OF_FIVE = _powers_of_five()
EXACT_POWERS = np.array([10.0**k for k in range(23)])
POWERS_OF_TEN = np.array([10**k for k in range(9)], np.uint64)
EXACT = np.uint64(2**53)

# Arithmetic on uint64 stays in uint64 only with operands of that type.
U = np.uint64
LOW_BYTE, LOW_HALF = U(0xFF), U(0xFFFFFFFF)
HIGH_NIBBLES, ASCII_ZEROS = U(0xF0F0F0F0F0F0F0F0), U(0x3030303030303030)
EVERY_SIX = U(0x0606060606060606)
PAIRS = U(0x000000FF000000FF)
TO_MILLIONS, TO_TENTHOUSANDS = U(100 + (1000000 << 32)), U(1 + (10000 << 32))
MIX_1, MIX_2 = U(0x9E3779B97F4A7C15), U(0x9FB21C651E98DF25)
FRACTION_BITS = U(2**52 - 1)
NAN_BITS = int(np.float64(np.nan).view(np.int64))
# Words of JSON as little-endian integers.
INFINITY, MINUS_INFINIT = U(0x7974696E69666E49), U(0x74696E69666E492D)
NAN, NULL_WORD, TRUE_WORD = U(0x4E614E), U(0x6C6C756E), U(0x65757274)
FALSE_WORD = U(0x65736C6166)


@register_pass(mutates_CFG=False, analysis_only=False)
class UseArgumentsDirectly(FunctionPass):
    """Read each argument once, and each field of it, however often it was inlined.

    Inlining leaves a copy of every argument of every call. A copy of an array counts
    references, atomically: that would be half of the run time.
    """

    _name = "use_arguments_directly"

    def __init__(self) -> None:
        super().__init__()

    def run_pass(self, state: Any) -> bool:
        """Rewrite the function in place."""
        blocks = state.func_ir.blocks
        entry = blocks[min(blocks)]
        times = Counter(one.target.name for one in _assignments(blocks))
        once = {name for name, count in times.items() if count == 1}
        # What is assigned once, in the block that runs once, never changes.
        fixed = {one.target.name: one.target for one in entry.find_insts(ir.Assign)}
        fixed = {name: variable for name, variable in fixed.items() if name in once}
        copies: dict[str, ir.Var] = {}
        fields: dict[tuple[str, str], ir.Var] = {}
        n_known = -1
        while n_known < len(copies):
            n_known = len(copies)
            for one in _assignments(blocks):
                name, value = one.target.name, one.value
                is_field = isinstance(value, ir.Expr) and value.op == "getattr"
                source = value.value if is_field else value
                if not isinstance(source, ir.Var) or name in copies:
                    continue
                source = fixed.get(copies.get(source.name, source).name)
                if source is None or name not in once or name in fixed:
                    continue
                if is_field and (source.name, value.attr) not in fields:
                    field = ir.Var(one.target.scope, f"{name}.field", one.loc)
                    read = ir.Expr.getattr(source, value.attr, one.loc)
                    entry.insert_before_terminator(ir.Assign(read, field, one.loc))
                    fixed[field.name] = fields[source.name, value.attr] = field
                copies[name] = fields[source.name, value.attr] if is_field else source
        for block in blocks.values():
            block.body = [one for one in block.body if not _defines(one, copies)]
        replace_vars(blocks, copies)
        state.func_ir._definitions = build_definitions(blocks)
        PostProcessor(state.func_ir).run()
        return True


def _assignments(blocks: dict[int, ir.Block]) -> list[ir.Assign]:
    return [one for block in blocks.values() for one in block.find_insts(ir.Assign)]


def _defines(statement: ir.Stmt, names: Container[str]) -> bool:
    if isinstance(statement, ir.Del):
        return statement.value in names
    return isinstance(statement, ir.Assign) and statement.target.name in names


class FusedCompiler(CompilerBase):
    """Numba's pipeline, with copies of arguments forgotten after inlining."""

    def define_pipelines(self) -> list[PassManager]:  # noqa: D102 - numba's interface
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(UseArgumentsDirectly, InlineInlinables)
        passes.finalize()
        return [passes]


inlined = njit(inline="always", error_model="numpy")


def compiled(function: Compiled) -> Compiled:
    """Compile for threads without the interpreter's lock, cached where possible."""
    fused = partial(njit, nogil=True, error_model="numpy", pipeline_class=FusedCompiler)
    try:
        return fused(cache=True)(function)
    except RuntimeError:  # no folder that numba could write its cache to
        return fused()(function)


@inlined
def word(data, i):
    """Eight bytes, little-endian; LLVM makes one load of it."""
    j = U(i)
    return (
        U(data[j])
        | U(data[j + U(1)]) << U(8)
        | U(data[j + U(2)]) << U(16)
        | U(data[j + U(3)]) << U(24)
        | U(data[j + U(4)]) << U(32)
        | U(data[j + U(5)]) << U(40)
        | U(data[j + U(6)]) << U(48)
        | U(data[j + U(7)]) << U(56)
    )


@inlined
def first_bytes(bits, n):
    """The first n bytes of a word, n in 1..8, the others zero."""
    shift = U(64 - 8 * n)
    return (bits << shift) >> shift


@inlined
def checksum(data, start, stop):
    """CRC-32 of data[start:stop]."""
    crc = LOW_HALF
    i = start
    while stop - i >= 16:
        a = word(data, i) ^ crc
        b = word(data, i + 8)
        crc = U(
            CRC[U(3840) + (a & LOW_BYTE)]
            ^ CRC[U(3584) + ((a >> U(8)) & LOW_BYTE)]
            ^ CRC[U(3328) + ((a >> U(16)) & LOW_BYTE)]
            ^ CRC[U(3072) + ((a >> U(24)) & LOW_BYTE)]
            ^ CRC[U(2816) + ((a >> U(32)) & LOW_BYTE)]
            ^ CRC[U(2560) + ((a >> U(40)) & LOW_BYTE)]
            ^ CRC[U(2304) + ((a >> U(48)) & LOW_BYTE)]
            ^ CRC[U(2048) + (a >> U(56))]
            ^ CRC[U(1792) + (b & LOW_BYTE)]
            ^ CRC[U(1536) + ((b >> U(8)) & LOW_BYTE)]
            ^ CRC[U(1280) + ((b >> U(16)) & LOW_BYTE)]
            ^ CRC[U(1024) + ((b >> U(24)) & LOW_BYTE)]
            ^ CRC[U(768) + ((b >> U(32)) & LOW_BYTE)]
            ^ CRC[U(512) + ((b >> U(40)) & LOW_BYTE)]
            ^ CRC[U(256) + ((b >> U(48)) & LOW_BYTE)]
            ^ CRC[b >> U(56)]
        )
        i += 16
    while i < stop:
        crc = U(CRC[(crc ^ U(data[U(i)])) & LOW_BYTE]) ^ (crc >> U(8))
        i += 1
    return crc ^ LOW_HALF


@inlined
def read_length(data, i, stop):
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
        n = np.int64(-1)
    return i, n


# Frames.


@inlined
def next_record(data, state):
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
        size = np.int64((header >> U(32)) & U(0xFFFF))
        kind = np.int64((header >> U(48)) & LOW_BYTE)
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
def key_end(data, i, stop):
    """The end of the `key` and `nested_key` fields that begin at i, -1 if malformed."""
    while i >= 0 and i < stop:
        tag = data[i]
        if tag != 10 and tag != 18:
            break
        i, n = read_length(data, i + 1, stop)
        i = i + n if n >= 0 else np.int64(-1)
    return i


@inlined
def find_key(data, start, length, state, keys):
    """The entry of a key, -1 if it is unknown, -2 if too many others are in its way."""
    last = max(length - 8, 0)
    word_0 = first_bytes(word(data, start), min(length, 8))
    # The last bytes; with short keys some or all of them are the first ones again.
    word_1 = first_bytes(word(data, start + last), min(length, 8))
    mixed = (U(length) * MIX_1 ^ word_0) * MIX_2
    mixed = (mixed ^ (mixed >> U(29)) ^ word_1) * MIX_2
    i = np.int64(8)
    while i < last:
        mixed = (mixed ^ (mixed >> U(29)) ^ word(data, start + i)) * MIX_2
        i += 8
    key_hash = np.int64(mixed ^ (mixed >> U(32)))
    mask = keys.slots.size - 1
    found = np.int64(-2)
    for probe in range(PROBES):
        entry = np.int64(keys.slots[U((key_hash + probe) & mask)]) - 1
        if entry < 0:
            found = np.int64(-1)
            state[KEY_START] = start
            state[KEY_LENGTH] = length
            state[KEY_HASH] = key_hash
            break
        e = U(entry)
        if (
            keys.entries[e, WORD_0] == np.int64(word_0)
            and keys.entries[e, WORD_1] == np.int64(word_1)
            and keys.entries[e, LENGTH] == length
        ):
            arena_start = keys.entries[e, ARENA]
            i = np.int64(8)
            while i < last and word(data, start + i) == word(
                keys.arena, arena_start + i
            ):
                i += 8
            if i >= last:
                found = entry
                break
    return found


# Numbers.


@inlined
def product_high(a, b):
    """The upper 64 bits of a * b."""
    a_low = a & LOW_HALF
    a_high = a >> U(32)
    b_low = b & LOW_HALF
    b_high = b >> U(32)
    middle = a_high * b_low + ((a_low * b_low) >> U(32))
    cross = a_low * b_high + (middle & LOW_HALF)
    return a_high * b_high + (middle >> U(32)) + (cross >> U(32))


@inlined
def leading_zeros(w):
    """Zero bits above the highest one of w > 0."""
    # The exponent of a double; without the second highest bits nothing rounds up.
    bits = np.uint64(np.float64(w & ~(w >> U(1))).view(np.uint64))
    return U(1086) - (bits >> U(52))


@inlined
def decimal(w, q):
    """The double nearest to w * 10**q, w > 0: (is it certain, value).

    Source: Lemire 2021, "Number parsing at a gigabyte per second", algorithm 1, and
    Mushtak and Lemire 2023, "Fast number parsing without fallback".
    """
    certain = False
    value = 0.0
    if w <= EXACT and q >= -22 and q <= 22:
        # Both are exact doubles, so that one operation rounds once (Clinger 1990).
        certain = True
        value = np.float64(w)
        if q < 0:
            value /= EXACT_POWERS[U(-q)]
        else:
            value *= EXACT_POWERS[U(q)]
    elif q >= SMALLEST_POWER and q <= LARGEST_POWER:
        zeros = leading_zeros(w)
        w = w << zeros
        power = U(q - SMALLEST_POWER)
        high = product_high(w, POWERS_OF_FIVE[power, 0])
        low = w * POWERS_OF_FIVE[power, 0]
        if high & U(0x1FF) == U(0x1FF):
            more = product_high(w, POWERS_OF_FIVE[power, 1])
            low += more
            if low < more:
                high += U(1)
        top = high >> U(63)
        shift = top + U(9)
        mantissa = high >> shift
        # 217706 / 2**16 is log2(10) precisely enough for these exponents.
        exponent = ((217706 * q) >> 16) + 1086 + np.int64(top) - np.int64(zeros)
        is_tie = low <= U(1) and q >= -4 and q <= 23 and mantissa << shift == high
        if is_tie and mantissa & U(3) == U(1):
            mantissa -= U(1)  # half way between two doubles: to the even one
        mantissa = (mantissa + (mantissa & U(1))) >> U(1)
        if mantissa > EXACT - U(1):
            mantissa = mantissa >> U(1)
            exponent += 1
        certain = exponent > 0 and exponent < 2047  # neither subnormal nor infinite
        if certain:
            bits = np.uint64(mantissa & FRACTION_BITS | U(exponent) << U(52))
            value = bits.view(np.float64)
    return certain, value


@inlined
def read_digits(data, i, stop, w):
    """Append decimal digits to w: (position behind them, w)."""
    while i < stop:
        n = min(stop - i, 8)
        # Eight characters, the missing ones zeros in front.
        unused = U(64 - 8 * n)
        chars = word(data, i) << unused
        if n < 8:
            chars |= ASCII_ZEROS >> U(8 * n)
        high = chars & HIGH_NIBBLES
        if high | (((chars + EVERY_SIX) & HIGH_NIBBLES) >> U(4)) != U(
            0x3333333333333333
        ):
            break
        chars -= ASCII_ZEROS
        chars = chars * U(10) + (chars >> U(8))
        chars = (
            (chars & PAIRS) * TO_MILLIONS + ((chars >> U(16)) & PAIRS) * TO_TENTHOUSANDS
        ) >> U(32)
        w = w * POWERS_OF_TEN[U(n)] + (chars & LOW_HALF)
        i += n
    while i < stop:
        digit = data[i] - 48
        if digit < 0 or digit > 9:
            break
        w = w * U(10) + U(digit)
        i += 1
    return i, w


@inlined
def read_exponent(data, i, stop):
    """The number behind `e`: (position behind it or -1, value)."""
    sign = data[i] if i < stop else np.int64(0)
    if sign == 43 or sign == 45:
        i += 1
    start = i
    exponent = np.int64(0)
    while i < stop and i - start < 6:
        digit = data[i] - 48
        if digit < 0 or digit > 9:
            break
        exponent = exponent * 10 + digit
        i += 1
    if i == start:
        i = np.int64(-1)
    return i, (-exponent if sign == 45 else exponent)


@inlined
def read_number(data, start, stop):
    """A JSON number: (kind, value). BAD stands for "ask Python", not for "wrong"."""
    is_negative = data[start] == 45
    i = start + 1 if is_negative else start
    starts_with_zero = data[i] == 48
    w = U(0)
    n_digits = np.int64(0)
    exponent = np.int64(0)
    kind = INTEGER
    for part in range(2):
        begin = i
        if part == 1 and starts_with_zero:
            while i < stop and data[i] == 48:
                i += 1
        significant = i
        i, w = read_digits(data, i, stop, w)
        n_digits += i - significant
        if i == begin or (part == 0 and starts_with_zero and i - begin > 1):
            kind = BAD
            break
        if part == 1:
            exponent = begin - i
        elif i < stop and data[i] == 46:
            kind = FLOAT
            i += 1
        else:
            break
    if i < stop and data[i] | 32 == 101 and kind != BAD:
        kind = FLOAT
        i, power = read_exponent(data, i + 1, stop)
        exponent += power
    value = 0.0
    if i != stop or n_digits > 19:  # 20 digits do not fit in w
        kind = BAD
    elif kind == INTEGER:
        value = np.float64(w)
        if w > EXACT:
            kind = WITH_TEXT
    elif kind == FLOAT and w > U(0):
        certain, value = decimal(w, exponent)
        if not certain:
            kind = BAD
    return kind, (-value if is_negative else value)


@inlined
def read_value(data, start, length):
    """A JSON text: (kind, value)."""
    head = word(data, start)
    first = np.int64(head & LOW_BYTE)
    last = data[start + length - 1]
    kind = BAD
    value = np.nan
    if (first >= 48 and first <= 57) or (first == 45 and head != MINUS_INFINIT):
        kind, value = read_number(data, start, start + length)
    elif first == 34 or first == 91 or first == 123:
        # Python would strip white space, and has to check what is not ASCII.
        high = np.int64(0)
        for i in range(length):
            high |= data[start + i]
        if high < 128 and last > 32:
            kind = TEXT_ONLY
    elif length == 3 and first_bytes(head, 3) == NAN:
        kind = FLOAT
    elif length == 8 and head == INFINITY:
        kind = FLOAT
        value = np.inf
    elif length == 9 and head == MINUS_INFINIT and last == 121:
        kind = FLOAT
        value = -np.inf
    elif length == 4 and first_bytes(head, 4) == NULL_WORD:
        kind = NULL
    elif length == 4 and first_bytes(head, 4) == TRUE_WORD:
        kind = WITH_TEXT
        value = 1.0
    elif length == 5 and first_bytes(head, 5) == FALSE_WORD:
        kind = WITH_TEXT
        value = 0.0
    return kind, value


# Records.


@inlined
def payload_start(data, start, end):
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
    tag = np.int64(0)
    if i < end and i - start < 10:
        tag = data[i]
        i, n = read_length(data, i + 1, end)
        if n < 0 or n != end - i or tag & 7 != 2:
            tag = np.int64(0)
    return i, tag


@inlined
def is_history_step(data, i, end):
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


@inlined
def count_not_ascii(data, start, end):
    count = np.int64(0)
    for i in range(start, end):
        count += np.int64(data[U(i)] >> np.uint8(7))
    return count


@inlined
def add_text(data, start, length, kind, state, output):
    """Note for the newest line that it has a text, or no value: is there room?"""
    n = state[NEW_TEXTS]
    n_bytes = state[NEW_TEXT_BYTES]
    fits = n < output.texts.shape[1] and length <= output.text.size - n_bytes
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
def add_line(data, start, length, code, kind, value, state, output):
    """Add a line to the record being decoded: is there room?"""
    n = state[NEW_LINES]
    fits = n < output.codes.size
    if fits and kind >= WITH_TEXT:
        fits = add_text(data, start, length, kind, state, output)
    if fits:
        output.codes[n] = code
        output.numbers[VALUE, n] = value
        state[NEW_LINES] = n + 1
    return fits


@inlined
def add_value(data, start, length, code, state, keys, output):
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
        state[NEW_STEP] = np.int64(value)
        if kind != INTEGER:
            verdict = ODD
    elif (kind != FLOAT and kind != INTEGER) or not abs(value) < LAST_PLAIN_SECOND:
        verdict = ODD
    elif code == TIMESTAMP:
        state[NEW_TIMESTAMP] = np.int64(np.rint(value * 1e6))
    else:
        state[NEW_RUNTIME] = np.float64(value).view(np.int64)
    return verdict


@inlined
def read_item(data, i, end):
    """An item of one key and one `value_json`: (end of the key, value, stop).

    All are -1 if it is anything else.
    """
    key, n = read_length(data, i + 1, end)
    stop = key + n
    key_stop = value = np.int64(-1)
    if data[i] == 10 and n > 0:
        key_stop = key_end(data, key, stop)
    if key_stop > key and stop - key_stop >= 4:
        value, length = read_length(data, key_stop + 2, stop)
        is_value = data[key_stop] == 130 and data[key_stop + 1] == 1
        if not is_value or length < 1 or length != stop - value:
            value = np.int64(-1)
    return key, key_stop, value, stop


@inlined
def begin_record(state):
    state[STAMP] += 1
    state[NEW_LINES] = state[N_LINES]
    state[NEW_TEXTS] = state[N_TEXTS]
    state[NEW_TEXT_BYTES] = state[N_TEXT_BYTES]
    state[NEW_STEP] = MISSING
    state[NEW_TIMESTAMP] = MISSING
    state[NEW_RUNTIME] = NAN_BITS


@inlined
def finish_history(state, output):
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
def locate_record(is_plain_summary, state, keys, output):
    """Note where a record is that is no history: is there room?"""
    n = state[N_LOCATED]
    fits = n < output.located.shape[0]
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


@compiled
def decode(data, state, keys, output):
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
        i, tag = payload_start(data, state[START], end)
        is_history = tag == HISTORY_TAG
        is_plain = state[REFUSED] == 0 and (is_history or tag == SUMMARY_TAG)
        verdict = RECORD if is_plain else ODD
        begin_record(state)
        not_ascii = count_not_ascii(data, i, end) if tag == SUMMARY_TAG else 0
        n_touched = 0
        while i < end and verdict == RECORD:
            if is_history and data[i] == 18:
                verdict = RECORD if is_history_step(data, i, end) else ODD
                break
            key, key_stop, value, stop = read_item(data, i, end)
            if value < 0:
                verdict = ODD
                break
            entry = find_key(data, key, key_stop - key, state, keys)
            if entry < 0:
                verdict = NEW_KEY if entry == -1 else ODD
                break
            code = keys.entries[entry, CODE]
            if code < 0:
                verdict = ODD
            elif is_history:
                verdict = add_value(
                    data, value, stop - value, code, state, keys, output
                )
            elif n_touched < keys.touched.size:
                # Not ASCII: the tag of the value, and all but the last of each length.
                not_ascii -= (
                    key - i + value - key_stop - 4 + keys.entries[entry, NOT_ASCII]
                )
                keys.touched[n_touched] = entry
                n_touched += 1
            else:
                verdict = ODD
            i = stop
        if not is_history and not_ascii != 0 and verdict == RECORD:
            verdict = ODD
        state[NEW_SUMMARY_KEYS] = n_touched
        if verdict == RECORD and is_history:
            # A record without values has one line too: its step counts.
            if state[NEW_LINES] == state[N_LINES] and not add_line(
                data, i, 0, NO_METRIC, NOTHING, np.nan, state, output
            ):
                verdict = ROOM
            else:
                finish_history(state, output)
        elif tag != 0 and not is_history and (verdict == RECORD or verdict == ODD):
            is_summary = verdict == RECORD
            fits = locate_record(is_summary, state, keys, output)
            verdict = RECORD if fits else ROOM
        if verdict == ROOM or verdict == NEW_KEY:
            return verdict
        state[PENDING] = 0
        if verdict == ODD:
            return verdict
