"""The tables of one analysis: estimates, pairs and runs."""

from typing import Any

import polars as pl

from run_assets.reports.content import AnalysisContent, Changes, Estimate
from run_assets.reports.standing_table import wins
from run_assets.reports.text import (
    NOTHING,
    decimals,
    duration,
    instant,
    interval,
    number,
    p_value,
    signed,
)
from run_assets.reports.verdicts import (
    Movement,
    Pair,
    group_order,
    movements,
    pairs,
)
from run_assets.reports.views import (
    Cell,
    Column,
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
WINS: Column = ("Wins", "number")
EFFECTS = {"cohen_d": "Cohen's d", "cliffs_delta": "Cliff's delta"}


def places_of(analysis: AnalysisContent) -> int:
    """Decimals of all numbers of an analysis."""
    return decimals(one.value for one in analysis.estimates)


def ends_of(one: Estimate, places: int) -> str:
    """The interval of an estimate in words."""
    if one.low is None or one.high is None:
        return "(no interval)"
    return interval(one.low, one.high, places)


def signed_interval(low: float | None, high: float | None, places: int) -> str:
    """The interval of a difference in words."""
    if low is None or high is None:
        return "no interval"
    return f"[{signed(low, places)}, {signed(high, places)}]"


def estimates_table(
    analysis: AnalysisContent, changes: Changes, max_rows: int
) -> TableView | None:
    """Each statistic of each group with its interval, the best group first."""
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
    places = places_of(analysis)
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
    return Cell(number(one.value, places), detail=ends_of(one, places).strip("()"))


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


def pairs_table(analysis: AnalysisContent, max_rows: int) -> TableView | None:
    """Every pair of groups, the better one first."""
    found = pairs(analysis)
    if not found:
        return None
    drawn = found[:max_rows]
    won = wins(analysis)
    places = places_of(analysis)
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
            ("Runs or pairs", "number"),
            *([WINS] if won else []),
        ),
        rows=tuple(
            (
                *_pair_row(one, places, reach),
                *([won.get((one.group, one.other), Cell(NOTHING))] if won else []),
            )
            for one in drawn
        ),
        n_rows=len(found),
        address="stats.comparisons",
    )


def _pair_row(pair: Pair, places: int, reach: float) -> tuple[Cell, ...]:
    ends = signed_interval(pair.low, pair.high, places)
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


def runs_table(
    analysis: AnalysisContent, runs: pl.DataFrame, max_rows: int
) -> TableView | None:
    """Every run of the analysis with its score, the best group first."""
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
        _run_row(row, analysis, places, raw_places)
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


def _run_row(
    row: dict[str, Any], analysis: AnalysisContent, places: int, raw_places: int
) -> tuple[Cell, ...]:
    is_raw_shown = analysis.config.normalize.method != "none"
    return (
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
