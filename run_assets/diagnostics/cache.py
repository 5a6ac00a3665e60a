"""Cache: whether the prefix cache earns its place."""

import numpy as np

from run_assets.diagnostics.counts import Share, pooled
from run_assets.diagnostics.levels import blocks_of, change_between
from run_assets.diagnostics.model import (
    Effect,
    Outcome,
    Run,
    Series,
    not_testable,
    together,
)
from run_assets.diagnostics.registry import Limits, run_rule

_OFF = {"false", "0", "off", "no", "none"}
_NOT_LOGGED = "the cache was not logged (cache/*); that says nothing of its hit rate"


def hit_rate(run: Run, warm_up: float) -> tuple[Series, Share] | None:
    """The share of hits after the warm-up, and the series it is from.

    Hits over queries where both were logged; else the rates, each step alike. Rates
    above 1 were logged in percent.
    """
    hits, queries = run.one("cache_hits"), run.one("cache_queries")
    if hits is not None and queries is not None:
        steps, (some, whole) = together(hits, queries)
        if steps.size and whole.sum() > 0:
            skip = int(warm_up * steps.size)
            return hits.finite, pooled(some[skip:], whole[skip:])
    rate = run.one("cache_hit_rate")
    if rate is None or rate.finite.size == 0:
        return None
    values = _as_share(rate.finite.values)
    kept = values[int(warm_up * values.size) :]
    mean = float(kept.mean())
    error = float(kept.std(ddof=1) / np.sqrt(kept.size)) if kept.size > 1 else 0.0
    share = Share(mean, mean - 1.96 * error, mean + 1.96 * error, float(kept.size))
    return rate.finite, share


def _as_share(values: np.ndarray) -> np.ndarray:
    return np.asarray(values / 100 if values.max() > 1.5 else values)


@run_rule(
    "RUN050",
    "low-hit-rate",
    "info",
    warning_below=0.3,
    info_below=0.5,
    warm_up_rate=0.1,
    min_points=10,
)
def low_hit_rate(run: Run, limits: Limits) -> Outcome:
    """The prefix cache hits too rarely.

    Test: Hits over queries after `warm_up_rate` of the run, count-weighted: the upper
    end of the 95 % interval is below `info_below`, and a warning below
    `warning_below`.

    Traps: The mean of rates weighs a step of few queries like one of many. The first
    batches fill the cache. A cache that was not logged has no hit rate, and 0 % is not
    "not logged".

    Hypothesis: What is the same in all prompts does not come first, so prefixes
    differ early.

    Suggestion: Put static instructions at the start of the prompt and what varies at
    its end.

    Source: The playbook's step 6 and pattern 6.
    """
    found = hit_rate(run, limits["warm_up_rate"])
    if found is None:
        return not_testable(_NOT_LOGGED)
    series, share = found
    if series.size < limits["min_points"]:
        return not_testable("fewer than 10 logged steps", series.metric, series.size)
    if share.value == 0:
        return not_testable("no hit at all: see RUN052", series.metric, series.size)
    is_bad = share.high < limits["info_below"]
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        "warning" if share.high < limits["warning_below"] else None,
        steps=(series.step(0), series.step(-1)) if is_bad else (None, None),
        statistic=share.value,
        threshold=limits["info_below"],
        n_points=series.size,
        effect=Effect(share.value, share.low, share.high),
        evidence={"n_queries": share.trials, **tokens_saved(run)},
    )


def tokens_saved(run: Run) -> dict[str, float]:
    """Prompt tokens that were not computed again: the sum over steps, not a product.

    Empty where hit rate and tokens were not logged together.
    """
    rate, tokens = run.one("cache_hit_rate"), run.one("prompt_tokens")
    if rate is None or tokens is None:
        return {}
    _, (rates, counts) = together(rate, tokens)
    if not rates.size:
        return {}
    return {"tokens_saved": float((_as_share(rates) * counts).sum())}


@run_rule("RUN051", "hit-rate-not-rising", "info", score=3, below=0.5, min_points=40)
def hit_rate_not_rising(run: Run, limits: Limits) -> Outcome:
    """The hit rate is low and does not rise with time.

    Test: The rate's last block is below `below` and not above the first one by
    `score` standard errors corrected for autocorrelation.

    Traps: A cache that is full at once cannot rise: a high rate is left alone.

    Hypothesis: Prompts are too variable for prefixes to repeat: something that changes
    (a board state, a list of moves) stands near their start.

    Suggestion: Move what varies behind what does not.

    Source: The playbook's pattern 6.
    """
    rate = run.one("cache_hit_rate")
    if rate is None:
        return not_testable(_NOT_LOGGED)
    series = rate.finite
    if series.size < limits["min_points"]:
        least = int(limits["min_points"])
        reason = f"needs at least {least} values, has {series.size}"
        return not_testable(reason, series.metric, series.size)
    values = _as_share(series.values)
    if not values.any():
        return not_testable("no hit at all: see RUN052", series.metric, series.size)
    blocks = blocks_of(values)
    change = change_between(blocks, 0, -1)
    low, high = change.interval()
    is_bad = bool(
        change.score < limits["score"] and blocks.levels[-1] < limits["below"]
    )
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(0), series.step(-1)) if is_bad else (None, None),
        statistic=change.score,
        threshold=limits["score"],
        n_points=series.size,
        effect=Effect(change.size, low, high),
        evidence={"last_level": float(blocks.levels[-1])},
    )


@run_rule("RUN052", "cache-disabled", "info")
def cache_disabled(run: Run, limits: Limits) -> Outcome:
    """The prefix cache is switched off, or never hits.

    Test: The config says that it is off, or its metrics were logged and are zero
    throughout.

    Traps: Metrics that were not logged are no zeros. Some inference servers always
    report 0 % although they cache.

    Hypothesis: The option was left off, or the server ignores it.

    Suggestion: Switch it on (`prefix_cache_optimized`) and compare rollout times.

    Source: The playbook's pattern 6.
    """
    del limits
    keys = run.parts.players(
        "cache_switch", tuple(f"config.{key}" for key in run.config)
    )
    off = [key for key in keys if run.config[key[7:]].strip().lower() in _OFF]
    if off:
        return Outcome("fired", evidence={"config_key": off[0]})
    found = hit_rate(run, 0.0)
    if found is None:
        return not_testable(_NOT_LOGGED)
    series, share = found
    return Outcome(
        "fired" if share.value == 0 else "clear",
        series.metric,
        statistic=share.value,
        threshold=0,
        n_points=series.size,
        evidence={"hit_rate": share.value},
    )


@run_rule(
    "RUN053", "cached-but-slow", "info", hit_rate_above=0.6, score=3, min_points=40
)
def cached_but_slow(run: Run, limits: Limits) -> Outcome:
    """The cache hits well, and rollouts have become slower all the same.

    Test: The hit rate after the first tenth is above `hit_rate_above`, and the last
    block of the rollout time exceeds the first one by `score` standard errors.

    Traps: Longer games take longer whatever the cache does; compare with their length.

    Hypothesis: The bottleneck is elsewhere: training, the network or the disk.

    Suggestion: Look at RUN022, RUN023 and RUN026.

    Source: The playbook's pattern 6.
    """
    found, rollout = hit_rate(run, 0.1), run.one("rollout_seconds")
    if found is None or rollout is None:
        return not_testable("hit rate and rollout time were not both logged")
    series = rollout.finite
    if series.size < limits["min_points"]:
        return not_testable("too few rollout times", series.metric, series.size)
    blocks = series.blocks
    change = change_between(blocks, 0, -1)
    low, high = change.interval()
    share = found[1]
    is_bad = share.value > limits["hit_rate_above"] and change.score > limits["score"]
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(0), series.step(-1)) if is_bad else (None, None),
        statistic=change.score,
        threshold=limits["score"],
        n_points=series.size,
        effect=Effect(change.size, low, high),
        evidence={"hit_rate": share.value},
    )
