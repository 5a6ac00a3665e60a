"""One run read by the playbook, as Markdown."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from run_assets.diagnostics.comparison import Difference
from run_assets.diagnostics.model import WHOLE_RUN
from run_assets.diagnostics.playbook import (
    Hypothesis,
    MetricFacts,
    RunAnalysis,
    Section,
    Told,
)
from run_assets.reports.markdown import inline
from run_assets.reports.text import NOTHING, count, duration, instant, number
from run_assets.reports.views import name

_MOST_EVIDENCE = 6
_MOST_SETTINGS = 25
_RANKS = {"error": "Error", "warning": "Warning", "info": "Note"}


def as_markdown(found: RunAnalysis) -> str:
    """The story first, then the sections in the order of the playbook."""
    parts = [
        f"# {inline(name(found.facts.get('run_name') or found.path))}",
        _verdict(found),
        *_ranked(found.hypotheses),
        *(_section(one, found) for one in found.sections),
    ]
    return "\n\n".join(part for part in parts if part)


def _verdict(found: RunAnalysis) -> str:
    told = [one for section in found.sections for one in section.findings]
    bad = [one for one in told if one.severity != "info"]
    clear = sum(section.n_clear for section in found.sections)
    blind = sum(len(section.not_testable) for section in found.sections)
    state = f"The run is {inline(name(found.facts.get('run_state') or 'unknown'))}"
    where = inline(name(found.path, 200))
    head = f"{where}. {state}. "
    tests = f"{clear} tests are clear, {blind} could not be made."
    if not bad:
        good = "Nothing is wrong"
        good += f"; {count(len(told), 'note')} worth knowing. " if told else ". "
        return f"{head}{good}{tests}"
    errors = sum(one.severity == "error" for one in bad)
    warnings = count(len(bad) - errors, "warning")
    counted = f"{count(errors, 'error')} and {warnings}. "
    return f"{head}{counted}{tests}"


def _ranked(found: tuple[Hypothesis, ...]) -> Iterator[str]:
    if not found:
        return
    yield "## Hypotheses, the likeliest first"
    for number_, one in enumerate(found, start=1):
        evidence = "\n".join(f"   - {_finding(told)}" for told in one.evidence)
        yield (
            f"{number_}. **{_RANKS[one.severity]}.** {one.text}\n{evidence}\n"
            f"   - What to do: {one.suggestion}\n"
            f"   - Next: `{_code(one.command)}`"
        )


def _section(one: Section, found: RunAnalysis) -> str:
    lines = [f"## {one.number}. {one.chapter.title}", f"*{one.chapter.question}*"]
    if one.number == 1:
        lines.append(_run_facts(found))
    if one.metrics:
        lines.append(_metric_table(one.metrics))
    if one.chapter.title == "Comparison":
        lines += list(_comparison(found))
    if one.findings:
        lines.append("\n".join(f"- {_finding(told)}" for told in one.findings))
    lines.append(_tests(one))
    lines.append(f"More: `{_code(one.command)}`")
    return "\n\n".join(line for line in lines if line)


def _tests(one: Section) -> str:
    if not one.chapter.codes:
        return ""
    said = f"{one.n_clear} tests clear" if one.n_clear else "no test clear"
    if not one.not_testable:
        return f"{said.capitalize()}."
    reasons: dict[str, list[str]] = {}
    for code, reason in one.not_testable:
        reasons.setdefault(reason, []).append(code)
    listed = "; ".join(
        f"{', '.join(dict.fromkeys(codes))}: {inline(reason)}"
        for reason, codes in reasons.items()
    )
    return f"{said.capitalize()}. Not testable: {listed}."


def _finding(told: Told) -> str:
    outcome = told.outcome
    where = [] if outcome.metric == WHOLE_RUN else [inline(name(outcome.metric, 100))]
    if steps := _steps(outcome.steps):
        where.append(steps)
    place = f" ({', '.join(where)})" if where else ""
    parts = [f"**{told.severity}** {told.code} {told.summary.rstrip('.')}{place}."]
    if numbers := ", ".join(_numbers(told)):
        parts.append(f"{numbers}.")
    return " ".join(parts)


def _steps(steps: tuple[int | None, int | None]) -> str:
    first, last = steps
    if first is None:
        return ""
    return f"step {first:,}" if first == last else f"steps {first:,} to {last or 0:,}"


def _numbers(told: Told) -> Iterator[str]:
    outcome = told.outcome
    if outcome.statistic is not None and outcome.threshold is not None:
        limit = number(outcome.threshold)
        yield f"statistic {number(outcome.statistic)}, threshold {limit}"
    effect = outcome.effect
    if effect is not None and effect.low is not None and effect.high is not None:
        ends = f"{number(effect.low)}, {number(effect.high)}"
        yield f"effect {number(effect.size)} [{ends}]"
    for key, value in list(_flat(outcome.evidence))[:_MOST_EVIDENCE]:
        yield f"{key} {value}"


def _flat(evidence: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Numbers and short texts of the evidence; lists are for JSON."""
    for key, value in evidence.items():
        # Inside are names of metrics, which strangers chose; outside our own words.
        label = f"{before}{inline(name(key))}" if before else key.replace("_", " ")
        match value:
            case Mapping():
                yield from _flat(value, f"{label} ")
            case bool():
                yield label, "yes" if value else "no"
            case int():
                yield label, f"{value:,}"
            case float():
                yield label, number(value)
            case str():
                yield label, inline(name(value))


def _run_facts(found: RunAnalysis) -> str:
    facts = found.facts
    lines = [
        ("state", inline(name(facts.get("run_state") or NOTHING))),
        ("created", _instant(facts.get("created_at"))),
        ("runtime", duration(facts.get("runtime_seconds"))),
        ("last step", _count(facts.get("last_step"))),
        ("logged rows", _count(facts.get("history_rows"))),
        ("metrics", _count(facts.get("n_metrics"))),
        ("group", inline(name(facts.get("run_group") or NOTHING))),
        (
            "tags",
            ", ".join(inline(name(one)) for one in facts.get("tags") or ()) or NOTHING,
        ),
    ]
    shown = [f"| {label} | {value} |" for label, value in lines]
    config = list(found.settings.items())
    shown += [
        f"| config {inline(name(key))} | {inline(name(value))} |"
        for key, value in config[:_MOST_SETTINGS]
    ]
    if len(config) > _MOST_SETTINGS:
        shown.append(f"| | {len(config) - _MOST_SETTINGS} config keys more |")
    return "\n".join(["| | |", "| --- | --- |", *shown])


def _instant(value: datetime | None) -> str:
    return instant(value) if value is not None else NOTHING


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _metric_table(metrics: tuple[MetricFacts, ...]) -> str:
    heads = ("metric", "points", "first", "last", "best", "mean", "sd", "trend")
    lines = [
        f"| {' | '.join(heads)} |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for one in metrics:
        bad = f" ({one.n_nonfinite:,} not finite)" if one.n_nonfinite else ""
        numbers = (one.first, one.last, one.best, one.mean, one.std)
        cells = [NOTHING if value is None else number(value) for value in numbers]
        lines.append(
            f"| {inline(name(one.metric))} | {one.n_points:,}{bad} | "
            f"{' | '.join(cells)} | {one.trend or NOTHING} |"
        )
    return "\n".join(lines)


def _comparison(found: RunAnalysis) -> Iterator[str]:
    if not found.baseline:
        run = _code(found.path)
        yield (
            "Nothing to compare with was named: add `--baseline RUN` or `--baseline "
            f"tag:TAG`; `run-assets runs similar {run}` finds candidates."
        )
        return
    listed = ", ".join(inline(name(one, 100)) for one in found.baseline[:10])
    yield f"Against {len(found.baseline)} runs: {listed}."
    if found.differences:
        yield _difference_table(found.differences)
    else:
        yield "They share no metric with a known part."
    if found.settings_that_differ:
        yield "\n".join(
            ["| config | here | there |", "| --- | --- | --- |"]
            + [
                f"| {' | '.join(inline(name(one)) for one in row)} |"
                for row in found.settings_that_differ
            ]
        )


def _difference_table(found: tuple[Difference, ...]) -> str:
    heads = (
        *("metric", "here", "baseline", "difference", "95 % interval", "verdict"),
        *("reached at", "baseline at"),
    )
    lines = [
        f"| {' | '.join(heads)} |",
        "| --- | ---: | ---: | ---: | --- | --- | ---: | ---: |",
    ]
    for one in found:
        ends = NOTHING
        if one.low is not None and one.high is not None and one.low == one.low:
            ends = f"[{number(one.low)}, {number(one.high)}]"
        there = None if one.baseline_step is None else int(one.baseline_step)
        lines.append(
            f"| {inline(name(one.metric))} | {number(one.value)} "
            f"| {number(one.baseline)} | {number(one.difference)} | {ends} "
            f"| {one.verdict} | "
            f"{_count(one.first_step)} | {_count(there)} |"
        )
    return "\n".join(lines)


def _code(command: str) -> str:
    """A command inside a code span: nothing in it may end the span."""
    return command.replace("`", "\u02bc").replace("\n", " ")
