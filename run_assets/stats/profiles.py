"""Performance profiles: the share of runs above each of many scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError
from run_assets.stats.binomials import share_quantiles
from run_assets.stats.bootstrap import (
    BASIS,
    Bootstrap,
    Row,
    missing_variance,
    no_interval_reason,
    percentile_ends,
    single_run_notes,
)
from run_assets.stats.options import check_choice
from run_assets.stats.replicates import in_threads, is_compiled
from run_assets.stats.resampling import counts_of, task_draws
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    Strata,
    coverage_notes,
    read_groups,
    strata,
    task_label,
)

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

DEFAULT_THRESHOLDS = 101
KINDS = ("score", "ratio")
BANDS = ("exact", "bootstrap")
METHODS = ("corrected", "percentile")

SCHEMA = {
    "group_name": pl.String,
    "threshold": pl.Float64,
    "fraction": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "kind": pl.String,
    "band": pl.String,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_runs": pl.Int64,
    **BASIS,
}


@dataclass(frozen=True)
class _Question:
    """What is asked of each group, checked."""

    thresholds: Float64Array
    kind: str
    band: str
    bootstrap: Bootstrap


def performance_profiles(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    thresholds: Sequence[float] | None = None,
    kind: str = "score",
    band: str = "exact",
    method: str = "corrected",
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Share of runs whose score is above each threshold, with a pointwise band.

    The share is taken per task and averaged over tasks; "above" is strict. The whole
    distribution of a group is visible, not one number: a profile that is nowhere lower
    is stochastically better.

    Source: Agarwal et al. 2021, section 4.2 (run-score distribution); rliable
    ``create_performance_profile`` for equal numbers of runs; Dolan and Moré 2002 for
    ratios to the best.

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one stratum.
        score: Column with the number.
        replicate: Column with the independent run, or None when each row is one.
        thresholds: In the unit of ``score``, or ratios; the result has each once,
            sorted. By default 101 evenly spaced from the lowest to the highest.
        kind: ``score``, or ``ratio``: of a score to the best group's mean in the task,
            which is taken as given. A task whose best mean is not positive has no
            ratios and is left out for all groups; a negative score elsewhere is a
            negative ratio, so it is above no threshold from 0 on.
        band: ``exact``: what infinitely many resamples would give. ``bootstrap``:
            resamples; also used, and noted, where tasks have so many different numbers
            of runs that the exact band would take too long.
        method: ``corrected`` or ``percentile``, see ``interval_estimates``.
        confidence: Nominal coverage of the band at one threshold, in (0, 1).
        resamples: Number of bootstrap resamples of a ``bootstrap`` band.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.

    Returns:
        One row per group and threshold with the columns of ``SCHEMA``; shares are in
        [0, 1]. A group without a usable score has null shares. An exact band has
        neither resamples nor seed.

    Raises:
        UsageError: An option or column is unknown, or a threshold is not finite.

    >>> scores = pl.DataFrame({"group_name": ["a"] * 4, "score": [1.0, 2.0, 2.0, 3.0]})
    >>> performance_profiles(
    ...     scores, task=None, replicate=None, thresholds=[0, 2, 3]
    ... )["fraction"].to_list()
    [1.0, 0.25, 0.0]
    """
    check_choice("kind", kind, KINDS)
    check_choice("band", band, BANDS)
    check_choice("method", method, METHODS)
    bootstrap = Bootstrap(method, confidence, resamples, seed)
    groups = read_groups(scores, ScoreColumns(group, task, score, replicate))
    if kind == "ratio":
        groups = _ratios(groups)
    question = _Question(_grid(thresholds, groups), kind, band, bootstrap)
    tasks = {name for item in groups for name in item.runs["task"].unique()}
    frames = [_profile(item, question, tasks) for item in groups]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames])


def _ratios(groups: Sequence[GroupScores]) -> list[GroupScores]:
    """Scores over the best group's mean in the task, where that is positive."""
    if not groups:
        return []
    means = [g.runs.group_by("task").agg(pl.col("score").mean()) for g in groups]
    best = pl.concat(means).group_by("task").agg(best=pl.col("score").max())
    usable = best.filter(pl.col("best") > 0)
    lost = sorted(task_label(t) for t in best.filter(pl.col("best") <= 0)["task"])
    note = (
        f"no ratio in {', '.join(lost[:5])}{', …' * (len(lost) > 5)}: no positive best"
    )
    return [
        GroupScores(
            item.name,
            item.runs.join(usable, on="task", nulls_equal=True, maintain_order="left")
            .with_columns(pl.col("score") / pl.col("best"))
            .select(item.runs.columns),
            (*item.notes, note) if lost else item.notes,
        )
        for item in groups
    ]


def _grid(
    thresholds: Sequence[float] | None, groups: Sequence[GroupScores]
) -> NDArray[np.float64]:
    if thresholds is None:
        pooled = pl.concat([pl.Series([], dtype=pl.Float64), *_all_scores(groups)])
        if pooled.is_empty():
            return np.empty(0)
        values = pooled.to_numpy()
        return np.unique(np.linspace(values.min(), values.max(), DEFAULT_THRESHOLDS))
    grid = np.unique(np.asarray(thresholds, dtype=np.float64))
    if not np.isfinite(grid).all():
        message = f"thresholds must be finite, got {list(thresholds)}"
        raise UsageError(message)
    return grid


def _all_scores(groups: Sequence[GroupScores]) -> list[pl.Series]:
    return [item.runs["score"].rename("") for item in groups]


def _profile(
    group: GroupScores, question: _Question, all_tasks: set[str | None]
) -> pl.DataFrame:
    constants: Row = {
        "group_name": group.name,
        "kind": question.kind,
        "band": question.band,
        "n_runs": group.n_runs,
        "n_tasks": 0,
        **question.bootstrap.columns,
    }
    notes = [*group.notes, "no usable score"]
    shares: dict[str, Float64Array] = {}
    if not group.runs.is_empty():
        layout = strata(group)
        shares, band, about_band = _shares(layout, question)
        notes = [*group.notes, *coverage_notes(layout, all_tasks), *about_band]
        constants |= {
            "n_tasks": layout.sizes.size,
            "min_runs_per_task": int(layout.sizes.min()),
            "max_runs_per_task": int(layout.sizes.max()),
            "band": band,
        }
    if constants["band"] == "exact":
        constants |= {"resamples": None, "seed": None}
    constants["notes"] = "; ".join(notes)
    columns: dict[str, object] = {"threshold": question.thresholds, **shares}
    frame = pl.DataFrame(columns).with_columns(
        pl.lit(value).alias(name) for name, value in constants.items()
    )
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None))
        .cast(dtype)
        .alias(name)
        for name, dtype in SCHEMA.items()
    )


def _shares(
    layout: Strata, question: _Question
) -> tuple[dict[str, Float64Array], str, list[str]]:
    """The shares with their band, how the band was made, and notes on it."""
    grid, bootstrap = question.thresholds, question.bootstrap
    # A score is above exactly the thresholds before this index: "above" is strict.
    above = np.searchsorted(grid, layout.values, side="left")
    counts = _counts_above(layout, above, grid.size)
    shares = {"fraction": (counts / layout.sizes).mean(axis=1)}
    if reason := no_interval_reason(layout):
        return shares, question.band, [reason]
    tail = bootstrap.tail(missing_variance(layout.sizes, pooled=False))
    notes = single_run_notes(layout)
    ends = None
    if question.band == "exact":
        ends = share_quantiles(counts, layout.sizes, tail)
        if ends is None:
            notes.append("band by resampling: runs per task have no common grid")
    band = "bootstrap" if ends is None else "exact"
    if ends is None:
        ends = percentile_ends(_replicates(layout, above, grid.size, bootstrap), tail)
        notes += bootstrap.notes()
    shares["ci_low"], shares["ci_high"] = ends
    return shares, band, notes


def _counts_above(layout: Strata, above: Int64Array, n_thresholds: int) -> Int64Array:
    """Shape ``(thresholds, tasks)``: runs above."""
    n_tasks = layout.sizes.size
    task = np.repeat(np.arange(n_tasks), layout.sizes)
    in_bin = np.bincount(
        above * n_tasks + task, minlength=(n_thresholds + 1) * n_tasks
    ).reshape(n_thresholds + 1, n_tasks)
    return np.asarray(np.cumsum(in_bin[:0:-1], axis=0)[::-1])


def _replicates(
    layout: Strata, above: Int64Array, n_thresholds: int, bootstrap: Bootstrap
) -> Float64Array:
    """Shape ``(resamples, thresholds)``: mean over tasks of the share above."""
    weights = np.repeat(1 / layout.sizes / layout.sizes.size, layout.sizes)
    draws = task_draws(layout, seed=bootstrap.seed)
    n_scores, resamples = layout.values.size, bootstrap.resamples
    out = np.empty((resamples, n_thresholds))
    if is_compiled(n_scores, resamples):
        from run_assets.stats import kernels

        order = np.argsort(above, kind="stable")
        edges = np.arange(n_thresholds + 2)
        starts = np.searchsorted(above[order], edges)
        bins = kernels.Bins(order.astype(np.uint64), weights[order], starts)

        def fill(first: int, end: int) -> None:
            kernels.profile_resamples(draws, first, bins, out[first:end])

        in_threads(fill, n_scores, resamples)
    else:
        first = 0
        for counts in counts_of(draws, n_scores, resamples):
            rows = out[first : first + len(counts)]
            rows[:] = _share_above(counts * weights, above, n_thresholds)
            first += len(counts)
    # The weights of a task add up to 1 only up to rounding; a share stays in [0, 1].
    return np.minimum(out, 1.0, out=out)


def _share_above(
    weights: Float64Array, above: Int64Array, n_thresholds: int
) -> Float64Array:
    """Shape ``(resamples, thresholds)``: the weight above each threshold."""
    width = n_thresholds + 1
    bins = above + np.arange(len(weights))[:, None] * width
    in_bin = np.bincount(bins.ravel(), weights.ravel(), minlength=len(weights) * width)
    in_bin = in_bin.reshape(len(weights), width)
    return np.asarray(np.cumsum(in_bin[:, :0:-1], axis=1)[:, ::-1])
