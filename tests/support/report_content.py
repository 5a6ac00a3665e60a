"""Report contents that look like a night in a lab: 3 algorithms x 4 maps x 5 seeds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations, permutations
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from run_assets.config import Analysis, Score
from run_assets.contracts.tables import table
from run_assets.reports.content import (
    CURVE_COLUMNS,
    AnalysisContent,
    Changes,
    Estimate,
    Provenance,
    ReportContent,
)

NIGHT = datetime(2026, 11, 20, 2, 0, tzinfo=UTC)
ALGORITHMS = {"expected-sarsa": 0.78, "q-learning": 0.73, "sarsa": 0.56}
MAPS = {"corridor": 0.12, "maze": -0.05, "open-field": 0.08, "two-rooms": -0.1}
SEEDS = 5
METRIC = "eval_navigation/success_rate"

_TYPES: Mapping[str, Any] = {
    "VARCHAR": pl.String,
    "VARCHAR[]": pl.List(pl.String),
    "BIGINT": pl.Int64,
    "BIGINT[]": pl.List(pl.Int64),
    "DOUBLE": pl.Float64,
    "BOOLEAN": pl.Boolean,
    "DATE": pl.Date,
    "TIMESTAMPTZ": pl.Datetime("us", "UTC"),
    "STRUCT(start_byte BIGINT, size_bytes BIGINT, reason VARCHAR)[]": pl.List(
        pl.Struct({"start_byte": pl.Int64, "size_bytes": pl.Int64, "reason": pl.String})
    ),
}


def frame(name: str, rows: Sequence[Mapping[str, Any]] = ()) -> pl.DataFrame:
    """Rows of a table with all columns of its contract; what is not given is null."""
    types = table(name).types
    columns = {column: [row.get(column) for row in rows] for column in types}
    return pl.DataFrame(
        columns, schema={column: _TYPES[kind] for column, kind in types.items()}
    )


def question(**more: Any) -> Analysis:
    """The analysis of the example."""
    return Analysis(
        **{
            "name": "navigation",
            "project": "local/hearts",
            "score": Score(metric=METRIC),
            "group": "config.trainer.algorithm",
            "task": "config.env",
            **more,
        }
    )


def night() -> ReportContent:
    """A whole report: one analysis, crashed runs, a damaged file, an earlier report."""
    analysis = navigation()
    return ReportContent(
        analyses=(analysis,),
        runs=runs(analysis),
        sync_state=sync_state(),
        changes=Changes(
            since=NIGHT - timedelta(days=1),
            new=("local/hearts/r060", "local/hearts/r061", "local/hearts/r062"),
            grown=("local/hearts/r062",),
            finished=("local/hearts/r058", "local/hearts/r059"),
            stopped=("local/hearts/r061",),
            previous={
                "navigation": tuple(
                    Estimate(*one[:2], one.value - 0.011, one.low - 0.014, one.high, 18)
                    for one in analysis.estimates
                    if one.value is not None
                    and one.low is not None
                    and one.statistic == "iqm"
                )
            },
        ),
        provenance=Provenance(
            code_version="0.1.0",
            config_digest="7c0d5f2a91be4410",
            input_digest="e3b0c44298fc1c14",
            data_as_of=NIGHT - timedelta(minutes=23),
        ),
        generated_at=NIGHT,
    )


def navigation(
    config: Analysis | None = None, algorithms: Mapping[str, float] | None = None
) -> AnalysisContent:
    """Scores, estimates, comparisons, profiles and curves of the example."""
    config = config or question()
    algorithms = algorithms or ALGORITHMS
    scores = _scores(config, algorithms)
    return AnalysisContent(
        config=config,
        scores=scores,
        interval_estimates=_estimates(config, scores),
        comparisons=_comparisons(config, scores),
        performance_profiles=_profiles(config, scores),
        probability_of_improvement=_improvement(config, scores),
        sample_efficiency=_efficiency(config, algorithms),
        rank_stability=_ranks(config, algorithms),
        optimality_gaps=_gaps(config, scores),
        curves=_curves(scores, algorithms),
    )


def _scores(config: Analysis, algorithms: Mapping[str, float]) -> pl.DataFrame:
    draw = np.random.default_rng(7)
    rows: list[dict[str, Any]] = []
    for algorithm, level in algorithms.items():
        for task, shift in MAPS.items():
            for _ in range(SEEDS):
                path = f"local/hearts/r{len(rows):03}"
                age = timedelta(hours=7 * (len(rows) * 13 % 60))
                score = float(np.clip(level + shift + draw.normal(0, 0.06), 0, 1))
                rows.append(
                    {
                        "analysis": config.name,
                        "group_name": algorithm,
                        "task": task,
                        "run_path": path,
                        "replicate": path,
                        "created_at": NIGHT - age,
                        "raw_score": score,
                        "score": score,
                    }
                )
    return frame("stats.scores", rows)


def _estimates(config: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    draw = np.random.default_rng(8)
    statistics: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "iqm": _iqm,
        "mean": lambda values: float(np.mean(values)),
        "median": lambda values: float(np.median(values)),
    }
    rows = []
    for (group,), of_group in scores.group_by("group_name", maintain_order=True):
        values = of_group["score"].to_numpy()
        for name, statistic in statistics.items():
            drawn = [statistic(draw.choice(values, values.size)) for _ in range(400)]
            low, high = np.quantile(drawn, [0.025, 0.975])
            rows.append(
                {
                    "analysis": config.name,
                    "group_name": group,
                    "statistic": name,
                    "estimate": statistic(values),
                    "ci_low": float(low),
                    "ci_high": float(high),
                    "confidence": 0.95,
                    "method": "corrected",
                    "n_runs": values.size,
                    "n_tasks": of_group["task"].n_unique(),
                    "min_runs_per_task": SEEDS,
                    "max_runs_per_task": SEEDS,
                    "resamples": 50_000,
                    "seed": 0,
                }
            )
    return frame("stats.interval_estimates", rows)


def _iqm(values: NDArray[np.float64]) -> float:
    cut = values.size // 4
    return float(np.sort(values)[cut : values.size - cut].mean())


def _comparisons(config: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    by_group = {
        str(group): rows["score"].to_numpy()
        for (group,), rows in scores.group_by("group_name", maintain_order=True)
    }
    rows = []
    for x, y in combinations(sorted(by_group), 2):
        difference = float(by_group[x].mean() - by_group[y].mean())
        spread = float(
            np.hypot(
                by_group[x].std() / by_group[x].size ** 0.5,
                by_group[y].std() / by_group[y].size ** 0.5,
            )
        )
        rows.append(
            {
                "analysis": config.name,
                "group_x": x,
                "group_y": y,
                "test": "mannwhitney",
                "statistic": 312.0,
                "p_value": 0.031 if abs(difference) < 0.1 else 2e-6,
                "p_adjusted": 0.062 if abs(difference) < 0.1 else 6e-6,
                "correction": "holm",
                "mean_difference": difference,
                "ci_low": difference - 1.96 * spread,
                "ci_high": difference + 1.96 * spread,
                "confidence": 0.95,
                "effect": "cliffs_delta",
                "effect_size": 0.41 if abs(difference) < 0.1 else 0.93,
                "n_x": by_group[x].size,
                "n_y": by_group[y].size,
            }
        )
    return frame("stats.comparisons", rows)


def _profiles(config: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (group,), of_group in scores.group_by("group_name", maintain_order=True):
        values = of_group["score"].to_numpy()
        for threshold in np.linspace(0, 1, 101):
            share = float((values > threshold).mean())
            half = 1.96 * (share * (1 - share) / values.size) ** 0.5
            rows.append(
                {
                    "analysis": config.name,
                    "group_name": group,
                    "threshold": float(threshold),
                    "fraction": share,
                    "ci_low": max(share - half, 0.0),
                    "ci_high": min(share + half, 1.0),
                    "kind": "score",
                }
            )
    return frame("stats.performance_profiles", rows)


def _improvement(config: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    values = {
        str(group): rows["score"].to_numpy()
        for (group,), rows in scores.group_by("group_name", maintain_order=True)
    }
    rows = []
    for x, y in permutations(sorted(values), 2):
        chance = float((values[x][:, None] > values[y][None, :]).mean())
        rows.append(
            {
                "analysis": config.name,
                "group_x": x,
                "group_y": y,
                "estimate": chance,
                "ci_low": max(chance - 0.11, 0.0),
                "ci_high": min(chance + 0.11, 1.0),
            }
        )
    return frame("stats.probability_of_improvement", rows)


def _efficiency(config: Analysis, algorithms: Mapping[str, float]) -> pl.DataFrame:
    grid = np.arange(500, 100_000, 2_000, dtype=np.float64)
    rows: list[dict[str, Any]] = []
    for at, (group, level) in enumerate(algorithms.items()):
        shared = {"analysis": config.name, "group_name": group}
        for x in grid:
            value = level * (1 - float(np.exp(-x / (14_000 + 5_000 * at))))
            ends = {"ci_low": value - 0.03, "ci_high": value + 0.03}
            point = {"statistic": "iqm", "grid_x": float(x), "estimate": value}
            rows.append({**shared, **point, **ends})
        whole = {"statistic": "area", "grid_x": float(grid[-1])}
        rows.append({**shared, **whole, "estimate": level - 0.1})
    return frame("stats.sample_efficiency", rows)


def _ranks(config: Analysis, algorithms: Mapping[str, float]) -> pl.DataFrame:
    rows = [
        {
            "analysis": config.name,
            "group_name": group,
            "statistic": "iqm",
            "estimate": level,
            "rank": float(at),
            "rank_low": float(max(at - 1, 1)),
            "rank_high": float(at),
            "mean_rank": at - 0.1,
            "probability_best": {1: 0.8, 2: 0.18, 3: 0.02}.get(at, 0.0),
            "n_groups": len(algorithms),
        }
        for at, (group, level) in enumerate(algorithms.items(), start=1)
    ]
    return frame("stats.rank_stability", rows)


def _gaps(config: Analysis, scores: pl.DataFrame) -> pl.DataFrame:
    by_task = scores.group_by("group_name", "task", maintain_order=True)
    over_all = scores.group_by("group_name", maintain_order=True)
    found = [
        *by_task.agg(1 - pl.col("score").mean()).rows(),
        *(
            (group, "*", gap)
            for group, gap in over_all.agg(1 - pl.col("score").mean()).rows()
        ),
    ]
    rows = [
        {
            "analysis": config.name,
            "group_name": group,
            "task": task,
            "gap": gap,
            "ci_low": max(gap - 0.05, 0.0),
            "ci_high": gap + 0.05,
            "gap_rate": gap,
            "rate_ci_low": max(gap - 0.05, 0.0),
            "rate_ci_high": gap + 0.05,
        }
        for group, task, gap in found
    ]
    return frame("stats.optimality_gaps", rows)


def _curves(scores: pl.DataFrame, algorithms: Mapping[str, float]) -> pl.DataFrame:
    draw = np.random.default_rng(9)
    grid = np.arange(500, 100_000, 1_000, dtype=np.float64)
    speed = {name: 14_000 + 5_000 * at for at, name in enumerate(algorithms)}
    rows: list[dict[str, Any]] = []
    for run in scores.iter_rows(named=True):
        rise = 1 - np.exp(-grid / (speed[run["group_name"]] * draw.uniform(0.8, 1.3)))
        walk = np.cumsum(draw.normal(0, 0.004, grid.size))
        values = run["score"] * rise + walk - walk[-1] * rise
        rows += (
            {
                "metric": METRIC,
                "group_name": run["group_name"],
                "task": run["task"],
                "run_path": run["run_path"],
                "x_metric": "_step",
                "grid_x": float(x),
                "value": float(value),
            }
            for x, value in zip(grid, values, strict=True)
        )
    return pl.DataFrame(rows, schema=dict(CURVE_COLUMNS))


def runs(analysis: AnalysisContent) -> pl.DataFrame:
    """``marts.runs``: those of the analysis and three that never got a score."""
    paths = analysis.scores["run_path"].to_list()
    rows = [_run(path, at, "finished") for at, path in enumerate(paths)]
    for state in ("crashed", "failed", "running"):
        rows.append(_run(f"local/hearts/r{len(rows):03}", len(rows), state))
    return frame("marts.runs", rows)


def _run(path: str, at: int, state: str) -> dict[str, Any]:
    created_at = NIGHT - timedelta(hours=30) + timedelta(minutes=23 * at)
    is_finished = state == "finished"
    runtime = 1_800.0 + 37 * at
    heartbeat_at = created_at + timedelta(seconds=runtime)
    return {
        "run_path": path,
        "entity": "local",
        "project": "hearts",
        "run_id": path.rpartition("/")[2],
        "run_name": f"calm-river-{at + 1}",
        "run_state": state,
        "is_complete": is_finished,
        "created_at": created_at,
        "ended_at": heartbeat_at if is_finished else None,
        "heartbeat_at": heartbeat_at,
        "runtime_seconds": runtime,
        "last_step": 99_999 if is_finished else 31_200 + at,
        "history_rows": 2_000,
        "n_metrics": 22,
        "source": "wandb_files",
    }


def sync_state() -> pl.DataFrame:
    """``raw.sync_state``: one good file, one cut off, one damaged, one unreadable."""
    folder = "wandb/offline-run-20261119_0"

    def state(at: int, **more: Any) -> dict[str, Any]:
        return {
            "run_path": f"local/hearts/r{at:03}",
            "source": "wandb_files",
            "source_location": f"{folder}{at}/run-r{at:03}.wandb",
            "size_bytes": 2_311_000,
            "skipped": [],
            "skipped_bytes": 0,
            "is_damaged": False,
            "fetched_at": NIGHT - timedelta(minutes=3),
            **more,
        }

    cut = {"start_byte": 1_930_221, "size_bytes": 811, "reason": "cut-off tail"}
    bad = {"start_byte": 32_768, "size_bytes": 32_768, "reason": "bad checksum"}
    return frame(
        "raw.sync_state",
        [
            *(state(at) for at in range(60)),
            state(60, skipped=[cut], skipped_bytes=811),
            state(61, skipped=[bad], skipped_bytes=32_768, is_damaged=True),
            state(62),
            state(63, run_path=None, is_damaged=True, problem="wrong header"),
        ],
    )


HOSTILE = (
    "</script></text><img src=x onerror=alert(1)>",
    "| a `b` **c** [d](javascript:alert(1)) @everyone <!channel>\n# heading\r\n\tend",
    "x" * 300,
    "\u202eمرحبا שלום\u2066 🎉 \x00\x01\x1b\ufffe\uffff&amp;\"'",  # noqa: RUF001  # a right-to-left name
)
"""Names that break out of HTML, Markdown, a table, a sentence, or vl-convert."""


def hostile() -> ReportContent:
    """A night in which every name was chosen by an attacker."""
    first, second, long, mixed = HOSTILE
    config = question(
        name=first,
        project=None,
        score=Score(metric=second),
        group=long,
        task=mixed,
    )
    levels = dict(zip(HOSTILE, (0.8, 0.7, 0.6, 0.5), strict=True))
    plain = navigation(config, levels)
    tasks = dict(zip(MAPS, HOSTILE, strict=True))
    renamed = pl.col("task").replace(tasks)
    analysis = replace(
        plain,
        scores=plain.scores.with_columns(renamed),
        optimality_gaps=plain.optimality_gaps.with_columns(renamed),
        curves=plain.curves.with_columns(renamed, metric=pl.lit(second)),
        interval_estimates=plain.interval_estimates.with_columns(notes=pl.lit(first)),
        comparisons=plain.comparisons.with_columns(notes=pl.lit(second)),
    )
    names = pl.lit(first + second)
    known = night()
    return replace(
        known,
        analyses=(analysis,),
        runs=runs(analysis).with_columns(
            run_name=names,
            project=pl.lit(mixed),
            entity=pl.lit(first),
            run_group=names,
            url=pl.lit("javascript:alert(1)"),
        ),
        sync_state=known.sync_state.with_columns(
            source_location=names, problem=names, run_path=names
        ),
        changes=replace(known.changes, new=HOSTILE, deleted=HOSTILE, previous={}),
        provenance=replace(known.provenance, warehouse=first, config_digest=second),
    )


def nothing() -> ReportContent:
    """A lab that has just been set up: no run, no analysis, no earlier report."""
    return replace(
        night(),
        analyses=(),
        runs=frame("marts.runs"),
        sync_state=frame("raw.sync_state"),
        changes=Changes(),
        provenance=replace(night().provenance, data_as_of=None),
    )
