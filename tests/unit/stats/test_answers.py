"""An analysis of the configuration as questions to the statistics."""

from typing import Any

import polars as pl
import pytest

from run_assets import stats
from run_assets.config import Analysis
from run_assets.stats import answers
from run_assets.stats.answers import ANSWERS, is_asked, normalized_optima, thinned

SCORES = pl.DataFrame(
    {
        "group_name": ["a"] * 4 + ["b"] * 4,
        "task": ["maze", "maze", "nav", "nav"] * 2,
        "run_path": [f"lab/p/r{i}" for i in range(8)],
        "replicate": [f"lab/p/r{i}" for i in range(8)],
        "raw_score": [60.0, 80.0, 0.5, 1.0, 20.0, 30.0, 0.25, 0.5],
        "score": [0.6, 0.8, 0.5, 1.0, 0.2, 0.3, 0.25, 0.5],
    }
)


def analysis(**changes: Any) -> Analysis:
    given: dict[str, Any] = {
        "name": "duel",
        "score": {"metric": "reward"},
        "group": "config.algorithm",
        "interval": {"resamples": 200},
        **changes,
    }
    return Analysis.model_validate(given)


BOUNDS = {
    "method": "bounds",
    "per_task": {"maze": {"low": 0, "high": 100}, "*": {"low": 0, "high": 1}},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_every_table_is_answered_with_the_defaults(name: str) -> None:
    asked = analysis(optimal_scores={"maze": 100, "nav": 1}, normalize=BOUNDS)
    assert ANSWERS[name](asked, SCORES).height > 0


@pytest.mark.parametrize("name", ANSWERS)
def test_every_table_is_answered_with_bca(name: str) -> None:
    asked = analysis(interval={"method": "bca", "resamples": 200})
    if is_asked(name, asked):
        assert ANSWERS[name](asked, SCORES).height > 0


def test_options_of_the_comparison_arrive() -> None:
    comparison = {
        "test": "permutation",
        "effect": "cliffs_delta",
        "alternative": "greater",
        "correction": "none",
    }
    row = answers.comparisons(analysis(comparison=comparison), SCORES)
    assert row.select(comparison.keys()).row(0) == tuple(comparison.values())


def test_gaps_are_in_the_unit_of_the_score_as_logged() -> None:
    asked = analysis(optimal_scores={"maze": 100, "nav": 1}, normalize=BOUNDS)
    gaps = answers.optimality_gaps(asked, SCORES)
    maze = gaps.filter(group_name="a", task="maze")
    assert maze.select("gap", "gap_rate").row(0) == (30.0, 0.3)
    estimates = answers.interval_estimates(
        asked.model_copy(update={"statistics": ("optimality_gap",)}), SCORES
    )
    rates = gaps.filter(task="*")["gap_rate"].to_list()
    assert estimates["estimate"].to_list() == pytest.approx(rates)


def test_without_optimal_scores_there_are_no_gaps() -> None:
    assert not is_asked("stats.optimality_gaps", analysis())
    assert answers.optimality_gaps(analysis(), SCORES).is_empty()


def test_optima_move_with_the_bounds() -> None:
    asked = analysis(
        optimal_scores={"maze": 50, "other": 2},
        normalize={"method": "bounds", "per_task": {"maze": {"low": 0, "high": 100}}},
    )
    assert normalized_optima(asked) == {"maze": 0.5}
    assert normalized_optima(analysis(optimal_scores={"maze": 50})) == {"maze": 50}


def test_curves_are_those_of_the_score_on_their_common_grid() -> None:
    curves = pl.DataFrame(
        {
            "run_path": [f"lab/p/r{i}" for i in range(8) for _ in range(3)],
            "metric": ["reward"] * 21 + ["loss"] * 3,
            "grid_x": [0.0, 10.0, 20.0] * 8,
            "value": [0.0, 0.5, 1.0] * 8,
        }
    ).filter((pl.col("grid_x") < 20) | (pl.col("run_path") == "lab/p/r0"))
    found = answers.sample_efficiency(analysis(target_score=0.4), SCORES, curves)
    # Only one run reached 20, less than half of them.
    assert set(found["grid_x"]) == {0.0, 10.0}
    assert set(found["statistic"]) == {"iqm", "area", "first_step"}
    steps = found.filter(statistic="first_step")["estimate"].to_list()
    assert steps == [10.0, 10.0]
    other = analysis(score={"metric": "efficiency"})
    assert answers.sample_efficiency(other, SCORES, curves).is_empty()


def test_a_long_grid_is_thinned_and_keeps_its_end() -> None:
    points = thinned(pl.Series([float(i) for i in range(200)]))
    assert len(points) <= 60
    assert points[-1] == 199.0
    assert points == sorted(points)


def test_an_optimum_has_no_place_on_a_scale_of_the_data() -> None:
    options: dict[str, Any] = {
        "optimal_scores": {"maze": 1},
        "normalize": {"method": "zscore"},
    }
    with pytest.raises(ValueError, match="scale comes from the data"):
        analysis(statistics=["optimality_gap"], **options)
    assert analysis(**options).normalize.method == "zscore"


def test_bca_and_tasks_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="bca has no level tasks"):
        analysis(interval={"method": "bca", "level": "tasks"})


def test_levels_of_resampling_arrive() -> None:
    runs, tasks = (
        answers.interval_estimates(
            analysis(interval={"level": level, "resamples": 500}), SCORES
        )
        for level in ("runs", "tasks")
    )
    expected = stats.interval_estimates(
        SCORES,
        replicate="replicate",
        statistics=("iqm", "mean", "median"),
        resamples=500,
        level="tasks",
    )
    assert tasks.equals(expected)
    assert not tasks.equals(runs)
