"""Sample efficiency on curves worked by hand, and its policy."""

from collections.abc import Sequence

import polars as pl
import pytest

from run_assets import stats
from run_assets.errors import UsageError
from run_assets.stats.efficiency import SCHEMA

Curve = Sequence[tuple[float, float | None]]


def curves(**groups: dict[str, list[Curve]]) -> pl.DataFrame:
    rows = [
        (group, task, f"{group}/{task}/{index}", float(step), score)
        for group, tasks in groups.items()
        for task, runs in tasks.items()
        for index, run in enumerate(runs)
        for step, score in run
    ]
    names = ["group_name", "task", "run_path", "step", "score"]
    types = [pl.String, pl.String, pl.String, pl.Float64, pl.Float64]
    return pl.DataFrame(rows, dict(zip(names, types, strict=True)), orient="row")


def line(height: float) -> Curve:
    return [(0, 0.0), (10, height)]


FIVE = curves(a={"maze": [line(h) for h in (2.0, 4.0, 6.0, 8.0, 10.0)]})


def test_points_area_and_first_step_of_lines() -> None:
    result = stats.sample_efficiency(FIVE, grid=[10, 0, 5, 5], level=3.0)
    assert result.schema == SCHEMA
    assert result.select("statistic", "step", "level", "estimate").rows() == [
        ("iqm", 0.0, None, 0.0),
        ("iqm", 5.0, None, 3.0),
        ("iqm", 10.0, None, 6.0),
        ("area", None, None, 3.0),
        ("first_step", None, 3.0, 5.0),
    ]
    assert set(result["n_runs"]) == {5}
    area = result.filter(statistic="area").row(0, named=True)
    assert area["ci_low"] < 3.0 < area["ci_high"]


def test_the_points_of_a_run_are_drawn_together() -> None:
    # Runs that cross: every run has the mean height 1, so the area has no noise.
    crossing = curves(a={"m": [[(0, x), (10, 2 - x)] for x in (0.0, 0.5, 1.0, 1.5, 2)]})
    result = stats.sample_efficiency(crossing, grid=[0, 10], statistic="mean")
    point = result.row(0, named=True)
    assert point["ci_low"] < 0.7
    area = result.filter(statistic="area").row(0, named=True)
    assert (area["ci_low"], area["ci_high"]) == pytest.approx((1.0, 1.0))


def test_runs_are_never_extrapolated() -> None:
    data = curves(a={"maze": [line(1), line(1), line(1), [(0, 9.0), (5, 9.0)]]})
    result = stats.sample_efficiency(data, grid=[0, 5, 10, 20], statistic="mean")
    assert result["max_runs_per_task"].to_list() == [4, 4, 3, None, None]
    assert result["estimate"].to_list() == [2.25, 2.625, 1.0, None, None]
    assert "no run has a value here" in result["notes"][3]
    assert "no run covers the whole grid" in result["notes"][4]
    shorter = stats.sample_efficiency(data, grid=[0, 10], statistic="mean")
    assert shorter.row(2, named=True)["estimate"] == 0.5
    assert "1 run(s) that do not cover the grid left out" in shorter["notes"][2]


def test_missing_scores_leave_gaps_that_are_bridged() -> None:
    data = curves(a={"maze": [[(0, 0.0), (5, None), (10, 10.0)]] * 2})
    result = stats.sample_efficiency(data, grid=[5], statistic="mean")
    assert result["estimate"].to_list() == [5.0, 5.0]
    assert "2 of 6 scores left out (2 missing)" in result["notes"][0]


def test_a_level_out_of_reach_is_null_and_noted() -> None:
    never = stats.sample_efficiency(FIVE, grid=[0, 10], level=99.0)
    row = never.filter(statistic="first_step").row(0, named=True)
    assert (row["estimate"], row["ci_low"], row["ci_high"]) == (None, None, None)
    assert "the level is not reached on the grid" in row["notes"]
    assert "not reached in 100.0% of the resamples" in row["notes"]
    rarely = stats.sample_efficiency(FIVE, grid=[0, 5, 10], level=6.0)
    row = rarely.filter(statistic="first_step").row(0, named=True)
    assert (row["estimate"], row["ci_high"]) == (10.0, None)


def test_one_run_has_a_curve_but_no_band() -> None:
    result = stats.sample_efficiency(curves(a={"m": [line(1)]}), grid=[0, 10], level=1)
    assert result["estimate"].to_list() == [0.0, 1.0, 0.5, 10.0]
    assert result["ci_low"].null_count() == result.height
    assert all("no interval: one run" in notes for notes in result["notes"])


def test_names_and_order_of_runs_do_not_matter() -> None:
    data = curves(
        a={"m": [[(0, 1.0), (4, 7.0), (9, 2.0)], line(3), line(5)], "n": [line(2)] * 3}
    )
    renamed = data.with_columns("z" + pl.col("run_path").str.reverse())
    for other in (data.reverse(), renamed):
        assert stats.sample_efficiency(other, grid=[0, 3, 9], level=1.5).equals(
            stats.sample_efficiency(data, grid=[0, 3, 9], level=1.5)
        )


def test_large_steps_keep_their_digits() -> None:
    step = 2.0**53 - 1
    data = curves(a={"m": [[(0, 0.0), (step, 4.0)], [(0, 0.0), (step, 6.0)]]})
    result = stats.sample_efficiency(data, grid=[step], statistic="mean")
    assert result["estimate"][0] == 5.0


def test_an_empty_frame_gives_an_empty_result() -> None:
    result = stats.sample_efficiency(FIVE.clear(), grid=[1])
    assert result.schema == SCHEMA
    assert result.is_empty()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": []}, "grid must have points"),
        ({"grid": [0, float("nan")]}, "grid must have points, all finite"),
        ({"level": float("inf")}, "level must be finite, got inf"),
        ({"step": "steps"}, "no column 'steps'; did you mean 'step'"),
        ({"statistic": "optimality_gap"}, "unknown statistic 'optimality_gap'"),
        ({"method": "bca"}, "unknown method 'bca'"),
    ],
)
def test_options_without_meaning_are_refused(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        stats.sample_efficiency(FIVE, **{"grid": [0, 10], **options})  # type: ignore[arg-type]  # on purpose
