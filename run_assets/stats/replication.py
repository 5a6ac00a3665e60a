"""The unit of replication: what may count as an independent run.

The error that people make most is to count episodes, checkpoints or steps of one run as
runs; intervals then shrink with every episode. Here that is detected: refused where the
frame itself shows it, and noted where it only looks like it.
"""

import polars as pl

from run_assets.errors import UsageError, did_you_mean

RUN_COLUMNS = ("run_path", "run_id", "run")
"""Columns that name runs, as W&B and people call them."""

UNIQUE_RUN_COLUMNS = ("run_path", "run_id")
"""Those of which a value names one run, whatever its group."""

MANY_RUNS = 200
"""More independent runs of one task than people train; they may be episodes."""

_UNLIKELY = 1e-3


def check_unit(
    scores: pl.DataFrame, group: str, task: str | None, replicate: str | None
) -> None:
    """Refuse a frame that does not say, or says otherwise, what a run is.

    Raises:
        UsageError: The column ``replicate`` is missing; or it is None while a column
            that names runs names one several times in one task.
    """
    if replicate is None:
        for name in RUN_COLUMNS:
            if name in scores.columns and name not in (group, task):
                _refuse_repeated(scores, name, [group, *([task] if task else [])])
    elif replicate not in scores.columns:
        message = (
            f"scores have no column {replicate!r} that names the independent runs"
            f"{did_you_mean(replicate, scores.columns)}; name yours as replicate=…, or "
            "pass replicate=None if every row is a run of its own"
        )
        raise UsageError(message)


def _refuse_repeated(scores: pl.DataFrame, name: str, cell: list[str]) -> None:
    if not {*cell} <= {*scores.columns}:
        return
    named = scores.select(*cell, name).filter(pl.col(name).is_not_null())
    n_runs = named.n_unique()
    if n_runs < named.height:
        message = (
            f"replicate=None counts every row as an independent run, but column "
            f"{name!r} names {n_runs} runs in {named.height} rows: episodes or steps "
            f"of a run are not independent; pass replicate={name!r}, or drop the "
            "column if the rows really are runs"
        )
        raise UsageError(message)


def replication_notes(rows: pl.DataFrame, runs: pl.DataFrame) -> list[str]:
    """What looks like a wrong unit of replication in the scores of one group.

    Args:
        rows: Usable rows (task, pair, run, score), several of a run where there were.
        runs: The same with each run once in a task and pair.
    """
    notes = []
    is_large = runs.height > MANY_RUNS
    n_runs = pl.col("run").n_unique()
    largest = runs.group_by("task").agg(n_runs)["run"].max() if is_large else 0
    if isinstance(largest, int) and largest > MANY_RUNS:
        notes.append(
            f"{largest} runs in a task: if these are episodes or steps of fewer runs, "
            "name those as replicate"
        )
    if rows.height > runs.height and _runs_are_alike(rows):
        notes.append(
            "runs differ less than their own rows let expect: are they copies of one "
            "run, or the rows steps of a curve?"
        )
    return notes


def shared_run_notes(
    scores: pl.DataFrame, replicate: str | None
) -> dict[str, list[str]]:
    """A warning for each group that shares runs with another.

    Args:
        scores: Columns group_name and run.
        replicate: The column that named the runs; where it does not name them across
            groups (a seed), equal names say nothing.
    """
    if replicate not in UNIQUE_RUN_COLUMNS:
        return {}
    of_run = scores.select("group_name", "run").unique()
    shared = of_run.filter(pl.len().over("run") > 1)
    return {
        str(group): [
            f"{n} run(s) are in another group, too: such groups are not independent"
        ]
        for group, n in shared.group_by("group_name").len().iter_rows()
    }


def _runs_are_alike(rows: pl.DataFrame) -> bool:
    """Means of runs scatter less than the scatter within runs explains.

    Source: the F test of an analysis of variance, its lower tail; Fisher 1925.
    """
    from scipy.special import fdtr

    means = rows.group_by("task", "pair", "run").agg(
        pl.col("score").mean().alias("mean"),
        pl.len().alias("n"),
        ((pl.col("score") - pl.col("score").mean()) ** 2).sum().alias("within"),
    )
    total = pl.col("n") * pl.col("mean")
    cell = ["task", "pair"]
    middle = total.sum().over(cell) / pl.col("n").sum().over(cell)
    between = (
        means.select((pl.col("n") * (pl.col("mean") - middle) ** 2).sum())
    ).item()
    n_cells = means.select(cell).n_unique()
    freedom = (means.height - n_cells, rows.height - means.height)
    within = means["within"].sum()
    if min(freedom) < 1 or within == 0:
        return False
    ratio = (between / freedom[0]) / (within / freedom[1])
    return float(fdtr(*freedom, ratio)) < _UNLIKELY
