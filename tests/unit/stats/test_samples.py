"""The policy for messy scores: what counts, what is one run, what is said."""

import math

import numpy as np
import polars as pl
import pytest

from run_assets.errors import UsageError
from run_assets.stats.samples import ScoreColumns, coverage_notes, read_groups, strata

Row = tuple[str | None, str | None, str | None, float | None]


def frame(*rows: Row) -> pl.DataFrame:
    schema = {
        "group_name": pl.String,
        "task": pl.String,
        "run_path": pl.String,
        "score": pl.Float64,
    }
    return pl.DataFrame(list(rows), schema=schema, orient="row")


def test_scores_lie_task_after_task_and_ascend_within_a_task() -> None:
    (group,) = read_groups(
        frame(
            ("a", "nav", "r1", 5.0),
            ("a", "maze", "r2", 3.0),
            ("a", "nav", "r3", 4.0),
            ("a", "maze", "r4", 1.0),
            ("a", "maze", "r5", 2.0),
        ),
        ScoreColumns(),
    )
    layout = strata(group)
    assert layout.tasks == ("maze", "nav")
    assert layout.sizes.tolist() == [3, 2]
    assert layout.starts.tolist() == [0, 3]
    assert layout.values.tolist() == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_missing_and_infinite_scores_do_not_count_and_are_counted() -> None:
    (group,) = read_groups(
        frame(
            ("a", "maze", "r1", 1.0),
            ("a", "maze", "r2", None),
            ("a", "maze", "r3", math.nan),
            ("a", "maze", "r4", -math.inf),
        ),
        ScoreColumns(),
    )
    assert group.n_runs == 1
    assert group.notes == ("3 of 4 scores left out (2 missing, 1 infinite)",)


def test_a_group_without_a_usable_score_is_kept() -> None:
    groups = read_groups(
        frame(("b", "maze", "r1", 1.0), ("a", "maze", "r2", None)), ScoreColumns()
    )
    assert [(group.name, group.n_runs) for group in groups] == [("a", 0), ("b", 1)]


def test_episodes_of_a_run_are_averaged_because_the_run_is_the_unit() -> None:
    rows: list[Row] = [("a", "maze", f"r{i % 2}", float(i)) for i in range(10)]
    (group,) = read_groups(frame(*rows), ScoreColumns())
    assert group.runs["score"].to_list() == [4.0, 5.0]
    assert group.notes == ("10 rows averaged into 2: a run counts once in a task",)


def test_without_a_replicate_column_every_row_is_a_run() -> None:
    scores = pl.DataFrame({"group_name": ["a", "a"], "score": [1, 1]})
    (group,) = read_groups(scores, ScoreColumns(task=None, replicate=None))
    assert group.n_runs == 2
    assert strata(group).tasks == (None,)


def test_rows_without_a_task_are_a_stratum_of_their_own() -> None:
    (group,) = read_groups(
        frame(("a", None, "r1", 1.0), ("a", "maze", "r2", 2.0), ("a", None, "r3", 0.0)),
        ScoreColumns(),
    )
    layout = strata(group)
    assert layout.tasks == (None, "maze")
    assert layout.values.tolist() == [0.0, 1.0, 2.0]


def test_numbers_and_booleans_name_groups_and_are_scores() -> None:
    scores = pl.DataFrame({"lr": [0.1, 0.1, 1.0], "won": [True, False, True]})
    columns = ScoreColumns(group="lr", task=None, score="won", replicate=None)
    groups = read_groups(scores, columns)
    assert [(item.name, item.runs["score"].sum()) for item in groups] == [
        ("0.1", 1.0),
        ("1.0", 1.0),
    ]


@pytest.mark.parametrize("column", ["group_name", "run_path"])
def test_a_row_without_group_or_run_is_refused(column: str) -> None:
    scores = frame(("a", "maze", "r1", 1.0), ("a", "maze", "r2", 1.0)).with_columns(
        pl.Series(column, ["a", None])
    )
    with pytest.raises(UsageError, match=f"'{column}' must name every row, got 1 null"):
        read_groups(scores, ScoreColumns())


def test_an_unknown_column_gets_a_suggestion() -> None:
    with pytest.raises(UsageError, match="no column 'scor'; did you mean 'score'"):
        read_groups(frame(), ScoreColumns(score="scor"))


def test_scores_that_are_text_are_refused() -> None:
    scores = frame(("a", "maze", "r1", 1.0)).with_columns(pl.col("score").cast(str))
    with pytest.raises(UsageError, match="'score' must hold numbers, got String"):
        read_groups(scores, ScoreColumns())


def test_an_empty_frame_has_no_groups() -> None:
    assert read_groups(frame(), ScoreColumns()) == []


def test_notes_name_missing_tasks_uneven_and_few_runs() -> None:
    (group,) = read_groups(
        frame(("a", "x", "r1", 1.0), ("a", "x", "r2", 2.0), ("a", "y", "r3", 3.0)),
        ScoreColumns(),
    )
    assert coverage_notes(strata(group), ["x", "y", "z", None]) == [
        "no score in 2 tasks ('z', (no task)) that other groups have",
        "unequal runs per task (1 to 2)",
        "few runs (as few as 1 in a task): read intervals with care",
    ]


def test_equal_scores_are_noted() -> None:
    rows: list[Row] = [("a", "x", f"r{i}", 0.5) for i in range(6)]
    (group,) = read_groups(frame(*rows), ScoreColumns())
    assert coverage_notes(strata(group), ["x"]) == ["all scores are equal"]
    assert np.ptp(strata(group).values) == 0
