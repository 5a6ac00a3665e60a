"""League: ratings and games against earlier versions."""

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from run_assets.diagnostics.counts import pooled, wilson
from run_assets.diagnostics.levels import (
    autocorrelation_time,
    block_count,
    block_starts,
)
from run_assets.diagnostics.model import (
    Effect,
    Outcome,
    Run,
    Series,
    not_testable,
    together,
)
from run_assets.diagnostics.registry import Limits, run_rule, series_rule

Floats = NDArray[np.float64]

# Source: Elo's logistic model: a rating's standard error after n games at win rate p
# is this over sqrt(n p (1 - p)).
ELO_ERROR = 400 / float(np.log(10))


class Ratings(NamedTuple):
    """A rating over time, with the error that its games allow.

    Attributes:
        series: The rating.
        steps: Steps with a rating; shape ``(n,)``.
        values: Ratings.
        errors: Standard error of each, from the games played since the one before.
        games: Games of each; all 1 where they were not logged.
    """

    series: Series
    steps: NDArray[np.int64]
    values: Floats
    errors: Floats
    games: Floats


def ratings(run: Run) -> Ratings | None:
    """The rating of a run; games as logged by step, or as a running total."""
    elo = run.one("elo")
    if elo is None:
        return None
    games, rate = run.one("games_played"), run.one("gatekeeper_win_rate")
    if games is None:
        series = elo.finite
        ones = np.ones(series.size)
        return Ratings(series, series.steps, series.values, ones * np.nan, ones)
    steps, (values, played) = together(elo, games)
    counts = _per_step(played)
    wins = np.full(steps.size, 0.5)
    if rate is not None and rate.finite.size:
        places = rate.finite.steps.searchsorted(steps, side="right") - 1
        wins = np.clip(rate.finite.values[np.maximum(places, 0)], 0.05, 0.95)
    errors = ELO_ERROR / np.sqrt(np.maximum(counts, 1) * wins * (1 - wins))
    return Ratings(elo.finite, steps, values, errors, counts)


def _per_step(played: Floats) -> Floats:
    """Games of each step; a series that never falls is a running total."""
    if played.size > 2 and (np.diff(played) >= 0).all() and played[-1] > played[0]:
        return np.diff(played, prepend=0.0)
    return played


@run_rule("RUN070", "elo-trend", "info", score=3, min_points=20)
def elo_trend(run: Run, limits: Limits) -> Outcome:
    """The rating goes up or down over the run; down is a warning.

    Test: The slope of the Elo rating, weighted by games, is off zero by `score`
    standard errors corrected for autocorrelation. The effect is the change over the
    whole run in points.

    Traps: A rating of few games scatters by (400 / ln 10) / sqrt(n p (1 - p)) points.
    Ratings of a growing pool drift, and opponents change: the win rate against
    gatekeepers (RUN072) is the second witness.

    Hypothesis: Falling: the policy forgets how to beat earlier opponents, or the pool
    has become stronger. Rising: it learns to beat it.

    Suggestion: Falling: play the best checkpoint against the last one; add earlier
    opponents to the league.

    Source: The playbook's step 8; Elo 1978.
    """
    found = ratings(run)
    if found is None:
        return not_testable("no metric plays the part elo (elo/challenger)")
    if found.steps.size < limits["min_points"]:
        return _few(found, limits)
    x = (found.steps - found.steps[0]) / max(found.steps[-1] - found.steps[0], 1)
    slope, error = _weighted_slope(x.astype(float), found.values, found.games)
    score = slope / error if error > 0 else 0.0
    is_off = abs(score) > limits["score"]
    return Outcome(
        "fired" if is_off else "clear",
        found.series.metric,
        "warning" if score < 0 else "info",
        steps=(int(found.steps[0]), int(found.steps[-1])) if is_off else (None, None),
        statistic=score,
        threshold=limits["score"],
        n_points=int(found.steps.size),
        effect=Effect(slope, slope - 1.96 * error, slope + 1.96 * error),
        evidence={
            "first_rating": float(found.values[0]),
            "last_rating": float(found.values[-1]),
            "n_games": float(found.games.sum()),
        },
    )


def _few(found: Ratings, limits: Limits) -> Outcome:
    least, n = int(limits["min_points"]), int(found.steps.size)
    return not_testable(
        f"needs at least {least} ratings, has {n}", found.series.metric, n
    )


def _weighted_slope(x: Floats, y: Floats, weights: Floats) -> tuple[float, float]:
    """Least squares with weights; the error knows of autocorrelation."""
    weights = np.maximum(weights, 0)
    if weights.sum() <= 0:
        weights = np.ones_like(x)
    weights = weights / weights.sum()
    center = float((weights * x).sum())
    spread = float((weights * (x - center) ** 2).sum())
    level = float((weights * y).sum())
    slope = float((weights * (x - center) * (y - level)).sum() / spread)
    residuals = y - level - slope * (x - center)
    variance = float((weights * residuals**2).sum())
    worth = 1 / float((weights**2).sum()) / autocorrelation_time(residuals)
    return slope, float(np.sqrt(variance / spread / max(worth - 2, 1)))


@run_rule("RUN071", "elo-below-peak", "warning", near=5, declined=20, min_points=20)
def elo_below_peak(run: Run, limits: Limits) -> Outcome:
    """The rating ends below its peak.

    Test: The last level less the highest one (means of stretches weighted by games):
    within `near` points it is at its peak, beyond `declined` points and two standard
    errors it has declined; between the two, beyond the errors, is information.

    Traps: The highest single rating of many is luck: stretches are compared, and the
    error is that of the games played.

    Hypothesis: The policy passed its best and forgets, or the league outgrew it.

    Suggestion: Keep the checkpoint of the peak as the candidate, and look at what
    changed after it.

    Source: The league analysis that goes with the playbook (-5 near, -20 declining).
    """
    found = ratings(run)
    if found is None:
        return not_testable("no metric plays the part elo (elo/challenger)")
    if found.steps.size < limits["min_points"]:
        return _few(found, limits)
    starts = block_starts(found.steps.size, block_count(found.steps.size, 5, 10))
    levels, errors = _weighted_levels(found, starts)
    peak = int(np.argmax(levels))
    below = float(levels[-1] - levels[peak])
    error = float(np.hypot(errors[-1], errors[peak])) if peak < levels.size - 1 else 0.0
    is_below = below < -limits["near"] and -below > 2 * error
    is_declined = is_below and below < -limits["declined"]
    return Outcome(
        "fired" if is_below else "clear",
        found.series.metric,
        "warning" if is_declined else "info",
        steps=(int(found.steps[starts[peak]]), int(found.steps[-1]))
        if is_below
        else (None, None),
        statistic=below,
        threshold=-limits["near"],
        n_points=int(found.steps.size),
        effect=Effect(below, below - 1.96 * error, below + 1.96 * error),
        evidence={
            "peak_rating": float(levels[peak]),
            "peak_step": int(found.steps[starts[peak]]),
            "last_rating": float(levels[-1]),
        },
        reason=None if is_below else "near its peak",
    )


def _weighted_levels(
    found: Ratings, starts: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    levels, errors = [], []
    for a, b in itertools.pairwise(starts):
        values, games = found.values[a:b], np.maximum(found.games[a:b], 1e-9)
        levels.append(float(np.average(values, weights=games)))
        worth = (b - a) / autocorrelation_time(values)
        scatter = (
            float(values.std(ddof=1)) / np.sqrt(max(worth, 1)) if b - a > 1 else 0.0
        )
        by_games = (
            float(np.sqrt(1 / np.nansum(found.errors[a:b] ** -2.0)))
            if np.isfinite(found.errors[a:b]).any()
            else 0.0
        )
        errors.append(max(scatter, by_games))
    return np.array(levels), np.array(errors)


@run_rule("RUN072", "loses-to-gatekeepers", "warning", rate_below=0.5, min_points=5)
def loses_to_gatekeepers(run: Run, limits: Limits) -> Outcome:
    """The challenger loses more than half of its games against the gatekeepers.

    Test: The win rate of the last quarter, weighted by games: the upper end of its
    95 % interval is below `rate_below`.

    Traps: Gatekeepers get stronger as the league grows: about a half is what a healthy
    challenger keeps. Few games have wide intervals. Draws count as logged.

    Hypothesis: The policy has stopped improving, or a gatekeeper exploits it.

    Suggestion: Look at the games against the strongest gatekeeper.

    Source: The playbook's step 8; Wilson 1927.
    """
    rate = run.one("gatekeeper_win_rate")
    if rate is None:
        return not_testable("no metric plays the part gatekeeper_win_rate")
    games = run.one("games_played")
    if games is None:
        return not_testable(
            "games played were not logged: a rate has no error", rate.metric
        )
    steps, (rates, played) = together(rate, games)
    if steps.size < limits["min_points"]:
        return not_testable("fewer than 5 win rates", rate.metric, int(steps.size))
    counts = _per_step(played)
    n = max(steps.size // 4, 3)
    share = pooled((rates * counts)[-n:], counts[-n:])
    is_bad = share.high < limits["rate_below"]
    return Outcome(
        "fired" if is_bad else "clear",
        rate.metric,
        steps=(int(steps[-n]), int(steps[-1])) if is_bad else (None, None),
        statistic=share.value,
        threshold=limits["rate_below"],
        n_points=n,
        effect=Effect(share.value, share.low, share.high),
        evidence={"n_games": share.trials},
    )


@series_rule(
    "RUN073", "league-stalled", "info", "league_size", min_points=10, still_rate=0.5
)
def league_stalled(run: Run, series: Series, limits: Limits) -> Outcome:
    """The league has stopped growing.

    Test: The number of checkpoints has not risen in the last `still_rate` of the run,
    although it rose before.

    Traps: A league with a fixed size is full, not stalled: it never grew, or stands at
    its limit.

    Hypothesis: New checkpoints no longer pass the bar to enter, or saving them fails.

    Suggestion: Compare the rating with the bar, and look for errors while saving.

    Source: The playbook's step 8 (league growth).
    """
    del run
    start = int((1 - limits["still_rate"]) * series.size)
    before = float(series.values[start] - series.values[0])
    after = float(series.values[-1] - series.values[start])
    is_bad = before > 0 and after <= 0
    last = int(np.argmax(series.values >= series.values[-1]))
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(last), series.step(-1)) if is_bad else (None, None),
        statistic=after,
        threshold=0,
        n_points=series.size,
        effect=Effect(after),
        evidence={"size": float(series.values[-1]), "growth_before": before},
    )


@run_rule("RUN074", "too-few-games", "info", error_above=25, min_points=5)
def too_few_games(run: Run, limits: Limits) -> Outcome:
    """Evaluation plays too few games to tell ratings apart.

    Test: The standard error of a rating that the games of a tenth of the run allow,
    (400 / ln 10) / sqrt(n p (1 - p)), is above `error_above` points.

    Traps: Games may be logged for each step or as a running total; a series that never
    falls is taken for a total.

    Hypothesis: Evaluation is too rare or too short for the differences looked for.

    Suggestion: Play more games a checkpoint; the evidence says how many would do.

    Source: The playbook's step 8 (evaluation frequency); Elo 1978.
    """
    games = run.one("games_played")
    if games is None:
        return not_testable("no metric plays the part games_played (elo/games_played)")
    series = games.finite
    if series.size < limits["min_points"]:
        return not_testable("fewer than 5 counts of games", series.metric, series.size)
    counts = _per_step(series.values)
    tenth = float(counts.sum()) / 10
    error = ELO_ERROR / np.sqrt(max(tenth, 1e-9) * 0.25)
    is_bad = bool(error > limits["error_above"])
    rate = wilson(tenth / 2, tenth) if tenth > 0 else None
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(series.step(0), series.step(-1)) if is_bad else (None, None),
        statistic=float(min(error, 1e6)),
        threshold=limits["error_above"],
        n_points=series.size,
        effect=Effect(tenth),
        evidence={
            "games_in_a_tenth_of_the_run": tenth,
            "games_needed": 4 * (ELO_ERROR / limits["error_above"]) ** 2,
            "win_rate_interval": [rate.low, rate.high] if rate else None,
        },
    )
