"""What a report says about an evaluation: who leads, how surely, at what cost."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from run_assets.contracts.evaluations import ALL_SWEEPS, ALL_TASKS
from run_assets.reports.evaluation_content import EvaluationContent
from run_assets.reports.text import (
    NOTHING,
    count,
    interval,
    listed,
    number,
    p_value,
    percent,
    signed,
    slug,
)
from run_assets.reports.views import Cell, Column, Sentence, TableView, name

Row = dict[str, Any]
_NOTES_SHOWN = 6
_NO_RANKING = (
    "No ranking: the models have no task in common, or their trials were stopped at "
    "the first success."
)


@dataclass(frozen=True)
class EvaluationView:
    """An evaluation, ready to be written.

    Attributes:
        title: The sweep.
        anchor: Its name as part of an id.
        name: What its figures are called.
        headline: Who leads, and how surely.
        coverage: Trials, tasks and what did not count.
        models: One row a model: rates, pass@k, cost, rank.
        pairs: Models compared two by two.
        tasks: One row a task, the hardest first.
        notes: Warnings of the statistics.
        method: How the numbers were made.
    """

    title: Sentence
    anchor: str
    name: str
    headline: Sentence
    coverage: Sentence
    models: TableView
    pairs: TableView | None
    tasks: TableView
    notes: tuple[Sentence, ...]
    method: str


def evaluation_view(content: EvaluationContent, max_rows: int) -> EvaluationView:
    """Everything a report says about an evaluation."""
    is_all = content.sweep_id == ALL_SWEEPS
    title: Sentence = (
        ("Evaluation of all trials",)
        if is_all
        else ("Evaluation ", name(content.sweep_id))
    )
    return EvaluationView(
        title=title,
        anchor=slug(content.name),
        name=content.name,
        headline=_headline(content),
        coverage=_coverage(content),
        models=models_table(content, max_rows),
        pairs=pairs_table(content, max_rows),
        tasks=tasks_table(content, max_rows),
        notes=_notes(content),
        method=_method(content),
    )


# --- sentences --------------------------------------------------------------------


def _headline(content: EvaluationContent) -> Sentence:
    ranked = content.leaderboard.filter(
        pl.col("measure") == "success", pl.col("rank").is_not_null()
    ).sort("rank", "model")
    if ranked.is_empty():
        return (_NO_RANKING,)
    best = ranked.row(0, named=True)
    rate = f"{_share(best['estimate'])} of trials succeed, mean over tasks"
    if ranked.height == 1:
        return (name(best["model"]), f" is the only ranked model: {rate}.")
    tied = ranked.filter(pl.col("rank") == best["rank"])
    if tied.height > 1:
        names = [name(one) for one in tied["model"].head(4)]
        return (f"Tied at the top: {listed(names)}. {rate[:1].upper()}{rate[1:]}.",)
    chance = _share(best["probability_best"])
    return (name(best["model"]), f" leads: {rate}; first with a chance of {chance}.")


def _coverage(content: EvaluationContent) -> Sentence:
    totals = content.models.select(
        pl.col("n_trials", "n_errors", "n_open", "total_tokens").sum(),
        pl.len().alias("n_models"),
    ).row(0, named=True)
    tasks = count(content.task_difficulty.height, "task")
    words = (
        f"{count(totals['n_trials'], 'trial')} with an outcome: "
        f"{count(totals['n_models'], 'model')} on {tasks}"
    )
    if totals["n_errors"]:
        words += f"; {totals['n_errors']:,} ended with an error"
    if totals["n_open"]:
        words += f"; {totals['n_open']:,} more have no outcome"
    stopped = content.success_rates.filter(
        pl.col("task") != ALL_TASKS, pl.col("is_stopped_early")
    ).height
    if stopped:
        cells = count(stopped, "cell")
        words += f"; {cells} stopped at the first success, which have no rate"
    if content.trial_outliers.height:
        apart = content.trial_outliers.select("source", "model", "task", "trial")
        n_apart = count(apart.n_unique(), "trial")
        words += f"; {n_apart} apart from the others of their cell"
    return (f"{words}.",)


def _notes(content: EvaluationContent) -> tuple[Sentence, ...]:
    totals = content.success_rates.filter(task=ALL_TASKS)
    rates = content.pass_at_k.filter(
        pl.col("task") == ALL_TASKS, pl.col("statistic") == "pass@k"
    ).filter(pl.col("estimate").is_null())
    found: list[Sentence] = [
        (name(row["model"]), ": ", name(row["notes"], 300))
        for row in totals.iter_rows(named=True)
        if row["notes"]
    ]
    found += [
        (name(row["model"]), f": pass@{row['k']}: ", name(row["notes"], 300))
        for row in rates.iter_rows(named=True)
    ]
    distinct = tuple(dict.fromkeys(found))
    hidden = len(distinct) - _NOTES_SHOWN
    more = (f"{hidden} more in the columns named notes.",)
    return distinct[:_NOTES_SHOWN] + ((more,) if hidden > 0 else ())


def _method(content: EvaluationContent) -> str:
    confidence = content.success_rates["confidence"][0]
    correction = content.model_comparisons["correction"].drop_nulls()
    corrected = f", {correction[0]} correction" if correction.len() else ""
    return (
        f"{percent(confidence)} intervals over tasks (score intervals with a t "
        "quantile); pass@k unbiased for each task, mean over tasks; models compared on "
        f"the tasks that both have, paired{corrected}; ranks by bootstrap of the "
        "trials within tasks; tokens per success with Fieller's interval over tasks."
    )


# --- tables -----------------------------------------------------------------------


def models_table(content: EvaluationContent, max_rows: int) -> TableView:
    """One row a model, the best first."""
    ks = content.pass_at_k["k"].unique().sort().to_list()
    passed = {
        (row["model"], row["statistic"], row["k"]): row["estimate"]
        for row in content.pass_at_k.filter(task=ALL_TASKS).iter_rows(named=True)
    }
    costs = {row["model"]: row for row in content.efficiency.iter_rows(named=True)}
    ranks = {
        row["model"]: row
        for row in content.leaderboard.filter(measure="success").iter_rows(named=True)
    }
    rows = [
        (
            Cell(name(row["model"])),
            Cell(_share(row["estimate"]), detail=_ends(row)),
            *(Cell(_share(passed.get((row["model"], "pass@k", k)))) for k in ks[1:]),
            Cell(_share(passed.get((row["model"], "pass^k", ks[-1])))),
            Cell(_share(row["any_success_rate"])),
            _tokens(costs.get(row["model"], {})),
            _rank(ranks.get(row["model"], {})),
            Cell(f"{row['n_trials']:,}", detail=count(row["n_tasks"], "task")),
        )
        for row in content.totals.head(max_rows).iter_rows(named=True)
    ]
    columns: list[Column] = [
        ("Model", "name"),
        ("Success rate", "number"),
        *((f"pass@{k}", "number") for k in ks[1:]),
        (f"pass^{ks[-1]}" if ks else "pass^k", "number"),
        ("Any success", "number"),
        ("Tokens per success", "number"),
        ("Rank", "number"),
        ("Trials", "number"),
    ]
    return TableView(
        title="Models",
        columns=tuple(columns),
        rows=tuple(rows),
        n_rows=content.totals.height,
        address="stats.success_rates",
        note="The success rate is pass@1. Any success is no pass@1: it grows with the "
        "number of trials.",
    )


def _tokens(row: Row) -> Cell:
    if row.get("tokens_per_success") is None:
        return Cell(NOTHING)
    ends = (row["tokens_ci_low"], row["tokens_ci_high"])
    detail = interval(*ends, 0) if None not in ends else ""
    return Cell(number(row["tokens_per_success"], 0), detail=detail)


def _rank(row: Row) -> Cell:
    if row.get("rank") is None:
        return Cell(NOTHING)
    chance = f"first: {_share(row['probability_best'])}"
    return Cell(f"{row['rank']:g}", detail=chance)


def pairs_table(content: EvaluationContent, max_rows: int) -> TableView | None:
    """Differences in success of every pair of models; ``None`` without a pair."""
    found = content.model_comparisons.filter(measure="success").sort(
        "p_adjusted", "model_x", "model_y", nulls_last=True
    )
    if found.is_empty():
        return None
    rows = tuple(
        (
            Cell(name(row["model_x"])),
            Cell(name(row["model_y"])),
            Cell(_points(row["estimate"]), detail=_signed_ends(row)),
            Cell(p_value(row["p_adjusted"])),
            Cell(f"{row['n_items']:,}"),
        )
        for row in found.head(max_rows).iter_rows(named=True)
    )
    return TableView(
        title="Models compared two by two",
        columns=(
            ("Model", "name"),
            ("Against", "name"),
            ("Difference in success", "number"),
            ("Adjusted p", "number"),
            ("Pairs", "number"),
        ),
        rows=rows,
        n_rows=found.height,
        address="stats.model_comparisons",
        note="In percentage points, on the tasks that both models have.",
    )


def tasks_table(content: EvaluationContent, max_rows: int) -> TableView:
    """One row a task, the hardest first."""
    found = content.task_difficulty.sort(
        "difficulty", "task", descending=[True, False], nulls_last=True
    )
    rows = tuple(
        (
            Cell(name(row["task"], 60)),
            Cell(_share(row["success_rate"]), detail=_ends(row)),
            Cell(f"{row['n_solved']} of {row['n_models']}"),
            Cell(name(row["best_model"] or NOTHING), detail=_share(row["best_rate"])),
            Cell(f"{row['n_trials']:,}"),
        )
        for row in found.head(max_rows).iter_rows(named=True)
    )
    return TableView(
        title="Tasks",
        columns=(
            ("Task", "name"),
            ("Success rate", "number"),
            ("Models with a success", "number"),
            ("Best model", "name"),
            ("Trials", "number"),
        ),
        rows=rows,
        n_rows=found.height,
        address="stats.task_difficulty",
    )


def _share(rate: float | None) -> str:
    return NOTHING if rate is None else f"{rate:.1%}"


def _ends(row: Row) -> str:
    if row["ci_low"] is None:
        return ""
    return f"[{row['ci_low']:.1%}, {row['ci_high']:.1%}]"


def _points(difference: float | None) -> str:
    return NOTHING if difference is None else signed(100 * difference, 1)


def _signed_ends(row: Row) -> str:
    if row["ci_low"] is None:
        return ""
    return f"[{_points(row['ci_low'])}, {_points(row['ci_high'])}]"
