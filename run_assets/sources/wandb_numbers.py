"""Words of bytes, checksums and JSON values, as parts of the loop in `wandb_kernel.py`.

All of it becomes part of that loop. Positions are checked by the callers, but
for the look-ahead of at most `PAD` bytes, which every array of bytes has room for.
"""

# Numba compiles `x in (a, b)` to a loop.
# ruff: noqa: PLR1714

import numpy as np
from numpy.typing import NDArray

from run_assets.sources.wandb_fusion import called, inlined

Bytes = NDArray[np.uint8]

PAD = 64  # bytes that look-ahead may read behind the last used one
# Kinds of values; from WITH_TEXT on a line has an entry in `Output.texts`.
BAD, NULL, FLOAT, INTEGER, WITH_TEXT, TEXT_ONLY, NOTHING = range(7)


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
I64: type[int] = np.int64  # type: ignore[assignment]  # to mypy, numba's are ints
LOW_BYTE, LOW_HALF = U(0xFF), U(0xFFFFFFFF)
HIGH_NIBBLES, ASCII_ZEROS = U(0xF0F0F0F0F0F0F0F0), U(0x3030303030303030)
EVERY_SIX = U(0x0606060606060606)
PAIRS = U(0x000000FF000000FF)
TO_MILLIONS, TO_TENTHOUSANDS = U(100 + (1000000 << 32)), U(1 + (10000 << 32))
MIX_1, MIX_2 = U(0x9E3779B97F4A7C15), U(0x9FB21C651E98DF25)
FRACTION_BITS = U(2**52 - 1)
# Words of JSON as little-endian integers.
INFINITY, MINUS_INFINIT = U(0x7974696E69666E49), U(0x74696E69666E492D)
NAN, NULL_WORD, TRUE_WORD = U(0x4E614E), U(0x6C6C756E), U(0x65757274)
FALSE_WORD = U(0x65736C6166)


@called
def word(data: Bytes, i: int) -> np.uint64:
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


@called
def first_bytes(bits: np.uint64, n: int) -> np.uint64:
    """The first n bytes of a word, n in 1..8, the others zero."""
    shift = U(64 - 8 * n)
    return (bits << shift) >> shift


@called
def checksum(data: Bytes, start: int, stop: int) -> np.uint64:
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


# Numbers.


@called
def product_high(a: np.uint64, b: np.uint64) -> np.uint64:
    """The upper 64 bits of a * b."""
    a_low = a & LOW_HALF
    a_high = a >> U(32)
    b_low = b & LOW_HALF
    b_high = b >> U(32)
    middle = a_high * b_low + ((a_low * b_low) >> U(32))
    cross = a_low * b_high + (middle & LOW_HALF)
    return a_high * b_high + (middle >> U(32)) + (cross >> U(32))


@called
def leading_zeros(w: np.uint64) -> np.uint64:
    """Zero bits above the highest one of w > 0."""
    # The exponent of a double; without the second highest bits nothing rounds up.
    bits = np.uint64(np.float64(w & ~(w >> U(1))).view(np.uint64))
    return U(1086) - (bits >> U(52))


@called
def decimal(w: np.uint64, q: int) -> tuple[bool, float]:  # noqa: C901 - one algorithm
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
        exponent = ((217706 * q) >> 16) + 1086 + I64(top) - I64(zeros)
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
def read_digits(data: Bytes, i: int, stop: int, w: np.uint64) -> tuple[int, np.uint64]:
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


@called
def read_exponent(data: Bytes, i: int, stop: int) -> tuple[int, int]:
    """The number behind `e`: (position behind it or -1, value)."""
    sign = data[i] if i < stop else I64(0)
    if sign == 43 or sign == 45:
        i += 1
    start = i
    exponent = I64(0)
    while i < stop and i - start < 6:
        digit = data[i] - 48
        if digit < 0 or digit > 9:
            break
        exponent = exponent * 10 + digit
        i += 1
    if i == start:
        i = I64(-1)
    return i, (-exponent if sign == 45 else exponent)


@inlined
def read_number(data: Bytes, start: int, stop: int) -> tuple[int, float]:  # noqa: C901, PLR0912 - one grammar
    """A JSON number: (kind, value). BAD stands for "ask Python", not for "wrong"."""
    is_negative = data[start] == 45
    i = start + 1 if is_negative else start
    starts_with_zero = data[i] == 48
    w = U(0)
    n_digits = I64(0)
    exponent = I64(0)
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
def read_value(data: Bytes, start: int, length: int) -> tuple[int, float]:  # noqa: C901 - one grammar
    """A JSON text: (kind, value)."""
    head = word(data, start)
    first = I64(head & LOW_BYTE)
    last = data[start + length - 1]
    kind = BAD
    value = np.nan
    if (first >= 48 and first <= 57) or (first == 45 and head != MINUS_INFINIT):
        kind, value = read_number(data, start, start + length)
    elif first == 34 or first == 91 or first == 123:
        # Python would strip white space, and has to check what is not ASCII.
        high = I64(0)
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
