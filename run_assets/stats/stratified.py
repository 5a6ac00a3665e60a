"""Two groups compared task by task: the difference, its error, and effect sizes.

Differences between tasks are no differences between groups, so nothing here pools
scores of different tasks. Runs that were scored on the same set of tasks form a block:
they could have belonged to either group.
"""

from dataclasses import dataclass
from math import sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.stats.significance import (
    MeanDifference,
    Samples,
    cliffs_delta,
)

Float64Array = NDArray[np.float64]


@dataclass(frozen=True)
class Block:
    """Runs of both groups that were scored on the same tasks.

    Attributes:
        tasks: Their tasks, as one text; the name of the block.
        x: Shape ``(runs of x,)``: what each adds to the mean score of x.
        y: Shape ``(runs of y,)``: what each adds to the mean score of y.
        in_x: Shape ``(runs of x + y,)``: what each would add to the difference as a run
            of x instead of y; x first.
    """

    tasks: str
    x: Float64Array
    y: Float64Array
    in_x: Float64Array


@dataclass(frozen=True)
class Stratified:
    """Two groups on the tasks that both were scored on.

    Attributes:
        tasks: One pair of samples per task, in the order of their names.
        blocks: The same scores by run.
        difference: Mean over tasks of the difference of means, x minus y.
        n_runs: Runs of x and of y that take part.
    """

    tasks: tuple[Samples, ...]
    blocks: tuple[Block, ...]
    difference: float
    n_runs: tuple[int, int]


def stratified(x: pl.DataFrame, y: pl.DataFrame) -> Stratified:
    """Bring the runs of two groups together, task by task.

    Args:
        x: Columns task, run, score: one row per run and task.
        y: The same for the other group.
    """
    rows = pl.concat(
        frame.select("task", "run", "score", pl.lit(side).alias("side"))
        for side, frame in (("x", x), ("y", y))
    )
    is_common = pl.col("side").n_unique().over("task") == 2
    rows = rows.filter(is_common).sort("task", "side", "score")
    if rows.is_empty():
        return Stratified((), (), 0.0, (0, 0))
    tasks = _tasks(rows)
    differences = [float(one.x.mean() - one.y.mean()) for one in tasks]
    sizes = {side: rows.filter(side=side)["run"].n_unique() for side in ("x", "y")}
    return Stratified(
        tasks=tuple(tasks),
        blocks=tuple(_blocks(rows, len(tasks))),
        difference=float(np.mean(differences)),
        n_runs=(sizes["x"], sizes["y"]),
    )


def _tasks(rows: pl.DataFrame) -> list[Samples]:
    grouped = rows.group_by("task", "side", maintain_order=True).agg("score")
    values = [np.array(one, dtype=np.float64) for one in grouped["score"].to_list()]
    return [
        Samples(x, y, paired=False)
        for x, y in zip(values[::2], values[1::2], strict=True)
    ]


def _blocks(rows: pl.DataFrame, n_tasks: int) -> list[Block]:
    # Any constant taken off a task's scores cancels in the difference; the middle one
    # costs the fewest digits.
    distance = pl.col("score") - pl.col("score").median().over("task")
    size = {
        side: (pl.col("side") == side).sum().over("task") * n_tasks for side in "xy"
    }
    label = pl.col("task").fill_null("\0").sort().str.join("\n")
    runs = (
        rows.with_columns(as_x=distance / size["x"], as_y=distance / size["y"])
        .group_by("side", "run")
        .agg(label.alias("tasks"), pl.col("as_x", "as_y").sum())
        .sort("tasks", "side", "as_x", "as_y", "run")
    )
    return [
        _block(str(tasks), block)
        for (tasks,), block in runs.group_by("tasks", maintain_order=True)
    ]


def _block(tasks: str, runs: pl.DataFrame) -> Block:
    sides = [runs.filter(side=side) for side in ("x", "y")]
    both = pl.concat(sides)
    return Block(
        tasks=tasks,
        x=sides[0]["as_x"].to_numpy(),
        y=sides[1]["as_y"].to_numpy(),
        in_x=(both["as_x"] + both["as_y"]).to_numpy(),
    )


def stratified_difference(samples: Stratified) -> MeanDifference:
    """The difference with its standard error; 0 where there is none to be had.

    The error comes from the scatter of runs within blocks, Welch's way; so a block
    needs two runs of a group, or none.

    Source: Welch 1947 for the degrees of freedom.
    """
    sides = [one for block in samples.blocks for one in (block.x, block.y) if one.size]
    if any(one.size == 1 for one in sides):
        return MeanDifference(samples.difference, 0.0, 1.0)
    errors = np.array([one.var(ddof=1) * one.size for one in sides])
    total = float(errors.sum())
    scale = max(float(np.abs(one).max()) for one in sides)
    if total <= (4 * float(np.finfo(np.float64).eps) * scale) ** 2:
        return MeanDifference(samples.difference, 0.0, 1.0)
    shares = [
        (error / total) ** 2 / (one.size - 1)
        for error, one in zip(errors, sides, strict=True)
    ]
    return MeanDifference(samples.difference, sqrt(total), float(1 / sum(shares)))


def stratified_cohen_d(samples: Stratified) -> float | None:
    """The difference in standard deviations within groups and tasks.

    Source: Cohen 1988, chapter 2, with the variances of the tasks averaged.
    """
    deep = [one for one in samples.tasks if one.x.size + one.y.size > 2]
    if not deep:
        return None
    variance = np.mean([_pooled_variance(one) for one in deep])
    return samples.difference / sqrt(variance) if variance > 0 else None


def _pooled_variance(samples: Samples) -> float:
    """As in Cohen's d, but one of the samples may be a single run."""
    x, y = samples.x, samples.y
    squares = x.var() * x.size + y.var() * y.size
    return float(squares / (x.size + y.size - 2))


def stratified_cliffs_delta(samples: Stratified) -> float | None:
    """Mean over tasks of Cliff's delta; Source: Cliff 1993."""
    return float(np.mean([cliffs_delta(one) for one in samples.tasks]))
