"""Two groups on the same items: paired differences with clustered standard errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.errors import UsageError
from run_assets.stats.comparisons import chosen_pairs
from run_assets.stats.corrections import CORRECTIONS, adjust_p_values
from run_assets.stats.options import check_choice, check_confidence
from run_assets.stats.samples import check_columns, left_out_notes, refuse_null
from run_assets.stats.significance import MeanDifference

Float64Array = NDArray[np.float64]
Row = dict[str, object]

SCHEMA = {
    "group_x": pl.String,
    "group_y": pl.String,
    "estimate": pl.Float64,
    "standard_error": pl.Float64,
    "unpaired_standard_error": pl.Float64,
    "correlation": pl.Float64,
    "statistic": pl.Float64,
    "p_value": pl.Float64,
    "p_adjusted": pl.Float64,
    "correction": pl.String,
    "ci_low": pl.Float64,
    "ci_high": pl.Float64,
    "confidence": pl.Float64,
    "n_items": pl.Int64,
    "n_clusters": pl.Int64,
    "notes": pl.String,
}

FEW_CLUSTERS = 30
"""Below this many clusters, clustered standard errors are too small."""


def paired_difference(  # noqa: PLR0913  every option of the analysis is one argument
    scores: pl.DataFrame,
    *,
    item: str,
    cluster: str | None = None,
    group: str = "group_name",
    score: str = "score",
    pairs: Sequence[tuple[str, str]] | None = None,
    correction: str = "holm",
    confidence: float = 0.95,
) -> pl.DataFrame:
    """Mean difference of two groups over the items that both were scored on.

    An item (a question, a map, a seed) is hard or easy for both groups, so the
    differences item by item scatter less than the scores. Items that belong together,
    such as questions on one text, form a cluster: clusters are independent, their items
    are not. Several scores of a group on one item (repeated trials) are averaged first.

    The standard error is ``sqrt(sum over clusters of (sum of d - mean)²) / n``, times
    ``sqrt(C / (C - 1))`` for C clusters; without clusters every item is one, and this
    is the usual ``s / sqrt(n)``. The t distribution has C - 1 degrees of freedom.

    Source: Miller 2024 (arXiv 2411.00640), section 2.2 for clusters and 4 for pairs;
    the factor as in ``statsmodels`` and most software.

    Args:
        scores: One row per item and group, or per trial of it.
        item: Column with the item.
        cluster: Column with what items belong to, or None.
        group: Column with what is compared.
        score: Column with the number.
        pairs: Which groups to compare; all unordered pairs when None.
        correction: ``holm``, ``bonferroni``, ``bh`` or ``none``.
        confidence: Nominal coverage of the interval, in (0, 1).

    Returns:
        One row per pair with the columns of ``SCHEMA``; differences are x minus y.
        ``unpaired_standard_error`` is what the error would be without pairing, and
        ``correlation`` that of the two groups' scores over the items.

    Raises:
        UsageError: An option, column or group is unknown, an item has no name, or lies
            in two clusters.

    >>> scores = pl.DataFrame({
    ...     "group_name": ["new"] * 4 + ["old"] * 4,
    ...     "question": [1, 2, 3, 4] * 2,
    ...     "score": [1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0],
    ... })
    >>> paired_difference(scores, item="question").select(
    ...     "estimate", pl.col("standard_error").round(3), "n_items"
    ... ).row(0)
    (0.5, 0.289, 4)
    """
    check_choice("correction", correction, CORRECTIONS)
    check_confidence(confidence)
    groups = _item_means(scores, group, item, cluster or item, score)
    rows = [
        _compare(groups[x], groups[y], confidence)
        for x, y in chosen_pairs(groups, pairs)
    ]
    frame = pl.DataFrame(rows, schema=SCHEMA)
    adjusted = adjust_p_values(frame["p_value"].to_list(), correction=correction)
    return frame.with_columns(
        pl.lit(correction).alias("correction"),
        pl.Series("p_adjusted", adjusted, dtype=pl.Float64),
    )


@dataclass(frozen=True)
class _Items:
    """The scores of one group: columns item, cluster, score; an item once."""

    name: str
    means: pl.DataFrame
    notes: tuple[str, ...]


def _item_means(
    scores: pl.DataFrame, group: str, item: str, cluster: str, score: str
) -> dict[str, _Items]:
    names = (group, item, cluster)
    check_columns(scores, [*names, score], score)
    for name in names:
        refuse_null(scores, name)
    frame = scores.select(
        *(
            pl.col(name).cast(pl.String).alias(role)
            for role, name in zip(("group", "item", "cluster"), names, strict=True)
        ),
        pl.col(score).cast(pl.Float64).alias("score"),
    )
    homes = frame.group_by("item").agg(pl.col("cluster").n_unique().alias("n"))
    if torn := sorted(homes.filter(pl.col("n") > 1)["item"]):
        message = (
            f"an item lies in one cluster, got item {torn[0]!r} in several of "
            f"{cluster!r}; make items unique, for example by joining both names"
        )
        raise UsageError(message)
    parts = frame.partition_by("group", as_dict=True)
    return {
        str(name): _items(str(name), part)
        for (name,), part in sorted(parts.items(), key=lambda one: str(one[0][0]))
    }


def _items(name: str, rows: pl.DataFrame) -> _Items:
    usable = rows.filter(pl.col("score").is_finite()).sort("item", "score")
    means = usable.group_by("item", "cluster", maintain_order=True).agg(
        pl.col("score").mean()
    )
    notes = left_out_notes(rows["score"])
    if means.height < usable.height:
        notes.append(f"{usable.height} rows averaged into {means.height} items")
    return _Items(name, means, tuple(notes))


def _compare(x: _Items, y: _Items, confidence: float) -> Row:
    both = x.means.join(y.means, on=["item", "cluster"], suffix="_y").sort("item")
    alone = x.means.height + y.means.height - 2 * both.height
    notes = [f"{one.name}: {note}" for one in (x, y) for note in one.notes]
    if alone:
        notes.append(f"{alone} item(s) without a partner left out")
    n_clusters = both["cluster"].n_unique()
    sizes = {"n_items": both.height, "n_clusters": n_clusters}
    names = {"group_x": x.name, "group_y": y.name, "confidence": confidence}
    values = (both["score"].to_numpy(), both["score_y"].to_numpy())
    if both.is_empty():
        return {**names, **sizes, "notes": "; ".join([*notes, "no item in common"])}
    difference = values[0] - values[1]
    found: Row = {"estimate": float(difference.mean())}
    if n_clusters < 2:
        notes.append(f"no interval: one {'item' if both.height == 1 else 'cluster'}")
        return {**names, **sizes, **found, "notes": "; ".join(notes)}
    clusters = both["cluster"].rank("dense").to_numpy() - 1
    if n_clusters < both.height and n_clusters < FEW_CLUSTERS:
        notes.append(f"few clusters ({n_clusters}): the true error may be larger")
    found |= _unpaired(*values, clusters)
    tested, note = _tested(difference, clusters, confidence)
    notes += note
    return {**names, **sizes, **found, **tested, "notes": "; ".join(notes)}


def _tested(
    difference: Float64Array, clusters: NDArray[np.int64], confidence: float
) -> tuple[Row, list[str]]:
    error = clustered_standard_error(difference, clusters)
    rounding = 4 * float(np.finfo(np.float64).eps) * float(np.abs(difference).max())
    if error <= rounding:
        return {"standard_error": 0.0}, ["no test: the differences do not scatter"]
    freedom = float(clusters.max())
    mean = MeanDifference(float(difference.mean()), error, freedom)
    low, high = mean.interval(confidence)
    row: Row = {
        "standard_error": error,
        "statistic": mean.difference / error,
        "p_value": mean.p_value(),
        "ci_low": low,
        "ci_high": high,
    }
    return row, []


def _unpaired(
    x: Float64Array, y: Float64Array, clusters: NDArray[np.int64]
) -> dict[str, float | None]:
    errors = [clustered_standard_error(one, clusters) for one in (x, y)]
    scatter = [float(one.std()) for one in (x, y)]
    is_flat = min(scatter) <= 1e-12 * float(max(np.abs(x).max(), np.abs(y).max()))
    covariance = float(((x - x.mean()) * (y - y.mean())).mean())
    return {
        "unpaired_standard_error": sqrt(errors[0] ** 2 + errors[1] ** 2),
        "correlation": None if is_flat else covariance / (scatter[0] * scatter[1]),
    }


def clustered_standard_error(
    values: Float64Array, clusters: NDArray[np.int64]
) -> float:
    """Standard error of a mean whose clusters are independent, not their items.

    Source: Miller 2024, section 2.2, with the factor ``C / (C - 1)``.

    Args:
        values: Shape ``(items,)``.
        clusters: Shape ``(items,)``: number of the cluster, from 0 without a gap.

    >>> clustered_standard_error(np.array([1.0, 1.0, 3.0, 3.0]), np.array([0, 0, 1, 1]))
    1.0
    """
    sums = np.bincount(clusters, weights=values - values.mean())
    n_clusters = sums.size
    factor = n_clusters / (n_clusters - 1)
    return sqrt(float((sums**2).sum()) * factor) / values.size
