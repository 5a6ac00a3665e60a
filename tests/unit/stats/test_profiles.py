"""Performance profiles on cases worked by hand."""

import math

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.profiles import SCHEMA


def scores(**groups: dict[str, list[float]]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (group, task, f"{group}/{task}/{index}", float(value))
            for group, tasks in groups.items()
            for task, values in tasks.items()
            for index, value in enumerate(values)
        ],
        schema={
            "group_name": pl.String,
            "task": pl.String,
            "run_path": pl.String,
            "score": pl.Float64,
        },
        orient="row",
    )


ONE = scores(a={"maze": [0, 1, 1, 2, 3]})


def test_above_is_strict_and_thresholds_come_sorted() -> None:
    result = stats.performance_profiles(ONE, thresholds=[3, 1, -1, 1])
    assert result.schema == SCHEMA
    assert result["threshold"].to_list() == [-1.0, 1.0, 3.0]
    assert result["fraction"].to_list() == pytest.approx([1.0, 0.4, 0.0])
    assert set(result["kind"]) == {"score"}


def test_every_task_has_the_same_say() -> None:
    ragged = scores(a={"maze": [1, 1, 1, 1], "nav": [0]})
    assert (
        stats.performance_profiles(ragged, thresholds=[0.5])["fraction"].item() == 0.5
    )


def test_shares_fall_and_stay_inside_their_band_and_in_0_to_1() -> None:
    result = stats.performance_profiles(ONE)
    assert result.height == 101
    assert result["fraction"].is_sorted(descending=True)
    assert result.select(
        (pl.col("fraction").is_between("ci_low", "ci_high")).all()
        & (pl.col("ci_low") >= 0).all()
        & (pl.col("ci_high") <= 1).all()
    ).item()


def test_the_band_of_one_task_is_binomial() -> None:
    half = scores(a={"maze": [0.0] * 50 + [1.0] * 50})
    row = stats.performance_profiles(half, thresholds=[0.5], resamples=20_000)
    # Binomial(100, 0.5) has its 2.5 and 97.5 % quantiles at 40 and 60.
    assert row["ci_low"].item() == pytest.approx(0.40, abs=0.011)
    assert row["ci_high"].item() == pytest.approx(0.60, abs=0.011)


def test_one_run_has_a_profile_without_a_band() -> None:
    row = stats.performance_profiles(scores(a={"maze": [2.0]}), thresholds=[1.0]).row(
        0, named=True
    )
    assert (row["fraction"], row["ci_low"], row["ci_high"]) == (1.0, None, None)
    assert "no interval: one run" in row["notes"]


def test_a_group_without_scores_has_null_shares_and_a_reason() -> None:
    both = scores(a={"maze": [math.nan]}, b={"maze": [1, 2]})
    result = stats.performance_profiles(both, thresholds=[0.0, 1.5])
    assert result.filter(group_name="a")["fraction"].to_list() == [None, None]
    assert result["notes"][0] == "1 of 1 scores left out (1 missing); no usable score"
    assert result.filter(group_name="b")["fraction"].to_list() == [1.0, 0.5]


def test_no_usable_score_at_all_gives_no_rows() -> None:
    result = stats.performance_profiles(scores(a={"maze": [math.nan]}))
    assert result.schema == SCHEMA
    assert result.is_empty()


def test_an_empty_frame_gives_an_empty_result() -> None:
    assert stats.performance_profiles(ONE.clear()).is_empty()


def test_thresholds_must_be_numbers() -> None:
    with pytest.raises(UsageError, match="thresholds must be finite"):
        stats.performance_profiles(ONE, thresholds=[0.0, math.nan])
