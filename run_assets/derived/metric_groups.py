"""Which metrics are meant: names, ``*`` wildcards and ``@groups`` of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from run_assets.errors import UsageError, did_you_mean

# Source: Metta metrics_analysis, configs/default_config.yaml.
DEFAULT_METRIC_GROUPS: Mapping[str, Sequence[str]] = {
    "training_core": (
        "trainer/loss",
        "trainer/policy_loss",
        "trainer/value_loss",
        "trainer/entropy",
        "trainer/learning_rate",
    ),
    "training_stats": (
        "trainer/explained_variance",
        "trainer/kl_divergence",
        "trainer/clip_fraction",
        "trainer/approx_kl",
    ),
    "agent_behavior": (
        "env_agent/reward_mean",
        "env_agent/episode_length_mean",
        "env_agent/actions_taken/*",
    ),
    "eval_navigation": (
        "eval_navigation/success_rate",
        "eval_navigation/path_efficiency",
        "eval_navigation/steps_mean",
        "eval_navigation/reward_mean",
    ),
    "eval_memory": (
        "eval_memory/success_rate",
        "eval_memory/reward_mean",
        "eval_memory/steps_mean",
    ),
    "system_metrics": (
        "monitor/gpu_utilization",
        "monitor/gpu_memory_used_gb",
        "monitor/cpu_percent",
        "timing_per_epoch/total_s",
    ),
}
_WILDCARDS = frozenset("*?[")


class Expansion(NamedTuple):
    """What names, wildcards and groups came to.

    Attributes:
        metrics: Available metrics, each once, in the order asked for; those that
            share a wildcard by name.
        unmatched: Names and wildcards that no available metric fits, same order.
    """

    metrics: list[str]
    unmatched: list[str]


def expand(
    names: Sequence[str],
    *,
    groups: Mapping[str, Sequence[str]],
    available: Iterable[str],
) -> list[str]:
    """The available metrics that names, wildcards and groups stand for.

    A group may name metrics that these runs never logged, and a wildcard may fit
    none; a name written out must be there. See `match` for the rules.

    Raises:
        UsageError: A name written out is not available, a group is unknown, or
            groups contain each other in a circle.

    >>> logged = ["trainer/loss", "trainer/loss_scale", "x/trainer/loss"]
    >>> expand(["@training_core", "*_scale"], groups={}, available=logged)
    ['trainer/loss', 'trainer/loss_scale']
    """
    known = set(available)
    expansion = match(names, groups=groups, available=known)
    for name in expansion.unmatched:
        if name in names and not _is_wildcard(name):
            message = f"no run has a metric {name!r}{did_you_mean(name, known)}"
            raise UsageError(message)
    return expansion.metrics


def match(
    names: Sequence[str],
    *,
    groups: Mapping[str, Sequence[str]],
    available: Iterable[str],
) -> Expansion:
    """As `expand`, but reports what matched nothing instead of refusing it.

    Wildcards are those of `fnmatch`: anchored at both ends, case-sensitive, ``*``
    also spans slashes. A metric whose own name holds wildcard characters is found by
    that name.

    Args:
        names: Metric names, wildcards, ``@group``.
        groups: Groups by name without ``@``; may hold ``@group`` in turn. They come
            on top of `DEFAULT_METRIC_GROUPS`; the same name replaces a default.
        available: Names of the logged metrics.

    Raises:
        UsageError: A group is unknown, or groups contain each other in a circle.
    """
    known = sorted(set(available))
    exact = set(known)
    found: dict[str, None] = {}
    unmatched: list[str] = []
    for pattern in _without_groups(names, {**DEFAULT_METRIC_GROUPS, **groups}):
        matches = _matches(pattern, known, exact)
        found.update(dict.fromkeys(matches))
        if not matches:
            unmatched.append(pattern)
    return Expansion(list(found), unmatched)


def _matches(pattern: str, known: Sequence[str], exact: set[str]) -> list[str]:
    if pattern in exact:
        return [pattern]
    if not _is_wildcard(pattern):
        return []
    # Since Python 3.9 fnmatch gives its regex no way to backtrack over a star.
    return [name for name in known if fnmatchcase(name, pattern)]


def _is_wildcard(name: str) -> bool:
    return not _WILDCARDS.isdisjoint(name)


def _without_groups(
    names: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> list[str]:
    """Names and wildcards only, each once.

    Inner groups are spelled out first and once, so neither deep nesting nor
    groups that double each other's content can grow the work.
    """
    content: dict[str, list[str]] = {}
    for name in _inner_first(groups):
        content[name] = _spelled_out(groups[name], content)
    return _spelled_out(names, content)


def _spelled_out(
    names: Sequence[str], content: Mapping[str, Sequence[str]]
) -> list[str]:
    return list(dict.fromkeys(_members(names, content)))


def _members(
    names: Sequence[str], content: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    for name in names:
        if not name.startswith("@"):
            yield name
        elif name[1:] in content:
            yield from content[name[1:]]
        else:
            known = did_you_mean(name, (f"@{each}" for each in content))
            message = f"unknown metric group {name!r}{known}"
            raise UsageError(message)


def _inner_first(groups: Mapping[str, Sequence[str]]) -> list[str]:
    inner = {
        name: [each[1:] for each in members if each[1:] in groups and each[0] == "@"]
        for name, members in groups.items()
    }
    try:
        return list(TopologicalSorter(inner).static_order())
    except CycleError as error:
        circle = " -> ".join(f"@{name}" for name in reversed(error.args[1]))
        message = f"metric groups contain each other in a circle: {circle}"
        raise UsageError(message) from None
