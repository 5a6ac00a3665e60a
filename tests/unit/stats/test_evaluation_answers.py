"""Every table of statistics: what it holds, for which sweeps, and of no trial."""

import polars as pl
import pytest

from run_assets.config_evaluations import Evaluations
from run_assets.contracts.tables import table
from run_assets.stats.evaluation_answers import EVALUATION_STATISTICS, evaluation_rows
from run_assets.store.lake import conform, in_order
from tests.support.trials import trials_of

COUNTS = {
    ("a", "t"): (3, 8), ("a", "u"): (1, 8), ("b", "t"): (2, 8), ("b", "u"): (5, 8),
}  # fmt: skip
TRIALS = pl.concat(
    [trials_of(COUNTS, sweep_id=sweep, source=sweep or "none") for sweep in ("s1", "")]
)
ASKED = Evaluations(resamples=100)


@pytest.mark.parametrize("name", EVALUATION_STATISTICS)
def test_rows_keep_the_contract(name: str) -> None:
    rows = evaluation_rows(name, ASKED, TRIALS)
    if rows.width:
        in_order(conform(rows, table(name)), table(name))


@pytest.mark.parametrize(
    "name", sorted(set(EVALUATION_STATISTICS) - {"stats.trial_outliers"})
)
def test_sweeps_are_looked_at_together_and_each_by_itself(name: str) -> None:
    rows = evaluation_rows(name, ASKED, TRIALS)
    assert set(rows["sweep_id"]) == {"*", "s1"}


@pytest.mark.parametrize("name", EVALUATION_STATISTICS)
def test_neither_order_nor_names_of_others_change_a_row(name: str) -> None:
    one = evaluation_rows(name, ASKED, TRIALS)
    other = evaluation_rows(name, ASKED, TRIALS.reverse())
    assert one.equals(other)


@pytest.mark.parametrize("name", EVALUATION_STATISTICS)
def test_without_an_outcome_there_is_nothing(name: str) -> None:
    running = TRIALS.with_columns(is_success=pl.lit(None, pl.Boolean))
    assert evaluation_rows(name, ASKED, running).is_empty()


def test_a_cell_stopped_in_one_sweep_is_stopped_in_all_together() -> None:
    stopped = TRIALS.with_columns(is_stopped_early=pl.col("sweep_id") == "s1")
    rows = evaluation_rows("stats.success_rates", ASKED, stopped)
    assert rows.filter(sweep_id="*")["estimate"].null_count() == rows.height // 2
