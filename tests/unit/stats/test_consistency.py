"""The checks of the tables of statistics find planted faults and nothing else."""

import polars as pl

from run_assets.stats import consistency
from tests.support.trials import trials_of

ESTIMATES = pl.DataFrame(
    {
        "analysis": ["duel"] * 2,
        "group_name": ["a", "b"],
        "statistic": ["iqm"] * 2,
        "estimate": [1.0, 2.0],
        "ci_low": [0.5, None],
        "ci_high": [1.5, None],
        "n_runs": [2, 1],
        "n_tasks": [2, 1],
    }
)
SCORES = pl.DataFrame(
    {
        "analysis": ["duel"] * 4,
        "group_name": ["a", "a", "b", "b"],
        "task": ["x", "y", "x", None],
        "replicate": ["r0", "r1", "r2", "r3"],
        "score": [1.0, 2.0, 2.0, None],
    }
)
COLUMNS = consistency.INTERVALS["stats.interval_estimates"]
KEY = ("analysis", "group_name", "statistic")


def test_tables_that_agree_have_no_finding() -> None:
    assert consistency.outside_their_intervals(ESTIMATES, COLUMNS, KEY) == {}
    assert consistency.miscounted(ESTIMATES, SCORES) == {}
    assert consistency.unanswered(ESTIMATES, SCORES, ["duel"]) == {}
    assert consistency.scoreless(SCORES, ["duel"]) == {}


def test_an_estimate_outside_its_interval_is_named() -> None:
    for wrong in ({"estimate": 3.0}, {"ci_low": 2.0}, {"estimate": None}):
        rows = ESTIMATES.with_columns(
            pl.when(pl.col("group_name") == "a")
            .then(pl.lit(value, pl.Float64))
            .otherwise(pl.col(name))
            .alias(name)
            for name, value in wrong.items()
        )
        found = consistency.outside_their_intervals(rows, COLUMNS, KEY)
        assert list(found) == ["duel / a / iqm"]


def test_rounding_is_no_finding() -> None:
    rows = ESTIMATES.with_columns(ci_low=pl.col("estimate") * (1 + 1e-15))
    rows = rows.with_columns(ci_high=pl.col("ci_low"))
    assert consistency.outside_their_intervals(rows, COLUMNS, KEY) == {}


def test_counts_that_differ_from_the_scores_are_named() -> None:
    more = SCORES.with_columns(score=1.0)
    assert list(consistency.miscounted(ESTIMATES, more)) == ["duel / b / iqm"]
    gone = consistency.miscounted(ESTIMATES, SCORES.filter(group_name="a"))
    assert gone == {"duel / b / iqm": "n_runs 1, n_tasks 1; stats.scores has 0 and 0"}


def test_an_analysis_without_rows_or_scores_is_named() -> None:
    empty = ESTIMATES.clear()
    assert list(consistency.unanswered(empty, SCORES, ["duel", "other"])) == ["duel"]
    missing = SCORES.with_columns(score=pl.lit(None, pl.Float64))
    found = consistency.scoreless(missing, ["duel", "other"])
    assert found["duel"].startswith("none of its 4 runs has a finite score")
    assert found["other"].startswith("no run is admitted")


def test_rows_that_were_lost_or_doubled_are_named() -> None:
    state = pl.DataFrame(
        {
            "source": ["a", "b", "c"],
            "target": ["raw.trials"] * 3,
            "row_count": [3, 2, 1],
        }
    )
    stored = pl.DataFrame(
        {"source": ["a", "b"], "target": ["raw.trials"] * 2, "rows": [3, 4]}
    )
    assert consistency.uncounted_rows(state, stored) == {
        "b: raw.trials": "2 rows, 4 stored",
        "c: raw.trials": "1 rows, 0 stored",
    }


def test_models_that_a_rate_forgets_are_named() -> None:
    trials = trials_of({("a", "t"): (1, 2), ("b", "t"): (0, 3)})
    rates = pl.DataFrame(
        {"sweep_id": ["*"], "task": ["*"], "model": ["a"], "n_trials": [1]}
    )
    assert consistency.uncounted_trials(rates, trials) == {
        "a": "2 trials have an outcome, the rate is of 1",
        "b": "3 trials have an outcome, the rate is of 0",
    }
