"""What the names in expressions stand for, and in which order to compute them.

A bare name is looked up in this order: derived metric, constant, run column,
``config.<key>``, logged metric. What the config file declares comes before what
runs happen to log, so that a metric logged tomorrow never changes what an expression
means today. In backticks a logged metric comes right after the derived ones, so a
metric that shares its name with a run column stays in reach.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Literal, TypeAlias

from run_assets.derived.expressions import (
    Aggregate,
    Expression,
    Leaf,
    Name,
    Summary,
    leaf_name,
    parse,
    tokenize,
)
from run_assets.errors import UsageError, did_you_mean

# What an expression calls it -> the column of a run that holds it.
RUN_COLUMNS: dict[str, str] = {
    "steps": "last_step",
    "last_step": "last_step",
    "runtime_seconds": "runtime_seconds",
    "history_rows": "history_rows",
}
CONFIG_PREFIX = "config."

Kind: TypeAlias = Literal["derived", "constant", "run_column", "config", "metric"]
_DECLARED_FIRST: tuple[Kind, ...] = (
    "derived",
    "constant",
    "run_column",
    "config",
    "metric",
)
_LOGGED_FIRST: tuple[Kind, ...] = (
    "derived",
    "metric",
    "constant",
    "run_column",
    "config",
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Every name an expression may use.

    Attributes:
        metrics: Names of logged metrics.
        config_keys: Dotted config keys without ``config.``.
        constants: Names of the config file's constants.
        derived: Names of derived metrics.
        run_columns: Names of the numbers known of each run.
    """

    metrics: Collection[str] = ()
    config_keys: Collection[str] = ()
    constants: Collection[str] = ()
    derived: Collection[str] = ()
    run_columns: Collection[str] = tuple(RUN_COLUMNS)

    def holds(self, kind: Kind, name: str) -> bool:
        """Whether ``name`` is one of this kind."""
        if kind == "config":
            is_prefixed = name.startswith(CONFIG_PREFIX)
            return is_prefixed and name.removeprefix(CONFIG_PREFIX) in self.config_keys
        return name in self._names(kind)

    def all_names(self) -> set[str]:
        """Every name, as an expression writes it."""
        config = {CONFIG_PREFIX + key for key in self.config_keys}
        return config.union(
            self.metrics, self.constants, self.derived, self.run_columns
        )

    def _names(self, kind: Kind) -> Collection[str]:
        if kind == "derived":
            return self.derived
        if kind == "constant":
            return self.constants
        return self.run_columns if kind == "run_column" else self.metrics


@dataclass(frozen=True, slots=True)
class Reference:
    """What a name stands for.

    Attributes:
        kind: The namespace it was found in.
        name: Its name there (a config key without ``config.``).
        aggregate: Set if the expression asks for a summary of a metric.
    """

    kind: Kind
    name: str
    aggregate: Aggregate | None = None

    @property
    def label(self) -> str:
        """How an expression writes it."""
        if self.kind == "config":
            return CONFIG_PREFIX + self.name
        if self.aggregate in (None, "last"):
            return self.name
        return f"{self.aggregate}({self.name})"


@dataclass(frozen=True, slots=True)
class DerivedMetric:
    """A derived metric whose names are all known."""

    name: str
    expression: Expression
    references: Mapping[Leaf, Reference]


def resolve(expression: Expression, vocabulary: Vocabulary) -> Mapping[Leaf, Reference]:
    """What each name of an expression stands for.

    Raises:
        UsageError: A name is unknown, a summary is asked of something that is not a
            logged metric, or a division is written exactly like a metric's name
            (``eval/loss``): backticks or spaces must say which one is meant.

    >>> words = Vocabulary(metrics=["reward"])
    >>> resolve(parse("reward / steps"), words)[Name("steps")]
    Reference(kind='run_column', name='steps', aggregate=None)
    """
    _refuse_unquoted_metrics(expression.text, vocabulary.metrics)
    return {
        leaf: _reference(leaf, expression, vocabulary) for leaf in expression.leaves
    }


def plan(
    expressions: Mapping[str, str], vocabulary: Vocabulary
) -> tuple[DerivedMetric, ...]:
    """Derived metrics with their names resolved, each after those it reads.

    Args:
        expressions: Text by name of the derived metric.
        vocabulary: What else the texts may name; its ``derived`` is not read.

    Raises:
        UsageError: A text is not valid, a name is unknown, metrics refer to each
            other in a circle, or a derived metric takes the name of a constant, a
            run column or a config key.

    >>> [each.name for each in plan({"b": "a + 1", "a": "2 * steps"}, Vocabulary())]
    ['a', 'b']
    """
    vocabulary = replace(vocabulary, derived=tuple(expressions))
    _refuse_taken_names(vocabulary)
    metrics = {
        name: _derived_metric(name, text, vocabulary)
        for name, text in expressions.items()
    }
    return tuple(metrics[name] for name in _in_order(metrics))


def _derived_metric(name: str, text: str, vocabulary: Vocabulary) -> DerivedMetric:
    try:
        expression = parse(text)
        return DerivedMetric(name, expression, resolve(expression, vocabulary))
    except UsageError as error:
        message = f"derived metric {name!r}: {error}"
        raise UsageError(message) from error


def _in_order(metrics: Mapping[str, DerivedMetric]) -> list[str]:
    reads = {
        name: [
            reference.name
            for reference in metric.references.values()
            if reference.kind == "derived"
        ]
        for name, metric in metrics.items()
    }
    try:
        return list(TopologicalSorter(reads).static_order())
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        message = (
            f"derived metrics refer to each other in a circle: {circle}; a metric "
            "needs a name that its own expression does not use"
        )
        raise UsageError(message) from None


def _refuse_taken_names(vocabulary: Vocabulary) -> None:
    for name in vocabulary.derived:
        for kind in ("constant", "run_column", "config"):
            if vocabulary.holds(kind, name):
                what = kind.replace("_", " ")
                message = f"derived metric {name!r} has the name of a {what}; rename it"
                raise UsageError(message)


def _reference(leaf: Leaf, expression: Expression, vocabulary: Vocabulary) -> Reference:
    name = leaf_name(leaf)
    if isinstance(leaf, Summary):
        return _summary_reference(leaf, expression, vocabulary)
    for kind in _LOGGED_FIRST if name.quoted else _DECLARED_FIRST:
        if vocabulary.holds(kind, name.text):
            bare = name.text.removeprefix(CONFIG_PREFIX)
            return Reference(kind, bare if kind == "config" else name.text)
    raise _unknown(name, expression, vocabulary)


def _summary_reference(
    summary: Summary, expression: Expression, vocabulary: Vocabulary
) -> Reference:
    """Only a logged metric has points to summarise, so only those are looked up."""
    name = summary.metric
    if vocabulary.holds("metric", name.text):
        return Reference("metric", name.text, summary.aggregate)
    if name.text in vocabulary.all_names():
        message = (
            f"{summary.aggregate}() summarises the points of a logged metric, got "
            f"{name.text!r}, which is not one, in {expression.text!r}"
        )
        raise UsageError(message)
    raise _unknown(name, expression, vocabulary)


def _unknown(name: Name, expression: Expression, vocabulary: Vocabulary) -> UsageError:
    start = f"unknown name {name.text!r} in {expression.text!r}"
    if metric := _metric_around(name.text, expression.text, vocabulary.metrics):
        return UsageError(f"{start}; the metric {metric!r} goes in backticks")
    return UsageError(start + did_you_mean(name.text, vocabulary.all_names()))


def _metric_around(name: str, text: str, metrics: Collection[str]) -> str | None:
    """A metric that the text spells out, and of whose name ``name`` is a piece."""
    pieces = re.compile(rf"(?<![A-Za-z0-9_.]){re.escape(name)}(?![A-Za-z0-9_.])")
    around = (each for each in metrics if each in text and pieces.search(each))
    return max(around, key=lambda each: (len(each), each), default=None)


def _refuse_unquoted_metrics(text: str, metrics: Collection[str]) -> None:
    """``eval/loss`` divides, though it reads like the metric of that name."""
    known = set(metrics)
    for spelled in _spelled_without_spaces(text):
        if spelled in known:
            message = (
                f"{spelled!r} in {text!r} is the name of a metric but reads as "
                f"arithmetic; write `{spelled}` for the metric, or put spaces around "
                "the operators"
            )
            raise UsageError(message)


def _spelled_without_spaces(text: str) -> Iterator[str]:
    """Every stretch of names, numbers and operators that no space interrupts."""
    tokens = list(tokenize(text))
    for first, token in enumerate(tokens):
        end = token.end
        for following in tokens[first + 1 :]:
            if following.start != end or "quoted" in (token.kind, following.kind):
                break
            end = following.end
            yield text[token.start : end]
