"""Fences and robust z by hand, and where nothing stands apart."""

import polars as pl
import pytest

from run_assets.stats.trial_outliers import trial_outliers
from tests.support.trials import frame, trial


def rewards(*values: float | None) -> pl.DataFrame:
    return frame([trial("a", "t", i, reward=value) for i, value in enumerate(values)])


def test_one_value_far_away_is_beyond_both() -> None:
    found = trial_outliers(rewards(1, 2, 3, 4, 100)).filter(quantity="reward")
    (row,) = found.to_dicts()
    assert (row["trial"], row["value"]) == (4, 100.0)
    assert (row["fence_low"], row["fence_high"]) == (2 - 3, 4 + 3)
    assert row["robust_z"] == pytest.approx(97 / 1.4826)
    assert row["is_beyond_fences"]
    assert row["is_beyond_z"]


def test_where_half_of_the_values_are_equal_there_is_no_robust_z() -> None:
    (row,) = trial_outliers(rewards(0, 0, 0, 0, 5)).to_dicts()
    assert row["robust_z"] is None
    assert not row["is_beyond_z"]
    assert row["is_beyond_fences"]


def test_few_equal_or_missing_values_have_no_outlier() -> None:
    assert trial_outliers(rewards(0, 0, 100)).is_empty()
    assert trial_outliers(rewards(1, 1, 1, 1)).is_empty()
    assert trial_outliers(rewards(1, 2, 3, None, float("nan"))).is_empty()


def test_a_cell_is_judged_by_itself() -> None:
    near = [trial("a", "t", i, reward=float(i)) for i in range(5)]
    far = [trial("a", "u", i, reward=1000.0 + i) for i in range(5)]
    assert trial_outliers(frame([*near, *far])).is_empty()
