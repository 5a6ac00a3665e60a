"""Sample efficiency: how good a group is after how many steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, isnan

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError
from run_assets.stats.aggregate import STATISTICS, point_estimate
from run_assets.stats.bootstrap import (
    BASIS,
    Bootstrap,
    Row,
    missing_variance,
    no_interval_reason,
    single_run_notes,
)
from run_assets.stats.options import check_choice
from run_assets.stats.replicates import replicates
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    Strata,
    check_columns,
    coverage_notes,
    read_groups,
)

Float64Array = NDArray[np.float64]

METHODS = ("corrected", "percentile")

SCHEMA = {
    "group_name": pl.String,
    "statistic": pl.String,
    "step": pl.Float64,
    "level": pl.Float64,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_runs": pl.Int64,
    **BASIS,
}


@dataclass(frozen=True)
class _Question:
    """What is asked of each group, checked."""

    grid: Float64Array
    statistic: str
    level: float | None
    bootstrap: Bootstrap


@dataclass(frozen=True)
class _Result:
    """One row of the result, before it is spelled out."""

    labels: Row
    layout: Strata | None
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Whole:
    """The aggregate of the runs that cover the grid.

    Attributes:
        layout: Their tasks and numbers.
        heights: Shape ``(grid, 1)``: the curve.
        drawn: Shape ``(grid, resamples)``: resampled curves; None if there are none.
        notes: What a reader must know.
    """

    layout: Strata
    heights: Float64Array
    drawn: Float64Array | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Curves:
    """The curves of one group on the grid, task after task.

    Attributes:
        tasks: As in `Strata`.
        sizes: Shape ``(tasks,)``: runs per task.
        values: Shape ``(runs, grid)``; NaN where a run has not been or no longer is.
            Runs are sorted within their task by their curves.
    """

    tasks: tuple[str | None, ...]
    sizes: NDArray[np.int64]
    values: Float64Array

    def at(self, point: int) -> Strata | None:
        """The runs that have a value at a point of the grid; None if none has."""
        return self.kept(~np.isnan(self.values[:, point])).strata(point)

    def kept(self, is_kept: NDArray[np.bool_]) -> "_Curves":
        """Only some of the runs, and the tasks that they leave."""
        task = np.repeat(np.arange(self.sizes.size), self.sizes)[is_kept]
        sizes = np.bincount(task, minlength=self.sizes.size)
        names = tuple(name for name, n in zip(self.tasks, sizes, strict=True) if n)
        return _Curves(names, sizes[sizes > 0], self.values[is_kept])

    def strata(self, point: int) -> Strata | None:
        """Every run at a point of the grid, in the order of the runs."""
        if not self.sizes.size:
            return None
        return Strata(self.tasks, self.sizes, self.values[:, point])


def sample_efficiency(  # noqa: PLR0913  every option of the analysis is one argument
    curves: pl.DataFrame,
    *,
    grid: Sequence[float],
    group: str = "group_name",
    task: str | None = "task",
    step: str = "step",
    score: str = "score",
    replicate: str = "run_path",
    statistic: str = "iqm",
    level: float | None = None,
    method: str = "corrected",
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Aggregate curves of each group, with bands, their area, and when they get there.

    A run's curve is interpolated linearly between the steps where it has a score and
    never extrapolated. A resample draws runs within tasks, whole curves at a time, so
    the area and the first step know that the points of a run belong together.

    Source: Agarwal et al. 2021, figure 7 (sample efficiency curves).

    Args:
        curves: One row per run, task and step.
        grid: Where to look, in the unit of ``step``; the result has each once, sorted.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one stratum.
        step: Column with the x axis: steps, seconds, tokens.
        score: Column with the number.
        replicate: Column with the independent run.
        statistic: ``iqm``, ``mean`` or ``median``, of the runs at each point.
        level: A score; None to ask for no first step.
        method: ``corrected`` or ``percentile``, see ``interval_estimates``.
        confidence: Nominal coverage in (0, 1), at each point by itself.
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.

    Returns:
        Per group with the columns of ``SCHEMA``: one row per point of the grid
        (``statistic`` as asked, at ``step``), of the runs that have a value there; a
        row ``area`` (the mean height: the area under the aggregate curve over the
        length of the grid, by trapezoids, in the unit of the scores); and, with a
        level, a row ``first_step`` (the first point of the grid where the aggregate
        curve is at least at ``level``). These two are of the runs that cover the whole
        grid. An end that lies beyond the grid is null, as is what cannot be computed;
        ``notes`` says why.

    Raises:
        UsageError: An option or column is unknown, the grid is empty or not finite, or
            a group or run has no name.

    >>> curves = pl.DataFrame({
    ...     "group_name": ["a"] * 6, "run_path": ["1", "1", "2", "2", "3", "3"],
    ...     "step": [0, 10] * 3, "score": [0.0, 1.0, 0.0, 2.0, 0.0, 3.0],
    ... })
    >>> sample_efficiency(
    ...     curves, grid=[0, 5, 10], task=None, level=1.0, statistic="mean"
    ... )["estimate"].to_list()
    [0.0, 1.0, 2.0, 1.0, 5.0]
    """
    check_choice("statistic", statistic, tuple(STATISTICS))
    check_choice("method", method, METHODS)
    if level is not None and not isfinite(level):
        message = f"level must be finite, got {level}"
        raise UsageError(message)
    question = _Question(
        _checked_grid(grid),
        statistic,
        level,
        Bootstrap(method, confidence, resamples, seed),
    )
    check_columns(curves, [step, score], step)
    groups = _on_grid(
        curves, ScoreColumns(group, task, score, replicate, pair=step), question.grid
    )
    tasks = {name for _, them in groups for name in them.tasks}
    rows: list[Row] = []
    for item, them in groups:
        common = [*item.notes, *question.bootstrap.notes()]
        constants = {"group_name": item.name, "n_runs": item.n_runs}
        rows += [
            {**_row(result, tasks, common), **constants, **question.bootstrap.columns}
            for result in _results(them, question)
        ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _checked_grid(grid: Sequence[float]) -> Float64Array:
    points = np.unique(np.asarray(grid, dtype=np.float64))
    if not points.size or not np.isfinite(points).all():
        message = f"grid must have points, all finite, got {list(grid)}"
        raise UsageError(message)
    return points


def _on_grid(
    curves: pl.DataFrame, columns: ScoreColumns, grid: Float64Array
) -> list[tuple[GroupScores, _Curves]]:
    # As the scores of one pair are, so are those of one step averaged.
    steps = pl.col(columns.pair or "step").cast(pl.Float64)
    usable = curves.filter(steps.is_finite()).with_columns(steps)
    return [(item, _curves(item, grid)) for item in read_groups(usable, columns)]


def _curves(group: GroupScores, grid: Float64Array) -> _Curves:
    runs = group.runs.with_columns(pl.col("pair").cast(pl.Float64)).sort(
        "task", "run", "pair"
    )
    by_task: dict[str | None, list[list[float]]] = {}
    grouped = runs.group_by("task", "run", maintain_order=True).agg("pair", "score")
    for name, _, steps, values in grouped.iter_rows():
        curve = np.interp(grid, steps, values, left=np.nan, right=np.nan)
        if not np.isnan(curve).all():
            by_task.setdefault(name, []).append(curve.tolist())
    # Sorted by what they are (NaN last), so that neither order nor names of runs count.
    for them in by_task.values():
        them.sort(key=_sortable)
    sizes = np.array([len(them) for them in by_task.values()], dtype=np.int64)
    values = [curve for them in by_task.values() for curve in them]
    return _Curves(
        tuple(by_task), sizes, np.array(values, dtype=np.float64).reshape(-1, grid.size)
    )


def _sortable(curve: Sequence[float]) -> list[float]:
    return [inf if isnan(value) else value for value in curve]


def _results(curves: _Curves, question: _Question) -> list[_Result]:
    points = [
        _at_point(curves.at(point), question, float(step))
        for point, step in enumerate(question.grid)
    ]
    return [*points, *_of_whole_curves(curves, question)]


def _at_point(layout: Strata | None, question: _Question, step: float) -> _Result:
    labels: Row = {"statistic": question.statistic, "step": step}
    if layout is None:
        return _Result(labels, None, notes=("no estimate: no run has a value here",))
    estimate = _estimate(layout, question)
    if reason := no_interval_reason(layout):
        return _Result(labels, layout, estimate, notes=(reason,))
    low, high = np.quantile(_drawn(layout, question), _tails(layout, question))
    notes = tuple(single_run_notes(layout))
    return _Result(labels, layout, estimate, float(low), float(high), notes)


def _of_whole_curves(curves: _Curves, question: _Question) -> list[_Result]:
    """The area and, if asked for, the first step."""
    names = ["area"] if question.level is None else ["area", "first_step"]
    whole = curves.kept(np.asarray(~np.isnan(curves.values).any(axis=1)))
    n_left_out = len(curves.values) - len(whole.values)
    notes = [f"{n_left_out} run(s) that do not cover the grid left out"] * (
        n_left_out > 0
    )
    points = [whole.strata(point) for point in range(question.grid.size)]
    layouts = [layout for layout in points if layout is not None]
    if not layouts:
        notes = [*notes, "no estimate: no run covers the whole grid"]
        return [
            _Result({"statistic": name}, None, notes=tuple(notes)) for name in names
        ]
    heights = np.array([[_estimate(layout, question)] for layout in layouts])
    drawn = None
    if reason := no_interval_reason(layouts[0]):
        notes.append(reason)
    else:
        drawn = np.array([_drawn(layout, question) for layout in layouts])
        notes += single_run_notes(layouts[0])
    whole_curves = _Whole(layouts[0], heights, drawn, tuple(notes))
    return [_MEASURES[name](whole_curves, question) for name in names]


def _area(whole: _Whole, question: _Question) -> _Result:
    labels: Row = {"statistic": "area"}
    estimate = float(_mean_height(whole.heights, question.grid)[0])
    if whole.drawn is None:
        return _Result(labels, whole.layout, estimate, notes=whole.notes)
    areas = _mean_height(whole.drawn, question.grid)
    low, high = np.quantile(areas, _tails(whole.layout, question))
    return _Result(labels, whole.layout, estimate, float(low), float(high), whole.notes)


def _mean_height(heights: Float64Array, grid: Float64Array) -> Float64Array:
    """Shape ``(resamples,)``, of heights of shape ``(grid, resamples)``."""
    if grid.size == 1:
        return np.asarray(heights[0])
    return np.asarray(np.trapezoid(heights, grid, axis=0) / (grid[-1] - grid[0]))


def _first_step(whole: _Whole, question: _Question) -> _Result:
    labels: Row = {"statistic": "first_step", "level": question.level}
    notes = list(whole.notes)
    estimate = _finite(_steps_to(whole.heights, question)[0])
    if estimate is None:
        notes.append("the level is not reached on the grid")
    if whole.drawn is None:
        return _Result(labels, whole.layout, estimate, notes=tuple(notes))
    steps = _steps_to(whole.drawn, question)
    never = float(np.isinf(steps).mean())
    if never:
        notes.append(f"not reached in {never:.1%} of the resamples")
    # Steps are points of the grid or infinite: there is nothing between them.
    low, high = np.quantile(
        steps, _tails(whole.layout, question), method="inverted_cdf"
    )
    return _Result(
        labels, whole.layout, estimate, _finite(low), _finite(high), tuple(notes)
    )


def _steps_to(heights: Float64Array, question: _Question) -> Float64Array:
    """First point at or above the level, infinite if none; shape ``(resamples,)``."""
    is_there = heights >= (inf if question.level is None else question.level)
    steps = question.grid[np.argmax(is_there, axis=0)]
    return np.where(is_there.any(axis=0), steps, np.inf)


_MEASURES = {"area": _area, "first_step": _first_step}


def _row(result: _Result, tasks: set[str | None], common: Sequence[str]) -> Row:
    row = {
        **result.labels,
        "estimate": result.estimate,
        "ci_low": result.low,
        "ci_high": result.high,
        "n_tasks": 0,
    }
    notes = list(result.notes)
    if result.layout is not None:
        sizes = result.layout.sizes
        row |= {
            "n_tasks": sizes.size,
            "min_runs_per_task": int(sizes.min()),
            "max_runs_per_task": int(sizes.max()),
        }
        notes = [*coverage_notes(result.layout, tasks), *notes]
    return {**row, "notes": "; ".join([*common, *notes])}


def _estimate(layout: Strata, question: _Question) -> float:
    return point_estimate(STATISTICS[question.statistic](layout), layout)


def _drawn(layout: Strata, question: _Question) -> Float64Array:
    """Shape ``(resamples,)``; the same runs at every point with the same runs."""
    return replicates(
        layout,
        {question.statistic: STATISTICS[question.statistic](layout)},
        seed=question.bootstrap.seed,
        resamples=question.bootstrap.resamples,
    )[question.statistic]


def _tails(layout: Strata, question: _Question) -> tuple[float, float]:
    missing = missing_variance(layout.sizes, pooled=question.statistic == "iqm")
    tail = question.bootstrap.tail(missing)
    return tail, 1 - tail


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None
