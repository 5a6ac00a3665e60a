"""What prefix caching did in a run: rates weighted by counts, tokens as a sum."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

RATE, HITS, QUERIES = "hit_rate", "total_hits", "total_queries"
TOKENS, BATCHES = "prompt_tokens", "batches"
_WARM_UP = 0.05
"""Share of the steps, at least one, in which a cache cannot be warm yet."""


class CacheStatistic(NamedTuple):
    """One number about a cache.

    Attributes:
        statistic: Its name.
        value: None where it was not logged or has no meaning.
        n_points: Steps it was made from.
        note: How it was made, or why there is none.
    """

    statistic: str
    value: float | None
    n_points: int
    note: str


@dataclass(frozen=True)
class _Cache:
    """What was logged, one row a step, and where."""

    steps: pl.DataFrame
    prefix: str

    def has(self, *names: str) -> bool:
        return all(name in self.steps.columns for name in names)

    def rows(self, *names: str) -> pl.DataFrame:
        """Steps that have all of these."""
        return self.steps.select("step", *names).drop_nulls().drop_nans()

    def missing(self, *names: str) -> str:
        lost = [f"{self.prefix}/{one}" for one in names if not self.has(one)]
        return f"not logged: {', '.join(lost)}"


def cache_statistics(
    points: pl.DataFrame, prefix: str = "cache"
) -> list[CacheStatistic]:
    """Hit rates and tokens saved, each with how it was made.

    Counts are those of a step, as the playbook logs them. The rate is the sum of hits
    over the sum of queries; without counts it is the mean of the logged rates weighted
    by prompt tokens, or else unweighted, and says so. Tokens saved are the sum over
    steps of rate x prompt tokens, never a last value times a mean. What was not logged
    is null and says so; a zero is a zero that was logged.

    Args:
        points: Columns metric, step and value of one run.
        prefix: What the names of the cache's metrics begin with.

    Returns:
        Always the same statistics, in the same order.
    """
    cache, rate_note = _as_fraction(_read(points, prefix))
    return [
        *_rates(cache, rate_note),
        *(_total(cache, name) for name in (HITS, QUERIES, TOKENS, BATCHES)),
        _tokens_saved(cache),
    ]


def is_logged(points: pl.DataFrame, prefix: str = "cache") -> bool:
    """The run logged anything of a cache."""
    return bool(points["metric"].str.starts_with(f"{prefix}/").any())


def _read(points: pl.DataFrame, prefix: str) -> _Cache:
    wide = pl.DataFrame({"step": points["step"].unique().sort()})
    for name in (RATE, HITS, QUERIES, TOKENS, BATCHES):
        mine = points.filter(
            pl.col("metric") == f"{prefix}/{name}", pl.col("value").is_finite()
        )
        if not mine.is_empty():
            wide = wide.join(mine.select("step", value="value"), on="step", how="left")
            wide = wide.rename({"value": name})
    return _Cache(wide, prefix)


def _as_fraction(cache: _Cache) -> tuple[_Cache, str]:
    """Rates in [0, 1]; those of counts where none were logged."""
    if not cache.has(RATE):
        if not cache.has(HITS, QUERIES):
            return cache, ""
        share = pl.col(HITS) / pl.col(QUERIES)
        made = pl.when(pl.col(QUERIES) > 0).then(share).alias(RATE)
        note = "hits / queries of each step; "
        return _Cache(cache.steps.with_columns(made), cache.prefix), note
    largest = cache.rows(RATE)[RATE].max()
    if isinstance(largest, float) and largest > 1:
        scaled = cache.steps.with_columns(pl.col(RATE) / 100)
        note = f"values up to {largest:g}: read as percent; "
        return _Cache(scaled, cache.prefix), note
    return cache, ""


def _rates(cache: _Cache, note: str) -> Iterator[CacheStatistic]:
    yield _rate_over("hit_rate", cache, note)
    cold = max(1, int(cache.steps.height * _WARM_UP))
    warm = _Cache(cache.steps.slice(cold), cache.prefix)
    yield _rate_over("hit_rate_after_warm_up", warm, note)
    if not cache.has(RATE):
        for name in ("first_hit_rate", "last_hit_rate", "peak_hit_rate"):
            yield CacheStatistic(name, None, 0, cache.missing(RATE))
        return
    logged = cache.rows(RATE)[RATE]
    said = f"{note}of one step"
    for name, value in (
        ("first_hit_rate", logged.first()),
        ("last_hit_rate", logged.last()),
        ("peak_hit_rate", logged.max()),
    ):
        yield CacheStatistic(name, _float(value), len(logged), said)


def _rate_over(name: str, cache: _Cache, note: str) -> CacheStatistic:
    """A rate over all steps, weighted by the best that was logged."""
    if cache.has(HITS, QUERIES):
        return _counted(name, cache.rows(HITS, QUERIES))
    if not cache.has(RATE):
        return CacheStatistic(name, None, 0, cache.missing(RATE, HITS, QUERIES))
    weight = TOKENS if cache.has(TOKENS) else QUERIES
    if cache.has(weight):
        rows = cache.rows(RATE, weight)
        total = float(rows[weight].sum())
        if total > 0:
            mean = float((rows[RATE] * rows[weight]).sum()) / total
            said = f"{note}weighted by {cache.prefix}/{weight}"
            return CacheStatistic(name, mean, rows.height, said)
    rates = cache.rows(RATE)[RATE]
    said = f"{note}mean of the steps, unweighted: no counts were logged"
    return CacheStatistic(name, _float(rates.mean()), len(rates), said)


def _counted(name: str, rows: pl.DataFrame) -> CacheStatistic:
    queries = float(rows[QUERIES].sum())
    if not queries > 0:
        return CacheStatistic(name, None, rows.height, "no queries were made")
    rate = float(rows[HITS].sum()) / queries
    said = "sum of hits / sum of queries"
    return CacheStatistic(name, rate, rows.height, said)


def _total(cache: _Cache, name: str) -> CacheStatistic:
    if not cache.has(name):
        return CacheStatistic(name, None, 0, cache.missing(name))
    rows = cache.rows(name)[name]
    said = "sum over steps"
    if len(rows) > 2 and rows.is_sorted() and rows[0] != rows[-1]:
        said += "; it never falls: if it is a running total, its last value counts"
    return CacheStatistic(name, float(rows.sum()), len(rows), said)


def _tokens_saved(cache: _Cache) -> CacheStatistic:
    if not cache.has(RATE, TOKENS):
        said = cache.missing(RATE, TOKENS)
        return CacheStatistic("tokens_saved", None, 0, said)
    rows = cache.rows(RATE, TOKENS)
    saved = float((rows[RATE] * rows[TOKENS]).sum())
    said = "sum over steps of rate x prompt tokens"
    return CacheStatistic("tokens_saved", saved, rows.height, said)


def _float(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None
