"""Trees worked off over whole columns: arithmetic in which no result is a reason.

A column holds finite numbers and, where it has none, why. An operation works on
numpy arrays and gives a reason instead of a NaN or an infinity. (One polars
expression per tree would need each operand twice, for the value and for its reason,
and so would double with every level.)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.derived.expressions import (
    Call,
    Function,
    Name,
    Negation,
    Node,
    Number,
    Operation,
    Operator,
    Summary,
)
from run_assets.derived.references import DerivedMetric, Reference

Floats: TypeAlias = NDArray[np.float64]
Codes: TypeAlias = NDArray[np.uint16]

DIVISION_BY_ZERO = "division by zero"
LOG_OF_NON_POSITIVE = "log of a non-positive number"
SQRT_OF_NEGATIVE = "sqrt of a negative number"
POWER_OF_NEGATIVE = "fractional power of a negative number"
OVERFLOW = "overflow"
_OPERATION_REASONS = (
    DIVISION_BY_ZERO,
    LOG_OF_NON_POSITIVE,
    SQRT_OF_NEGATIVE,
    POWER_OF_NEGATIVE,
    OVERFLOW,
)


class Column(NamedTuple):
    """Values of one node of a tree, by row, or one for all rows.

    Attributes:
        values: Shape ``(rows,)`` or ``()``; NaN where there is none.
        reasons: Same shape; codes of `Reasons`, 0 where there is a value.
    """

    values: Floats
    reasons: Codes


@dataclass(frozen=True, slots=True)
class Reasons:
    """Every reason that can occur; its code is its place, 0 means there is none."""

    texts: tuple[str, ...]
    missing: frozenset[str]

    @classmethod
    def of(cls, metrics: Sequence[DerivedMetric]) -> "Reasons":
        """All reasons that evaluating these metrics can give."""
        references = [each for metric in metrics for each in metric.references.values()]
        missing = dict.fromkeys(map(_missing, references))
        unusable = dict.fromkeys(map(_not_finite, references))
        return cls(("", *_OPERATION_REASONS, *missing, *unusable), frozenset(missing))

    def code(self, text: str) -> np.uint16:
        """The code of a reason."""
        return np.uint16(self.texts.index(text))

    def is_missing(self, column: Column) -> NDArray[np.bool_]:
        """Where a value was never there, as opposed to there and unusable."""
        return np.isin(column.reasons, [self.code(text) for text in self.missing])


def _missing(reference: Reference) -> str:
    return f"missing {reference.label}"


def _not_finite(reference: Reference) -> str:
    what = "a number" if reference.kind == "config" else "finite"
    return f"{reference.label} is not {what}"


class _Domain(NamedTuple):
    """Operands for which an operation has no result, and the reason to give."""

    reason: str
    is_outside: Callable[..., NDArray[np.bool_]]


class _Operation(NamedTuple):
    """An operation on columns; what it cannot do is a null, never an infinity."""

    compute: Callable[..., Floats]
    domains: tuple[_Domain, ...] = ()


_OPERATIONS: dict[Operator | Function, _Operation] = {
    "+": _Operation(np.add),
    "-": _Operation(np.subtract),
    "*": _Operation(np.multiply),
    "/": _Operation(
        np.divide, (_Domain(DIVISION_BY_ZERO, lambda _, divisor: divisor == 0),)
    ),
    "**": _Operation(
        np.power,
        (
            _Domain(DIVISION_BY_ZERO, lambda base, power: (base == 0) & (power < 0)),
            _Domain(
                POWER_OF_NEGATIVE,
                lambda base, power: (base < 0) & (power != np.floor(power)),
            ),
        ),
    ),
    "log": _Operation(np.log, (_Domain(LOG_OF_NON_POSITIVE, lambda x: x <= 0),)),
    "exp": _Operation(np.exp),
    "sqrt": _Operation(np.sqrt, (_Domain(SQRT_OF_NEGATIVE, lambda x: x < 0),)),
    "abs": _Operation(np.abs),
    "min": _Operation(lambda *operands: reduce(np.minimum, operands)),
    "max": _Operation(lambda *operands: reduce(np.maximum, operands)),
}


def evaluate(
    metrics: Sequence[DerivedMetric],
    reasons: Reasons,
    values_of: Callable[[Reference], pl.Series],
) -> dict[str, Column]:
    """A column per derived metric; ``metrics`` come after those that they read."""
    loaded: dict[Reference, Column] = {}
    for metric in metrics:
        for reference in metric.references.values():
            if reference not in loaded:
                loaded[reference] = _load(reference, values_of(reference), reasons)
        leaves = {leaf: loaded[each] for leaf, each in metric.references.items()}
        column = _column(metric.expression.root, leaves, reasons)
        loaded[Reference("derived", metric.name)] = column
    return {
        metric.name: loaded[Reference("derived", metric.name)] for metric in metrics
    }


def _load(reference: Reference, given: pl.Series, reasons: Reasons) -> Column:
    """A column from outside: null is missing, NaN and infinities are unusable."""
    values = given.cast(pl.Float64).fill_null(np.nan).to_numpy()
    is_finite = np.isfinite(values)
    codes = np.where(
        given.is_null().to_numpy(),
        reasons.code(_missing(reference)),
        np.where(is_finite, np.uint16(0), reasons.code(_not_finite(reference))),
    )
    return Column(np.where(is_finite, values, np.nan), codes)


def _column(
    node: Node, leaves: Mapping[Name | Summary, Column], reasons: Reasons
) -> Column:
    match node:
        case Number(value):
            return Column(np.array(value), np.array(0, dtype=np.uint16))
        case Name() | Summary():
            return leaves[node]
        case Negation(operand):
            values, codes = _column(operand, leaves, reasons)
            return Column(-values, codes)
        case Operation(operator, left, right):
            columns = [_column(each, leaves, reasons) for each in (left, right)]
            return _apply(_OPERATIONS[operator], columns, reasons)
        case Call("coalesce", operands):
            return reduce(
                _first_value, [_column(each, leaves, reasons) for each in operands]
            )
        case Call(function, operands):
            columns = [_column(each, leaves, reasons) for each in operands]
            return _apply(_OPERATIONS[function], columns, reasons)


def _apply(
    operation: _Operation, columns: Sequence[Column], reasons: Reasons
) -> Column:
    """No value where an operand has none; the leftmost reason is kept."""
    operands = [column.values for column in columns]
    codes = reduce(_first_reason, [column.reasons for column in columns])
    with np.errstate(all="ignore"):  # what is not finite becomes a reason below
        values = operation.compute(*operands)
    for domain in operation.domains:
        outside = domain.is_outside(*operands) * reasons.code(domain.reason)
        codes = _first_reason(codes, outside)
    codes = _first_reason(codes, ~np.isfinite(values) * reasons.code(OVERFLOW))
    return Column(np.where(codes == 0, values, np.nan), codes)


def _first_reason(first: Codes, second: Codes) -> Codes:
    return np.where(first == 0, second, first)


def _first_value(first: Column, second: Column) -> Column:
    has_value = first.reasons == 0
    values = np.where(has_value, first.values, second.values)
    has_none = ~has_value & (second.reasons != 0)
    return Column(values, np.where(has_none, first.reasons, np.uint16(0)))
