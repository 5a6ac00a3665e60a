"""Which grid a metric's curves lie on, per project, and which points belong there."""

from collections.abc import Iterator

import polars as pl

from run_assets.derived.curves import metric_grids

_IS_STEP = pl.col("x_metric") == "_step"


def declared_grids(
    summaries: pl.DataFrame, runs: pl.DataFrame, previous: pl.DataFrame | None
) -> pl.DataFrame:
    """The grid of every metric of every project.

    Runs of a project may declare different x axes for a metric; the axis that most of
    them use counts (the first by name if several do), and the others have no curve.

    Args:
        summaries: ``marts.run_summaries``: run_path, metric, x_metric, first_x, last_x.
        runs: run_path, entity, project of ``marts.runs``.
        previous: ``derived.curve_grids`` in use; widths are kept while they hold.

    Returns:
        entity, project, metric, x_metric, bin_width.
    """
    owners = runs.select("run_path", "entity", "project")
    ranges = summaries.drop("project", strict=False).join(owners, "run_path")
    frames = [
        pl.DataFrame(
            schema={
                "entity": pl.String,
                "project": pl.String,
                "metric": pl.String,
                "x_metric": pl.String,
                "bin_width": pl.Float64,
            }
        ),
        *_grids(ranges, previous),
    ]
    return pl.concat(frames)


def points_on_grids(points: pl.DataFrame, grids: pl.DataFrame) -> pl.DataFrame:
    """The points whose metric has a grid, on the grid's x axis.

    Args:
        points: run_path, metric, x_metric, x, value.
        grids: metric, x_metric, bin_width of one project.

    Returns:
        run_path, metric, x, value.
    """
    kept = points.join(grids, ["metric", "x_metric"], how="semi")
    return kept.select("run_path", "metric", "x", "value")


def _grids(
    ranges: pl.DataFrame, previous: pl.DataFrame | None
) -> Iterator[pl.DataFrame]:
    for (entity, project), mine in sorted(
        ranges.partition_by("entity", "project", as_dict=True).items()
    ):
        axes = _axes(mine)
        used = mine.join(axes, ["metric", "x_metric"], how="semi")
        before = _before(previous, entity, project, axes)
        # the ends of an epoch axis may be whole numbers by chance, steps always are
        grids = [
            metric_grids(
                _ends(used.filter(is_step)),
                before.join(axes.filter(is_step), "metric", how="semi"),
                is_whole=is_whole,
            )
            for is_whole, is_step in ((True, _IS_STEP), (False, ~_IS_STEP))
        ]
        yield (
            pl.concat(grids)
            .sort("metric")
            .join(axes, "metric")
            .select(
                pl.lit(entity).alias("entity"),
                pl.lit(project).alias("project"),
                "metric",
                "x_metric",
                "bin_width",
            )
        )


def _ends(ranges: pl.DataFrame) -> pl.DataFrame:
    """Both ends of each range as points."""
    ends = pl.concat(
        ranges.select("metric", pl.col(end).alias("x"), value=pl.lit(0.0))
        for end in ("first_x", "last_x")
    )
    return ends.drop_nulls("x")


def _axes(ranges: pl.DataFrame) -> pl.DataFrame:
    counts = ranges.group_by("metric", "x_metric").len()
    order = counts.sort(["metric", "len", "x_metric"], descending=[False, True, False])
    return order.unique("metric", keep="first", maintain_order=True).drop("len")


def _before(
    previous: pl.DataFrame | None, entity: str, project: str, axes: pl.DataFrame
) -> pl.DataFrame:
    if previous is None:
        return pl.DataFrame(schema={"metric": pl.String, "bin_width": pl.Float64})
    mine = previous.filter(entity=entity, project=project)
    same = mine.join(axes, ["metric", "x_metric"], how="semi")
    return same.select("metric", "bin_width")
