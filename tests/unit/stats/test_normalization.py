"""Normalization: one scale for the scores of different tasks."""

import math

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError

SCORES = pl.DataFrame(
    {
        "task": ["maze", "nav", "maze", "nav", "maze"],
        "score": [25, -1, 50, 3, 75],
        "run_path": ["r1", "r2", "r3", "r4", "r5"],
    }
)


def test_bounds_map_low_to_0_and_high_to_1_and_do_not_clip() -> None:
    bounds = {"maze": {"low": 25, "high": 50}, "nav": {"low": -1, "high": 3}}
    result = stats.normalize(SCORES, per_task=bounds)
    assert result["score"].to_list() == [0.0, 0.0, 1.0, 1.0, 2.0]
    assert result.drop("score").equals(SCORES.drop("score"))


def test_bounds_of_a_cost_are_upside_down() -> None:
    result = stats.normalize(SCORES, per_task={"*": {"low": 100, "high": 0}})
    assert result["score"].to_list() == [0.75, 1.01, 0.5, 0.97, 0.25]


def test_a_star_serves_tasks_that_are_not_named_and_scores_without_a_task() -> None:
    bounds = {"nav": {"low": -1, "high": 3}, "*": {"low": 0, "high": 100}}
    assert stats.normalize(SCORES, per_task=bounds)["score"].to_list() == [
        0.25,
        0.0,
        0.5,
        1.0,
        0.75,
    ]
    one_task = stats.normalize(
        SCORES, per_task={"*": {"low": 0, "high": 100}}, task=None
    )
    assert one_task["score"].to_list() == [0.25, -0.01, 0.5, 0.03, 0.75]
    null_task = SCORES.with_columns(task=pl.lit(None, pl.String))
    same = stats.normalize(null_task, per_task={"*": {"low": 0, "high": 100}})
    assert same["score"].equals(one_task["score"])


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("minmax", [0.0, 0.0, 0.5, 1.0, 1.0]),
        ("zscore", [-1.0, -math.sqrt(0.5), 0.0, math.sqrt(0.5), 1.0]),
        ("robust", [-1.0, -1.0, 0.0, 1.0, 1.0]),
        ("none", [25.0, -1.0, 50.0, 3.0, 75.0]),
    ],
)
def test_scales_from_the_data_are_taken_per_task(
    method: str, expected: list[float]
) -> None:
    result = stats.normalize(SCORES, method=method)["score"].to_list()
    assert result == pytest.approx(expected)


@pytest.mark.parametrize("method", ["minmax", "zscore", "robust"])
def test_scores_that_are_not_finite_have_no_part_in_the_scale(method: str) -> None:
    odd = pl.DataFrame({"task": ["maze"] * 3, "score": [math.nan, math.inf, None]})
    both = pl.concat([SCORES.select("task", pl.col("score").cast(float)), odd])
    clean = stats.normalize(SCORES, method=method)["score"]
    result = stats.normalize(both, method=method)["score"]
    assert result[:5].equals(clean)
    assert math.isnan(result[5])
    assert result[6] == math.inf
    assert result[7] is None


@pytest.mark.parametrize("method", ["minmax", "zscore", "robust"])
def test_a_task_without_spread_has_no_scale(method: str) -> None:
    flat = pl.DataFrame({"task": ["maze", "maze", "nav"], "score": [2.0, 2.0, 1.0]})
    assert stats.normalize(flat, method=method)["score"].to_list() == [None] * 3


@pytest.mark.parametrize("method", ["minmax", "zscore", "robust"])
def test_rounding_is_no_spread(method: str) -> None:
    flat = pl.DataFrame({"task": ["maze"] * 4, "score": [0.1 + 0.2, 0.3, 0.3, 0.6 / 2]})
    assert stats.normalize(flat, method=method)["score"].to_list() == [None] * 4


@pytest.mark.parametrize("method", ["bounds", "minmax", "zscore", "robust", "none"])
def test_an_empty_frame_stays_empty(method: str) -> None:
    result = stats.normalize(SCORES.clear(), method=method)
    assert result.is_empty()
    assert result.columns == SCORES.columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "min-max"}, "unknown method 'min-max'; did you mean 'minmax'"),
        ({"per_task": None}, "no bounds for task"),
        (
            {
                "per_task": {
                    "maze": {"low": 0, "high": 1},
                    "navi": {"low": 0, "high": 1},
                }
            },
            "no bounds for task 'nav'; did you mean 'navi'",
        ),
        ({"per_task": {"*": {"low": 1, "high": 1}}}, "must differ, got low = high = 1"),
        ({"per_task": {"*": {"low": 1}}}, "need a finite 'high', got None"),
        (
            {"per_task": {"*": {"low": 0, "high": math.nan}}},
            "need a finite 'high', got nan",
        ),
        (
            {"method": "zscore", "per_task": {"*": {"low": 0, "high": 1}}},
            "bounds need method 'bounds', got method 'zscore'",
        ),
        ({"score": "scores"}, "no column 'scores'; did you mean 'score'"),
    ],
)
def test_options_without_meaning_are_refused(
    options: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        stats.normalize(SCORES, **options)  # type: ignore[arg-type]  # on purpose
