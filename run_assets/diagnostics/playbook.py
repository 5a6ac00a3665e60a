"""A run read by the playbook: twelve sections, findings, ranked hypotheses.

Only facts are gathered here; `run_assets.reports.run_analysis` puts them into words.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from run_assets.diagnostics.comparison import (
    Difference,
    differences,
    differing_settings,
)
from run_assets.diagnostics.diagnose import Settings, diagnose
from run_assets.diagnostics.levels import change_between
from run_assets.diagnostics.model import (
    SEVERITIES,
    Outcome,
    Run,
    Series,
    Severity,
    worst,
)
from run_assets.diagnostics.registry import Rule

Baseline = Run
"""A run that another is compared with."""

_LEAST_FOR_TREND = 30


@dataclass(frozen=True)
class Chapter:
    """What a section looks at.

    Attributes:
        title: Its heading.
        question: What a reader wants to know there.
        roles: Parts whose metrics it shows.
        codes: Beginnings of the codes of its rules.
        command: What shows more; ``{run}`` is the run.
    """

    title: str
    question: str
    roles: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    command: str = ""


# Source: the playbook's steps 1 to 12. Its own numbering leaves out 9, which here says
# whether the record is whole.
CHAPTERS = (
    Chapter(
        "The run",
        "What was run, and did it end well?",
        codes=("RUN093", "RUN094"),
        command="run-assets runs get {run}",
    ),
    Chapter(
        "Training metrics",
        "Is it stable, and does it improve?",
        (
            *("loss", "reward", "success_rate", "reward_std", "kl", "entropy"),
            *("gradient_norm", "learning_rate"),
        ),
        ("RUN00", "RUN01", "RUN046", "RUN047"),
        "run-assets runs metrics {run} -m '@training_core'",
    ),
    Chapter(
        "Performance",
        "Where does the time go?",
        (
            *("throughput", "trajectories", "rollout_seconds", "training_seconds"),
            "overlap_seconds",
        ),
        ("RUN020", "RUN021", "RUN025", "RUN026"),
        "run-assets runs metrics {run} -m '*time_s' -m '*trajectories'",
    ),
    Chapter(
        "Order extraction",
        "Can the answers be read?",
        (
            *("extraction_rate", "orders_expected", "orders_extracted"),
            *("empty_responses", "partial_responses"),
        ),
        ("RUN040", "RUN041", "RUN042", "RUN043", "RUN044", "RUN045"),
        "run-assets runs metrics {run} -m 'extraction/*'",
    ),
    Chapter(
        "Rollouts and machines",
        "Do rollouts fail, hang or wait?",
        (
            *("failed_rollouts", "reload_seconds", "slowest_rollout_seconds"),
            *("gpu_use", "memory"),
        ),
        ("RUN022", "RUN023", "RUN024", "RUN027", "RUN028", "RUN029", "RUN030"),
        "run-assets runs metrics {run} -m 'rollout/*'",
    ),
    Chapter(
        "Prefix cache",
        "Does caching pay?",
        ("cache_hit_rate", "cache_queries", "cache_hits", "prompt_tokens"),
        ("RUN05",),
        "run-assets runs cache-stats {run}",
    ),
    Chapter(
        "Scaling",
        "Does performance follow a law of compute?",
        ("compute", "compute_per_step", "performance_at_compute"),
        ("RUN06",),
        'run-assets sql "select * from diagnostics.scaling_fits"',
    ),
    Chapter(
        "League",
        "Does it get stronger against earlier versions?",
        ("elo", "gatekeeper_win_rate", "games_played", "league_size", "best_elo"),
        ("RUN07",),
        "run-assets runs metrics {run} -m 'elo/*' -m 'league/*'",
    ),
    Chapter(
        "The record",
        "Is what was logged whole?",
        codes=("RUN090", "RUN091", "RUN092"),
        command="run-assets runs metrics {run}",
    ),
    Chapter(
        "Evaluation",
        "How does it do against each opponent?",
        ("opponent_win_rate", "opponent_survival_rate", "opponent_centers"),
        ("RUN08",),
        "run-assets runs artifacts {run}",
    ),
    Chapter(
        "Comparison",
        "Is it better than the runs it is compared with?",
        command="run-assets runs similar {run}",
    ),
    Chapter(
        "Export",
        "Where is everything for a closer look?",
        command="run-assets runs export {run} -o {id}.json",
    ),
)
COMPARED = ("loss", "reward", "success_rate", "elo", "throughput", "extraction_rate")


@dataclass(frozen=True)
class MetricFacts:
    """One metric of a section.

    Attributes:
        metric: Its name.
        role: The part it plays.
        n_points: Values that are numbers.
        n_nonfinite: NaN and infinities among them.
        first: Level at the start; the first value of a short series.
        last: Level at the end.
        best: Best level, where a direction is declared.
        mean: Of the finite values.
        std: Their sample standard deviation.
        trend: better, worse, up, down or steady, beyond noise; ``None`` if too short.
    """

    metric: str
    role: str
    n_points: int
    n_nonfinite: int
    first: float | None
    last: float | None
    best: float | None
    mean: float | None
    std: float | None
    trend: str | None


@dataclass(frozen=True)
class Told:
    """What one rule said, with the rule's own words."""

    code: str
    name: str
    family: str
    severity: Severity
    summary: str
    outcome: Outcome
    hypothesis: str
    suggestion: str


@dataclass(frozen=True)
class Section:
    """A chapter with what was found."""

    number: int
    chapter: Chapter
    metrics: tuple[MetricFacts, ...]
    findings: tuple[Told, ...]
    n_clear: int
    not_testable: tuple[tuple[str, str], ...]
    command: str


@dataclass(frozen=True)
class Hypothesis:
    """What may be behind some findings, the likeliest first.

    Attributes:
        text: The hypothesis.
        suggestion: What to do.
        severity: The worst of its findings.
        evidence: Its findings.
        command: What to type next.
    """

    text: str
    suggestion: str
    severity: Severity
    evidence: tuple[Told, ...]
    command: str


@dataclass(frozen=True)
class RunAnalysis:
    """A whole reading of a run.

    Attributes:
        path: The run.
        facts: Columns of ``marts.runs`` that a reader asks first.
        settings: Its config, by dotted key.
        sections: One to twelve.
        differences: Against the baseline; empty without one.
        baseline: Run paths of it.
        settings_that_differ: From the baseline's: key, here, there.
        hypotheses: Ranked.
    """

    path: str
    facts: Mapping[str, Any]
    settings: Mapping[str, str]
    sections: tuple[Section, ...]
    differences: tuple[Difference, ...]
    baseline: tuple[str, ...]
    settings_that_differ: tuple[tuple[str, str, str], ...]
    hypotheses: tuple[Hypothesis, ...]

    @property
    def severity(self) -> Severity | None:
        """The worst finding."""
        found = [one for section in self.sections for one in section.findings]
        return worst(one.severity for one in found)


_FACTS = (
    *("run_name", "run_state", "created_at", "ended_at", "runtime_seconds"),
    *("last_step", "history_rows", "n_metrics", "run_group", "job_type", "tags", "url"),
)


def analysis_of(
    run: Run, row: Mapping[str, Any], asked: Settings, baseline: Sequence[Run] = ()
) -> RunAnalysis:
    """Read a run.

    Args:
        run: The run.
        row: Its row of ``marts.runs``.
        asked: Rules, thresholds and parts.
        baseline: Runs to compare it with.
    """
    said = [_told(one, outcome) for one, outcome in diagnose(run, asked)]
    sections = tuple(
        _section(number, chapter, run, said)
        for number, chapter in enumerate(CHAPTERS, start=1)
    )
    fired = [one for one in said if one.outcome.state == "fired"]
    return RunAnalysis(
        path=run.path,
        facts={name: row.get(name) for name in _FACTS},
        settings=run.config,
        sections=sections,
        differences=tuple(differences(run, baseline, COMPARED)),
        baseline=tuple(one.path for one in baseline),
        settings_that_differ=tuple(differing_settings(run, baseline)),
        hypotheses=tuple(_hypotheses(run, fired)),
    )


def _told(one: Rule, outcome: Outcome) -> Told:
    return Told(
        one.code,
        one.name,
        one.family,
        outcome.severity or one.severity,
        one.summary,
        outcome,
        one.hypothesis,
        one.suggestion,
    )


def _section(number: int, chapter: Chapter, run: Run, said: Sequence[Told]) -> Section:
    mine = [one for one in said if one.code.startswith(chapter.codes or ("-",))]
    fired = [one for one in mine if one.outcome.state == "fired"]
    blind = [one for one in mine if one.outcome.state == "not_testable"]
    metrics = [
        _facts(run, series, role) for role in chapter.roles for series in run.of(role)
    ]
    return Section(
        number,
        chapter,
        tuple(metrics),
        tuple(sorted(fired, key=_rank)),
        sum(one.outcome.state == "clear" for one in mine),
        tuple((one.code, one.outcome.reason or "") for one in blind),
        _filled(chapter.command, run.path),
    )


def _rank(one: Told) -> tuple[int, int, str]:
    """The worst first, then what happened first."""
    first = one.outcome.steps[0]
    early = first if first is not None else 2**62
    return -SEVERITIES.index(one.severity), early, one.code


def _filled(command: str, path: str) -> str:
    name = shlex.quote(path)
    return command.format(run=name, id=shlex.quote(path.rpartition("/")[2]))


def _facts(run: Run, series: Series, role: str) -> MetricFacts:
    finite = series.finite
    values = finite.values
    n = finite.size
    sign = {"higher": 1, "lower": -1, "none": 0}[run.direction(series.metric)]
    common = (series.metric, role, series.size, series.size - n)
    if n == 0:
        return MetricFacts(*common, None, None, None, None, None, None)
    with np.errstate(all="ignore"):
        mean, std = float(values.mean()), float(values.std(ddof=1)) if n > 1 else None
        if n < _LEAST_FOR_TREND:
            best = sign * float((sign * values).max()) if sign else None
            ends = float(values[0]), float(values[-1])
            return MetricFacts(*common, *ends, best, mean, std, None)
        blocks = finite.blocks
        change = change_between(blocks, 0, -1)
        best = sign * float((sign * blocks.levels).max()) if sign else None
        ends = float(blocks.levels[0]), float(blocks.levels[-1])
        return MetricFacts(*common, *ends, best, mean, std, _trend(change.score, sign))


def _trend(score: float, sign: int) -> str:
    if abs(score) < 3:
        return "steady"
    if not sign:
        return "up" if score > 0 else "down"
    return "better" if score * sign > 0 else "worse"


def _hypotheses(run: Run, fired: Sequence[Told]) -> Iterator[Hypothesis]:
    """One for each rule that fired; good news has no hypothesis to rank."""
    by_code: dict[str, list[Told]] = {}
    for one in sorted(fired, key=_rank):
        if one.code not in _GOOD_NEWS:
            by_code.setdefault(one.code, []).append(one)
    groups = sorted(by_code.values(), key=lambda found: _weight(found, fired))
    for found in groups:
        first = found[0]
        yield Hypothesis(
            first.hypothesis,
            first.suggestion,
            first.severity,
            (*found, *_witnesses(first, fired)),
            _next_command(run, first),
        )


_GOOD_NEWS = {"RUN012", "RUN014", "RUN060"}
_MOST_WITNESSES = 4


def _weight(found: Sequence[Told], fired: Sequence[Told]) -> tuple[int, int, int, int]:
    """Severity, then what explains the end of the run, then how many bear witness."""
    first = found[0]
    rank = _rank(first)
    is_effect = first.code in ("RUN094", "RUN093")
    return rank[0], int(is_effect), -len(_witnesses(first, fired)), rank[1]


def _witnesses(first: Told, fired: Sequence[Told]) -> tuple[Told, ...]:
    """Other findings of the same family: symptoms of one illness."""
    others = [
        one
        for one in sorted(fired, key=_rank)
        if one.family == first.family
        and one.code != first.code
        and one.code not in _GOOD_NEWS
    ]
    return tuple(others[:_MOST_WITNESSES])


def _next_command(run: Run, one: Told) -> str:
    chapter = next(c for c in CHAPTERS if one.code.startswith(c.codes or ("-",)))
    if one.outcome.metric in run.series:
        metric = shlex.quote(one.outcome.metric)
        return f"run-assets runs metrics {shlex.quote(run.path)} -m {metric} --values"
    return _filled(chapter.command, run.path)


def document(found: RunAnalysis) -> dict[str, Any]:
    """The reading as plain values, for JSON."""
    plain = asdict(found)
    plain["severity"] = found.severity
    for section in plain["sections"]:
        chapter = section.pop("chapter")
        section |= {"title": chapter["title"], "question": chapter["question"]}
        section["not_testable"] = [
            {"code": code, "reason": reason} for code, reason in section["not_testable"]
        ]
    plain["settings_that_differ"] = [
        {"key": key, "run": here, "baseline": there}
        for key, here, there in found.settings_that_differ
    ]
    return plain
