"""A metric's curves lie on the x axis that most runs declare."""

import polars as pl

from run_assets.derived.grids import declared_grids, points_on_grids

RUNS = pl.DataFrame(
    {"run_path": ["a", "b", "c"], "entity": "lab", "project": ["maze"] * 3}
)


def summaries(*rows: tuple[str, str, str, float, float]) -> pl.DataFrame:
    return pl.DataFrame(
        rows, ["run_path", "metric", "x_metric", "first_x", "last_x"], orient="row"
    )


def test_the_axis_of_most_runs_counts() -> None:
    grids = declared_grids(
        summaries(
            ("a", "loss", "_step", 0.0, 1000.0),
            ("b", "loss", "epoch", 0.0, 3.0),
            ("c", "loss", "epoch", 0.0, 2.0),
        ),
        RUNS,
        None,
    )
    assert grids.rows() == [("lab", "maze", "loss", "epoch", 0.02)]


def test_steps_are_whole_and_epochs_are_not_even_if_their_ends_are() -> None:
    rows = summaries(
        ("a", "by_step", "_step", 0.0, 3.0), ("a", "by_epoch", "e", 0.0, 3.0)
    )
    grids = declared_grids(rows, RUNS, None)
    assert grids.select("metric", "bin_width").rows() == [
        ("by_epoch", 0.02),
        ("by_step", 1.0),
    ]


def test_a_width_is_kept_while_it_holds_the_range() -> None:
    first = declared_grids(summaries(("a", "loss", "_step", 0.0, 900.0)), RUNS, None)
    more = summaries(
        ("a", "loss", "_step", 0.0, 900.0), ("b", "loss", "_step", 0.0, 10.0)
    )
    assert declared_grids(more, RUNS, first).equals(first)
    longer = summaries(("a", "loss", "_step", 0.0, 5000.0))
    assert declared_grids(longer, RUNS, first)["bin_width"].item() == 50.0


def test_runs_that_are_not_listed_and_runs_without_x_have_no_grid() -> None:
    assert declared_grids(
        summaries(("z", "loss", "_step", 0.0, 9.0)), RUNS, None
    ).is_empty()


def test_points_on_another_axis_are_left_out() -> None:
    points = pl.DataFrame(
        {
            "run_path": ["a", "b"],
            "metric": "loss",
            "x_metric": ["_step", "epoch"],
            "x": [1.0, 2.0],
            "value": [3.0, 4.0],
        }
    )
    grids = pl.DataFrame(
        {"metric": ["loss"], "x_metric": ["epoch"], "bin_width": [1.0]}
    )
    assert points_on_grids(points, grids).rows() == [("b", "loss", 2.0, 4.0)]
