"""What a report knows of its runs' findings, before it has a form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from run_assets.contracts.tables import table
from run_assets.diagnostics.health import worst_first

MAX_DRAWN = 6
_MOST_POINTS = 240

POINT_COLUMNS: Mapping[str, pl.DataType] = {
    "run_path": pl.String(),
    "metric": pl.String(),
    "step": pl.Int64(),
    "value": pl.Float64(),
}


def _no_rows(name: str) -> pl.DataFrame:
    kinds = {"VARCHAR": pl.String, "BIGINT": pl.Int64, "DOUBLE": pl.Float64}
    types = {column: kinds[kind] for column, kind in table(name).types.items()}
    return pl.DataFrame(schema=types)


@dataclass(frozen=True)
class Diagnosis:
    """The findings of all runs.

    Attributes:
        findings: ``diagnostics.findings``.
        health: ``diagnostics.run_health``.
        points: Series of the findings that are drawn, ``POINT_COLUMNS``.
    """

    findings: pl.DataFrame = field(
        default_factory=lambda: _no_rows("diagnostics.findings")
    )
    health: pl.DataFrame = field(
        default_factory=lambda: _no_rows("diagnostics.run_health")
    )
    points: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema=dict(POINT_COLUMNS))
    )

    @property
    def fired(self) -> pl.DataFrame:
        """What fired, the worst first."""
        return worst_first(self.findings)


def drawn_findings(findings: pl.DataFrame) -> pl.DataFrame:
    """The findings that get a plot: the worst of each metric of a run at some step.

    Args:
        findings: ``diagnostics.findings``.
    """
    fired = worst_first(findings).filter(
        pl.col("metric") != "*", pl.col("first_step").is_not_null()
    )
    bad = fired.filter(pl.col("severity") != "info")
    once = bad.unique(["run_path", "metric"], keep="first", maintain_order=True)
    return once.head(MAX_DRAWN)


def thinned(points: pl.DataFrame) -> pl.DataFrame:
    """Few enough points for a plot: of each stretch the lowest and the highest value.

    Args:
        points: ``POINT_COLUMNS``, of one or several series.
    """
    series = ["run_path", "metric"]
    finite = points.filter(pl.col("value").is_finite()).sort(*series, "step")
    bucket = pl.int_range(pl.len()) * (_MOST_POINTS // 2) // pl.len()
    grouped = finite.with_columns(bucket=bucket.over(series))
    kept = grouped.filter(
        (pl.col("value") == pl.col("value").min().over(*series, "bucket"))
        | (pl.col("value") == pl.col("value").max().over(*series, "bucket"))
    )
    ends = kept.unique([*series, "bucket", "value"], keep="first", maintain_order=True)
    return ends.select(list(POINT_COLUMNS)).sort(*series, "step")
