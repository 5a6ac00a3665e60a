"""A run as everything here reads it, whether it comes from the lake or an export."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from run_assets.errors import SourceError

_TIME = pl.Datetime("us", "UTC")

HISTORY = pl.Schema(
    {
        "metric": pl.String(),
        "step": pl.Int64(),
        "logged_at": _TIME,
        "runtime_seconds": pl.Float64(),
        "value": pl.Float64(),
        "value_json": pl.String(),
        "x_metric": pl.String(),
        "x": pl.Float64(),
    }
)
"""``raw.history`` of one run, with the declared x of ``core.metric_points``."""

STATISTICS = pl.Schema(
    {
        "metric": pl.String(),
        "n_points": pl.Int64(),
        "n_nonfinite": pl.Int64(),
        "missing_rate": pl.Float64(),
        **dict.fromkeys(
            ("mean", "std", "min", "p25", "median", "p75", "max", "first", "last"),
            pl.Float64(),
        ),
        "mean_last_10pct": pl.Float64(),
        "first_step": pl.Int64(),
        "last_step": pl.Int64(),
        "first_x": pl.Float64(),
        "last_x": pl.Float64(),
        "x_metric": pl.String(),
        "last_logged_at": _TIME,
        "summary_value": pl.Float64(),
    }
)
"""``marts.run_summaries`` of one run."""

ARTIFACTS = pl.Schema(
    {
        "direction": pl.String(),
        "artifact_type": pl.String(),
        "artifact_name": pl.String(),
        "version": pl.String(),
        "aliases": pl.List(pl.String()),
        "files": pl.List(pl.Struct({"name": pl.String(), "size_bytes": pl.Int64()})),
        "size_bytes": pl.Int64(),
        "digest": pl.String(),
        "created_at": _TIME,
        "sequence": pl.Int64(),
    }
)
"""``raw.artifacts`` of one run."""

_DEEPEST = 64  # as in core.run_configs: what is nested deeper is an attack


@dataclass(frozen=True)
class Run:
    """All that is known of one run.

    Attributes:
        columns: The columns of ``raw.runs`` but the two JSON texts.
        config: The run's config.
        summary: The run's summary.
        statistics: Columns of ``STATISTICS``, one row a metric, by name.
        history: Columns of ``HISTORY``, read when it is collected.
        artifacts: Columns of ``ARTIFACTS``.
        goals: ``maximize`` or ``minimize`` by metric, as ``define_metric`` declared it.
        is_export: It was read from a file, not from the lake.
    """

    columns: Mapping[str, Any]
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    statistics: pl.DataFrame
    history: pl.LazyFrame
    artifacts: pl.DataFrame
    goals: Mapping[str, str]
    is_export: bool = False

    @property
    def path(self) -> str:
        """The run path, which is the run's key."""
        return str(self.columns["run_path"])

    @property
    def name(self) -> str:
        """The display name, or the run id where there is none."""
        return str(self.columns.get("run_name") or self.columns["run_id"])

    @property
    def metrics(self) -> list[str]:
        """The metrics with numbers, by name."""
        return self.statistics["metric"].to_list()

    def points(self, *metrics: str) -> pl.DataFrame:
        """The numbers of metrics in the order of their steps, NaN and infinities too.

        Columns of ``HISTORY`` but ``value_json``.
        """
        mine = self.history.filter(
            pl.col("metric").is_in(list(metrics)), pl.col("value").is_not_null()
        )
        return self._rows(mine.drop("value_json"))

    def objects(self) -> pl.DataFrame:
        """What was logged and is no number: columns metric, step and value_json."""
        mine = self.history.filter(pl.col("value").is_null())
        return self._rows(mine.select("metric", "step", "value_json"))

    def rows(self) -> pl.DataFrame:
        """The whole history, by metric and step."""
        return self._rows(self.history)

    def _rows(self, frame: pl.LazyFrame) -> pl.DataFrame:
        """The rows by metric and step.

        Raises:
            SourceError: The file they lie in is damaged.
        """
        try:
            return frame.sort("metric", "step").collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            msg = (
                f"the history of {self.path} cannot be read: {error}; "
                "`run-assets refresh` repairs the lake, an export has to be made again"
            )
            raise SourceError(msg) from error


def parsed(text: str | None) -> dict[str, Any]:
    """The values of a JSON object; what is nested too deep to be read stays text.

    >>> parsed('{"lr": 0.1}'), parsed(None)
    ({'lr': 0.1}, {})
    """
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {"_unreadable": text}
    return found if isinstance(found, dict) else {"_unreadable": text}


def flat(values: Mapping[str, Any]) -> dict[str, str]:
    """JSON texts by dotted key, as in ``core.run_configs``; lists stay whole.

    Where two spellings meet in one key, the flattest counts, then the last.

    >>> flat({"env": {"size": 3}, "tags": ["a"], "env.size": 4})
    {'tags': '["a"]', 'env.size': '4'}
    """
    found: dict[str, tuple[int, str]] = {}
    for depth, key, value in _leaves(values):
        if key not in found or depth <= found[key][0]:
            found.pop(key, None)
            found[key] = depth, json.dumps(value, sort_keys=True, ensure_ascii=False)
    return {key: text for key, (_, text) in found.items()}


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[int, str, Any]]:
    waiting: list[tuple[int, str, Any]] = [(1, "", values)]
    while waiting:
        depth, before, inner = waiting.pop(0)
        for key, value in inner.items():
            if isinstance(value, Mapping) and value and depth < _DEEPEST:
                waiting.append((depth + 1, f"{before}{key}.", value))
            else:
                yield depth, f"{before}{key}", value
