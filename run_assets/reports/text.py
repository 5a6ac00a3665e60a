"""How names and numbers look in a report; no markup is made here.

Names come from strangers. ``shown`` makes any of them one short printable line; what
else a format needs (HTML, Markdown, SVG, JSON) is done where that format is written.
"""

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

NOTHING = "—"
ELLIPSIS = "…"
MINUS = "\u2212"
_WORDS_FOR_STEP = {"_step": "step", "_runtime": "runtime (s)", "_timestamp": "time (s)"}


def shown(name: object, limit: int = 80) -> str:
    r"""A name as one printable line; long ones lose their middle.

    Control characters go because one of them in an SVG text aborts the process
    inside vl-convert 1.9; bidirectional controls go because they reorder the
    sentence around the name.

    Args:
        name: Anything; ``None`` is a dash.
        limit: Characters kept, at least 3.

    >>> shown("seed\x00 1\n\u202egnp")
    'seed 1 gnp'
    >>> shown("a" * 50 + "z" * 50, limit=9)
    'aaaa…zzzz'
    """
    if name is None:
        return NOTHING
    spaced = "".join(_printable(character) for character in str(name))
    line = " ".join(spaced.split())
    if len(line) <= limit:
        return line
    kept = limit - 1
    tail = kept // 2
    return f"{line[: kept - tail]}{ELLIPSIS}{line[len(line) - tail :]}"


def _printable(character: str) -> str:
    category = unicodedata.category(character)
    is_joiner = character == "\u200d"  # it holds emoji together
    if category == "Cs" or (category == "Cf" and not is_joiner):
        return ""
    if ord(character) & 0xFFFE == 0xFFFE:  # U+FFFE and U+FFFF are no XML characters
        return ""
    return " " if category in ("Cc", "Zl", "Zp") else character


def labels(names: Iterable[str], limit: int) -> dict[str, str]:
    """Short labels that stay distinct, in the order of the names.

    >>> labels(["aaaaXbbbb", "aaaaYbbbb"], limit=5)
    {'aaaaXbbbb': 'aa…bb', 'aaaaYbbbb': 'aa…bb (2)'}
    """
    found: dict[str, str] = {}
    taken: dict[str, int] = {}
    for name in names:
        label = shown(name, limit) or "(blank)"
        taken[label] = taken.get(label, 0) + 1
        found[name] = label if taken[label] == 1 else f"{label} ({taken[label]})"
    return found


def slug(name: str) -> str:
    """A name as part of a file name; different names never share one.

    >>> slug("navigation")
    'navigation'
    >>> slug("../Eval/Reward")
    'eval-reward-9f419808'
    """
    plain = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:40]
    if plain == name:
        return plain
    mark = sha256(name.encode()).hexdigest()[:8]
    return f"{plain}-{mark}" if plain else mark


def axis_name(x_metric: str) -> str:
    """The x axis of a curve in words.

    >>> axis_name("_step"), axis_name("env/frames")
    ('step', 'env/frames')
    """
    return _WORDS_FOR_STEP.get(x_metric, shown(x_metric, 60))


def decimals(values: Iterable[float | None]) -> int:
    """Decimals that give the largest of the values three significant digits.

    >>> decimals([0.8123, 0.05]), decimals([81.2, None]), decimals([1234.5])
    (3, 1, 0)
    """
    sizes = [abs(one) for one in values if one is not None and math.isfinite(one)]
    largest = max(sizes, default=0.0)
    if largest == 0:
        return 3
    return min(max(2 - math.floor(math.log10(largest)), 0), 8)


def number(value: float | None, places: int = 3) -> str:
    """A number for a reader; a dash where there is none.

    >>> number(0.5), number(-1234.5, 0), number(None), number(float("nan"))
    ('0.500', '\u22121,234', '—', 'NaN')
    """
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    size = abs(value)
    form = f"{size:.2e}" if size >= 1e9 else f"{size:,.{places}f}"
    is_zero = not any(digit in "123456789" for digit in form)
    return f"{MINUS}{form}" if value < 0 and not is_zero else form


def signed(value: float | None, places: int = 3) -> str:
    """A difference: always with its sign.

    >>> signed(0.25, 2), signed(-0.25, 2)
    ('+0.25', '\u22120.25')
    """
    text = number(value, places)
    has_sign = value is not None and value > 0 and text[0].isdigit()
    return f"+{text}" if has_sign else text


def interval(low: float | None, high: float | None, places: int = 3) -> str:
    """Both ends of an interval.

    >>> interval(0.25, 0.5, 2), interval(None, None)
    ('[0.25, 0.50]', '—')
    """
    if low is None or high is None:
        return NOTHING
    return f"[{number(low, places)}, {number(high, places)}]"


def p_value(value: float | None) -> str:
    """A p-value, never shown as 0.

    >>> p_value(0.0412), p_value(1e-9), p_value(None)
    ('0.041', '< 0.001', '—')
    """
    if value is None or math.isnan(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_statement(value: float | None) -> str:
    """A p-value in a sentence.

    >>> p_statement(0.0412), p_statement(1e-9)
    ('p = 0.041', 'p < 0.001')
    """
    text = p_value(value)
    return f"p {text}" if text.startswith("<") else f"p = {text}"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage.

    >>> percent(0.95), percent(0.995)
    ('95%', '99.5%')
    """
    return f"{share:.3%}".rstrip("0%").rstrip(".") + "%" if share else "0%"


def instant(moment: datetime | None) -> str:
    """A point in time, in UTC, to the minute.

    >>> instant(datetime(2026, 11, 20, 2, 5, tzinfo=UTC))
    '2026-11-20 02:05 UTC'
    """
    if moment is None:
        return NOTHING
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float | None) -> str:
    """A duration in the two largest units that matter.

    >>> duration(42.4), duration(3_700), duration(200_000)
    ('42 s', '1 h 1 min', '2 d 7 h')
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    whole = round(seconds)
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    for at, (unit, size) in enumerate(units):
        if whole >= size:
            rest = _second_unit(whole % size, units[at + 1 : at + 2])
            return f"{whole // size} {unit}{rest}"
    return f"{seconds:.1f} s"


def _second_unit(rest: int, units: Sequence[tuple[str, int]]) -> str:
    for unit, size in units:
        if rest >= size:
            return f" {rest // size} {unit}"
    return ""


def size(number_of_bytes: int | None) -> str:
    """A size in bytes, kB, MB or GB (powers of 1,000).

    >>> size(512), size(20_480), size(None)
    ('512 bytes', '20.5 kB', '—')
    """
    if number_of_bytes is None:
        return NOTHING
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number_of_bytes >= factor:
            return f"{number_of_bytes / factor:.1f} {unit}"
    return f"{number_of_bytes} bytes"


def count(quantity: int, noun: str, plural: str | None = None) -> str:
    """A number of things.

    >>> count(1, "run"), count(1200, "run"), count(2, "analysis", "analyses")
    ('1 run', '1,200 runs', '2 analyses')
    """
    word = noun if quantity == 1 else plural or f"{noun}s"
    return f"{quantity:,} {word}"


def listed(words: Sequence[str]) -> str:
    """Words in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
