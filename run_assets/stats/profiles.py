"""Performance profiles: the share of runs above each of many scores."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError
from run_assets.stats.bootstrap import (
    Bootstrap,
    Row,
    missing_variance,
    no_interval_reason,
    percentile_ends,
    single_run_notes,
)
from run_assets.stats.resampling import resample_counts
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    Strata,
    coverage_notes,
    read_groups,
    strata,
)

DEFAULT_THRESHOLDS = 101

SCHEMA = {
    "group_name": pl.String,
    "threshold": pl.Float64,
    "fraction": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "kind": pl.String,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_runs": pl.Int64,
    "n_tasks": pl.Int64,
    "resamples": pl.Int64,
    "seed": pl.Int64,
    "notes": pl.String,
}


def performance_profiles(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    thresholds: Sequence[float] | None = None,
    method: str = "percentile",
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> pl.DataFrame:
    """Share of runs whose score is above each threshold, with a pointwise band.

    The share is taken per task and averaged over tasks; "above" is strict. The whole
    distribution of a group is visible, not one number: a profile that is nowhere lower
    is stochastically better.

    Source: Agarwal et al. 2021, section 4.2 (run-score distribution); rliable
    ``create_performance_profile`` for equal numbers of runs.

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one stratum.
        score: Column with the number.
        replicate: Column with the independent run, or None when each row is one.
        thresholds: Scores, in the unit of ``score``; the result has each once, sorted.
            By default 101 evenly spaced from the lowest to the highest score.
        method: ``percentile`` or ``corrected``, see ``interval_estimates``.
        confidence: Nominal coverage of the band at one threshold, in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.

    Returns:
        One row per group and threshold with the columns of ``SCHEMA``; ``kind`` is
        ``score``, shares are in [0, 1]. A group without a usable score has null shares.

    Raises:
        UsageError: An option or column is unknown, or a threshold is not finite.

    >>> scores = pl.DataFrame({"group_name": ["a"] * 4, "score": [1.0, 2.0, 2.0, 3.0]})
    >>> performance_profiles(
    ...     scores, task=None, replicate=None, thresholds=[0, 2, 3]
    ... )["fraction"].to_list()
    [1.0, 0.25, 0.0]
    """
    bootstrap = Bootstrap(method, confidence, resamples, seed)
    groups = read_groups(scores, ScoreColumns(group, task, score, replicate))
    grid = _grid(thresholds, groups)
    tasks = {name for item in groups for name in item.runs["task"]}
    frames = [_profile(item, grid, bootstrap, tasks) for item in groups]
    return pl.concat([pl.DataFrame(schema=SCHEMA), *frames])


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
    group: GroupScores,
    grid: NDArray[np.float64],
    bootstrap: Bootstrap,
    all_tasks: set[str | None],
) -> pl.DataFrame:
    constants: Row = {"group_name": group.name, "kind": "score", **bootstrap.columns}
    constants |= {"n_runs": group.n_runs, "n_tasks": group.runs["task"].n_unique()}
    shares: dict[str, NDArray[np.float64]] = {}
    notes = [*group.notes, "no usable score"]
    if not group.runs.is_empty():
        layout = strata(group)
        shares = _shares(layout, grid, bootstrap)
        reason = no_interval_reason(layout)
        notes = [*group.notes, *coverage_notes(layout, all_tasks), *bootstrap.notes()]
        notes += [reason] if reason else single_run_notes(layout)
    constants["notes"] = "; ".join(notes)
    columns: dict[str, object] = {"threshold": grid, **shares}
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
    layout: Strata, grid: NDArray[np.float64], bootstrap: Bootstrap
) -> dict[str, NDArray[np.float64]]:
    # A score is above exactly the thresholds before this index: "above" is strict.
    above = np.searchsorted(grid, layout.values, side="left")
    once = np.ones((1, layout.values.size), dtype=np.int64)
    shares = {"fraction": _share_above(once, layout, above, grid.size)[0]}
    if no_interval_reason(layout) is None:
        replicates = np.concatenate(
            [
                _share_above(counts, layout, above, grid.size)
                for counts in resample_counts(
                    layout, seed=bootstrap.seed, resamples=bootstrap.resamples
                )
            ]
        )
        tail = bootstrap.tail(missing_variance(layout.sizes, pooled=False))
        shares["ci_low"], shares["ci_high"] = percentile_ends(replicates, tail)
    return shares


def _share_above(
    counts: NDArray[np.int64],
    layout: Strata,
    above: NDArray[np.int64],
    n_thresholds: int,
) -> NDArray[np.float64]:
    """Shape ``(resamples, thresholds)``: mean over tasks of the share above."""
    weights = counts / np.repeat(layout.sizes, layout.sizes)
    bins = above + np.arange(len(counts))[:, None] * (n_thresholds + 1)
    in_bin = np.bincount(
        bins.ravel(), weights.ravel(), minlength=len(counts) * (n_thresholds + 1)
    ).reshape(len(counts), n_thresholds + 1)
    from_the_top = np.cumsum(in_bin[:, :0:-1], axis=1)[:, ::-1]
    # The weights of a task add up to 1 only up to rounding; a share stays in [0, 1].
    return np.asarray(np.minimum(from_the_top / layout.sizes.size, 1.0))
