"""What the report says about all runs: changes, coverage, freshness, provenance."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from run_assets.config import Analysis, RunFilter
from run_assets.reports.analysis_tables import STATISTICS
from run_assets.reports.analysis_views import (
    AnalysisView,
    analysis_view,
    moved_estimates,
)
from run_assets.reports.content import AnalysisContent, Changes, ReportContent
from run_assets.reports.curve_views import CurveView, curve_view
from run_assets.reports.diagnosis_views import DiagnosisView, diagnosis_view
from run_assets.reports.evaluation_views import EvaluationView, evaluation_view
from run_assets.reports.text import (
    NOTHING,
    count,
    duration,
    instant,
    listed,
    number,
    size,
)
from run_assets.reports.views import Cell, Name, Sentence, TableView, name, names

_ADDRESSES = (
    ("Scores of the runs", "stats.scores"),
    ("Estimates and intervals", "stats.interval_estimates"),
    ("Pairwise comparisons", "stats.comparisons"),
    ("Performance profiles", "stats.performance_profiles"),
    ("Probability of improvement", "stats.probability_of_improvement"),
    ("Sample efficiency", "stats.sample_efficiency"),
    ("Ranks", "stats.rank_stability"),
    ("Distance from the optimum", "stats.optimality_gaps"),
    ("Learning curves", "derived.metric_curves"),
    ("What the rules found", "diagnostics.findings"),
    ("One sentence on each run", "diagnostics.run_health"),
    ("Laws of scale", "diagnostics.scaling_fits"),
    ("Runs", "marts.runs"),
    ("What was read from where", "raw.sync_state"),
)
_TRIAL_ADDRESSES = (
    ("Trials", "core.trials"),
    ("Success rates", "stats.success_rates"),
    ("pass@k and pass^k", "stats.pass_at_k"),
    ("Models compared", "stats.model_comparisons"),
    ("What a success costs", "stats.efficiency"),
    ("Ranks of the models", "stats.leaderboard"),
    ("Tasks", "stats.task_difficulty"),
    ("Results over time", "stats.results_over_time"),
)
_NO_RUNS = (
    "No run has been read. Add a folder or a project under sources in "
    "run_assets.yaml, then run "
)
_ENDED_BADLY = ("failed", "crashed", "killed")


@dataclass(frozen=True)
class Fact:
    """One number of the strip at the top.

    Attributes:
        label: What it is.
        value: As text.
        detail: A smaller second line.
    """

    label: str
    value: str
    detail: str = ""


@dataclass(frozen=True)
class ReportView:
    """A whole report, ready to be written.

    Attributes:
        title: Projects of the runs.
        generated: When the report was made.
        facts: The strip at the top.
        analyses: In the order of the configuration.
        curves: Predicted training curves, where configured.
        changes: What is different from the previous report, a sentence each.
        changes_note: Why there is nothing to say, where there is nothing.
        diagnosis: What is wrong with which runs.
        coverage: Runs by state, read and missing, a sentence each.
        left_out: Runs without a score, with the reason.
        damaged: Files that were not read as a whole.
        files_note: What to say where there is no such file.
        provenance: Labels and values.
        addresses: What is in which table.
        warehouse: Where the tables are.
        query: An SQL query to start from.
        evaluations: Trials of models on tasks; often none.
    """

    title: Sentence
    generated: str
    facts: tuple[Fact, ...]
    analyses: tuple[AnalysisView, ...]
    curves: CurveView | None
    changes: tuple[tuple[str, Sentence], ...]
    changes_note: str
    diagnosis: DiagnosisView
    coverage: tuple[Sentence, ...]
    left_out: TableView | None
    damaged: TableView | None
    files_note: str
    provenance: tuple[tuple[str, str], ...]
    addresses: tuple[tuple[str, str], ...]
    warehouse: Name
    query: str
    evaluations: tuple[EvaluationView, ...]


def report_view(content: ReportContent, max_rows: int) -> ReportView:
    """Everything a report says, in the order in which it says it.

    Args:
        content: Frames and facts.
        max_rows: Rows shown of a table.
    """
    changes = (*_changed_runs(content.changes), *_moved(content))
    return ReportView(
        title=_title(content),
        generated=instant(content.generated_at),
        facts=_facts(content),
        analyses=tuple(
            analysis_view(one, content, max_rows) for one in content.analyses
        ),
        curves=curve_view(content.curves, max_rows) if content.curves else None,
        changes=changes,
        changes_note=_changes_note(content.changes, changes),
        diagnosis=diagnosis_view(content.diagnosis, max_rows),
        coverage=_coverage(content),
        left_out=_left_out(content, max_rows),
        damaged=_damaged(content.sync_state, max_rows),
        files_note=_files_note(content.sync_state),
        provenance=_provenance(content),
        addresses=(*_ADDRESSES, *(_TRIAL_ADDRESSES if content.evaluations else ())),
        warehouse=name(content.provenance.warehouse, 200),
        query=_query(content.analyses),
        evaluations=tuple(
            evaluation_view(one, max_rows) for one in content.evaluations
        ),
    )


def _title(content: ReportContent) -> Sentence:
    projects = (
        content.runs.select("entity", "project").unique().sort("entity", "project")
    )
    paths = ["/".join(filter(None, row)) for row in projects.iter_rows()]
    if paths:
        return names(paths, limit=3)
    return ("Evaluations" if content.evaluations else "No runs yet",)


def _facts(content: ReportContent) -> tuple[Fact, ...]:
    states = Counter(content.runs["run_state"])
    stopped = sum(states[one] for one in _ENDED_BADLY)
    changes = content.changes
    damaged = content.sync_state["is_damaged"].sum()
    skipped = content.sync_state["skipped_bytes"].sum()
    as_of = instant(content.provenance.data_as_of)
    day, _, time = as_of.partition(" ")
    return (
        Fact("Runs", f"{content.runs.height:,}", f"{states['finished']:,} finished"),
        Fact("Failed or stopped", f"{stopped:,}", f"{states['running']:,} running"),
        Fact("New runs", _new_runs(changes), _since(changes)),
        Fact("Damaged files", f"{damaged:,}", f"{size(int(skipped))} skipped"),
        Fact("Data as of", day, time),
    )


def _new_runs(changes: Changes) -> str:
    return f"{len(changes.new):,}" if changes.since else NOTHING


def _since(changes: Changes) -> str:
    return f"since {instant(changes.since)}" if changes.since else "first report"


# --- changes ----------------------------------------------------------------------


def _changed_runs(changes: Changes) -> tuple[tuple[str, Sentence], ...]:
    found = (
        (count(len(changes.new), "new run"), changes.new),
        (count(len(changes.grown), "run") + " with more steps", changes.grown),
        (count(len(changes.finished), "run") + " finished", changes.finished),
        (
            count(len(changes.stopped), "run") + " failed, crashed or killed",
            changes.stopped,
        ),
        (count(len(changes.deleted), "run") + " deleted", changes.deleted),
    )
    return tuple((label, names(paths, limit=6)) for label, paths in found if paths)


def _moved(content: ReportContent) -> list[tuple[str, Sentence]]:
    many = len(content.analyses) > 1
    return [
        (
            f"{STATISTICS.get(one.primary, one.primary)} moved",
            (name(one.name, 40), ": ", *moved) if many else moved,
        )
        for one in content.analyses
        if (moved := moved_estimates(one, content.changes))
    ]


def _changes_note(changes: Changes, found: Sequence[Any]) -> str:
    if changes.since is None:
        return (
            "This is the first report, so there is nothing to compare it with. "
            "The next one says which runs are new and which estimates have moved."
        )
    if not found:
        return (
            "No run is new, longer or gone, and no estimate has moved "
            f"since {instant(changes.since)}."
        )
    return f"Since the report of {instant(changes.since)}:"


# --- coverage ---------------------------------------------------------------------


def _coverage(content: ReportContent) -> tuple[Sentence, ...]:
    if content.runs.is_empty() and content.evaluations:
        return (("No W&B run has been read, only results of evaluations.",),)
    if content.runs.is_empty():
        return ((_NO_RUNS, name("run-assets refresh"), "."),)
    states = sorted(Counter(content.runs["run_state"]).items(), key=lambda one: -one[1])
    counted = listed([f"{runs:,} {state}" for state, runs in states])
    return (
        (f"{count(content.runs.height, 'run')} read: {counted}.",),
        (_freshness(content),),
        *(_coverage_of(one) for one in content.analyses),
    )


def _freshness(content: ReportContent) -> str:
    read_at = content.sync_state.select(pl.max("fetched_at")).item()
    as_of = instant(content.provenance.data_as_of)
    return f"Last sign of life in the data: {as_of}. Last read: {instant(read_at)}."


def _coverage_of(analysis: AnalysisContent) -> Sentence:
    scored = analysis.scores.filter(pl.col("score").is_finite())["run_path"].n_unique()
    return (f"{count(scored, 'run')} with a score in ", name(analysis.name), ".")


def _left_out(content: ReportContent, max_rows: int) -> TableView | None:
    if not content.analyses:
        return None
    reasons = [
        (run, analysis, reason)
        for analysis in content.analyses
        for run in _unscored(analysis, content.runs)
        if (reason := why_left_out(run, analysis.config))
    ]
    if not reasons:
        return None
    rows = tuple(
        (
            Cell(
                name(run["run_name"] or run["run_path"], 48),
                detail=name(run["run_path"], 64),
            ),
            Cell(name(analysis.name, 40)),
            Cell(name(run["run_state"] or NOTHING, 20)),
            Cell(name(reason, 120)),
            Cell(NOTHING if run["last_step"] is None else f"{run['last_step']:,}"),
            Cell(duration(run["runtime_seconds"])),
            Cell(instant(run["heartbeat_at"])),
        )
        for run, analysis, reason in reasons[:max_rows]
    )
    return TableView(
        title="Runs without a score",
        columns=(
            ("Run", "name"),
            ("Analysis", "name"),
            ("State", "state"),
            ("Reason", "text"),
            ("Last step", "number"),
            ("Runtime", "number"),
            ("Last sign of life", "text"),
        ),
        rows=rows,
        n_rows=len(reasons),
        address="marts.runs",
    )


def _unscored(analysis: AnalysisContent, runs: pl.DataFrame) -> list[dict[str, Any]]:
    """Runs without a finite score, with what the analysis knows about them."""
    known = analysis.scores.select("run_path", "group_name", "raw_score", "score")
    return (
        runs.drop("config_json", "notes")
        .join(known, on="run_path", how="left")
        .filter(~pl.col("score").is_finite().fill_null(value=False))
        .sort("run_path")
        .to_dicts()
    )


def why_left_out(run: dict[str, Any], config: Analysis) -> str | None:
    """The first reason for which a run has no score in an analysis.

    Args:
        run: A row of ``marts.runs`` with group_name, raw_score and score from
            ``stats.scores``, null where that table does not hold the run.
        config: The analysis.

    Returns:
        The reason; ``None`` for a run of another project, which nobody misses.
    """
    path = f"{run['entity']}/{run['project']}"
    if config.project and config.project not in (path, run["project"]):
        return None
    if reason := _filtered(run, config.runs):
        return reason
    if run["group_name"] is None:
        return "no value of what makes the groups"
    if run["raw_score"] is None:
        return "no value of the score"
    if not math.isfinite(run["raw_score"]):
        return f"the score is {number(run['raw_score'])}"
    return "the score cannot be normalized"


def _filtered(run: dict[str, Any], wanted: RunFilter) -> str | None:
    if wanted.state and run["run_state"] not in wanted.state:
        return f"only {listed(wanted.state)} runs count"
    if not set(wanted.tags) <= set(run["tags"] or ()):
        return f"lacks a tag of {listed(wanted.tags)}"
    if wanted.group is not None and run["run_group"] != wanted.group:
        return "belongs to another run group"
    if wanted.min_steps is not None and (run["last_step"] or 0) < wanted.min_steps:
        return f"fewer than {wanted.min_steps:,} steps"
    return None


def _damaged(sync_state: pl.DataFrame, max_rows: int) -> TableView | None:
    found = sync_state.filter(
        pl.col("is_damaged").fill_null(value=False)
        | (pl.col("skipped_bytes").fill_null(0) > 0)
        | pl.col("problem").is_not_null()
    ).sort(
        "is_damaged",
        "skipped_bytes",
        "source_location",
        descending=[True, True, False],
        nulls_last=True,
    )
    if found.is_empty():
        return None
    return TableView(
        title="Files that were not read as a whole",
        columns=(
            ("File", "name"),
            ("Verdict", "state"),
            ("Skipped", "number"),
            ("Reason", "text"),
        ),
        rows=tuple(_damaged_row(row) for row in found.head(max_rows).to_dicts()),
        n_rows=found.height,
        address="raw.sync_state",
        note="A cut-off tail is normal for a live or a killed run.",
    )


def _files_note(sync_state: pl.DataFrame) -> str:
    if sync_state.is_empty():
        return "No file or project has been read."
    return "Everything was read as a whole: no byte was skipped."


def _damaged_row(row: dict[str, Any]) -> tuple[Cell, ...]:
    reasons = [row["problem"], *(one["reason"] for one in row["skipped"] or ())]
    distinct = dict.fromkeys(one for one in reasons if one)
    where = [f"{one['start_byte']:,}" for one in row["skipped"] or ()][:3]
    return (
        Cell(
            name(row["source_location"], 72),
            detail=name(row["run_path"], 64) if row["run_path"] else "",
        ),
        Cell("damaged" if row["is_damaged"] else "incomplete"),
        Cell(size(row["skipped_bytes"]), detail=_at_bytes(where)),
        Cell(name("; ".join(distinct) or NOTHING, 200)),
    )


def _at_bytes(where: Sequence[str]) -> str:
    return f"at byte {listed(where)}" if where else ""


# --- provenance -------------------------------------------------------------------


def _provenance(content: ReportContent) -> tuple[tuple[str, str], ...]:
    source = content.provenance
    return (
        ("run_assets", name(source.code_version)),
        ("Configuration", name(source.config_digest)),
        ("Input", name(source.input_digest)),
        ("Data as of", instant(source.data_as_of)),
    )


def _query(analyses: Sequence[AnalysisContent]) -> str:
    """The first analysis by name, quoted for SQL; a name with odd signs is left out."""
    base = "select * from stats.interval_estimates"
    if not analyses or analyses[0].name != name(analyses[0].name, 60):
        return base
    quoted = analyses[0].name.replace("'", "''")
    return f"{base} where analysis = '{quoted}'"
