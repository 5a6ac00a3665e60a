"""What is asked of the trials of every lab, by table; every door asks here."""

from collections.abc import Callable, Mapping

import polars as pl

from run_assets.config_evaluations import Evaluations
from run_assets.stats.leaderboard import leaderboard
from run_assets.stats.model_comparisons import model_comparisons
from run_assets.stats.results_over_time import results_over_time
from run_assets.stats.success_rates import success_rates
from run_assets.stats.task_difficulty import task_difficulty
from run_assets.stats.trial_costs import trial_costs
from run_assets.stats.trial_outliers import trial_outliers
from run_assets.stats.trial_pass_rates import trial_pass_rates
from run_assets.stats.trials import scopes

EvaluationAnswer = Callable[[Evaluations, pl.DataFrame], pl.DataFrame]
"""From the settings and trials with an outcome to rows without ``sweep_id``."""


def _success_rates(asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    return success_rates(trials, confidence=asked.confidence)


def _pass_at_k(asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    return trial_pass_rates(trials, k=asked.k, confidence=asked.confidence)


def _model_comparisons(asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    return model_comparisons(
        trials,
        paired_by=asked.paired_by,
        correction=asked.correction,
        confidence=asked.confidence,
    )


def _task_difficulty(asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    return task_difficulty(trials, confidence=asked.confidence)


def _efficiency(asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    return trial_costs(trials, confidence=asked.confidence)


def _leaderboard(asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    return leaderboard(
        trials,
        confidence=asked.confidence,
        resamples=asked.resamples,
        seed=asked.seed,
    )


def _results_over_time(asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    return results_over_time(trials, confidence=asked.confidence)


EVALUATION_ANSWERS: Mapping[str, EvaluationAnswer] = {
    "stats.success_rates": _success_rates,
    "stats.pass_at_k": _pass_at_k,
    "stats.model_comparisons": _model_comparisons,
    "stats.task_difficulty": _task_difficulty,
    "stats.efficiency": _efficiency,
    "stats.leaderboard": _leaderboard,
    "stats.results_over_time": _results_over_time,
}
"""By table, for each scope of ``scopes``; outliers are asked of all trials at once."""


def evaluation_rows(
    table: str, asked: Evaluations, trials: pl.DataFrame
) -> pl.DataFrame:
    """The rows of a table of statistics; no column and no row without outcomes.

    Args:
        table: One of ``EVALUATION_ANSWERS``, or ``stats.trial_outliers``.
        asked: The settings.
        trials: Rows of ``core.trials``.
    """
    if table == "stats.trial_outliers":
        everything = next(scopes(trials), None)
        return trial_outliers(everything[1]) if everything else pl.DataFrame()
    answer = EVALUATION_ANSWERS[table]
    frames = [
        answer(asked, mine).select(pl.lit(sweep_id).alias("sweep_id"), pl.all())
        for sweep_id, mine in scopes(trials)
    ]
    return pl.concat(frames) if frames else pl.DataFrame()


def rows_of_all(table: str, asked: Evaluations, trials: pl.DataFrame) -> pl.DataFrame:
    """As ``evaluation_rows``, of all trials together and without ``sweep_id``.

    Sweeps by themselves are not looked at.
    """
    everything = next(scopes(trials), None)
    if everything is None:
        return pl.DataFrame()
    return EVALUATION_ANSWERS[table](asked, everything[1])


EVALUATION_STATISTICS = (*EVALUATION_ANSWERS, "stats.trial_outliers")
