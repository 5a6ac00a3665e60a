"""What the report says about one analysis: its verdict in sentences, its tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from run_assets.config import Analysis
from run_assets.reports.analysis_tables import (
    STATISTICS,
    ends_of,
    estimates_table,
    pairs_table,
    places_of,
    runs_table,
    signed_interval,
)
from run_assets.reports.content import AnalysisContent, Changes, Estimate, ReportContent
from run_assets.reports.standing_table import standing_table
from run_assets.reports.text import (
    count,
    instant,
    number,
    p_statement,
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
    Sentence,
    TableView,
    name,
)

TESTS = {
    "wilcoxon": "Wilcoxon signed-rank test",
    "mannwhitney": "Mann-Whitney U test",
    "ttest": "Student's t-test",
    "welch": "Welch's t-test",
    "permutation": "permutation test",
}
CORRECTIONS = {
    "holm": "Holm",
    "bonferroni": "Bonferroni",
    "bh": "Benjamini-Hochberg",
    "none": "no",
}
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
        standing: What else is known of each group.
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
    standing: TableView | None
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
    places = places_of(analysis)
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
        estimates=estimates_table(analysis, content.changes, max_rows),
        pairs=pairs_table(analysis, max_rows),
        standing=standing_table(analysis, max_rows),
        runs=runs_table(analysis, content.runs, max_rows),
        notes=_notes(analysis),
        method=_method(analysis),
    )


# --- sentences --------------------------------------------------------------------


def _headline(
    analysis: AnalysisContent,
    outcome: Outcome,
    best: Estimate | None,
    against: Sequence[Pair],
) -> Sentence:
    if best is None:
        return _why_empty(analysis)
    places = places_of(analysis)
    statistic = STATISTICS.get(best.statistic, best.statistic)
    value = (
        f"{statistic} {number(best.value, places)} "
        f"{ends_of(best, places)} from {count(best.n_runs, 'run')}"
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
    difference = f": mean score {signed(pair.difference, places)}"
    if pair.p_adjusted is None:
        difference += ", not testable."
    else:
        ends = signed_interval(pair.low, pair.high, places)
        difference += f" {ends}, adjusted {p_statement(pair.p_adjusted)}."
    return pair.relation, (_TOWARDS[pair.relation], name(pair.other), difference)


_TOWARDS: dict[Relation, str] = {
    "better": "than ",
    "worse": "than ",
    "unclear": "against ",
}


def _since_remark(
    analysis: AnalysisContent, changes: Changes, moved: Movement | None
) -> list[tuple[Relation | None, Sentence]]:
    if analysis.name in changes.redefined:
        return [(None, ("The question has changed since the previous report.",))]
    if changes.since is None or moved is None:
        return []
    places = places_of(analysis)
    since = f"since the report of {instant(changes.since)}"
    if moved.is_unchanged:
        return [(None, (f"Unchanged {since}.",))]
    before = number(moved.before.value, places)
    how = _margin(moved)
    now = number(moved.now.value, places)
    statistic = STATISTICS.get(moved.now.statistic, moved.now.statistic)
    return [(moved.relation, (f"{since}: {statistic} {before} → {now}{how}.",))]


def _margin(moved: Movement) -> str:
    if moved.relation != "unclear":
        return ""
    ends = (moved.before.low, moved.before.high, moved.now.low, moved.now.high)
    return (
        ", without intervals to judge by" if None in ends else ", within the intervals"
    )


def moved_estimates(analysis: AnalysisContent, changes: Changes) -> Sentence:
    """Each primary estimate that is not what it was: name, before, now."""
    places = places_of(analysis)
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
    one_sided = config.comparison.alternative != "two-sided"
    sided = f", one-sided ({config.comparison.alternative})" * one_sided
    return (
        f"{percent(how.confidence)} intervals of the groups: {how.method} stratified "
        f"bootstrap, {how.resamples:,} resamples, seed {how.seed}; of the differences: "
        "t intervals, not corrected for the number of comparisons. "
        f"Test: {TESTS[config.comparison.test]}{paired}{sided}, "
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
