"""Which runs an analysis compares, and what it says of names that do not exist."""

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from run_assets.config import Analysis, RunFilter, Score
from run_assets.errors import UsageError
from run_assets.stats.selection import select_scores, summaries_of_last_steps

RUNS = pl.DataFrame(
    {
        "run_path": ["lab/maze/r0", "lab/maze/r1", "lab/maze/r2", "lab/hall/r3"],
        "run_id": ["r0", "r1", "r2", "r3"],
        "run_name": ["calm", "calm", "wild", "far"],
        "run_group": ["sweep", "sweep", None, None],
        "job_type": pl.Series([None] * 4, dtype=pl.String),
        "entity": ["lab"] * 4,
        "project": ["maze", "maze", "maze", "hall"],
        "run_state": ["finished", "finished", "crashed", "finished"],
        "tags": [["arm:a", "old"], ["arm:b"], [], ["arm:a"]],
        "last_step": [9, 9, 3, 9],
        "created_at": [datetime(2026, 11, 20, tzinfo=UTC)] * 4,
    }
)
SUMMARIES = pl.DataFrame(
    {
        "run_path": ["lab/maze/r0", "lab/maze/r1", "lab/hall/r3"],
        "metric": ["reward", "reward", "loss"],
        "last": [1.0, 2.0, 3.0],
        "mean": [0.5, 1.0, 1.5],
    }
)
METRICS = pl.DataFrame(
    {
        "run_path": ["lab/maze/r0", "lab/maze/r1"],
        "metric": ["efficiency", "efficiency"],
        "value": [0.1, None],
    }
)
CONFIGS = pl.DataFrame(
    {
        "run_path": ["lab/maze/r0", "lab/maze/r1", "lab/hall/r3"],
        "key": ["algorithm", "algorithm", "width"],
        "value_text": ["ppo", "sac", "7"],
    }
)


def selected(runs: pl.DataFrame = RUNS, **changes: Any) -> pl.DataFrame:
    analysis: dict[str, Any] = {
        "name": "duel",
        "project": "lab/maze",
        "score": {"metric": "reward"},
        "group": "config.algorithm",
        **changes,
    }
    return select_scores(
        Analysis(**analysis),
        runs=runs,
        run_summaries=SUMMARIES,
        run_metrics=METRICS,
        run_configs=CONFIGS,
    )


def test_a_run_needs_a_group_and_may_lack_a_score() -> None:
    assert selected().select("group_name", "run_path", "raw_score").rows() == [
        ("ppo", "lab/maze/r0", 1.0),
        ("sac", "lab/maze/r1", 2.0),
    ]
    efficiency = selected(score={"metric": "efficiency"})
    assert efficiency["raw_score"].to_list() == [0.1, None]
    aggregated = selected(score={"metric": "reward", "aggregate": "mean"})
    assert aggregated["raw_score"].to_list() == [0.5, 1.0]


def test_groups_and_tasks_may_come_from_tags_and_columns() -> None:
    by_tag = selected(group="tag:arm:", task="run_name", replicate="run_group")
    assert by_tag.select("group_name", "task", "replicate").rows() == [
        ("a", "calm", "sweep"),
        ("b", "calm", "sweep"),
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"project": "lab/mase"}, "no run has project 'lab/mase'; did you mean 'lab/m"),
        ({"score": {"metric": "rewards"}}, "score.metric 'rewards'; did you mean 'rew"),
        ({"score": {"metric": "loss"}}, "'loss' .there are: efficiency, reward.$"),
        ({"group": "config.algoritm"}, "group 'config.algoritm'; did you mean 'config"),
        ({"group": "config.width"}, "'config.width'.*.there are: config.algorithm.$"),
        ({"task": "config.env"}, "task 'config.env'.*.there are: config.algorithm.$"),
        ({"task": "job_type"}, "task 'job_type' .there are: project, run_group, run_i"),
        ({"group": "tag:arms:"}, "group 'tag:arms:'; did you mean 'tag:arm:"),
        ({"replicate": "config.seed"}, "replicate 'config.seed'.*there are: config.a"),
        ({"group": "run_grup"}, "cannot group runs by 'run_grup'; did you mean 'run_g"),
    ],
)
def test_what_no_run_of_the_project_has_is_refused_with_what_there_is(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        selected(**changes)


def test_filters_may_leave_nothing() -> None:
    assert selected(runs=RUNS.clear()).is_empty()
    admitted = {"state": ("running",)}
    analysis: dict[str, Any] = {"name": "duel", "score": {"metric": "reward"}}
    running = select_scores(
        Analysis(**analysis, group="config.algorithm", runs=RunFilter(**admitted)),
        runs=RUNS,
        run_summaries=SUMMARIES,
        run_metrics=METRICS,
        run_configs=CONFIGS,
    )
    assert running.is_empty()


def test_a_metric_that_only_crashed_runs_logged_is_no_mistake() -> None:
    none_logged = SUMMARIES.filter(run_path="lab/maze/r0")
    found = select_scores(
        Analysis(
            name="duel",
            project="maze",
            score=Score(metric="reward"),
            group="run_group",
        ),
        runs=RUNS,
        run_summaries=none_logged,
        run_metrics=METRICS.clear(),
        run_configs=CONFIGS,
    )
    assert found["raw_score"].to_list() == [1.0, None]


def test_only_the_last_steps_of_each_run_count_where_that_is_asked() -> None:
    nan, inf = float("nan"), float("inf")
    values = {"a": [9.0, 1.0, nan, 3.0, 5.0], "b": [7.0, inf]}
    points = pl.DataFrame(
        [
            (f"lab/maze/{run}", metric, 10 * step, value)
            for run, some in values.items()
            for metric in ("reward", "other")
            for step, value in enumerate(some)
        ],
        schema=["run_path", "metric", "step", "value"],
        orient="row",
    ).sample(fraction=1, shuffle=True, seed=0)
    found = summaries_of_last_steps(points.lazy(), "reward", 31)
    assert found.rows() == [
        ("lab/maze/a", "reward", 5.0, 3.0, 5.0, 1.0, 3.0, 5.0),
        ("lab/maze/b", "reward", inf, 7.0, 7.0, 7.0, 7.0, None),
    ]


def test_a_derived_metric_has_no_last_steps() -> None:
    with pytest.raises(UsageError, match="needs a logged metric"):
        select_scores(
            Analysis(
                name="duel",
                project="maze",
                score=Score(metric="efficiency", last_n_steps=10),
                group="run_group",
            ),
            runs=RUNS,
            run_summaries=SUMMARIES,
            run_metrics=METRICS,
            run_configs=CONFIGS,
        )
