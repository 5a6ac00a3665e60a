"""How stable the ranking of groups is: who would be best with other runs?"""

from collections.abc import Sequence
from hashlib import blake2b
from math import sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.stats.aggregate import STATISTICS, point_estimate
from run_assets.stats.bootstrap import (
    BASIS,
    Bootstrap,
    Row,
    missing_variance,
    no_interval_reason,
    single_run_notes,
)
from run_assets.stats.improvement import common_strata
from run_assets.stats.options import check_choice
from run_assets.stats.replicates import replicates
from run_assets.stats.samples import (
    GroupScores,
    ScoreColumns,
    Strata,
    coverage_notes,
    read_groups,
)

Float64Array = NDArray[np.float64]

METHODS = ("corrected", "percentile")

# Means of the same numbers differ in the last digits by the order of summation; ranks
# must not.
_DIGITS = 12

SCHEMA = {
    "group_name": pl.String,
    "statistic": pl.String,
    "estimate": pl.Float64,
    "rank": pl.Float64,
    "probability_best": pl.Float64,
    "mean_rank": pl.Float64,
    "rank_low": pl.Float64,
    "rank_high": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_groups": pl.Int64,
    "n_runs": pl.Int64,
    **BASIS,
}


def rank_stability(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    statistic: str = "iqm",
    method: str = "corrected",
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pl.DataFrame:
    """How likely each group is the best one, and between which ranks it lies.

    Every group is resampled independently, runs within their tasks, and the groups are
    ranked anew each time by the statistic, the highest first. Groups are compared on
    the tasks that all of them have. Groups that tie share their ranks, and the first
    place.

    Source: Hall and Miller 2009 for ranks by bootstrap.

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one stratum.
        score: Column with the number; higher is better.
        replicate: Column with the independent run, or None when each row is one.
        statistic: ``iqm``, ``mean`` or ``median``.
        method: ``percentile`` ranks the resampled statistics; ``corrected`` first
            spreads them by the standard deviation that a bootstrap of few runs lacks.
        confidence: Nominal coverage of the interval of the rank, in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.

    Returns:
        One row per group (sorted) with the columns of ``SCHEMA``; 1 is the best rank,
        probabilities are in [0, 1] and add up to 1. A group without a usable score has
        nulls and no part in the ranking.

    Raises:
        UsageError: An option or column is unknown, or a group or run has no name.

    >>> scores = pl.DataFrame({
    ...     "group_name": ["a"] * 3 + ["b"] * 3, "score": [1.0, 2, 3, 7, 8, 9]
    ... })
    >>> rank_stability(scores, task=None, replicate=None).select(
    ...     "group_name", "rank", "probability_best", "rank_low", "rank_high"
    ... ).rows()
    [('a', 2.0, 0.0, 2.0, 2.0), ('b', 1.0, 1.0, 1.0, 1.0)]
    """
    check_choice("statistic", statistic, tuple(STATISTICS))
    check_choice("method", method, METHODS)
    bootstrap = Bootstrap(method, confidence, resamples, seed)
    groups = read_groups(scores, ScoreColumns(group, task, score, replicate))
    ranked = [item for item in groups if not item.runs.is_empty()]
    layouts = common_strata(ranked) if ranked else []
    if layouts and not layouts[0].values.size:  # no task that all groups have
        layouts, ranked = [], []
    found = _ranks(layouts, statistic, bootstrap)
    by_name = {item.name: row for item, row in zip(ranked, found, strict=True)}
    layout_of = {
        item.name: layout for item, layout in zip(ranked, layouts, strict=True)
    }
    constants: Row = {
        "statistic": statistic,
        "n_groups": len(ranked),
        **bootstrap.columns,
    }
    rows = []
    for item in groups:
        row = {"group_name": item.name, "n_runs": item.n_runs, **constants}
        notes = [*item.notes, *bootstrap.notes()]
        if item.name in by_name:
            layout = layout_of[item.name]
            row |= by_name[item.name] | _sizes(layout)
            notes += _notes(item, layout)
        else:
            has_score = not item.runs.is_empty()
            reason = "no common task" if has_score else "no usable score"
            notes.append(f"no rank: {reason}")
        rows.append({**row, "notes": "; ".join(notes)})
    return pl.DataFrame(rows, schema=SCHEMA)


def _ranks(
    layouts: Sequence[Strata], statistic: str, bootstrap: Bootstrap
) -> list[Row]:
    """What is known of each group's rank, in the order of the groups."""
    if not layouts:
        return []
    points = np.array([[_estimate(layout, statistic)] for layout in layouts])
    contents = [_content(layout) for layout in layouts]
    drawn = _replicates(layouts, contents, statistic, bootstrap)
    point_ranks, _ = _ranked(points)
    ranks, shares_of_first = _ranked(drawn)
    tail = (1 - bootstrap.confidence) / 2
    rows: list[Row] = []
    for index, content in enumerate(contents):
        # Groups with the same scores have the same result: that of all of them.
        same = [other for other, it in enumerate(contents) if it == content]
        low, high = np.quantile(ranks[same], (tail, 1 - tail), method="inverted_cdf")
        rows.append(
            {
                "estimate": float(points[index, 0]),
                "rank": float(point_ranks[index, 0]),
                "probability_best": float(shares_of_first[same].mean()),
                "mean_rank": float(ranks[same].mean()),
                "rank_low": float(low),
                "rank_high": float(high),
            }
        )
    return rows


def _replicates(
    layouts: Sequence[Strata],
    contents: Sequence[str],
    statistic: str,
    bootstrap: Bootstrap,
) -> Float64Array:
    """Shape ``(groups, resamples)``.

    What a group draws depends on its scores, never on its name or position; groups
    with the same scores are numbered, so that they are independent, too.
    """
    drawn = np.empty((len(layouts), bootstrap.resamples))
    for index, layout in enumerate(layouts):
        number = contents[:index].count(contents[index])
        drawn[index] = replicates(
            layout,
            {statistic: STATISTICS[statistic](layout)},
            seed=bootstrap.seed,
            resamples=bootstrap.resamples,
            side=f":{contents[index]}:{number}",
        )[statistic]
        if bootstrap.method == "corrected" and int(layout.sizes.max()) > 1:
            missing = missing_variance(layout.sizes, pooled=statistic == "iqm")
            estimate = _estimate(layout, statistic)
            drawn[index] = estimate + sqrt(missing) * (drawn[index] - estimate)
    return drawn


def _ranked(values: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Ranks (the highest first, ties share), and shares of the first place.

    Shape ``(groups, resamples)`` each.

    >>> ranks, shares = _ranked(np.array([[1.0], [2.0], [2.0]]))
    >>> ranks.ravel().tolist(), shares.ravel().tolist()
    ([3.0, 1.5, 1.5], [0.0, 0.5, 0.5])
    """
    scale = float(np.abs(values).max()) or 1.0
    merged = np.round(values / scale, _DIGITS)
    ranks = np.empty(values.shape)
    for index, mine in enumerate(merged):
        n_above, n_equal = (merged > mine).sum(axis=0), (merged == mine).sum(axis=0)
        ranks[index] = n_above + (n_equal + 1) / 2
    is_first = merged == merged.max(axis=0)
    return ranks, is_first / is_first.sum(axis=0)


def _estimate(layout: Strata, statistic: str) -> float:
    return point_estimate(STATISTICS[statistic](layout), layout)


def _content(layout: Strata) -> str:
    content = layout.sizes.tobytes() + layout.values.tobytes()
    return blake2b(content, digest_size=8).hexdigest()


def _sizes(layout: Strata) -> Row:
    return {
        "n_tasks": layout.sizes.size,
        "min_runs_per_task": int(layout.sizes.min()),
        "max_runs_per_task": int(layout.sizes.max()),
    }


def _notes(group: GroupScores, layout: Strata) -> list[str]:
    notes = coverage_notes(layout, layout.tasks)
    n_left_out = group.runs["task"].n_unique() - layout.sizes.size
    if n_left_out:
        notes.append(f"{n_left_out} task(s) that other groups lack left out")
    if no_interval_reason(layout):
        return [*notes, "one run per task: its noise is unseen, so it never moves"]
    return [*notes, *single_run_notes(layout)]
