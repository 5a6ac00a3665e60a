"""The one tree of exceptions; each class has one exit code.

RunAssetsError
├── SourceError                 1   the outside broke
│   ├── AuthenticationError     4   a key is missing, wrong or expired
│   ├── NotFoundError           5   what was asked for does not exist
│   └── TryAgainError          75   locked, throttled or offline: later may work
├── ContractError               1   data broke a promise
└── UsageError                  2   the caller must change something

A message says what is wrong, what was got, where, and what to do next.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class RunAssetsError(Exception):
    """Any error that this project raises on purpose."""

    exit_code = 1


class SourceError(RunAssetsError):
    """The outside broke: a file, a server, a disk."""


class AuthenticationError(SourceError):
    """A key is missing, wrong or expired."""

    exit_code = 4


class NotFoundError(SourceError):
    """What was asked for does not exist."""

    exit_code = 5


class TryAgainError(SourceError):
    """Locked, throttled or offline: the same call may work later."""

    exit_code = 75


class ContractError(RunAssetsError):
    """Data broke a promise that a table, file or formula makes."""


class UsageError(RunAssetsError):
    """The caller must change something: a flag, a config value, an argument."""

    exit_code = 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown name: a suggestion or the known names.

    >>> did_you_mean("reward_men", ["loss", "reward_mean"])
    "; did you mean 'reward_mean'?"
    >>> did_you_mean("x", ["loss", "reward_mean"])
    '; known: loss, reward_mean'
    >>> did_you_mean("x", [])
    ''
    """
    names = sorted(set(known))
    if close := get_close_matches(name, names, n=1):
        return f"; did you mean {close[0]!r}?"
    if not names:
        return ""
    listed = ", ".join(names[:12])
    return f"; known: {listed}" + (", …" if len(names) > 12 else "")
