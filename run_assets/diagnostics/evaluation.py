"""Evaluation: results against fixed opponents."""

import re
from collections.abc import Iterator

import numpy as np

from run_assets.diagnostics.counts import pooled
from run_assets.diagnostics.model import (
    Effect,
    Outcome,
    Run,
    Series,
    not_testable,
    together,
)
from run_assets.diagnostics.registry import Limits, run_rule

_NONE = "no evaluation against opponents was logged (eval/vs_*)"
_EVALUATION = re.compile(r"eval", re.IGNORECASE)


@run_rule("RUN080", "loses-to-opponent", "warning", rate_below=0.5, games=100)
def loses_to_opponent(run: Run, limits: Limits) -> Iterator[Outcome]:
    """The run loses against an opponent of its evaluation.

    Test: For each opponent, the win rate of the last evaluations that hold `games`
    games: the upper end of its Wilson interval is below `rate_below`. Where games were
    not logged, the scatter between at least five evaluations makes the interval.

    Traps: A win rate without a number of games has no error. In games of more than two
    players an equal share is below a half: set `rate_below` to it.

    Hypothesis: This opponent's style is missing in training.

    Suggestion: Watch replays of lost games, and add the opponent to the league.

    Source: The playbook's step 10; Wilson 1927.
    """
    yield from _against(run, "opponent_win_rate", limits["rate_below"], limits["games"])


@run_rule("RUN081", "low-survival", "warning", rate_below=0.5, games=100)
def low_survival(run: Run, limits: Limits) -> Iterator[Outcome]:
    """The run is eliminated in most games against an opponent.

    Test: As RUN080, on the survival rate.

    Traps: As RUN080.

    Hypothesis: The policy defends badly, or trades survival for short gains.

    Suggestion: Look at how early games are lost, and at the weight of survival in the
    reward.

    Source: The playbook's step 10.
    """
    yield from _against(
        run, "opponent_survival_rate", limits["rate_below"], limits["games"]
    )


def _against(run: Run, role: str, below: float, games: float) -> Iterator[Outcome]:
    found = run.of(role)
    if not found:
        yield not_testable(_NONE)
    for series in (one.finite for one in found):
        played = _games(run, series)
        if played is None and series.size < 5:
            reason = "no number of games and fewer than 5 evaluations: no error"
            yield not_testable(reason, series.metric, series.size)
        elif series.size:
            yield _rated(series, played, below, games)


def _games(run: Run, series: Series) -> Series | None:
    """The games of an opponent: of the same folder as its rates."""
    folder = series.metric.rpartition("/")[0]
    named = [
        one for one in run.of("opponent_games") if one.metric.startswith(folder + "/")
    ]
    return named[0] if named else None


def _rated(
    series: Series, played: Series | None, below: float, games: float
) -> Outcome:
    if played is None:
        n = max(series.size // 4, 5)
        last = series.values[-n:]
        error = float(last.std(ddof=1)) / np.sqrt(n)
        level = float(last.mean())
        low, high, trials = level - 1.96 * error, level + 1.96 * error, None
        steps = series.steps[-n:]
    else:
        steps, (rates, counts) = together(series, played)
        n = int(np.searchsorted(np.cumsum(counts[::-1]), games)) + 1
        n = min(n, steps.size)
        share = pooled((rates * counts)[-n:], counts[-n:])
        level, low, high, trials = share
        steps = steps[-n:]
    is_bad = high < below
    return Outcome(
        "fired" if is_bad else "clear",
        series.metric,
        steps=(int(steps[0]), int(steps[-1])) if is_bad else (None, None),
        statistic=level,
        threshold=below,
        n_points=int(steps.size),
        effect=Effect(level, low, high),
        evidence={"opponent": _opponent(series.metric), "n_games": trials},
    )


def _opponent(metric: str) -> str:
    """The opponent in the name of a metric.

    >>> _opponent("eval/vs_chaos_bot/win_rate")
    'chaos_bot'
    """
    found = re.search(r"vs_([^/]+)", metric)
    return found[1] if found else metric


@run_rule("RUN082", "centers-falling", "warning", score=4, min_points=15)
def centers_falling(run: Run, limits: Limits) -> Iterator[Outcome]:
    """The run holds fewer centres against an opponent than it did.

    Test: The mean of the last third of evaluations is below the first third's by
    `score` standard errors (Welch).

    Traps: Few evaluations have no trend: fifteen are needed.

    Hypothesis: The policy has drifted from what beat this opponent.

    Suggestion: Compare replays of early and late checkpoints against it.

    Source: The playbook's step 10 (`avg_centers`).
    """
    found = run.of("opponent_centers")
    if not found:
        yield not_testable(_NONE)
    for series in (one.finite for one in found):
        if series.size < limits["min_points"]:
            reason = f"needs at least 15 evaluations, has {series.size}"
            yield not_testable(reason, series.metric, series.size)
            continue
        third = series.size // 3
        first, last = series.values[:third], series.values[-third:]
        error = float(np.sqrt((first.var(ddof=1) + last.var(ddof=1)) / third))
        change = float(last.mean() - first.mean())
        score = change / error if error > 0 else 0.0
        is_bad = score < -limits["score"]
        yield Outcome(
            "fired" if is_bad else "clear",
            series.metric,
            steps=(series.step(-third), series.step(-1)) if is_bad else (None, None),
            statistic=-score,
            threshold=limits["score"],
            n_points=series.size,
            effect=Effect(change, change - 1.96 * error, change + 1.96 * error),
            evidence={
                "opponent": _opponent(series.metric),
                "centers_at_first": float(first.mean()),
                "centers_at_last": float(last.mean()),
            },
        )


@run_rule("RUN083", "no-evaluation-artifact", "info")
def no_evaluation_artifact(run: Run, limits: Limits) -> Outcome:
    """Evaluations were logged as numbers, but no artifact holds their games.

    Test: Metrics `eval/vs_*` exist and the run logged no artifact whose name or type
    says evaluation or replay.

    Traps: Runs that never evaluate have nothing to miss. Offline runs log artifacts
    without an upload; those count.

    Hypothesis: Saving replays is switched off, or the upload failed.

    Suggestion: Log replays (`eval-replays-*`) and the table `eval/summary_table`, so
    that a bad number can be looked into.

    Source: The playbook's step 10.
    """
    del limits
    if not run.of("opponent_win_rate"):
        return not_testable(_NONE)
    named = [name for kind, name in run.artifacts if _is_evaluation(kind, name)]
    return Outcome(
        "clear" if named else "fired",
        statistic=float(len(named)),
        threshold=0,
        evidence={"artifacts": named[:10], "n_artifacts": len(run.artifacts)},
    )


def _is_evaluation(kind: str, name: str) -> bool:
    text = f"{kind} {name}"
    return bool(_EVALUATION.search(text)) or "replay" in text.lower()
