"""Episodes and steps are no runs: refused where it shows, noted where it may be."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError


def episodes(n_runs: int, n_episodes: int, between: float = 1.0) -> pl.DataFrame:
    rng = np.random.default_rng(n_runs)
    skill = np.repeat(rng.normal(0, between, n_runs), n_episodes)
    return pl.DataFrame(
        {
            "group_name": "a",
            "task": "maze",
            "run_path": [f"r{i}" for i in range(n_runs) for _ in range(n_episodes)],
            "score": skill + rng.normal(size=n_runs * n_episodes),
        }
    )


FUNCTIONS: list[Callable[..., pl.DataFrame]] = [
    stats.interval_estimates,
    stats.performance_profiles,
    stats.compare_groups,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_episodes_as_runs_are_refused_where_a_column_names_the_runs(
    function: Callable[..., pl.DataFrame],
) -> None:
    options: dict[str, Any] = {}
    if function is stats.compare_groups:
        options["test"] = "welch"
    with pytest.raises(
        UsageError,
        match=r"column 'run_path' names 5 runs in 750 rows.*pass replicate='run_path'",
    ):
        function(episodes(5, 150), replicate=None, **options)


def test_a_frame_that_does_not_say_what_a_run_is_is_refused() -> None:
    unsaid = episodes(5, 150).drop("run_path")
    with pytest.raises(
        UsageError, match="no column 'run_path' that names the independent runs"
    ):
        stats.interval_estimates(unsaid)


def test_episodes_of_named_runs_are_averaged_and_the_interval_is_that_of_the_runs() -> (
    None
):
    named = stats.interval_estimates(episodes(5, 150), statistics=("mean",))
    stacked = stats.interval_estimates(
        episodes(5, 150).drop("run_path"), statistics=("mean",), replicate=None
    )
    width = {
        name: (frame["ci_high"] - frame["ci_low"]).item()
        for name, frame in (("runs", named), ("episodes", stacked))
    }
    assert width["runs"] > 4 * width["episodes"]
    assert "750 rows averaged into 5" in named["notes"].item()
    assert "750 runs in a task: if these are episodes" in stacked["notes"].item()


def test_runs_that_only_differ_by_the_noise_of_their_rows_raise_no_alarm() -> None:
    notes = stats.interval_estimates(episodes(8, 50, between=0.0))["notes"][0]
    assert "copies" not in notes


def test_copies_of_one_run_are_noticed() -> None:
    one = episodes(1, 40)
    copies = pl.concat(one.with_columns(run_path=pl.lit(f"r{i}")) for i in range(8))
    notes = stats.interval_estimates(copies)["notes"][0]
    assert "are they copies of one run" in notes


def test_one_row_a_run_says_nothing_about_replication() -> None:
    notes = stats.interval_estimates(episodes(6, 1))["notes"][0]
    assert notes == ""


def test_the_same_run_in_two_tasks_is_no_repetition() -> None:
    both = pl.concat(episodes(6, 1).with_columns(task=pl.lit(t)) for t in ("x", "y"))
    result = stats.interval_estimates(both, replicate=None)
    assert result["n_runs"][0] == 12


@pytest.mark.parametrize(
    ("replicate", "is_noted"), [("run_path", True), ("seed", False)]
)
def test_a_run_in_two_groups_is_noted_and_a_seed_is_not(
    replicate: str, *, is_noted: bool
) -> None:
    scores = pl.DataFrame(
        {
            "group_name": ["a", "a", "b", "b"],
            replicate: ["r1", "r2", "r2", "r3"],
            "score": [1.0, 2.0, 3.0, 4.0],
        }
    )
    row = stats.compare_groups(
        scores, task=None, replicate=replicate, test="welch"
    ).row(0, named=True)
    assert ("a: 1 run(s) are in another group, too" in row["notes"]) == is_noted
    assert ("b: 1 run(s) are in another group, too" in row["notes"]) == is_noted
