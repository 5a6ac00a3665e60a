"""What each component contributes to the total, by the weights of a ledger."""

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Ledger:
    """The total of one run, taken apart.

    Attributes:
        contributions: Weight times mean value of each component.
        shares: Size of each contribution as a share of the sizes of all, in [0, 1]: a
            penalty takes its share, too.
        n_steps: Steps at which every component was logged; only these count.
        total: Mean of the weighted sum.
        logged_total: Mean of the logged total at the same steps, where there is one.
        largest_difference: Between both, at any step.
        note: Why there are no shares.
    """

    contributions: Mapping[str, float]
    shares: Mapping[str, float]
    n_steps: int
    total: float | None = None
    logged_total: float | None = None
    largest_difference: float | None = None
    note: str | None = None


def ledger_of(
    points: pl.DataFrame, weights: Mapping[str, float], total: str | None
) -> Ledger:
    """Take the total of a run apart.

    Args:
        points: Columns metric, step and value of one run.
        weights: Weight of each component.
        total: Name of the logged total.
    """
    finite = points.filter(pl.col("value").is_finite())
    logged = set(finite["metric"])
    if missing := sorted(set(weights) - logged):
        return Ledger({}, {}, 0, note=f"not logged: {', '.join(missing)}")
    wide = finite.filter(pl.col("metric").is_in(list(weights))).select(
        "step",
        "metric",
        pl.col("value") * pl.col("metric").replace_strict(dict(weights)),
    )
    complete = wide.filter(pl.len().over("step") == len(weights))
    if complete.is_empty():
        return Ledger({}, {}, 0, note="the components share no step")
    means = complete.group_by("metric").agg(pl.col("value").mean()).sort("metric")
    contributions = dict(means.rows())
    size = sum(abs(one) for one in contributions.values())
    shares = {name: abs(one) / size for name, one in contributions.items() if size > 0}
    sums = complete.group_by("step").agg(pl.col("value").sum())
    logged_total = finite.filter(pl.col("metric").is_in([total] if total else []))
    both = sums.join(logged_total.select("step", logged="value"), on="step")
    gap = (both["value"] - both["logged"]).abs().max()
    return Ledger(
        contributions=contributions,
        shares=shares,
        n_steps=sums.height,
        total=sum(contributions.values()),
        logged_total=_number(both["logged"].mean()),
        largest_difference=_number(gap),
        note=None if size > 0 else "every contribution is 0",
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
