"""Which of a run's metrics are rewards, success rates or metrics of training."""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from run_assets.config import Rewards
from run_assets.derived.metric_groups import match
from run_assets.diagnostics.roles import Direction, Parts

Kind = Literal["component", "total", "success_rate", "training"]

_WORDS = re.compile(r"[^A-Za-z0-9]+")


class Part(NamedTuple):
    """What part a metric plays.

    Attributes:
        kind: Of the part.
        prefix: What stands before its last ``/``: metrics that share it are a group.
        task: Of a success rate.
        direction: The good one; declared, never guessed.
    """

    kind: Kind
    prefix: str
    task: str | None
    direction: Direction


def parts_of(
    metrics: Iterable[str],
    settings: Rewards,
    groups: Mapping[str, Sequence[str]],
    declared: Parts,
) -> dict[str, Part]:
    """The part of each metric that plays one, by name.

    Components are what ``components`` of the config names, and what the ledger weighs;
    where it names none, the metrics with a whole word of ``words`` in their name. A
    metric of training or a success rate is no component, unless it is named as one.

    Args:
        metrics: Names of logged metrics.
        settings: The config.
        groups: Metric groups of the config.
        declared: Says which direction of a metric of training is good.

    Raises:
        UsageError: An unknown ``@group``.
    """
    known = sorted(set(metrics))
    named = match(
        [*settings.components, *settings.weights], groups=groups, available=known
    ).metrics
    found: dict[str, Part] = {}
    for metric in known:
        prefix = metric.rpartition("/")[0]
        if metric == settings.total:
            found[metric] = Part("total", prefix, None, "higher")
        elif metric in named:
            found[metric] = Part("component", prefix, None, "higher")
        elif _is_named(metric, settings.training):
            direction = declared.direction(metric)
            found[metric] = Part("training", prefix, None, direction)
        elif task := _task(metric, settings.success_rates):
            found[metric] = Part("success_rate", prefix, task, "higher")
        elif not settings.components and _has_word(metric, settings.words):
            found[metric] = Part("component", prefix, None, "higher")
    return found


def _is_named(metric: str, names: Sequence[str]) -> bool:
    return any(metric == name or fnmatchcase(metric, name) for name in names)


def _task(metric: str, patterns: Sequence[str]) -> str | None:
    """The task that a success rate is of.

    >>> _task("eval/maze/success_rate", ["{task}/success_rate"])
    'eval/maze'
    """
    for pattern in patterns:
        before, _, after = pattern.partition("{task}")
        is_long = len(metric) > len(before) + len(after)
        if is_long and metric.startswith(before) and metric.endswith(after):
            return metric[len(before) : len(metric) - len(after)]
    return None


def _has_word(metric: str, words: Sequence[str]) -> bool:
    """A whole word, so that ``underscore`` is no score.

    >>> _has_word("agent/reward_mean", ["reward"]), _has_word("rewarded", ["reward"])
    (True, False)
    """
    return not set(words).isdisjoint(_WORDS.split(metric.lower()))
