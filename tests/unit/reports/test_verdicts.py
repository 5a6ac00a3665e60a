from dataclasses import replace
from typing import Any

import polars as pl
import pytest

from run_assets.reports.content import AnalysisContent, Changes, Estimate
from run_assets.reports.verdicts import (
    group_order,
    movement_relation,
    movements,
    pairs,
    ranked,
    relation,
    verdict,
)
from tests.support.report_content import NIGHT, frame, navigation, question

CERTAIN = {
    "p_adjusted": 0.001,
    "mean_difference": 0.2,
    "ci_low": 0.1,
    "ci_high": 0.3,
}


def _analysis(
    estimates: dict[str, float | None], *comparisons: dict[str, Any]
) -> AnalysisContent:
    rows = [
        {
            "analysis": "navigation",
            "group_name": group,
            "statistic": "iqm",
            "estimate": value,
            "ci_low": None if value is None else value - 0.05,
            "ci_high": None if value is None else value + 0.05,
            "n_runs": 5,
        }
        for group, value in estimates.items()
    ]
    return AnalysisContent(
        config=question(),
        scores=frame("stats.scores"),
        interval_estimates=frame("stats.interval_estimates", rows),
        comparisons=frame("stats.comparisons", comparisons),
        performance_profiles=frame("stats.performance_profiles"),
    )


def _pair(x: str, y: str, **more: Any) -> dict[str, Any]:
    return {"group_x": x, "group_y": y, **CERTAIN, **more}


def test_test_and_interval_agree_so_it_is_better() -> None:
    assert relation(CERTAIN, 0.05, "maximize") == "better"
    assert relation(CERTAIN, 0.05, "minimize") == "worse"


@pytest.mark.parametrize(
    "doubt",
    [
        {"p_adjusted": 0.05},
        {"p_adjusted": None},
        {"p_adjusted": float("nan")},
        {"mean_difference": None},
        {"mean_difference": float("nan")},
        {"mean_difference": 0.0},
        {"ci_low": -0.01},
        {"ci_low": 0.0},
    ],
)
def test_any_doubt_makes_it_unclear(doubt: dict[str, Any]) -> None:
    assert relation({**CERTAIN, **doubt}, 0.05, "maximize") == "unclear"


def test_without_an_interval_the_test_decides() -> None:
    row = {**CERTAIN, "ci_low": None, "ci_high": None}
    assert relation(row, 0.05, "maximize") == "better"


def test_the_group_with_the_better_estimate_comes_first_in_its_pair() -> None:
    row = _pair("a", "b", mean_difference=-0.2, ci_low=-0.3, ci_high=-0.1, n_x=3, n_y=4)
    row["effect_size"] = -0.9
    (pair,) = pairs(_analysis({"a": 0.5, "b": 0.7}, row))
    assert (pair.group, pair.other, pair.relation) == ("b", "a", "better")
    assert (pair.difference, pair.low, pair.high) == (0.2, 0.1, 0.3)
    assert (pair.effect_size, pair.n_runs) == (0.9, (4, 3))


def test_better_than_all_is_clear_and_than_some_is_partial() -> None:
    levels: dict[str, float | None] = {"a": 0.9, "b": 0.7, "c": 0.5}
    certain, open_ = _pair("a", "b"), _pair("a", "b", p_adjusted=0.4)
    last = _pair("a", "c")
    assert verdict(_analysis(levels, certain, last), Changes()).outcome == "clear"
    assert verdict(_analysis(levels, open_, last), Changes()).outcome == "partial"
    assert verdict(_analysis(levels, open_), Changes()).outcome == "open"


def test_one_group_has_nobody_to_beat() -> None:
    found = verdict(_analysis({"a": 0.9}), Changes())
    assert found.outcome == "alone"
    assert found.best is not None
    assert found.best.group == "a"


@pytest.mark.parametrize("value", [None, float("nan")])
def test_no_estimate_is_no_verdict(value: float | None) -> None:
    assert verdict(_analysis({"a": value}), Changes()).outcome == "empty"
    assert verdict(_analysis({}), Changes()).outcome == "empty"


def test_a_group_without_an_estimate_ranks_last() -> None:
    levels: dict[str, float | None] = {"a": float("nan"), "b": 0.1, "c": None}
    assert [one.group for one in ranked(_analysis(levels), "iqm")] == ["b", "a", "c"]


def test_a_small_score_wins_where_it_is_to_be_minimized() -> None:
    analysis = _analysis({"a": 0.9, "b": 0.1}, _pair("a", "b"))
    found = verdict(replace(analysis, direction="minimize"), Changes())
    assert found.best is not None
    assert found.best.group == "b"
    assert found.outcome == "clear"


def test_groups_with_scores_but_no_estimate_are_listed_too() -> None:
    analysis = navigation()
    fewer = analysis.interval_estimates.filter(pl.col("group_name") != "sarsa")
    assert group_order(replace(analysis, interval_estimates=fewer))[-1] == "sarsa"


def _estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate("a", "iqm", value, low, high, 5)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ((0.5, 0.4, 0.6), (0.7, 0.65, 0.75), "better"),
        ((0.7, 0.65, 0.75), (0.5, 0.4, 0.6), "worse"),
        ((0.5, 0.4, 0.6), (0.7, 0.45, 0.95), "unclear"),
        ((0.5, 0.4, 0.9), (0.7, 0.65, 0.75), "unclear"),
        ((0.5, None, None), (0.7, 0.65, 0.75), "unclear"),
    ],
)
def test_a_move_counts_only_beyond_both_intervals(
    before: tuple[float, float | None, float | None],
    now: tuple[float, float | None, float | None],
    expected: str,
) -> None:
    pair = _estimate(*before), _estimate(*now)
    assert movement_relation(*pair, lower=False) == expected


def test_a_smaller_gap_is_a_move_for_the_better() -> None:
    before, now = _estimate(0.5, 0.4, 0.6), _estimate(0.2, 0.1, 0.3)
    assert movement_relation(before, now, lower=True) == "better"


def test_only_estimates_with_a_predecessor_move() -> None:
    analysis = _analysis({"a": 0.9, "b": 0.7})
    before = Estimate("a", "iqm", 0.8, 0.7, 0.92, 5)
    changes = Changes(since=NIGHT, previous={"navigation": (before,)})
    (moved,) = movements(analysis, changes)
    assert (moved.now.group, moved.relation) == ("a", "unclear")
    assert not moved.is_unchanged


def test_an_estimate_with_the_same_interval_is_unchanged() -> None:
    analysis = _analysis({"a": 0.9})
    same = {"navigation": tuple(analysis.estimates)}
    (moved,) = movements(analysis, Changes(since=NIGHT, previous=same))
    assert moved.is_unchanged
