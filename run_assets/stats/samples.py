"""Long frames of scores as clean samples; the policy for messy input lives here.

No statistic is computed here: this module decides which scores count, what one run is,
and what a reader has to be told about the rest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError, did_you_mean
from run_assets.stats.replication import (
    check_unit,
    replication_notes,
    shared_run_notes,
)

FEW_RUNS = 5
"""Below this many runs per task, intervals cover clearly less than they promise."""

_KEYS = ("group_name", "task", "pair", "run")


@dataclass(frozen=True)
class ScoreColumns:
    """Which column of a frame of scores plays which part.

    Attributes:
        group: What is compared: an algorithm, a configuration.
        task: The stratum; None when all scores belong to one task.
        score: The number.
        replicate: The independent unit, the run; None when every row is one.
        pair: Runs of two groups with the same value here (a seed) belong together.
    """

    group: str = "group_name"
    task: str | None = "task"
    score: str = "score"
    replicate: str | None = "run_path"
    pair: str | None = None


@dataclass(frozen=True)
class GroupScores:
    """The usable scores of one group.

    Attributes:
        name: The group's name.
        runs: One row per task, pair and run (``task, pair, run, score``), all scores
            finite, sorted by task and score, whatever the order of the input.
        notes: What was left out or merged on the way, in sentences.
    """

    name: str
    runs: pl.DataFrame
    notes: tuple[str, ...]

    @property
    def n_runs(self) -> int:
        """Number of different runs with at least one usable score."""
        return self.runs["run"].n_unique()


@dataclass(frozen=True)
class Strata:
    """The scores of one group as arrays, task after task.

    Attributes:
        tasks: Names of the tasks in sorted order; None is the task without a name.
        sizes: Shape ``(tasks,)``: runs per task, at least 1 each.
        values: Shape ``(scores,)``: ascending within each task.
    """

    tasks: tuple[str | None, ...]
    sizes: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def starts(self) -> NDArray[np.int64]:
        """Shape ``(tasks,)``: position of each task's first score in ``values``."""
        return np.cumsum(self.sizes) - self.sizes


def read_groups(scores: pl.DataFrame, columns: ScoreColumns) -> list[GroupScores]:
    """Every group of a long frame of scores, sorted by name.

    A score that is null, NaN or infinite does not count, and the notes say how many
    there were. Several rows of one run in one task are averaged first: the run is the
    unit of replication, its episodes or steps are not (see ``replication``).

    Args:
        scores: One row per run and task, ragged allowed.
        columns: The parts that its columns play.

    Returns:
        One item per group; a group without a usable score is kept, with no runs.

    Raises:
        UsageError: A column is missing or not numeric, a group or run has no name, or
            rows that a column shows to be parts of runs are to count as runs.
    """
    check_unit(scores, columns.group, columns.task, columns.replicate)
    frame = _canonical(scores, columns)
    shared = shared_run_notes(frame, columns.replicate)
    parts = frame.partition_by("group_name", as_dict=True)
    by_name = sorted((str(name), part) for (name,), part in parts.items())
    return [_group_scores(name, part, shared.get(name, [])) for name, part in by_name]


def strata(group: GroupScores) -> Strata:
    """The scores of one group as arrays, task after task."""
    sizes = group.runs.group_by("task", maintain_order=True).len()
    return Strata(
        tasks=tuple(sizes["task"].to_list()),
        sizes=sizes["len"].cast(pl.Int64).to_numpy(),
        values=group.runs["score"].to_numpy(),
    )


def select_group(groups: Mapping[str, GroupScores], name: str) -> GroupScores:
    """The group called ``name``.

    Raises:
        UsageError: There is none; the message names the nearest or the known ones.
    """
    check_group(name, groups)
    return groups[name]


def check_group(name: str, groups: Iterable[str]) -> None:
    """Refuse a group that has no row.

    Raises:
        UsageError: The message names the nearest or the known ones.
    """
    known = set(groups)
    if name not in known:
        message = f"no group {name!r} in the scores{did_you_mean(name, known)}"
        raise UsageError(message)


def coverage_notes(layout: Strata, all_tasks: Iterable[str | None]) -> list[str]:
    """What a reader must know about how the runs are spread over the tasks."""
    notes = []
    missing = sorted({task_label(task) for task in set(all_tasks) - set(layout.tasks)})
    if missing:
        notes.append(f"no score in {_listed(missing, 'task')} that other groups have")
    low, high = int(layout.sizes.min()), int(layout.sizes.max())
    if low != high:
        notes.append(f"unequal runs per task ({low} to {high})")
    if low < FEW_RUNS:
        notes.append(f"few runs (as few as {low} in a task): read intervals with care")
    if layout.values.min() == layout.values.max() and layout.values.size > 1:
        notes.append("all scores are equal")
    return notes


def task_label(task: str | None) -> str:
    """How a message names a task."""
    return "(no task)" if task is None else repr(task)


def check_columns(scores: pl.DataFrame, names: Iterable[str], score: str) -> None:
    """Refuse a frame without the named columns or with scores that are no numbers.

    Raises:
        UsageError: A column is missing, or the scores are text.
    """
    for name in names:
        if name not in scores.columns:
            message = (
                f"scores have no column {name!r}{did_you_mean(name, scores.columns)}"
            )
            raise UsageError(message)
    dtype = scores.schema[score]
    if not (dtype.is_numeric() or dtype in (pl.Boolean, pl.Null)):
        message = f"column {score!r} must hold numbers, got {dtype}; cast it first"
        raise UsageError(message)


def _canonical(scores: pl.DataFrame, columns: ScoreColumns) -> pl.DataFrame:
    """The frame under its canonical names: group_name, task, pair, run, score."""
    sources = {
        "group_name": columns.group,
        "task": columns.task,
        "pair": columns.pair,
        "run": columns.replicate,
    }
    given = {role: name for role, name in sources.items() if name is not None}
    check_columns(scores, [*given.values(), columns.score], columns.score)
    for role in ("group_name", "run", "pair"):
        refuse_null(scores, given.get(role))
    row_number = pl.int_range(pl.len()).cast(pl.String)
    absent = {"task": pl.lit(None, pl.String), "pair": pl.lit(""), "run": row_number}
    return scores.select(
        *(
            (
                pl.col(given[role]).cast(pl.String) if role in given else absent[role]
            ).alias(role)
            for role in _KEYS
        ),
        pl.col(columns.score).cast(pl.Float64).alias("score"),
    )


def refuse_null(scores: pl.DataFrame, column: str | None) -> None:
    """Refuse rows without a name in a column; None is no column.

    Raises:
        UsageError: How many there are.
    """
    if column is None:
        return
    n_null = scores[column].null_count()
    if n_null:
        message = (
            f"column {column!r} must name every row, got {n_null} null of "
            f"{scores.height}; filter or fill these rows first"
        )
        raise UsageError(message)


def _group_scores(name: str, rows: pl.DataFrame, shared: list[str]) -> GroupScores:
    usable = rows.filter(pl.col("score").is_finite()).sort(*_KEYS, "score")
    runs = usable.group_by(_KEYS, maintain_order=True).agg(pl.col("score").mean())
    notes = [
        *left_out_notes(rows["score"]),
        *_merged(usable.height, runs.height),
        *replication_notes(usable, runs),
        *shared,
    ]
    return GroupScores(
        name=name,
        runs=runs.select("task", "pair", "run", "score").sort("task", "score", "run"),
        notes=tuple(notes),
    )


def left_out_notes(scores: pl.Series) -> list[str]:
    """What a reader must know about scores that are no finite numbers."""
    n_infinite = int(scores.is_infinite().sum())
    n_missing = scores.null_count() + int(scores.is_nan().sum())
    if not (n_infinite or n_missing):
        return []
    kinds = {"missing": n_missing, "infinite": n_infinite}
    listed = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return [f"{n_infinite + n_missing} of {scores.len()} scores left out ({listed})"]


def _merged(n_rows: int, n_runs: int) -> list[str]:
    if n_rows == n_runs:
        return []
    return [f"{n_rows} rows averaged into {n_runs}: a run counts once in a task"]


def _listed(names: Sequence[str], noun: str) -> str:
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''} ({shown})"
