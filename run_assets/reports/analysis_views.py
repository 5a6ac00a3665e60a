"""What the report says about one analysis: sentences and tables, no markup."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from run_assets.config import Analysis
from run_assets.reports.content import AnalysisContent, Changes, Estimate, ReportContent
from run_assets.reports.text import (
    NOTHING,
    count,
    decimals,
    duration,
    instant,
    interval,
    number,
    p_value,
    percent,
    signed,
    slug,
)
from run_assets.reports.verdicts import (
    Movement,
    Outcome,
    Pair,
    Relation,
    group_order,
    movements,
    pairs,
    verdict,
)
from run_assets.reports.views import (
    Cell,
    Column,
    Sentence,
    Span,
    TableView,
    name,
    safe_url,
)

STATISTICS = {
    "iqm": "IQM",
    "mean": "mean",
    "median": "median",
    "optimality_gap": "optimality gap",
}
TESTS = {
    "wilcoxon": "Wilcoxon signed-rank test",
    "mannwhitney": "Mann-Whitney U test",
    "ttest": "Student's t-test",
    "welch": "Welch's t-test",
}
CORRECTIONS = {
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "bh": "Benjamini-Hochberg",
    "none": "no",
}
EFFECTS = {"cohen_d": "Cohen's d", "cliffs_delta": "Cliff's delta"}
_RIVALS_IN_VERDICT = 6
_NOTES_SHOWN = 6


@dataclass(frozen=True)
class AnalysisView:
    """One analysis, ready to be written.

    Attributes:
        title: Its name.
        anchor: Its name as part of an id.
        outcome: See ``run_assets.reports.verdicts.Verdict``.
        headline: The verdict in a sentence.
        question: What was compared, by which score.
        remarks: Against each rival, and since the previous report.
        estimates: Comparison table.
        pairs: Pairwise comparisons.
        runs: Per-run table.
        notes: Warnings of the statistics.
        method: How intervals and tests were made.
    """

    title: Sentence
    anchor: str
    outcome: Outcome
    headline: Sentence
    question: Sentence
    remarks: tuple[tuple[Relation | None, Sentence], ...]
    estimates: TableView | None
    pairs: TableView | None
    runs: TableView | None
    notes: tuple[Sentence, ...]
    method: str


def analysis_view(
    analysis: AnalysisContent, content: ReportContent, max_rows: int
) -> AnalysisView:
    """Everything a report says about one analysis.

    Args:
        analysis: One of ``content.analyses``.
        content: The whole content, for its runs and changes.
        max_rows: Rows shown of a table.
    """
    answer = verdict(analysis, content.changes)
    places = _places(analysis)
    return AnalysisView(
        title=(name(analysis.name),),
        anchor=slug(analysis.name),
        outcome=answer.outcome,
        headline=_headline(analysis, answer.outcome, answer.best, answer.against),
        question=_question(analysis.config),
        remarks=(
            *(
                _rival_remark(one, places)
                for one in answer.against[:_RIVALS_IN_VERDICT]
            ),
            *_since_remark(analysis, content.changes, answer.movement),
        ),
        estimates=_estimates_table(analysis, content.changes, max_rows),
        pairs=_pairs_table(analysis, max_rows),
        runs=_runs_table(analysis, content.runs, max_rows),
        notes=_notes(analysis),
        method=_method(analysis),
    )


def _places(analysis: AnalysisContent) -> int:
    return decimals(one.value for one in analysis.estimates)


# --- sentences --------------------------------------------------------------------


def _headline(
    analysis: AnalysisContent,
    outcome: Outcome,
    best: Estimate | None,
    against: Sequence[Pair],
) -> Sentence:
    if best is None:
        return _why_empty(analysis)
    places = _places(analysis)
    statistic = STATISTICS.get(best.statistic, best.statistic)
    value = (
        f"{statistic} {number(best.value, places)} "
        f"{interval(best.low, best.high, places)} from {count(best.n_runs, 'run')}"
    )
    who = name(best.group)
    if outcome == "alone":
        return (who, f" is the only group: {value}. A comparison needs a second one.")
    if outcome == "clear":
        return (who, f" is best: {value}.")
    if outcome == "partial":
        better = sum(one.relation == "better" for one in against)
        rivals = len(group_order(analysis)) - 1
        ahead = f" leads, clearly ahead of {better} of {rivals} others: {value}."
        return (who, ahead)
    return ("No clear winner. ", who, f" has the best {value}.")


def _why_empty(analysis: AnalysisContent) -> Sentence:
    config = analysis.config
    if analysis.scores["score"].drop_nulls().is_empty():
        return (
            "No verdict yet: no run has a value of ",
            name(config.score.metric),
            " and a group in ",
            name(config.group),
            ". Check score, group and runs of this analysis in run_assets.yaml.",
        )
    return ("No verdict yet: no group has enough scores for an estimate.",)


def _question(config: Analysis) -> Sentence:
    task: Sentence = (" on each ", name(config.task)) if config.task else ()
    project: Sentence = (" in ", name(config.project)) if config.project else ()
    return (
        "Which ",
        name(config.group),
        " reaches the best ",
        name(config.score.metric),
        f" ({config.score.aggregate})",
        *task,
        *project,
        "?",
    )


def _rival_remark(pair: Pair, places: int) -> tuple[Relation, Sentence]:
    difference = (
        f": mean score {signed(pair.difference, places)} "
        f"{_signed_interval(pair.low, pair.high, places)}, "
        f"adjusted p {_equals(p_value(pair.p_adjusted))}."
    )
    return pair.relation, (_TOWARDS[pair.relation], name(pair.other), difference)


_TOWARDS: dict[Relation, str] = {
    "better": "than ",
    "worse": "than ",
    "unclear": "against ",
}


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _signed_interval(low: float | None, high: float | None, places: int) -> str:
    if low is None or high is None:
        return "without interval"
    return f"[{signed(low, places)}, {signed(high, places)}]"


def _since_remark(
    analysis: AnalysisContent, changes: Changes, moved: Movement | None
) -> list[tuple[Relation | None, Sentence]]:
    if analysis.name in changes.redefined:
        return [(None, ("The question has changed since the previous report.",))]
    if changes.since is None or moved is None:
        return []
    places = _places(analysis)
    since = f"since the report of {instant(changes.since)}"
    if moved.is_unchanged:
        return [(None, (f"Unchanged {since}.",))]
    before = number(moved.before.value, places)
    how = "" if moved.relation != "unclear" else ", within the intervals"
    now = number(moved.now.value, places)
    statistic = STATISTICS.get(moved.now.statistic, moved.now.statistic)
    return [(moved.relation, (f"{since}: {statistic} {before} → {now}{how}.",))]


def moved_estimates(analysis: AnalysisContent, changes: Changes) -> Sentence:
    """Each primary estimate that is not what it was: name, before, now."""
    places = _places(analysis)
    parts: list[str] = []
    for one in movements(analysis, changes):
        if one.now.statistic == analysis.primary and not one.is_unchanged:
            values = (number(value, places) for value in (one.before[2], one.now[2]))
            parts += [", "] if parts else []
            parts += [name(one.now.group, 40), f" {' → '.join(values)}"]
    return tuple(parts)


def _method(analysis: AnalysisContent) -> str:
    config = analysis.config
    how = config.interval
    paired = f", paired by {config.comparison.paired_by}" * bool(
        config.comparison.paired_by
    )
    return (
        f"{percent(how.confidence)} intervals: {how.method} bootstrap, "
        f"{how.resamples:,} resamples, seed {how.seed}. "
        f"Test: {TESTS[config.comparison.test]}{paired}, "
        f"{CORRECTIONS[config.comparison.correction]} correction. "
        "Better or worse is said only where the test and the interval of the "
        "difference agree; unclear does not mean equal."
    )


def _notes(analysis: AnalysisContent) -> tuple[Sentence, ...]:
    of_groups: list[Sentence] = [
        (name(row["group_name"]), ": ", name(row["notes"], 300))
        for row in analysis.interval_estimates.iter_rows(named=True)
        if row["notes"]
    ]
    of_pairs: list[Sentence] = [
        (name(one.group), " and ", name(one.other), ": ", name(one.notes, 300))
        for one in pairs(analysis)
        if one.notes
    ]
    distinct = tuple(dict.fromkeys(of_groups + of_pairs))
    hidden = len(distinct) - _NOTES_SHOWN
    more = (f"{hidden} more in the columns named notes.",)
    return distinct[:_NOTES_SHOWN] + ((more,) if hidden > 0 else ())


# --- tables -----------------------------------------------------------------------


def _estimates_table(
    analysis: AnalysisContent, changes: Changes, max_rows: int
) -> TableView | None:
    groups = group_order(analysis)
    statistics = list(dict.fromkeys(one.statistic for one in analysis.estimates))
    if not groups or not statistics:
        return None
    found = {(one.group, one.statistic): one for one in analysis.estimates}
    moved = {
        one.now.group: one
        for one in movements(analysis, changes)
        if one.now.statistic == analysis.primary
    }
    sizes = _group_sizes(analysis)
    places = _places(analysis)
    rows = tuple(
        (
            Cell(name(group)),
            *(_estimate_cell(found.get((group, one)), places) for one in statistics),
            *sizes.get(group, (Cell(NOTHING), Cell(NOTHING))),
            *([_movement_cell(moved.get(group), places)] if moved else []),
        )
        for group in groups[:max_rows]
    )
    primary = STATISTICS.get(analysis.primary, analysis.primary)
    before: list[Column] = [(f"{_heading(primary)} before", "number")] if moved else []
    return TableView(
        title="Comparison",
        columns=(
            ("Group", "name"),
            *((_heading(STATISTICS.get(one, one)), "number") for one in statistics),
            ("Runs", "number"),
            ("Tasks", "number"),
            *before,
        ),
        rows=rows,
        n_rows=len(groups),
        address="stats.interval_estimates",
    )


def _heading(words: str) -> str:
    return words[:1].upper() + words[1:]


def _estimate_cell(one: Estimate | None, places: int) -> Cell:
    if one is None:
        return Cell(NOTHING)
    has_interval = one.low is not None and one.high is not None
    ends = interval(one.low, one.high, places) if has_interval else "no interval"
    return Cell(number(one.value, places), detail=ends)


def _group_sizes(analysis: AnalysisContent) -> dict[str, tuple[Cell, Cell]]:
    columns = [
        "group_name",
        "n_runs",
        "n_tasks",
        "min_runs_per_task",
        "max_runs_per_task",
    ]
    return {
        group: (
            Cell(_whole(runs), detail=_per_task(fewest, most)),
            Cell(_whole(tasks)),
        )
        for group, runs, tasks, fewest, most in analysis.interval_estimates.select(
            columns
        ).iter_rows()
    }


def _whole(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _per_task(fewest: int | None, most: int | None) -> str:
    if fewest is None or most is None:
        return ""
    return f"{fewest} a task" if fewest == most else f"{fewest} to {most} a task"


def _movement_cell(moved: Movement | None, places: int) -> Cell:
    if moved is None:
        return Cell("new")
    before = number(moved.before.value, places)
    if moved.is_unchanged:
        return Cell(before, detail="unchanged")
    if moved.before.value is None or moved.now.value is None:
        return Cell(before)
    change = signed(moved.now.value - moved.before.value, places)
    return Cell(before, detail=f"{change} since")


def _pairs_table(analysis: AnalysisContent, max_rows: int) -> TableView | None:
    found = pairs(analysis)
    if not found:
        return None
    drawn = found[:max_rows]
    places = _places(analysis)
    ends = [one for pair in drawn for one in (pair.low, pair.high, pair.difference)]
    reach = max((abs(one) for one in ends if one is not None), default=0.0) or 1.0
    return TableView(
        title="Pairwise comparisons",
        columns=(
            ("Group", "name"),
            ("Verdict", "relation"),
            ("Compared with", "name"),
            ("Mean difference", "number"),
            ("Interval", "interval"),
            ("Effect size", "number"),
            ("Adjusted p", "number"),
            ("Runs", "number"),
        ),
        rows=tuple(_pair_row(one, places, reach) for one in drawn),
        n_rows=len(found),
        address="stats.comparisons",
    )


def _pair_row(pair: Pair, places: int, reach: float) -> tuple[Cell, ...]:
    ends = _signed_interval(pair.low, pair.high, places)
    effect = EFFECTS.get(pair.effect or "", name(pair.effect or "", 30))
    return (
        Cell(name(pair.group)),
        Cell(pair.relation, relation=pair.relation),
        Cell(name(pair.other)),
        Cell(signed(pair.difference, places), detail=ends),
        Cell(ends, span=_span(pair, reach)),
        Cell(signed(pair.effect_size, 2), detail=effect),
        Cell(p_value(pair.p_adjusted)),
        Cell(" / ".join(_whole(one) for one in pair.n_runs)),
    )


def _span(pair: Pair, reach: float) -> Span | None:
    if pair.low is None or pair.high is None or pair.difference is None:
        return None
    low, high, center = (
        round(0.5 + 0.48 * one / reach, 4)
        for one in (pair.low, pair.high, pair.difference)
    )
    return Span(low, high, center, zero=0.5)


def _runs_table(
    analysis: AnalysisContent, runs: pl.DataFrame, max_rows: int
) -> TableView | None:
    if analysis.scores.is_empty():
        return None
    order = {group: at for at, group in enumerate(group_order(analysis))}
    facts = ["run_path", "run_name", "run_state", "last_step", "runtime_seconds"]
    joined = (
        analysis.scores.join(
            runs.select(*facts, "heartbeat_at", "url"), on="run_path", how="left"
        )
        .with_columns(
            pl.col("group_name").replace_strict(order, default=len(order)).alias("rank")
        )
        .sort(
            "rank", "task", "score", "run_path", descending=[False, False, True, False]
        )
    )
    places = decimals(joined["score"])
    raw_places = decimals(joined["raw_score"])
    is_raw_shown = analysis.config.normalize.method != "none"
    rows = tuple(
        (
            Cell(
                name(row["run_name"] or row["run_path"], 48),
                detail=name(row["run_path"], 64),
                url=safe_url(row["url"]),
            ),
            Cell(name(row["group_name"], 40)),
            *([Cell(name(row["task"], 40))] if analysis.config.task else []),
            Cell(number(row["score"], places)),
            *([Cell(number(row["raw_score"], raw_places))] if is_raw_shown else []),
            Cell(name(row["run_state"], 20)),
            Cell(_whole(row["last_step"])),
            Cell(duration(row["runtime_seconds"])),
            Cell(instant(row["heartbeat_at"])),
        )
        for row in joined.head(max_rows).iter_rows(named=True)
    )
    task: list[Column] = [("Task", "name")] if analysis.config.task else []
    as_logged: list[Column] = [("Score as logged", "number")] if is_raw_shown else []
    return TableView(
        title="Runs",
        columns=(
            ("Run", "name"),
            ("Group", "name"),
            *task,
            ("Score", "number"),
            *as_logged,
            ("State", "state"),
            ("Last step", "number"),
            ("Runtime", "number"),
            ("Last sign of life", "text"),
        ),
        rows=rows,
        n_rows=joined.height,
        address="stats.scores",
    )
