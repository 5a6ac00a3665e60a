"""Probability of improvement: how often a run of one group beats a run of another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.stats.aggregate import weighted_sums
from run_assets.stats.bootstrap import (
    BASIS,
    Bootstrap,
    Row,
    missing_variance,
    stratified_acceleration,
)
from run_assets.stats.replicates import in_threads, is_compiled
from run_assets.stats.resampling import (
    Draws,
    batches,
    counts_of_rows,
    task_draws,
)
from run_assets.stats.samples import (
    FEW_RUNS,
    GroupScores,
    ScoreColumns,
    Strata,
    read_groups,
    select_group,
    strata,
)

Float64Array = NDArray[np.float64]
Int64Array = NDArray[np.int64]

SCHEMA = {
    "group_x": pl.String,
    "group_y": pl.String,
    "estimate": pl.Float64,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "method": pl.String,
    "n_x": pl.Int64,
    "n_y": pl.Int64,
    **BASIS,
}


def probability_of_improvement(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    group: str = "group_name",
    task: str | None = "task",
    score: str = "score",
    replicate: str | None = "run_path",
    pairs: Sequence[tuple[str, str]] | None = None,
    method: str = "corrected",
    confidence: float = 0.95,
    resamples: int = 50_000,
    seed: int = 0,
) -> pl.DataFrame:
    """How likely a run of group x is above a run of group y, on a task they share.

    Per task the share of pairs of runs in which x is above, ties counting half (the
    Mann-Whitney U over the number of pairs), then the mean over the tasks that both
    groups have. 0.5 is no difference. It says how often x wins, not by how much.

    The two sides are resampled independently, runs within their tasks.

    Source: Agarwal et al. 2021, section 4.3; Mann and Whitney 1947; rliable
    ``metrics.probability_of_improvement``.

    Args:
        scores: One row per run and task, ragged allowed.
        group: Column with the group that a run belongs to.
        task: Column with the stratum, or None for one stratum.
        score: Column with the number; higher is better. Only its order matters.
        replicate: Column with the independent run, or None when each row is one.
        pairs: Which (x, y) to compare; all ordered pairs when None.
        method: ``corrected``, ``percentile`` or ``bca``, see ``interval_estimates``.
        confidence: Nominal coverage in (0, 1).
        resamples: Number of bootstrap resamples.
        seed: From 0 to 2**63 - 1; the same seed gives the same bytes.

    Returns:
        One row per pair with the columns of ``SCHEMA``; probabilities are in [0, 1].
        ``n_x`` and ``n_y`` count runs with a score in a common task, the runs per task
        are the least and the most of both sides. What cannot be computed is null and
        ``notes`` says why. The row of (y, x) mirrors that of (x, y).

    Raises:
        UsageError: An option, column or group is unknown, or a group or run has no
            name.

    >>> scores = pl.DataFrame({
    ...     "group_name": ["a"] * 2 + ["b"] * 2, "score": [1.0, 2.0, 2.0, 3.0]
    ... })
    >>> probability_of_improvement(scores, task=None, replicate=None).select(
    ...     "group_x", "group_y", "estimate"
    ... ).rows()
    [('a', 'b', 0.125), ('b', 'a', 0.875)]
    """
    bootstrap = Bootstrap(method, confidence, resamples, seed)
    columns = ScoreColumns(group, task, score, replicate)
    groups = {item.name: item for item in read_groups(scores, columns)}
    chosen = permutations(groups, 2) if pairs is None else pairs
    rows = []
    mirrored: dict[tuple[str, str], Row] = {}
    for x, y in chosen:
        row = mirrored.get((x, y)) or _compare(
            select_group(groups, x), select_group(groups, y), bootstrap
        )
        rows.append(row)
        mirrored[y, x] = _mirrored(row)
    return pl.DataFrame(rows, schema=SCHEMA)


@dataclass(frozen=True)
class Sides:
    """The scores of two groups in the tasks they share.

    Attributes:
        x: Scores of the one group.
        y: Scores of the other, in the same tasks.
    """

    x: Strata
    y: Strata

    @property
    def weights(self) -> Float64Array:
        """Shape ``(tasks,)``: what half a win adds to the probability."""
        return np.asarray(0.5 / self.x.sizes / self.y.sizes / self.x.sizes.size)


def common_strata(groups: Sequence[GroupScores]) -> list[Strata]:
    """The scores of each group in the tasks that all of them have."""
    tasks = set(groups[0].runs["task"]).intersection(*(g.runs["task"] for g in groups))
    in_common = pl.col("task").is_in(list(tasks), nulls_equal=True)
    return [
        strata(GroupScores(g.name, g.runs.filter(in_common), g.notes)) for g in groups
    ]


def probability_replicates(sides: Sides, *, seed: int, resamples: int) -> Float64Array:
    """The probability in every resample, shape ``(resamples,)``."""
    order = _lookups(sides)
    x_draws = task_draws(sides.x, seed=seed, side=":x")
    y_draws = task_draws(sides.y, seed=seed, side=":y")
    n_scores = sides.x.values.size + sides.y.values.size
    if is_compiled(n_scores, resamples):
        return _compiled(sides, order, (x_draws, y_draws), resamples)
    parts = [
        _of_counts(sides, order, x_counts, y_counts)
        for x_counts, y_counts in _counts(sides, x_draws, y_draws, resamples)
    ]
    return np.concatenate(parts)


def _compare(x: GroupScores, y: GroupScores, bootstrap: Bootstrap) -> Row:
    notes = [f"{item.name}: {note}" for item in (x, y) for note in item.notes]
    base: Row = {
        "group_x": x.name,
        "group_y": y.name,
        **bootstrap.columns,
        "n_x": 0,
        "n_y": 0,
        "n_tasks": 0,
    }
    sides = Sides(*common_strata([x, y]))
    if not sides.x.values.size:
        return {**base, "notes": "; ".join([*notes, "no estimate: no common task"])}
    in_common = pl.col("task").is_in(list(sides.x.tasks), nulls_equal=True)
    base |= {
        f"n_{side}": item.runs.filter(in_common)["run"].n_unique()
        for side, item in (("x", x), ("y", y))
    }
    sizes = np.concatenate([sides.x.sizes, sides.y.sizes])
    base |= {
        "n_tasks": sides.x.sizes.size,
        "min_runs_per_task": int(sizes.min()),
        "max_runs_per_task": int(sizes.max()),
    }
    left_out = x.runs["task"].n_unique() + y.runs["task"].n_unique()
    left_out -= 2 * sides.x.sizes.size
    if left_out:
        notes.append(f"{left_out} task(s) that only one of them has left out")
    return {**base, **_results(sides, bootstrap, notes)}


def _results(sides: Sides, bootstrap: Bootstrap, notes: list[str]) -> Row:
    # The side that comes first does so by its scores: neither the order of a pair nor
    # a name decides who gets which draws.
    if _content(sides.x) > _content(sides.y):
        return _mirrored(_results(Sides(sides.y, sides.x), bootstrap, notes))
    sizes = np.concatenate([sides.x.sizes, sides.y.sizes])
    order = _lookups(sides)
    once = [np.ones((1, s.values.size), dtype=np.int64) for s in (sides.x, sides.y)]
    estimate = float(_of_counts(sides, order, *once)[0])
    notes = [*notes, *_notes(sides, order, sizes), *bootstrap.notes()]
    low, high = None, None
    if int(sizes.max()) > 1:
        low, high = bootstrap.ends(
            estimate,
            probability_replicates(
                sides, seed=bootstrap.seed, resamples=bootstrap.resamples
            ),
            missing_variance=missing_variance(sizes, pooled=False),
            acceleration=lambda: stratified_acceleration(
                _without_each(sides, order, estimate), sizes
            ),
        )
        if _content(sides.x) == _content(sides.y):  # the truth is symmetric
            low, high = 0.5 - (high - low) / 2, 0.5 + (high - low) / 2
    else:
        notes.append("no interval: one run per task, so runs cannot be resampled")
    return {
        "estimate": estimate,
        "ci_low": low,
        "ci_high": high,
        "notes": "; ".join(notes),
    }


def _mirrored(row: Row) -> Row:
    """The same comparison seen from the other side."""
    ends = {
        name: 1 - value if isinstance(value := row[other], float) else None
        for name, other in (
            ("estimate", "estimate"),
            ("ci_low", "ci_high"),
            ("ci_high", "ci_low"),
        )
        if other in row
    }
    swapped = {
        name: row[other]
        for name, other in (
            ("group_x", "group_y"),
            ("group_y", "group_x"),
            ("n_x", "n_y"),
            ("n_y", "n_x"),
        )
        if other in row
    }
    return {**row, **ends, **swapped}


def _content(side: Strata) -> tuple[list[int], list[float]]:
    # Lists, not bytes: their order survives whatever keeps the order of scores.
    return side.sizes.tolist(), side.values.tolist()


def _notes(
    sides: Sides, order: tuple[Int64Array, Int64Array], sizes: Int64Array
) -> list[str]:
    below, not_above = order
    notes = []
    n_ties = int((not_above - below).sum())
    n_pairs = int((sides.x.sizes * sides.y.sizes).sum())
    if n_ties:
        notes.append(f"{n_ties} of {n_pairs} pairs of runs are ties, each half a win")
    if 1 < int(sizes.min()) < FEW_RUNS or (sizes.min() == 1 < sizes.max()):
        few = int(sizes.min())
        notes.append(f"few runs (as few as {few} in a task): read intervals with care")
    return notes


def _lookups(sides: Sides) -> tuple[Int64Array, Int64Array]:
    """Positions in y behind the lower, and behind the lower or equal scores of a task.

    Shape ``(scores of x,)`` each.
    """
    ends = sides.x.starts + sides.x.sizes, sides.y.starts + sides.y.sizes
    found: list[list[Int64Array]] = [[], []]
    for x0, x1, y0, y1 in zip(
        sides.x.starts, ends[0], sides.y.starts, ends[1], strict=True
    ):
        x, y = sides.x.values[x0:x1], sides.y.values[y0:y1]
        found[0].append(y0 + np.searchsorted(y, x, side="left"))
        found[1].append(y0 + np.searchsorted(y, x, side="right"))
    return np.concatenate(found[0]), np.concatenate(found[1])


def _of_counts(
    sides: Sides,
    order: tuple[Int64Array, Int64Array],
    x_counts: Int64Array,
    y_counts: Int64Array,
) -> Float64Array:
    """Shape ``(resamples,)``: wins and half the ties, over the pairs of each task."""
    below, not_above = order
    seen = np.zeros((len(y_counts), y_counts.shape[1] + 1), dtype=np.int64)
    np.cumsum(y_counts, axis=1, out=seen[:, 1:])
    before = np.repeat(sides.y.starts, sides.x.sizes)
    both = np.take(seen, below, axis=1) + np.take(seen, not_above, axis=1)
    both -= 2 * np.take(seen, before, axis=1)
    both *= x_counts
    wins = np.add.reduceat(both, sides.x.starts, axis=1)
    return weighted_sums(wins, sides.weights)


def _counts(
    sides: Sides, x_draws: Draws, y_draws: Draws, resamples: int
) -> Iterator[tuple[Int64Array, Int64Array]]:
    n_words = x_draws.bases.size + y_draws.bases.size
    for rows in batches(resamples, n_words):
        yield (
            counts_of_rows(x_draws, sides.x.values.size, rows),
            counts_of_rows(y_draws, sides.y.values.size, rows),
        )


def _compiled(
    sides: Sides,
    order: tuple[Int64Array, Int64Array],
    draws: tuple[Draws, Draws],
    resamples: int,
) -> Float64Array:
    from run_assets.stats import kernels

    n_x, n_y = sides.x.values.size, sides.y.values.size
    pairs = kernels.Pairs(
        *order,
        np.append(sides.x.starts, n_x),
        np.append(sides.y.starts, n_y),
        sides.weights,
        n_y,
    )
    out = np.empty(resamples)

    def fill(first: int, end: int) -> None:
        kernels.compare_resamples(*draws, first, pairs, out[first:end])

    in_threads(fill, n_x + n_y, resamples)
    return out


def _without_each(
    sides: Sides, order: tuple[Int64Array, Int64Array], estimate: float
) -> Float64Array:
    """The probability without one run, for each of x, then of y; NaN if it is alone."""
    mirrored = Sides(sides.y, sides.x)
    return np.concatenate(
        [
            _without_each_x(sides, order, estimate),
            1 - _without_each_x(mirrored, _lookups(mirrored), 1 - estimate),
        ]
    )


def _without_each_x(
    sides: Sides, order: tuple[Int64Array, Int64Array], estimate: float
) -> Float64Array:
    x_sizes = sides.x.sizes
    before = np.repeat(sides.y.starts, x_sizes)
    share = (order[0] + order[1] - 2 * before) / 2 / np.repeat(sides.y.sizes, x_sizes)
    sums = np.repeat(np.add.reduceat(share, sides.x.starts), x_sizes)
    n = np.repeat(x_sizes, x_sizes).astype(np.float64)
    without = np.full(share.size, np.nan)
    np.divide(sums - share, n - 1, out=without, where=n > 1)
    return np.asarray(estimate + (without - sums / n) / x_sizes.size)
