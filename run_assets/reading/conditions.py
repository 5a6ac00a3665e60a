"""Conditions on config keys: ``lr=0.1``, ``lr>=1e-4``, ``model=Qwen/*``, ``n=4..8``."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl

from run_assets.errors import UsageError, did_you_mean

_OPERATORS = re.compile(r"(?<!^)(!=|>=|<=|=|>|<)")
_WILDCARDS = frozenset("*?[")
_COMPARISONS = {
    ">": pl.Expr.__gt__,
    ">=": pl.Expr.__ge__,
    "<": pl.Expr.__lt__,
    "<=": pl.Expr.__le__,
}


@dataclass(frozen=True)
class Condition:
    """What a config key has to be.

    Attributes:
        key: Dotted key; may hold wildcards, and then one matching key has to fit.
        operator: ``=``, ``!=``, ``>``, ``>=``, ``<`` or ``<=``.
        value: As it was written.
    """

    key: str
    operator: str
    value: str


def condition(text: str) -> Condition:
    """Read a condition.

    Raises:
        UsageError: There is no operator, or one of order and no number.

    >>> condition("env.size=4..16")
    Condition(key='env.size', operator='=', value='4..16')
    """
    parts = _OPERATORS.split(text, maxsplit=1)
    if len(parts) != 3:
        msg = (
            f"a condition is KEY=VALUE, KEY!=VALUE, KEY>=NUMBER or KEY=LOW..HIGH, "
            f"got {text!r}"
        )
        raise UsageError(msg)
    found = Condition(parts[0].strip(), parts[1], parts[2].strip())
    if found.operator in _COMPARISONS and _number(found.value) is None:
        msg = f"{found.operator} compares numbers, got {found.value!r} in {text!r}"
        raise UsageError(msg)
    return found


def fitting_runs(configs: pl.DataFrame, asked: Condition) -> pl.Series:
    """The run paths of the runs whose config fits.

    ``=`` takes a number by its value (``1e-4`` is ``0.0001``), ``true``, ``false`` and
    ``null`` as such, a range ``LOW..HIGH`` with both ends (either may be missing), a
    wildcard, or text; in double quotes it is text, whatever it looks like. ``!=`` are
    the runs that have the key with anything else: a run without the key fits nothing.

    Args:
        configs: As ``core.run_configs``.
        asked: The condition.

    Raises:
        UsageError: No run has such a key.
    """
    keys = configs["key"].unique()
    rows = configs.filter(pl.col("key").is_in(_keys(asked.key, keys.to_list())))
    fits = _fits(asked, rows).fill_null(value=False)
    if asked.operator == "!=":
        fits = ~fits
    return rows.filter(fits)["run_path"].unique().sort()


def _keys(key: str, known: list[str]) -> list[str]:
    found = [key] if key in known else [one for one in known if fnmatchcase(one, key)]
    if not found:
        msg = f"no run has a config key {key!r}{did_you_mean(key, known)}"
        raise UsageError(msg)
    return found


def _fits(asked: Condition, rows: pl.DataFrame) -> pl.Expr:
    is_bool = pl.col("value_json").is_in(["true", "false"])
    number = pl.when(~is_bool).then(pl.col("value_double"))
    if comparison := _COMPARISONS.get(asked.operator):
        return comparison(number, _number(asked.value))
    if span := _range(asked.value):
        return number.is_between(*span)
    if asked.value in ("true", "false", "null") or _is_quoted(asked.value):
        return pl.col("value_json") == asked.value
    text = pl.col("value_text")
    if not _WILDCARDS.isdisjoint(asked.value):
        known = rows["value_text"].drop_nulls().unique().to_list()
        names = [one for one in known if fnmatchcase(one, asked.value)]
        return text.is_in(names) | (text == asked.value)
    value = _number(asked.value)
    same = text == asked.value
    return same if value is None else same | (number == value)


def _is_quoted(value: str) -> bool:
    return len(value) >= 2 and value[0] == value[-1] == '"'


def _range(value: str) -> tuple[float, float] | None:
    """Both ends of a range; none where it is something else, like a path."""
    low, dots, high = value.partition("..")
    if not dots or not (low or high):
        return None
    ends = _number(low or "-inf"), _number(high or "inf")
    if ends[0] is None or ends[1] is None:
        return None
    return ends[0], ends[1]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
