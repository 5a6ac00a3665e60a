"""Text on a terminal: its width, its style, and nothing that could steer it."""

import os
import shutil
import sys
import unicodedata

_JOINERS = "\u200c\u200d"  # parts of Persian words and of emoji
_LEAST_WIDTH = 20


def is_terminal() -> bool:
    """Somebody looks at stdout; it is no pipe and no file."""
    return sys.stdout.isatty()


def is_styled() -> bool:
    """Bold is welcome on stdout.

    Source: https://no-color.org: any value of ``NO_COLOR`` but the empty one forbids.
    """
    forbidden = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return is_terminal() and not forbidden


def terminal_width() -> int | None:
    """Columns of the terminal; ``None`` where stdout is none."""
    if not is_terminal():
        return None
    return max(shutil.get_terminal_size().columns, _LEAST_WIDTH)


def printable(text: str, keep: str = "") -> str:
    r"""The text without control characters and changes of direction.

    >>> printable("red\x1b[31m and line\n")
    'red·[31m and line·'
    """
    allowed = _JOINERS + keep
    return "".join(c if c.isprintable() or c in allowed else "·" for c in text)


def safe_message(text: str) -> str:
    """A message that may quote strangers: lines stay, everything else is made safe.

    A key that some error quotes is masked.
    """
    key = os.environ.get("WANDB_API_KEY")
    return printable(text.replace(key, "****") if key else text, keep="\n\t")


def isolated(text: str) -> str:
    """Text that runs from right to left, so that its neighbours stay in place."""
    if any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in text):
        return f"\u2068{text}\u2069"
    return text
