"""The rules: each a function whose docstring is its documentation.

What the command ``explain`` and ``docs/diagnosis.md`` print is the docstring, and a
rule whose docstring lacks a section cannot be registered.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import cleandoc
from typing import Literal

from run_assets.diagnostics.model import (
    Outcome,
    Run,
    Series,
    Severity,
    not_testable,
)
from run_assets.errors import UsageError, did_you_mean

Family = Literal[
    "instability",
    "progress",
    "infrastructure",
    "quality",
    "cache",
    "scaling",
    "league",
    "evaluation",
    "coverage",
]
FAMILIES: Mapping[Family, str] = {
    "instability": "the optimization itself goes wrong",
    "progress": "whether, how fast and how long the run improves",
    "infrastructure": "time, machines and failures around the training",
    "quality": "what the model answers, and what it is rewarded for",
    "cache": "whether the prefix cache earns its place",
    "scaling": "performance as a law of compute",
    "league": "ratings and games against earlier versions",
    "evaluation": "results against fixed opponents",
    "coverage": "whether the record of the run is whole",
}
SECTIONS = ("Test", "Traps", "Hypothesis", "Suggestion", "Source")

Limits = Mapping[str, float]
SeriesCheck = Callable[[Run, Series, Limits], Outcome]
RunCheck = Callable[[Run, Limits], Iterable[Outcome] | Outcome]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        code: Stable, such as ``RUN001``.
        name: Such as ``loss-spike``.
        family: The module it is in.
        severity: Of its findings, unless an outcome says otherwise.
        thresholds: Names and defaults of what may be configured.
        summary: What it finds, one sentence.
        test: How it is found.
        traps: What looks like it and is not.
        hypothesis: What may be behind it.
        suggestion: What to do.
        source: Where rule and thresholds come from.
        check: Its outcomes on a run.
    """

    code: str
    name: str
    family: Family
    severity: Severity
    thresholds: Limits
    summary: str
    test: str
    traps: str
    hypothesis: str
    suggestion: str
    source: str
    check: Callable[[Run, Limits], list[Outcome]]


_RULES: dict[str, Rule] = {}


def run_rule(
    code: str, name: str, severity: Severity, **thresholds: float
) -> Callable[[RunCheck], RunCheck]:
    """Register a function that judges a run as a whole."""

    def registered(function: RunCheck) -> RunCheck:
        def check(run: Run, limits: Limits) -> list[Outcome]:
            found = function(run, limits)
            return [found] if isinstance(found, Outcome) else list(found)

        _register(code, name, severity, thresholds, function, check)
        return function

    return registered


def series_rule(
    code: str, name: str, severity: Severity, *roles: str, **thresholds: float
) -> Callable[[SeriesCheck], SeriesCheck]:
    """Register a function that judges each metric that plays one of the parts.

    The threshold ``min_points`` (30 where not given) is checked before the function
    is called: with fewer finite values the rule is not testable.
    """
    limits_of = {"min_points": 30.0, **thresholds}

    def registered(function: SeriesCheck) -> SeriesCheck:
        def check(run: Run, limits: Limits) -> list[Outcome]:
            players = {one.metric: one for role in roles for one in run.of(role)}
            if not players:
                return [not_testable(_missing(run, roles))]
            twins = _twins(list(players.values()))
            return [
                not_testable(f"has the same values as {twins[name]}", name, one.size)
                if name in twins
                else _judged(function, run, one, limits)
                for name, one in players.items()
            ]

        _register(code, name, severity, limits_of, function, check)
        return function

    return registered


def _twins(players: list[Series]) -> dict[str, str]:
    """Metrics that repeat another one, which is then told once."""
    first: dict[bytes, str] = {}
    found = {}
    for one in players:
        content = one.steps.tobytes() + one.values.tobytes()
        if first.setdefault(content, one.metric) != one.metric:
            found[one.metric] = first[content]
    return found if len(players) > 1 else {}


def _judged(function: SeriesCheck, run: Run, series: Series, limits: Limits) -> Outcome:
    n = series.finite.size
    if n < limits["min_points"]:
        least = int(limits["min_points"])
        reason = f"needs at least {least} finite values, has {n}"
        return not_testable(reason, series.metric, n)
    return function(run, series.finite, limits)


def _missing(run: Run, roles: Iterable[str]) -> str:
    """Why a rule has nothing to look at.

    >>> from run_assets.diagnostics.roles import Parts
    >>> _missing(Run("a/b/c", "finished", {}, Parts()), ["elo"])
    'no metric plays the part elo (elo/challenger)'
    """
    looked = [
        f"{role} ({', '.join(run.parts.roles[role].match[:3])})" for role in roles
    ]
    return f"no metric plays the part {' or '.join(looked)}"


def _register(  # private, and called in two places
    code: str,
    name: str,
    severity: Severity,
    thresholds: Limits,
    function: Callable[..., object],
    check: Callable[[Run, Limits], list[Outcome]],
) -> None:
    family: Family = function.__module__.rpartition(".")[2]  # type: ignore[assignment]  # modules are families
    summary, told = _told(function.__doc__ or "")
    missing = [one for one in SECTIONS if one not in told]
    if missing or code in _RULES or family not in FAMILIES:
        msg = f"rule {code} ({name}) lacks {missing}, or its code or family is wrong"
        raise TypeError(msg)
    sections = {one.lower(): told[one] for one in SECTIONS}
    _RULES[code] = Rule(
        code, name, family, severity, thresholds, summary, **sections, check=check
    )


def _told(docstring: str) -> tuple[str, dict[str, str]]:
    """Summary and sections of a docstring, each on one line."""
    summary, *paragraphs = re.split(
        rf"^({'|'.join(SECTIONS)}): ", cleandoc(docstring), flags=re.MULTILINE
    )
    sections = dict(zip(paragraphs[::2], paragraphs[1::2], strict=True))
    return _line(summary), {name: _line(text) for name, text in sections.items()}


def _line(text: str) -> str:
    return " ".join(text.split())


@cache
def rules() -> Mapping[str, Rule]:
    """Every rule by its code, in the order of the codes."""
    for family in FAMILIES:
        import_module(f"run_assets.diagnostics.{family}")
    return dict(sorted(_RULES.items()))


def rule(name: str) -> Rule:
    """A rule by its code or name, in any case.

    Raises:
        UsageError: There is none; the nearest is named.

    >>> rule("run001").name
    'loss-spike'
    """
    for one in rules().values():
        if name.lower() in (one.code.lower(), one.name):
            return one
    known = [*rules(), *(one.name for one in rules().values())]
    msg = f"no rule {name!r}{did_you_mean(name, known)}"
    raise UsageError(msg)


def chosen(select: Iterable[str], ignore: Iterable[str] = ()) -> list[Rule]:
    """The rules that a selection leaves, in the order of the codes.

    Args:
        select: Codes, beginnings of codes (``RUN01``), names or families.
        ignore: In the same way.

    Raises:
        UsageError: A word selects nothing.

    >>> [one.code for one in chosen(["cache"], ["RUN050"])][:2]
    ['RUN051', 'RUN052']
    """
    wanted = {code for word in select for code in _selected(word)}
    wanted -= {code for word in ignore for code in _selected(word)}
    return [one for one in rules().values() if one.code in wanted]


def _selected(word: str) -> list[str]:
    found = [
        one.code
        for one in rules().values()
        if one.code.startswith(word.upper()) or word in (one.name, one.family)
    ]
    if not found:
        known = [*rules(), *(one.name for one in rules().values()), *FAMILIES]
        msg = f"no rule and no family {word!r}{did_you_mean(word, known)}"
        raise UsageError(msg)
    return found
