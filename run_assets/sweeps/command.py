"""The command that runs one trial: words first, then placeholders; never a shell."""

import json
import shlex
from collections.abc import Mapping
from string import Formatter
from typing import Any

from run_assets.errors import did_you_mean

PLACEHOLDERS = (
    *("sweep_id", "model", "task", "trial", "seed", "attempt"),
    *("server", "options"),
)
"""What may stand in braces; ``{options}`` is JSON, ``{options.KEY}`` one of them."""


def check_command(command: str, options: Mapping[str, Any]) -> None:
    """Refuse a template that cannot be filled in.

    Raises:
        ValueError: Quotes are open, it is empty, or a placeholder is unknown.
    """
    known = [*PLACEHOLDERS, *(f"options.{key}" for key in options)]
    words = _words(command)
    for word in words:
        for field in _fields(word):
            if field not in known:
                msg = f"command: unknown placeholder {{{field}}}"
                raise ValueError(msg + did_you_mean(field, known))


def filled(command: str, values: Mapping[str, Any]) -> list[str]:
    """The arguments of one trial; a value never becomes more than one of them.

    >>> filled("solve --task {task} {options.n}", {"task": "a b", "options": {"n": 3}})
    ['solve', '--task', 'a b', '3']
    """
    options = values.get("options", {})
    texts = {
        **{key: _text(value) for key, value in values.items()},
        **{f"options.{key}": _text(value) for key, value in options.items()},
    }
    return [_replaced(word, texts) for word in _words(command)]


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        msg = f"command: {error}, in {command!r}"
        raise ValueError(msg) from None
    if not words:
        msg = "command: it is empty; name the program that runs one trial"
        raise ValueError(msg)
    return words


def _fields(word: str) -> list[str]:
    try:
        parts = list(Formatter().parse(word))
    except ValueError as error:
        msg = f"command: {error}, in {word!r}; a brace itself is written twice"
        raise ValueError(msg) from None
    return [field for _, field, _, _ in parts if field is not None]


def _replaced(word: str, texts: Mapping[str, str]) -> str:
    parts = Formatter().parse(word)
    return "".join(
        literal + (texts[field] if field is not None else "")
        for literal, field, _, _ in parts
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True)
