"""What each run's configuration says: features, environment, task, planned budget."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from run_assets.curves.settings import Curves, Feature, Kind
from run_assets.digests import digest_of

FEATURE_SCHEMA: dict[str, type[pl.DataType]] = {
    "run_path": pl.String,
    "feature": pl.String,
    "role": pl.String,
    "key": pl.String,
    "value_double": pl.Float64,
    "value_text": pl.String,
    "is_default": pl.Boolean,
}
ENVIRONMENT, AGENT = "environment", "agent"
TASK, BUDGET, NAME = "task", "budget", "environment_name"
ONE_TASK = "all"


class _Asked(NamedTuple):
    name: str
    role: str
    key: str | None
    kind: Kind
    default: float | str | None


def run_features(
    runs: pl.DataFrame, configs: pl.DataFrame, settings: Curves
) -> pl.DataFrame:
    """One row per run and feature; what a run lacks is null or marked as a default.

    Args:
        runs: run_path of the runs that are asked about.
        configs: ``core.run_configs``.
        settings: Which features, from which keys.

    Returns:
        ``FEATURE_SCHEMA``. Roles: environment and agent are what curves are predicted
        from; task, budget and environment_name say how curves are grouped and scaled.
    """
    frames = [_of(runs, configs, asked) for asked in _asked(settings)]
    if settings.environment is None:
        frames.append(_environment_names(pl.concat(frames), runs))
    columns = [pl.col(name).cast(kind) for name, kind in FEATURE_SCHEMA.items()]
    return pl.concat(frames).select(columns).sort("run_path", "role", "feature")


def feature_columns(features: pl.DataFrame, specs: tuple[Feature, ...]) -> pl.DataFrame:
    """One row a run and one column a feature: numbers, or texts for categories.

    Args:
        features: From ``run_features``.
        specs: Which features.

    Returns:
        run_path and a column for each; sorted by run_path.
    """
    wide = features.select("run_path").unique().sort("run_path")
    for spec in specs:
        column = "value_double" if spec.kind == "number" else "value_text"
        mine = features.filter(
            pl.col("feature") == spec.name, pl.col("role").is_in([ENVIRONMENT, AGENT])
        )
        values = mine.select("run_path", pl.col(column).alias(spec.name))
        wide = wide.join(values, "run_path", how="left", maintain_order="left")
    return wide


def label_of(features: pl.DataFrame, role: str, otherwise: str) -> pl.DataFrame:
    """run_path and the text of a role, such as the task, as ``label``."""
    mine = features.filter(role=role)
    return mine.select(
        "run_path", pl.col("value_text").fill_null(otherwise).alias("label")
    )


def _asked(settings: Curves) -> Iterator[_Asked]:
    for role, specs in (
        (ENVIRONMENT, settings.environment_features),
        (AGENT, settings.agent_features),
    ):
        for one in specs:
            yield _Asked(one.name, role, one.key, one.kind, one.default)
    yield _Asked(TASK, TASK, settings.task, "category", ONE_TASK)
    budget = settings.budget
    yield _Asked(BUDGET, BUDGET, budget.key, "number", budget.default)
    if settings.environment is not None:
        yield _Asked(NAME, NAME, settings.environment, "category", None)


def _of(runs: pl.DataFrame, configs: pl.DataFrame, asked: _Asked) -> pl.DataFrame:
    found = configs.filter(pl.col("key") == (asked.key or ""))
    values = found.select("run_path", "value_double", "value_text")
    joined = runs.select("run_path").join(values, "run_path", how="left")
    column = "value_double" if asked.kind == "number" else "value_text"
    is_missing = pl.col(column).is_null()
    is_default = is_missing & (asked.default is not None) & (asked.key is not None)
    number, text = _default(asked.default)
    return joined.select(
        "run_path",
        pl.lit(asked.name).alias("feature"),
        pl.lit(asked.role).alias("role"),
        pl.lit(asked.key, pl.String).alias("key"),
        pl.when(is_missing)
        .then(number)
        .otherwise("value_double")
        .alias("value_double"),
        pl.when(is_missing).then(text).otherwise("value_text").alias("value_text"),
        is_default.alias("is_default"),
    )


def _default(value: Any) -> tuple[pl.Expr, pl.Expr]:
    number = float(value) if isinstance(value, int | float) else None
    text = None if value is None else str(value)
    return pl.lit(number, pl.Float64), pl.lit(text, pl.String)


def _environment_names(features: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Runs with the same task and environment features are in one environment."""
    mine = features.filter(pl.col("role").is_in([ENVIRONMENT, TASK]))
    told = mine.sort("feature").group_by("run_path").agg("value_double", "value_text")
    named = runs.select("run_path").join(told, "run_path", how="left")
    names = [
        f"env-{digest_of(numbers, texts)[:8]}"
        for numbers, texts in named.select("value_double", "value_text").iter_rows()
    ]
    return named.select(
        "run_path",
        pl.lit(NAME).alias("feature"),
        pl.lit(NAME).alias("role"),
        pl.lit(None, pl.String).alias("key"),
        pl.lit(None, pl.Float64).alias("value_double"),
        pl.Series("value_text", names, pl.String),
        pl.lit(value=False).alias("is_default"),
    )
