"""Models two by two: paired, corrected, and never with what was stopped early."""

import polars as pl
import pytest
from scipy.stats import ttest_rel

from run_assets.stats.model_comparisons import model_comparisons
from tests.support.trials import trials_of

A, B = (4, 3, 2, 8), (2, 2, 3, 5)
COUNTS = {
    **{("a", f"t{i}"): (c, 8) for i, c in enumerate(A)},
    **{("b", f"t{i}"): (c, 8) for i, c in enumerate(B)},
}


def success(trials: pl.DataFrame, paired_by: str = "task") -> dict[str, object]:
    found = model_comparisons(trials, paired_by=paired_by)
    return found.filter(measure="success").row(0, named=True)


def test_tasks_are_pairs() -> None:
    row = success(trials_of(COUNTS))
    expected = ttest_rel([c / 8 for c in A], [c / 8 for c in B])
    assert row["estimate"] == pytest.approx((sum(A) - sum(B)) / 32)
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert (row["n_items"], row["n_clusters"]) == (4, 4)


def test_trials_can_be_pairs_and_tasks_their_clusters() -> None:
    row = success(trials_of(COUNTS), paired_by="trial")
    assert row["estimate"] == pytest.approx((sum(A) - sum(B)) / 32)
    assert (row["n_items"], row["n_clusters"]) == (32, 4)


def test_a_task_that_one_model_lacks_is_left_out() -> None:
    more = trials_of({("a", "alone"): (8, 8)})
    row = success(pl.concat([trials_of(COUNTS), more]))
    assert row["n_items"] == 4
    assert "without a partner" in str(row["notes"])


def test_p_values_are_corrected_over_the_pairs_of_a_measure() -> None:
    third = {("c", f"t{i}"): (c, 8) for i, c in enumerate((1, 0, 1, 2))}
    found = model_comparisons(trials_of({**COUNTS, **third}), correction="bonferroni")
    rows = found.filter(measure="success")
    expected = (rows["p_value"] * 3).clip(upper_bound=1)
    assert rows["p_adjusted"].to_list() == pytest.approx(expected.to_list())


def test_a_model_that_was_stopped_early_is_not_compared() -> None:
    stopped = trials_of({("a", "u"): (1, 1)}, is_stopped_early=True)
    row = success(pl.concat([trials_of(COUNTS), stopped]))
    assert row["estimate"] is None
    assert "tasks of a were stopped" in str(row["notes"])


def test_a_reward_that_is_nan_poisons_nothing() -> None:
    trials = trials_of(COUNTS)
    spoiled = trials.with_columns(
        reward=pl.when(pl.col("trial") == 0).then(float("nan")).otherwise("reward")
    )
    found = model_comparisons(spoiled).filter(measure="reward")
    assert found["estimate"].is_finite().all()


def test_one_model_has_no_pair() -> None:
    assert model_comparisons(trials_of({("a", "t"): (1, 2)})).is_empty()
