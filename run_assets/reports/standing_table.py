"""What else is known of each group: its rank, its speed, its distance to the best."""

from typing import Any

import polars as pl

from run_assets.reports.content import AnalysisContent
from run_assets.reports.text import NOTHING, decimals, interval, number, percent
from run_assets.reports.verdicts import group_order
from run_assets.reports.views import Cell, Column, TableView, name

Rows = dict[str, dict[str, Any]]
ALL_TASKS = "*"


def standing_table(analysis: AnalysisContent, max_rows: int) -> TableView | None:
    """Rank, area under the curve, first step and gap of each group, where known."""
    ranks = _by_group(analysis.rank_stability)
    speed = analysis.sample_efficiency
    areas, steps = (
        _by_group(speed.filter(pl.col("statistic") == one))
        if not speed.is_empty()
        else {}
        for one in ("area", "first_step")
    )
    gaps = analysis.optimality_gaps
    over_all = (
        _by_group(gaps.filter(pl.col("task") == ALL_TASKS))
        if not gaps.is_empty()
        else {}
    )
    columns = [
        *_if(
            ranks, ("Rank", _rank_cells(ranks)), ("Chance to be best", _chances(ranks))
        ),
        *_if(over_all, ("Below the optimum", _gap_cells(over_all))),
        *_if(areas, ("Mean over training", _value_cells(areas))),
        *_if(steps, ("Target reached at", _value_cells(steps))),
    ]
    groups = group_order(analysis)
    # Ranks, gaps and first steps take high scores for good ones.
    if not columns or not groups or analysis.direction == "minimize":
        return None
    headings: list[Column] = [(heading, "number") for heading, _ in columns]
    return TableView(
        title="Ranks, speed and distance from the optimum",
        columns=(("Group", "name"), *headings),
        rows=tuple(
            (Cell(name(group)), *(of.get(group, Cell(NOTHING)) for _, of in columns))
            for group in groups[:max_rows]
        ),
        n_rows=len(groups),
        address="stats.rank_stability",
        note="Ranks and chances are those over the resamples: who would be best with "
        "other runs of the same tasks.",
    )


Cells = dict[str, Cell]


def _if(known: Rows, *columns: tuple[str, Cells]) -> list[tuple[str, Cells]]:
    return list(columns) if known else []


def _by_group(rows: pl.DataFrame) -> Rows:
    return {row["group_name"]: row for row in rows.iter_rows(named=True)}


def _rank_cells(rows: Rows) -> Cells:
    return {
        group: Cell(
            _short(row["rank"]),
            detail=f"{_short(row['rank_low'])} to {_short(row['rank_high'])}",
        )
        for group, row in rows.items()
    }


def _short(rank: float | None) -> str:
    return NOTHING if rank is None else f"{rank:g}"


def _chances(rows: Rows) -> Cells:
    chances = {group: row["probability_best"] for group, row in rows.items()}
    return {
        group: Cell(NOTHING if chance is None else f"{chance:.0%}")
        for group, chance in chances.items()
    }


def _gap_cells(rows: Rows) -> Cells:
    """As a share of the optimum where that has a meaning."""
    if any(row["gap_rate"] is None for row in rows.values()):
        return _value_cells(
            {group: {**row, "estimate": row["gap"]} for group, row in rows.items()}
        )
    return {
        group: Cell(
            f"{row['gap_rate']:.1%}",
            detail=f"{row['rate_ci_low']:.1%} to {row['rate_ci_high']:.1%}"
            if row["rate_ci_low"] is not None
            else "no interval",
        )
        for group, row in rows.items()
    }


def _value_cells(rows: Rows) -> Cells:
    places = decimals(row["estimate"] for row in rows.values())
    return {
        group: Cell(
            number(row["estimate"], places),
            detail=interval(row["ci_low"], row["ci_high"], places).strip("()")
            if row["ci_low"] is not None and row["ci_high"] is not None
            else "no interval",
        )
        for group, row in rows.items()
    }


def wins(analysis: AnalysisContent) -> dict[tuple[str, str], Cell]:
    """How often a run of the first group beats one of the second."""
    rows = analysis.probability_of_improvement
    if analysis.direction == "minimize":
        return {}
    return {
        (row["group_x"], row["group_y"]): Cell(
            percent(round(row["estimate"], 3)),
            detail=f"{row['ci_low']:.0%} to {row['ci_high']:.0%}"
            if row["ci_low"] is not None
            else "no interval",
        )
        for row in rows.iter_rows(named=True)
        if row["estimate"] is not None
    }
